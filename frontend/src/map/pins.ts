// The most sensitive examples in sight, pinned beside their points where the cloud is thin.
import type { Box } from "./axes";
import { overlap } from "./axes";
import { type Frame, MARGIN } from "./frame";

export interface Pin {
  example: number;
  left: number;
  top: number;
  x: number;
  y: number;
}

export const PIN = 32;
const CELL = 12;

/** Places for at most `most` pins; `taken` holds boxes that nothing may cover. */
export function place(
  frame: Frame,
  candidates: Iterable<number>,
  spot: (i: number) => [number, number],
  crowd: (x: number, y: number) => number,
  taken: Box[],
  most: number,
): Pin[] {
  const pins: Pin[] = [];
  for (const example of candidates) {
    if (pins.length >= most) break;
    const [x, y] = spot(example);
    if (!frame.inside(x, y) || pins.some((pin) => Math.hypot(pin.x - x, pin.y - y) < 24)) continue;
    const found = best(frame, x, y, crowd, [...taken, ...pins.map(boxOf)], pins);
    if (found) pins.push({ example, x, y, left: found[0], top: found[1] });
  }
  return pins;
}

export const LINE = 15; // height of a name

/** Places for at most `most` names beside their points; a name that would cover another is left out. */
export function named(
  frame: Frame,
  candidates: Iterable<number>,
  spot: (i: number) => [number, number],
  wide: (i: number) => number,
  taken: Box[],
  most: number,
): { example: number; left: number; top: number }[] {
  const found: { example: number; left: number; top: number }[] = [];
  const boxes = [...taken];
  let tried = 0;
  for (const example of candidates) {
    if (found.length >= most || tried++ > 4 * most) break;
    const [x, y] = spot(example);
    if (!frame.inside(x, y)) continue;
    const width = wide(example);
    const sides: Box[] = [x + 7, x - 7 - width].map((left) => [left, y - LINE / 2, left + width, y + LINE / 2]);
    const box = sides.find(
      (b) => b[0] > MARGIN.left && b[2] < frame.right && b[1] > MARGIN.top && !boxes.some((other) => overlap(other, b)),
    );
    if (!box) continue;
    boxes.push([box[0] - 3, box[1], box[2] + 3, box[3]], [x - 4, y - 4, x + 4, y + 4]);
    found.push({ example, left: box[0], top: box[1] });
  }
  return found;
}

const boxOf = (pin: Pin): Box => [pin.left - 4, pin.top - 4, pin.left + PIN + 4, pin.top + PIN + 4];

function best(
  frame: Frame,
  x: number,
  y: number,
  crowd: (x: number, y: number) => number,
  taken: Box[],
  pins: Pin[],
): [number, number] | null {
  let [found, least]: [[number, number] | null, number] = [null, Number.POSITIVE_INFINITY];
  for (const radius of [36, 54, 76, 102, 132]) {
    for (let a = 0; a < 16; a++) {
      const left = x + Math.cos((a * Math.PI) / 8) * radius - PIN / 2;
      const top = y + Math.sin((a * Math.PI) / 8) * radius - PIN / 2;
      const box: Box = [left - 2, top - 2, left + PIN + 2, top + PIN + 2];
      if (box[0] < MARGIN.left || box[1] < MARGIN.top || box[2] > frame.right || box[3] > frame.bottom) continue;
      if (taken.some((other) => overlap(other, box))) continue;
      const near = pins.filter((pin) => Math.hypot(pin.x - left - PIN / 2, pin.y - top - PIN / 2) < 26).length;
      const cost = 1.2 * crowd(left, top) + 0.35 * radius + 40 * near;
      if (cost < least) [found, least] = [[left, top], cost];
    }
  }
  return found;
}

/** How many points lie under a pin at a place. */
export function crowding(frame: Frame, points: Iterable<[number, number]>): (x: number, y: number) => number {
  const columns = Math.ceil(frame.width / CELL) + 1;
  const counts = new Float32Array(columns * (Math.ceil(frame.height / CELL) + 1));
  for (const [x, y] of points) if (frame.inside(x, y)) counts[Math.floor(y / CELL) * columns + Math.floor(x / CELL)]++;
  return (left, top) => {
    let sum = 0;
    for (let y = top; y < top + PIN; y += CELL)
      for (let x = left; x < left + PIN; x += CELL)
        sum += counts[Math.floor(y / CELL) * columns + Math.floor(x / CELL)];
    return sum;
  };
}
