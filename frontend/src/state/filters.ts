// Which examples are shown: every filter is a plain value, so that it can live in a link.
import { MISSING } from "../data/meta";
import type { Table } from "../data/table";

export interface Filters {
  /** Codes of the target's classes that are shown; empty: all. */
  classes: number[];
  predicted: number;
  correct: "all" | "right" | "wrong";
  /** Only examples whose prediction changes when they are left out. */
  flips: boolean;
  warned: boolean;
  undrawn: boolean;
  where: { column: string; code: number } | null;
  search: string;
}

export const NO_FILTERS: Filters = {
  classes: [],
  predicted: -1,
  correct: "all",
  flips: false,
  warned: false,
  undrawn: false,
  where: null,
  search: "",
};

export const isOpen = (filters: Filters): boolean => JSON.stringify(filters) === JSON.stringify(NO_FILTERS);

/** 1 where an example passes; `found` holds the examples that the search found, or null where nothing is sought. */
export function passing(table: Table, drawn: Uint8Array, filters: Filters, found: Uint8Array | null): Uint8Array {
  const tests = testsOf(table, drawn, filters);
  if (found) tests.push((i) => found[i] === 1);
  const shown = new Uint8Array(table.n);
  for (let i = 0; i < table.n; i++) shown[i] = tests.every((test) => test(i)) ? 1 : 0;
  return shown;
}

type Test = (i: number) => boolean;

function testsOf(table: Table, drawn: Uint8Array, filters: Filters): Test[] {
  const tests: Test[] = [];
  if (table.meta.classification) tests.push(...classTests(table, filters));
  if (filters.warned) {
    const warning = table.numbers("warning");
    tests.push((i) => warning[i] > 0);
  }
  if (filters.undrawn) tests.push((i) => drawn[i] === 0);
  if (filters.where && table.has(filters.where.column)) {
    const { column, code } = filters.where;
    const codes = table.codes(column);
    tests.push((i) => codes[i] === code);
  }
  return tests;
}

function classTests(table: Table, filters: Filters): Test[] {
  const target = table.codes("target");
  const prediction = table.codes("prediction");
  const tests: Test[] = [];
  if (filters.classes.length) {
    const wanted = new Set(filters.classes);
    tests.push((i) => wanted.has(target[i]));
  }
  if (filters.predicted >= 0) tests.push((i) => prediction[i] === filters.predicted);
  if (filters.correct !== "all") tests.push((i) => (target[i] === prediction[i]) === (filters.correct === "right"));
  if (filters.flips) {
    const loo = table.codes("loo_prediction");
    tests.push((i) => loo[i] !== MISSING && loo[i] !== prediction[i]);
  }
  return tests;
}

/** Examples whose id, text or any text column holds the words, letters' case ignored; `=id` asks for one id exactly. */
export function search(table: Table, words: string, texts: string[] | null): Uint8Array | null {
  if (!words) return null;
  const found = new Uint8Array(table.n);
  if (words.startsWith("=")) {
    const id = words.slice(1);
    for (let i = 0; i < table.n; i++) if (table.id(i) === id) found[i] = 1;
    return found;
  }
  const wanted = words.toLowerCase();
  const columns = table.ofKind("text").map((column) => column.name);
  const holds = (text: string) => text.toLowerCase().includes(wanted);
  for (let i = 0; i < table.n; i++) {
    const hit =
      holds(table.id(i)) ||
      (texts !== null && holds(texts[i])) ||
      columns.some((name) => holds(table.cell(name, i, String)));
    if (hit) found[i] = 1;
  }
  return found;
}
