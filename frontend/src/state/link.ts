// The address bar: what one sees, filters and selection, so that a link shows the same.
import { effect } from "@preact/signals";
import { type Mode, preferred } from "../theme";
import { changesOf, isChange } from "./change";
import { NO_FILTERS } from "./filters";
import type { Compare, Store } from "./store";

const LONGEST = 2000; // selected examples that a link still carries

interface Link {
  log: [boolean, boolean];
  color: string;
  marks: "points" | "density";
  filters: Record<string, unknown>;
  frame: number[] | null;
  /** Leverage × error that the movable line marks. */
  top: number;
  /** Only where the reader changed it: a link does not overrule what another reader's machine prefers. */
  theme: Mode | null;
  selection: number[] | null;
  focus: number;
  time: number;
  compare: Compare;
  tab: string;
  sort: { key: string; down: boolean };
}

export function write(store: Store): string {
  const selection = store.selection.value;
  const link: Link = {
    log: store.log.value,
    color: store.color.value,
    marks: store.marks.value,
    filters: { ...store.filters.value },
    frame: store.frame.value,
    top: store.top.value,
    theme: store.theme.value === preferred() ? null : store.theme.value,
    selection: selection.length <= LONGEST ? [...selection] : null,
    focus: store.focus.value,
    time: store.time.value,
    compare: store.compare.value,
    tab: store.tab.value,
    sort: store.sort.value,
  };
  return `#${encodeURIComponent(JSON.stringify(link))}`;
}

/** Restore a link; one that is damaged or of another map is said to be so and left. */
export function read(store: Store, hash: string): void {
  if (hash.length < 2) return;
  try {
    apply(store, JSON.parse(decodeURIComponent(hash.slice(1))) as Link);
  } catch {
    store.said.value = "the link could not be read: showing the whole map";
  }
}

function apply(store: Store, link: Link): void {
  const known = (i: unknown): i is number => Number.isInteger(i) && (i as number) >= 0 && (i as number) < store.n;
  const column = (name: unknown): name is string => typeof name === "string" && store.table.has(name);
  if (Array.isArray(link.log)) store.log.value = [Boolean(link.log[0]), Boolean(link.log[1])];
  const change = isChange(link.color) && changesOf(store).includes(link.color);
  if (column(link.color) || link.color === "correct" || change) store.color.value = link.color;
  if (link.marks === "density" || link.marks === "points") store.marks.value = link.marks;
  if (column(link.sort?.key)) store.sort.value = { key: link.sort.key, down: Boolean(link.sort.down) };
  const filters = { ...NO_FILTERS, ...link.filters };
  store.filters.value = { ...filters, classes: filters.classes.filter(Number.isInteger) };
  if (filters.search) void store.seek(String(filters.search));
  if (link.frame?.length === 4 && link.frame.every(Number.isFinite)) store.frame.value = link.frame;
  if (Number.isInteger(link.top) && link.top > 0 && link.top <= store.n) store.top.value = link.top;
  if (link.theme === "light" || link.theme === "dark") store.theme.value = link.theme;
  if (link.selection?.length) store.select(link.selection.filter(known), "by the link");
  if (link.time >= 0 && link.time <= store.meta.steps.length - 1) store.time.value = link.time;
  if (store.models.length > 1 && (link.compare === "side" || link.compare === "arrows"))
    store.compare.value = link.compare;
  if (known(link.focus)) store.focus.value = link.focus;
}

/** Keep the address bar up to date; a link that is typed or pasted into it opens afresh. */
export function follow(store: Store): () => void {
  read(store, location.hash);
  let [waiting, written] = [0, location.hash];
  const put = (hash: string) => {
    if (location.hash !== written) return; // the reader is going elsewhere
    history.replaceState(null, "", hash);
    written = location.hash;
  };
  const reopen = () => location.reload();
  addEventListener("hashchange", reopen);
  const stop = effect(() => {
    const hash = write(store);
    clearTimeout(waiting);
    waiting = window.setTimeout(put, 250, hash);
  });
  return () => {
    stop();
    clearTimeout(waiting);
    removeEventListener("hashchange", reopen);
  };
}
