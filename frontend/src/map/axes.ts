// Axes, iso-lines and histograms: everything around the points.
import { number, percent, power, ticks } from "../numbers";
import { errorAt, FORMULA, type Iso, scoreOf } from "../state/scores";
import type { Theme } from "../theme";
import { type Frame, MARGIN } from "./frame";

/** What drawing needs of a canvas; SVG has it as well. */
export type Pen = Pick<
  CanvasRenderingContext2D,
  | "fillStyle"
  | "strokeStyle"
  | "lineWidth"
  | "globalAlpha"
  | "font"
  | "lineJoin"
  | "textAlign"
  | "textBaseline"
  | "save"
  | "restore"
  | "clip"
  | "beginPath"
  | "closePath"
  | "moveTo"
  | "lineTo"
  | "arc"
  | "rect"
  | "stroke"
  | "fill"
  | "fillRect"
  | "fillText"
  | "strokeText"
  | "measureText"
> & {
  setLineDash(dash: Iterable<number>): void;
  roundRect(x: number, y: number, w: number, h: number, radius: number): void;
  drawImage(picture: HTMLCanvasElement, x: number, y: number, w: number, h: number): void;
};
export type Box = [number, number, number, number];

export const font = (pen: Pen, px: number, weight = 400): void => {
  pen.font = `${weight} ${px}px Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
};

export function axes(pen: Pen, frame: Frame, theme: Theme, log: [boolean, boolean]): void {
  const { right, bottom } = frame;
  const xs = ticks(frame.domain[0], frame.domain[1], frame.plotWidth, log[0]);
  const ys = ticks(frame.domain[2], frame.domain[3], frame.plotHeight, log[1]);
  pen.lineWidth = 1;
  pen.strokeStyle = theme.ink;
  for (const tick of xs) stroke(pen, tick.major ? 0.07 : 0, [frame.x(tick.at), MARGIN.top, frame.x(tick.at), bottom]);
  for (const tick of ys) stroke(pen, tick.major ? 0.07 : 0, [MARGIN.left, frame.y(tick.at), right, frame.y(tick.at)]);
  for (const t of xs) stroke(pen, 0.6, [frame.x(t.at), bottom, frame.x(t.at), bottom + (t.major ? 5 : 3)]);
  for (const t of ys) stroke(pen, 0.6, [MARGIN.left - (t.major ? 5 : 3), frame.y(t.at), MARGIN.left, frame.y(t.at)]);
  font(pen, 11);
  pen.fillStyle = theme.muted;
  pen.textAlign = "center";
  pen.textBaseline = "top";
  let free = 0;
  for (const tick of xs) {
    const half = pen.measureText(tick.label).width / 2;
    if (!tick.label || frame.x(tick.at) - half < free) continue;
    pen.fillText(tick.label, frame.x(tick.at), bottom + 8);
    free = frame.x(tick.at) + half + 8;
  }
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const tick of ys) if (tick.label) pen.fillText(tick.label, MARGIN.left - 9, frame.y(tick.at));
}

export function titles(pen: Pen, frame: Frame, theme: Theme, notes: [string, string]): void {
  font(pen, 12, 500);
  pen.fillStyle = theme.ink;
  pen.textBaseline = "alphabetic";
  pen.textAlign = "right";
  pen.fillText("Bayesian leverage (effective parameters) →", frame.right, frame.bottom + 38);
  pen.textAlign = "left";
  pen.fillText("↑ Prediction error (units of the target)", 10, 18);
  font(pen, 11);
  pen.fillStyle = theme.muted;
  pen.fillText(notes[0], MARGIN.left, frame.bottom + 38);
  pen.fillText(notes[1], 10, 34);
}

function stroke(pen: Pen, alpha: number, [x0, y0, x1, y1]: Box): void {
  if (!alpha) return;
  pen.globalAlpha = alpha;
  pen.beginPath();
  pen.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  pen.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  pen.stroke();
  pen.globalAlpha = 1;
}

/** The curve along which the score has one value. */
export function isoPath(pen: Pen, frame: Frame, log: [boolean, boolean], iso: Iso, value: number): void {
  pen.beginPath();
  let down = false;
  for (let px = MARGIN.left; px <= frame.right; px += 2) {
    const [x] = frame.back(px, 0);
    const py = isoHeight(frame, log, iso, value, x);
    if (!Number.isFinite(py) || py < MARGIN.top - 500) continue;
    if (down) pen.lineTo(px, py);
    else pen.moveTo(px, py);
    down = true;
  }
  pen.stroke();
}

export function isoHeight(frame: Frame, log: [boolean, boolean], iso: Iso, value: number, x: number): number {
  const leverage = log[0] ? 10 ** x : x;
  if (!(leverage > 0) || !(value > 0)) return Number.NaN;
  const error = errorAt(iso, leverage, value);
  return frame.y(log[1] ? Math.log10(error) : error);
}

/** Decades of the score, each named once inside the frame; returns where the names are. */
export function isoLines(pen: Pen, frame: Frame, theme: Theme, log: [boolean, boolean], iso: Iso, kept: Box[]): Box[] {
  const [, x1, , y1] = frame.domain;
  const right = log[0] ? 10 ** x1 : x1;
  const far = iso === "cavity" ? Math.min(0.99, right) : right;
  const corner = Math.log10(scoreOf(iso, far, log[1] ? 10 ** y1 : y1));
  const taken = [...kept];
  if (!Number.isFinite(corner)) return taken;
  let named: boolean = false;
  const many = log[0] && log[1] ? 14 : 4;
  for (let e = Math.floor(corner); e > corner - many; e--) {
    pen.strokeStyle = theme.muted;
    pen.globalAlpha = 0.5;
    pen.lineWidth = 1;
    pen.setLineDash([2, 4]);
    isoPath(pen, frame, log, iso, 10 ** e);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    const label: string = `${named ? "" : `${FORMULA[iso]} = `}${power(e)}`;
    named = isoName(pen, frame, theme, log, iso, 10 ** e, label, taken) || named;
  }
  return taken;
}

function isoName(
  pen: Pen,
  frame: Frame,
  theme: Theme,
  log: [boolean, boolean],
  iso: Iso,
  value: number,
  label: string,
  taken: Box[],
): boolean {
  font(pen, 10.5);
  const width = pen.measureText(label).width;
  const spots = [frame.right - 8, ...Array.from({ length: 40 }, (_, k) => frame.right - 8 - 20 * (k + 1))];
  for (const px of spots) {
    const py = isoHeight(frame, log, iso, value, frame.back(px, 0)[0]);
    const box: Box = [px - width, py - 15, px, py];
    if (px - width < MARGIN.left || !(py - 15 > MARGIN.top && py < frame.bottom - 4)) continue;
    if (taken.some((other) => overlap(other, box))) continue;
    pen.textAlign = "right";
    pen.textBaseline = "bottom";
    halo(pen, theme, label, px, py - 2, theme.muted);
    taken.push(box);
    return true;
  }
  return false;
}

export const overlap = (a: Box, b: Box): boolean => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

export function halo(pen: Pen, theme: Theme, text: string, x: number, y: number, color: string): void {
  pen.strokeStyle = theme.paper;
  pen.lineWidth = 3.5;
  pen.lineJoin = "round";
  pen.strokeText(text, x, y);
  pen.fillStyle = color;
  pen.fillText(text, x, y);
}

/** The line that cuts off the top, its handle and its name; returns the handle's place and the name's box. */
export function threshold(
  pen: Pen,
  frame: Frame,
  theme: Theme,
  log: [boolean, boolean],
  iso: Iso,
  value: number,
  part: number,
): { handle: [number, number] | null; box: Box | null } {
  pen.strokeStyle = theme.accent;
  pen.lineWidth = 1.5;
  isoPath(pen, frame, log, iso, value);
  const handle = handleOf(frame, log, iso, value);
  if (!handle) return { handle, box: null };
  pen.fillStyle = theme.paper;
  pen.beginPath();
  pen.arc(handle[0], handle[1], 5.5, 0, 7);
  pen.fill();
  pen.stroke();
  font(pen, 11, 600);
  const words = `top ${percent(part)}`;
  const width = pen.measureText(words).width + 14;
  const left = handle[0] + 12 + width > frame.right ? handle[0] - width - 12 : handle[0] + 12;
  const top = handle[1] - 24 < MARGIN.top + 2 ? handle[1] + 8 : handle[1] - 24;
  pen.fillStyle = theme.accent;
  pen.beginPath();
  pen.roundRect(left, top, width, 18, 9);
  pen.fill();
  pen.fillStyle = theme.onAccent;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(words, left + 7, top + 9.5);
  return { handle, box: [left - 4, top - 4, left + width + 4, top + 22] };
}

function handleOf(frame: Frame, log: [boolean, boolean], iso: Iso, value: number): [number, number] | null {
  const seen: [number, number][] = [];
  for (let px = MARGIN.left + 12; px < frame.right - 12; px += 4) {
    const py = isoHeight(frame, log, iso, value, frame.back(px, 0)[0]);
    if (py > MARGIN.top + 12 && py < frame.bottom - 12) seen.push([px, py]);
  }
  return seen.length ? seen[Math.floor(seen.length * 0.3)] : null;
}

const BAR = 5;

/** Histograms along the outer edges, heights by the square root so that tails stay visible. */
export class Histograms {
  private across: Float32Array[] = [];
  private up: Float32Array[] = [];

  count(frame: Frame, x: Float32Array, y: Float32Array, state: Uint8Array, some: boolean, stride: number): void {
    const [columns, rows] = [Math.ceil(frame.plotWidth / BAR), Math.ceil(frame.plotHeight / BAR)];
    const [x0, x1, y0, y1] = frame.domain;
    this.across = [new Float32Array(columns), new Float32Array(columns)];
    this.up = [new Float32Array(rows), new Float32Array(rows)];
    for (let i = 0; i < x.length; i += stride) {
      if (state[i] === 0 || !(x[i] >= x0 && x[i] < x1 && y[i] >= y0 && y[i] < y1)) continue;
      const column = Math.floor(((x[i] - x0) / (x1 - x0)) * columns);
      const row = Math.floor(((y1 - y[i]) / (y1 - y0)) * rows);
      this.across[0][column]++;
      this.up[0][row]++;
      if (!some || state[i] === 1) continue;
      this.across[1][column]++;
      this.up[1][row]++;
    }
  }

  draw(pen: Pen, frame: Frame, theme: Theme, some: boolean): void {
    for (const layer of some ? [0, 1] : [0]) {
      pen.fillStyle = layer ? theme.accent : theme.bars;
      pen.globalAlpha = layer ? 1 : some ? 0.5 : 0.85;
      this.bars(this.across[0], this.across[layer], 20, (k, v) =>
        pen.fillRect(MARGIN.left + k * BAR, MARGIN.top - 5 - v, BAR - 1, v),
      );
      this.bars(this.up[0], this.up[layer], MARGIN.right - 18, (k, v) =>
        pen.fillRect(frame.right + 6, MARGIN.top + k * BAR, v, BAR - 1),
      );
    }
    pen.globalAlpha = 1;
  }

  private bars(all: Float32Array, counts: Float32Array, size: number, bar: (k: number, v: number) => void): void {
    const most = all.reduce((top, v) => Math.max(top, v), 1);
    counts.forEach((count, k) => {
      if (count) bar(k, Math.sqrt(count / most) * size);
    });
  }
}

export const beyond = (count: number, words: string): string => (count ? `${number(count)} ${words}` : "");
