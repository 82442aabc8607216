// Metadata of the map, written by Python: `viz/explorer/metadata.py`, `packing.py`; both sides change together.

import type { Iso } from "../state/scores";

export type Kind = "number" | "class" | "text";

export interface ColumnMeta {
  name: string;
  kind: Kind;
  unit: string;
  words: string;
  /** Names of the classes, for columns of kind "class"; code 65535 is a missing value. */
  names?: string[];
}

export interface Pictures {
  width: number;
  height: number;
  grid: number;
  sheets: number;
  mime: string;
  /** Pictures included; slots from here on were left out to keep the file small. */
  included: number;
}

export interface Step {
  name: string;
  loss: number | null;
  loo_loss: number | null;
  test_loss: number | null;
  /** Sum of the leverages. */
  effective: number | null;
  /** How far the left-out loss can be trusted; null in runs of earlier versions. */
  loo_trust: Verdict["level"] | null;
  low: [number, number];
  high: [number, number];
}

export interface Agreement {
  measures: string[];
  spearman: (number | null)[][];
  overlap: (number | null)[][];
  top: number;
  disagreements: Disagreement[];
}

/** Two measures (by their place among the measures) and the examples that one of them ranks far higher. */
export interface Disagreement {
  pair: [number, number];
  /** Row, rank by the first, rank by the second; ties share the mean of their ranks. */
  first: [number, number, number][];
  second: [number, number, number][];
}

/** Classes, or groups left out together: one row each, numbers are Python's. */
export interface Groups {
  title: string;
  note: string;
  /** The column whose values name the rows, where there is one. */
  by: string | null;
  columns: { name: string; unit: string; words: string }[];
  rows: { name: string; values: (number | null)[] }[];
}

export interface Meta {
  format: "memorymaps-explorer";
  version: number;
  title: string;
  subtitle: string;
  n: number;
  /** Whether ids are integers (written without quotes in exports). */
  integers: boolean;
  columns: ColumnMeta[];
  models: string[];
  steps: Step[];
  pictures: Pictures | null;
  texts: { per: number; chunks: number } | null;
  /** The target and prediction columns name classes. */
  classification: boolean;
  warnings: Record<string, string>;
  notes: string[];
  agreement: Agreement | null;
  groups: Groups[];
  color: string;
  log: [boolean, boolean];
  /** The score whose level lines the map shows. */
  iso: Iso;
  /** How far each figure can be trusted, and why. */
  trust: Verdict[];
}

export interface Verdict {
  figure: string;
  level: "exact" | "verified" | "estimated" | "ranks only" | "not to be used";
  reasons: string[];
  error: number | null;
}

export const VERSION = 4;
export const MISSING = 65535;
