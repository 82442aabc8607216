// Small mathematics of the page, each provable alone: order, polygons, ticks, numbers in words.

/** Ascending order of values, NaN last, ties by position: a radix sort of the bit patterns (1e6 values in 50 ms). */
export function argsort(values: Float32Array): Uint32Array {
  const n = values.length;
  const keys = new Uint32Array(n);
  const bits = new Uint32Array(Float32Array.from(values, (v) => (Number.isNaN(v) ? Number.NaN : v + 0)).buffer);
  for (let i = 0; i < n; i++) {
    keys[i] = Number.isNaN(values[i]) ? 0xffffffff : bits[i] & 0x80000000 ? ~bits[i] : bits[i] | 0x80000000;
  }
  let from: Uint32Array = new Uint32Array(n).map((_, i) => i);
  let to: Uint32Array = new Uint32Array(n);
  for (const shift of [0, 16]) {
    radixPass(keys, shift, from, to);
    [from, to] = [to, from];
  }
  return from;
}

function radixPass(keys: Uint32Array, shift: number, from: Uint32Array, to: Uint32Array): void {
  const start = new Uint32Array(65537);
  for (const key of keys) start[((key >>> shift) & 65535) + 1]++;
  for (let j = 0; j < 65536; j++) start[j + 1] += start[j];
  for (const i of from) to[start[(keys[i] >>> shift) & 65535]++] = i;
}

/** Rank of every value, 0 for the largest; NaN last. */
export function ranks(values: Float32Array): Uint32Array {
  const order = argsort(values.map((v) => -v));
  const rank = new Uint32Array(order.length);
  for (let j = 0; j < order.length; j++) rank[order[j]] = j;
  return rank;
}

export type Point = [number, number];

/** Even-odd rule. */
export function inPolygon(x: number, y: number, polygon: Point[]): boolean {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i];
    const [bx, by] = polygon[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

export interface Tick {
  at: number;
  label: string;
  major: boolean;
}

const SUPER: Record<string, string> = {
  "-": "⁻",
  0: "⁰",
  1: "¹",
  2: "²",
  3: "³",
  4: "⁴",
  5: "⁵",
  6: "⁶",
  7: "⁷",
  8: "⁸",
  9: "⁹",
};

export const power = (e: number): string => (e === 0 ? "1" : `10${[...String(e)].map((c) => SUPER[c]).join("")}`);

/** Ticks of an axis over `[low, high]` and `pixels`; on a logarithmic axis positions are decimal logarithms. */
export function ticks(low: number, high: number, pixels: number, log: boolean): Tick[] {
  if (!(high > low)) return [];
  return log && high - low < 400 ? logTicks(low, high, pixels) : linearTicks(low, high, pixels);
}

function logTicks(low: number, high: number, pixels: number): Tick[] {
  const decade = pixels / (high - low);
  if (decade > 600) return linearTicks(low, high, pixels).map((tick) => ({ ...tick, label: number(10 ** tick.at) }));
  const every = Math.max(1, Math.ceil(34 / decade));
  const found: Tick[] = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    for (const m of decade < 44 ? [1] : [1, 2, 3, 4, 5, 6, 7, 8, 9]) {
      const at = e + Math.log10(m);
      if (at < low || at > high) continue;
      const named = m === 1 ? e % every === 0 : decade > 210 && (m === 2 || m === 5);
      const label = decade > 210 ? number(m * 10 ** e) : power(e);
      found.push({ at, label: named ? label : "", major: m === 1 });
    }
  }
  return found;
}

function linearTicks(low: number, high: number, pixels: number): Tick[] {
  const raw = (high - low) / Math.max(2, pixels / 80);
  const ten = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * ten).find((v) => v >= raw * 0.999) ?? raw;
  const found: Tick[] = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) {
    found.push({ at: k * step, label: k === 0 ? "0" : number(Number((k * step).toPrecision(10))), major: true });
  }
  return found;
}

/** Three significant digits; very large and very small ones with a power of ten. */
export function number(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "0";
  if (size >= 1e-3 && size < 1e5) return sign + String(Number(size.toPrecision(size >= 1e3 ? 5 : 3)));
  const e = Math.floor(Math.log10(size));
  return `${sign}${(size / 10 ** e).toFixed(1)}×${power(e)}`;
}

/** Three significant digits with their trailing zeros, so that columns align. */
export function figures(value: number): string {
  const size = Math.abs(value);
  const plain = size >= 1e-3 && size < 1e3 && !Number.isInteger(value);
  return plain ? (value < 0 ? "−" : "") + size.toPrecision(3) : number(value);
}

export const whole = (value: number): string => Math.round(value).toLocaleString("en-US").replace(/,/g, "\u202f");

export function percent(part: number): string {
  if (!Number.isFinite(part)) return "–";
  const p = part * 100;
  return `${p >= 10 ? p.toFixed(0) : p >= 1 ? p.toFixed(1) : Number(p.toPrecision(2))} %`;
}

/** A value below which a part of the finite values lies, from a sample. */
export function quantile(values: Float32Array, part: number): number {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const sample: number[] = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) sample.push(values[i]);
  sample.sort((a, b) => a - b);
  return sample.length ? sample[Math.round(part * (sample.length - 1))] : Number.NaN;
}
