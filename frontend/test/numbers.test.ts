import { describe, expect, it } from "vitest";
import { argsort, figures, inPolygon, number, type Point, percent, ranks, ticks } from "../src/numbers";

describe("order", () => {
  it("equals a plain sort for numbers of every kind", () => {
    const values = Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i * 12.9898) * 10 ** ((i % 40) - 20));
    values[7] = 0;
    values[8] = Number.POSITIVE_INFINITY;
    values[9] = Number.NEGATIVE_INFINITY;
    const plain = [...values.keys()].sort((a, b) => values[a] - values[b] || a - b);
    expect([...argsort(values)]).toEqual(plain);
  });
  it("puts undefined values last, and ties in their order", () => {
    expect([...argsort(Float32Array.from([Number.NaN, 2, -1, 2, Number.NaN]))]).toEqual([2, 1, 3, 0, 4]);
    expect([...ranks(Float32Array.from([Number.NaN, 2, -1, 3]))]).toEqual([3, 1, 2, 0]);
  });
});

describe("polygons", () => {
  const u: Point[] = [
    [0, 0],
    [4, 0],
    [4, 4],
    [3, 4],
    [3, 1],
    [1, 1],
    [1, 4],
    [0, 4],
  ];
  it("knows inside from outside of a shape with a notch", () => {
    expect(inPolygon(0.5, 3, u)).toBe(true);
    expect(inPolygon(2, 3, u)).toBe(false);
    expect(inPolygon(2, 0.5, u)).toBe(true);
    expect(inPolygon(9, 9, u)).toBe(false);
  });
});

describe("ticks", () => {
  it.each([
    [-7, 2, true],
    [0, 1, false],
    [-0.01, 0.001, false],
    [0.2, 0.21, true],
    [0, 3e9, false],
  ])("stay inside %d … %d and are few", (low, high, log) => {
    const found = ticks(low, high, 800, log);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(120);
    expect(found.every((tick) => tick.at >= low && tick.at <= high)).toBe(true);
    expect(found.some((tick) => tick.label)).toBe(true);
  });
  it("are none where there is no axis", () => {
    expect(ticks(1, 1, 800, false)).toEqual([]);
    expect(ticks(Number.NaN, 1, 800, true)).toEqual([]);
  });
});

describe("numbers in words", () => {
  it.each([
    [0, "0"],
    [Number.NaN, "–"],
    [0.00012, "1.2×10⁻⁴"],
    [12.345, "12.3"],
    [-0.5, "−0.5"],
    [1234.5, "1234.5"],
    [1e9, "1.0×10⁹"],
  ])("%d is %s", (value, words) => expect(number(value)).toBe(words));
  it("align in columns", () => expect(figures(0.5)).toBe("0.500"));
  it("percent", () => expect([percent(0.5), percent(0.015), percent(0.0001)]).toEqual(["50 %", "1.5 %", "0.01 %"]));
});
