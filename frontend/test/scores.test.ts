import { describe, expect, it } from "vitest";
import { errorAt, Scores, scoreOf } from "../src/state/scores";

describe("scores of a map", () => {
  const leverage = new Float32Array([0.5, 0.1, 0.9, 1.0, Number.NaN]);
  const error = new Float32Array([1, 2, 1, 1, 1]);

  it("are the sensitivity of one output, or the product", () => {
    expect(scoreOf("cavity", 0.5, 2)).toBe(2);
    expect(scoreOf("product", 0.5, 2)).toBe(1);
    expect(scoreOf("cavity", 1, 2)).toBe(Infinity);
  });

  it.each(["cavity", "product"] as const)("%s: a line is where the score has its value", (iso) => {
    for (const h of [0.01, 0.3, 0.8]) expect(scoreOf(iso, h, errorAt(iso, h, 0.7))).toBeCloseTo(0.7, 12);
  });

  it("cut off as many as they count", () => {
    const scores = new Scores("cavity", leverage, error);
    for (const k of [1, 2, 3, 4]) expect(scores.countAbove(scores.cutOfTop(k))).toBe(k);
    expect(scores.countAbove(-1)).toBe(4);
    expect(new Scores("product", new Float32Array(0), new Float32Array(0)).cutOfTop(3)).toBe(0);
  });
});
