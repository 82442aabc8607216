import { describe, expect, it } from "vitest";
import { Crowd, counts, strength } from "../src/map/crowd";

/** `each` points on every given pixel, the last example hidden. */
const placed = (pixels: [number, number][], each: number) => {
  const all = pixels.flatMap((p) => Array.from({ length: each }, () => p));
  return {
    x: Float32Array.from(all, (p) => p[0]),
    y: Float32Array.from(all, (p) => p[1]),
    state: Uint8Array.from(all, (_, i) => (i === all.length - 1 ? 0 : 2)),
    kx: 1,
    bx: 0,
    ky: 1,
    by: 0,
  };
};

describe("crowding", () => {
  it("counts what is drawn, cell by cell", () => {
    const found = counts(
      placed(
        [
          [1, 1],
          [11, 3],
          [-5, 2],
          [14, 14],
        ],
        3,
      ),
      15,
      15,
      5,
    );
    expect([...found]).toEqual([3, 0, 3, 0, 0, 0, 0, 0, 2]);
  });
  it("lets a thinned drawing stand for all points", () => {
    const found = counts(placed([[1, 1]], 9), 5, 5, 5, 4);
    expect(found[0]).toBe(8); // rows 0 and 4; row 8 is hidden
  });
  it("weakens points in a crowd and leaves lonely ones alone", () => {
    const crowd = new Crowd({ ...placed([[50, 50]], 4000) }, 200, 100, 6, 2, 1);
    const lonely = new Crowd({ ...placed([[50, 50]], 2) }, 200, 100, 6, 2, 1);
    expect(crowd.at(50, 50)).toBe(0.25);
    expect(crowd.at(190, 5)).toBe(1);
    expect(lonely.at(50, 50)).toBe(1);
  });
  it("keeps denser places darker in sum", () => {
    const together = [1, 2, 4, 8, 16].map((discs) => 1 - (1 - 0.6 * strength(discs)) ** discs);
    expect(together).toEqual([...together].sort((a, b) => a - b));
  });
});
