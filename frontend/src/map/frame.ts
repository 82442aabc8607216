// Where the axes are: data coordinates (logarithms on logarithmic axes) to pixels and back.
import type { Point } from "../numbers";

export type Domain = [number, number, number, number]; // x from, to, y from, to

export const MARGIN = { left: 62, right: 62, top: 62, bottom: 46 };

export class Frame {
  width = 0;
  height = 0;
  domain: Domain = [0, 1, 0, 1];

  get plotWidth(): number {
    return this.width - MARGIN.left - MARGIN.right;
  }

  get plotHeight(): number {
    return this.height - MARGIN.top - MARGIN.bottom;
  }

  get right(): number {
    return this.width - MARGIN.right;
  }

  get bottom(): number {
    return this.height - MARGIN.bottom;
  }

  x(value: number): number {
    const [a, b] = this.domain;
    return MARGIN.left + ((value - a) / (b - a)) * this.plotWidth;
  }

  y(value: number): number {
    const [, , a, b] = this.domain;
    return MARGIN.top + (1 - (value - a) / (b - a)) * this.plotHeight;
  }

  back(px: number, py: number): Point {
    const [x0, x1, y0, y1] = this.domain;
    const x = x0 + ((px - MARGIN.left) / this.plotWidth) * (x1 - x0);
    return [x, y0 + (1 - (py - MARGIN.top) / this.plotHeight) * (y1 - y0)];
  }

  inside(px: number, py: number): boolean {
    return px >= MARGIN.left && px <= this.right && py >= MARGIN.top && py <= this.bottom;
  }

  /** Zoomed by `factor` about a pixel; `axes` says along which. */
  zoomed(factor: number, px: number, py: number, axes: "xy" | "x" | "y"): Domain {
    const [x, y] = this.back(px, py);
    const [x0, x1, y0, y1] = this.domain;
    const kx = axes.includes("x") ? factor : 1;
    const ky = axes.includes("y") ? factor : 1;
    return [x - (x - x0) * kx, x + (x1 - x) * kx, y - (y - y0) * ky, y + (y1 - y) * ky];
  }

  shifted(domain: Domain, dx: number, dy: number): Domain {
    const sx = (dx / this.plotWidth) * (domain[1] - domain[0]);
    const sy = (dy / this.plotHeight) * (domain[3] - domain[2]);
    return [domain[0] - sx, domain[1] - sx, domain[2] + sy, domain[3] + sy];
  }
}

/** A range that shows everything with some room: the farthest examples are what a map is about. */
export function room(values: Float32Array, log: boolean): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (!(high >= low)) return log ? [-3, 1] : [0, 1];
  if (!log) return high > 0 ? [-0.02 * high, 1.08 * high] : [low - 1, 1];
  return high - low < 1e-6
    ? [low - 1, high + 1]
    : [low - 0.06 * (high - low) - 0.05, high + 0.08 * (high - low) + 0.05];
}
