// Points of one map in axis coordinates, and how they are coloured.
import { MISSING } from "../data/meta";
import { changeCodes, isChange, UNKNOWN } from "../state/change";
import type { Store } from "../state/store";
import { classColor, type RGB, rgb, THEMES } from "../theme";

export class Positions {
  readonly x: Float32Array;
  readonly y: Float32Array;
  /** How many points a logarithmic axis cannot show, along x and y. */
  hidden: [number, number] = [0, 0];

  constructor(
    private readonly store: Store,
    private readonly k: number,
  ) {
    this.x = new Float32Array(store.n);
    this.y = new Float32Array(store.n);
  }

  update(): void {
    const { trajectory, time, log, models } = this.store;
    const moving = this.k === 0 && trajectory !== null && time.value < trajectory.steps - 1;
    if (moving) {
      trajectory.fill(time.value, this.x, this.y);
      if (!log.value[0]) raise(this.x);
      if (!log.value[1]) raise(this.y);
    } else {
      this.x.set(log.value[0] ? models[this.k].leverage.map(Math.log10) : models[this.k].leverage);
      this.y.set(log.value[1] ? models[this.k].error.map(Math.log10) : models[this.k].error);
    }
    this.hidden = [count(this.x), count(this.y)];
  }
}

const count = (values: Float32Array): number =>
  values.reduce((sum, v) => sum + (v === Number.NEGATIVE_INFINITY ? 1 : 0), 0);

export interface Paint {
  codes: Uint8Array;
  lut: Uint8Array;
  alpha: Float32Array;
}

const FAINT = 0.6; // opacity of the least remarkable points where nothing crowds them

const lutOf = (colors: RGB[]): Uint8Array => {
  const lut = new Uint8Array(768);
  for (const [i, color] of colors.entries()) lut.set(color, 3 * i);
  return lut;
};

/** Colours of the points: a ramp for numbers (the large ones stronger), a hue for each class, right or wrong.
 * How crowded a place is weakens them further (`Crowd`). */
export function paint(store: Store, k: number, cache: Map<string, Uint8Array>): Paint {
  const { table, n } = store;
  const name = store.color.value;
  const mode = store.theme.value;
  const alpha = new Float32Array(256).fill(0.88);
  const cached = (key: string, make: () => Uint8Array): Uint8Array => {
    if (!cache.has(key)) cache.set(key, make());
    return cache.get(key)!;
  };
  if (name === "correct") {
    const codes = cached("correct", () => Uint8Array.from({ length: n }, (_, i) => (store.wrong(i) ? 1 : 0)));
    alpha.set([0.35, 0.92]);
    return { codes, lut: lutOf([rgb(THEMES[mode].right), rgb(THEMES[mode].wrong)]), alpha };
  }
  if (isChange(name)) {
    const make = () => changeCodes(store, name, store.time.value);
    const codes = name === "drift" ? make() : cached(name, make);
    for (let i = 0; i < UNKNOWN; i++) alpha[i] = FAINT + (0.95 - FAINT) * Math.abs(i / 127 - 1);
    alpha[UNKNOWN] = FAINT;
    const lut = THEMES[mode].diverging.slice();
    lut.set(rgb(THEMES[mode].faint), 3 * UNKNOWN);
    return { codes, lut, alpha };
  }
  if (table.about(name).kind === "class") {
    const codes = cached(name, () => Uint8Array.from(table.codes(name), (c) => (c === MISSING ? 255 : c % 255)));
    const hues = Array.from({ length: 255 }, (_, c) => rgb(classColor(mode, c)));
    return { codes, lut: lutOf([...hues, rgb(THEMES[mode].faint)]), alpha };
  }
  const column = k && table.has(`${name}@${k}`) ? `${name}@${k}` : name;
  const moving = k === 0 && store.earlier.value !== null;
  const codes = moving ? store.shade(column).codes : cached(column, () => store.shade(column).codes);
  for (let i = 0; i < 256; i++) alpha[i] = FAINT + (0.95 - FAINT) * (i / 255) ** 1.5;
  return { codes, lut: THEMES[mode].ramp, alpha };
}

/** Radius of a point in CSS pixels: fewer points are larger, zooming in enlarges them a little. */
export function radius(n: number, zoom: number): number {
  const base = n < 3e3 ? 2.9 : n < 2e4 ? 2.1 : n < 15e4 ? 1.5 : 1.05;
  return base * Math.min(2.2, Math.max(1, zoom ** 0.35));
}

function raise(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] = 10 ** values[i];
}
