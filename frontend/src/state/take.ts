// What one takes away: ids, CSV, JSON, Python.
import type { Store } from "./store";

export const ids = (store: Store): string[] => Array.from(store.listed.value, (i) => store.table.id(i));

const literals = (store: Store): string[] => ids(store).map((id) => (store.meta.integers ? id : JSON.stringify(id)));

export const json = (store: Store): string =>
  `{"format": "memorymaps-selection", "ids": [${literals(store).join(", ")}]}\n`;

/** The line that gives the same examples in Python; a JSON string is a Python string. */
export const python = (store: Store): string => `m.select([${literals(store).join(", ")}])`;

export function csv(store: Store): string {
  const names = ["id", ...store.meta.columns.map((column) => column.name).filter((name) => name !== "slot")];
  const lines = Array.from(store.listed.value, (i) => names.map((name) => cell(store, name, i)).join(","));
  const heading = (name: string) => (store.earlier.value && name === "sensitivity" ? store.heading(name) : name);
  return `${[names.map(heading).map(quoted).join(","), ...lines].join("\n")}\n`;
}

function cell(store: Store, name: string, i: number): string {
  if (name === "id") return written(store.table.id(i)); // ids are kept as they are: other files are joined by them
  if (store.table.about(name).kind === "number") return String(store.numbers(name)[i]);
  return quoted(store.table.cell(name, i, String));
}

/** A spreadsheet must not take text for a formula. */
export function quoted(text: string): string {
  return written(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
}

/** Text as a CSV file holds it. */
export const written = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);

export function download(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

export async function copy(store: Store, text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyByHand(text); // pages opened from a file may not use the clipboard
  }
  store.said.value = `${what} copied`;
}

function copyByHand(text: string): void {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
