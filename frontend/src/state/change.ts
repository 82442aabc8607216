// Change as a colour: between the two maps of a page, or since the first recorded step. A ratio, shown symmetrically.
import { quantile } from "../numbers";
import type { Store } from "./store";

export type Changed = "change" | "drift";

export const CHANGES: Record<Changed, string> = {
  change: "change of sensitivity between the maps",
  drift: "change of leverage × error since the first step",
};

export const isChange = (name: unknown): name is Changed => name === "change" || name === "drift";

/** The changes that this page can show. */
export const changesOf = (store: Store): Changed[] => [
  ...(store.models.length > 1 ? (["change"] as const) : []),
  ...(store.trajectory ? (["drift"] as const) : []),
];

/** log10 of the ratio, for every example; undefined where either side is zero or undefined. */
function ratios(store: Store, name: Changed, time: number): Float32Array {
  if (name === "drift") return store.trajectory!.drift(time);
  const [a, b] = store.models;
  return a.sensitivity.map((v, i) => (v > 0 && b.sensitivity[i] > 0 ? Math.log10(b.sensitivity[i] / v) : Number.NaN));
}

const limit = (values: Float32Array): number => Math.max(Math.log10(1.1), quantile(values.map(Math.abs), 0.99) || 0);

/** log10 of the ratio at the ends of the scale, at a time: the legend says what the colours mean at this step. */
export const limitOf = (store: Store, name: Changed, time: number): number => limit(ratios(store, name, time));

export const UNKNOWN = 255;

/** Codes 0 (much less) … 127 (the same) … 254 (much more), 255 where the change is undefined. */
export function changeCodes(store: Store, name: Changed, time: number): Uint8Array {
  const values = ratios(store, name, time);
  const end = limit(values);
  return Uint8Array.from(values, (v) =>
    Number.isFinite(v) ? Math.round(127 + 127 * Math.max(-1, Math.min(1, v / end))) : UNKNOWN,
  );
}
