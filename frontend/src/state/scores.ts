// The score whose level lines the map shows, as Python names it: what the line that cuts off the top goes by.
export type Iso = "cavity" | "product";

export const FORMULA: Record<Iso, string> = {
  cavity: "leverage × error / (1 − leverage)",
  product: "leverage × error",
};

/** The score of one example; infinite where leverage reaches the bound of the cavity form. */
export function scoreOf(iso: Iso, leverage: number, error: number): number {
  if (iso === "product") return leverage * error;
  return leverage < 1 ? (leverage * error) / (1 - leverage) : leverage >= 1 ? Infinity : Number.NaN;
}

/** The error at which the score has this value. */
export function errorAt(iso: Iso, leverage: number, value: number): number {
  if (iso === "product") return value / leverage;
  return leverage < 1 ? (value * (1 - leverage)) / leverage : Number.NaN;
}

/** Scores of one map at one time. */
export class Scores {
  readonly values: Float32Array;
  private readonly ascending: Float32Array;

  constructor(iso: Iso, leverage: Float32Array, error: Float32Array) {
    this.values = leverage.map((h, i) => scoreOf(iso, h, error[i]));
    this.ascending = this.values.filter((v) => !Number.isNaN(v)).sort();
  }

  /** How many examples have a score of at least `value`. */
  countAbove(value: number): number {
    let [low, high] = [0, this.ascending.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ascending[middle] < value) low = middle + 1;
      else high = middle;
    }
    return this.ascending.length - low;
  }

  /** The smallest score among the `k` largest. */
  cutOfTop(k: number): number {
    const m = this.ascending.length;
    return m ? this.ascending[Math.min(m - 1, Math.max(0, m - k))] : 0;
  }
}
