// How crowded the map is around a pixel: where many points share a place, each is drawn fainter.

/** Points on their way to pixels, `x · kx + bx`; those of state 0 are not drawn. */
export interface Placed {
  kx: number;
  bx: number;
  ky: number;
  by: number;
  x: Float32Array;
  y: Float32Array;
  state: Uint8Array;
}

/** Points in square cells of `cell` pixels, row by row; every `stride`-th point stands for `stride` of them. */
export function counts(placed: Placed, width: number, height: number, cell: number, stride = 1): Float32Array {
  const { x, y, state, kx, bx, ky, by } = placed;
  const columns = Math.ceil(width / cell);
  const found = new Float32Array(columns * Math.ceil(height / cell));
  for (let i = 0; i < x.length; i += stride) {
    if (state[i] === 0) continue;
    const px = x[i] * kx + bx;
    const py = y[i] * ky + by;
    if (!(px >= 0 && py >= 0 && px < width && py < height)) continue;
    found[((py / cell) | 0) * columns + ((px / cell) | 0)] += stride;
  }
  return found;
}

const DISCS = 2; // discs upon one pixel that may still be drawn at full strength
const FAINTEST = 0.25;

export class Crowd {
  private readonly columns: number;
  private readonly strengths: Float32Array;

  constructor(
    placed: Placed,
    width: number,
    height: number,
    private readonly cell: number,
    radius: number,
    stride: number,
  ) {
    this.columns = Math.ceil(width / cell);
    const found = blurred(counts(placed, width, height, cell, stride), this.columns);
    const area = (Math.PI * radius ** 2) / cell ** 2;
    this.strengths = found.map((count) => strength(count * area));
  }

  /** What to multiply a point's opacity with, at a pixel. */
  at(px: number, py: number): number {
    return this.strengths[((py / this.cell) | 0) * this.columns + ((px / this.cell) | 0)] ?? 1;
  }
}

/** Opacity where `discs` of them lie upon each pixel on average: a power law, so that denser still looks denser. */
export const strength = (discs: number): number => Math.max(FAINTEST, Math.min(1, (DISCS / discs) ** 0.5));

/** Mean over each cell and its neighbours, so that cells do not show as squares. */
function blurred(found: Float32Array, columns: number): Float32Array {
  const across = smoothed(
    found,
    1,
    (k) => k % columns > 0,
    (k) => k % columns < columns - 1,
  );
  return smoothed(
    across,
    columns,
    (k) => k >= columns,
    (k) => k < found.length - columns,
  );
}

type Has = (k: number) => boolean;

const smoothed = (values: Float32Array, step: number, before: Has, after: Has): Float32Array =>
  values.map((v, k) => (v + (before(k) ? values[k - step] : v) + (after(k) ? values[k + step] : v)) / 3);
