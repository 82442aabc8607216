// Positions at recorded steps: 16-bit codes of log10 (0: zero, 65535: undefined), differences along time.
import type { Table } from "../data/table";

const CODES = 65533; // codes 1 … 65534 carry numbers

export class Trajectory {
  readonly steps: number;
  private readonly x: Float32Array[];
  private readonly y: Float32Array[];

  constructor(table: Table) {
    const { steps } = table.meta;
    this.steps = steps.length;
    this.x = decode(table, "leverage", 0);
    this.y = decode(table, "error", 1);
  }

  /** log10 of leverage and error of example `i` at a time between steps. */
  at(time: number, i: number): [number, number] {
    const [a, b, part] = this.between(time);
    return [mix(this.x[a][i], this.x[b][i], part), mix(this.y[a][i], this.y[b][i], part)];
  }

  /** The same for all examples, into `x` and `y`. */
  fill(time: number, x: Float32Array, y: Float32Array): void {
    const [a, b, part] = this.between(time);
    for (let i = 0; i < x.length; i++) {
      x[i] = mix(this.x[a][i], this.x[b][i], part);
      y[i] = mix(this.y[a][i], this.y[b][i], part);
    }
  }

  /** log10 of leverage × error at a time, against the first step; undefined where either is zero or undefined. */
  drift(time: number): Float32Array {
    const [a, b, part] = this.between(time);
    const { x, y } = this;
    return x[0].map((v, i) => {
      const change = mix(x[a][i] + y[a][i], x[b][i] + y[b][i], part) - v - y[0][i];
      return Number.isFinite(change) ? change : Number.NaN;
    });
  }

  private between(time: number): [number, number, number] {
    const a = Math.min(this.steps - 1, Math.floor(time));
    return [a, Math.min(this.steps - 1, a + 1), time - a];
  }
}

const mix = (a: number, b: number, part: number): number => (part === 0 ? a : a + (b - a) * part);

function decode(table: Table, name: string, axis: 0 | 1): Float32Array[] {
  const code = new Uint16Array(table.n);
  return table.meta.steps.map((step, t) => {
    const delta = table.differences(`${name}#${t}`);
    const [low, high] = [step.low[axis], step.high[axis]];
    const values = new Float32Array(table.n);
    for (let i = 0; i < table.n; i++) {
      code[i] += delta[i];
      const c = code[i];
      values[i] = c === 0 ? -Infinity : c === 65535 ? Number.NaN : low + ((c - 1) / CODES) * (high - low);
    }
    return values;
  });
}
