// The page's state: signals that the map, the panels and the address bar share.
import { computed, signal } from "@preact/signals";
import { type Meta, VERSION } from "../data/meta";
import { Sheets } from "../data/sheets";
import type { Source } from "../data/source";
import { Table } from "../data/table";
import { Texts } from "../data/texts";
import { argsort, figures, type Point, quantile, ranks, whole } from "../numbers";
import type { Mode } from "../theme";
import { type Filters, NO_FILTERS, passing, search } from "./filters";
import { FORMULA, Scores } from "./scores";
import { Trajectory } from "./trajectory";

const CROWD = 700_000; // more points than this are more than the map has pixels: shown as a density

/** One map of the page: positions, scores, and the order in which it is drawn (most sensitive last). */
export interface Model {
  name: string;
  leverage: Float32Array;
  error: Float32Array;
  sensitivity: Float32Array;
  order: Uint32Array;
  /** Ranks by sensitivity, 0 for the largest. */
  rank: Uint32Array;
}

export type Tool = "pan" | "lasso" | "box";
export type Marks = "points" | "density";
export type Compare = "off" | "side" | "arrows";
export type Tab = "examples" | "curve" | "rankings" | "groups" | "movers" | "about";

export class Store {
  readonly meta: Meta;
  readonly n: number;
  readonly models: Model[];
  readonly trajectory: Trajectory | null;
  readonly sheets: Sheets | null;
  readonly texts: Texts | null;
  /** 1 where both coordinates are finite. */
  readonly drawn: Uint8Array;
  readonly undrawn: number;
  /** How many examples the line on each map cuts off, by the score of that map at the step that is drawn. */
  readonly top = signal(1);
  private readonly last: Scores[];
  private readonly orders = new Map<string, Uint32Array>();

  readonly log = signal<[boolean, boolean]>([true, true]);
  readonly color = signal("sensitivity");
  readonly marks = signal<Marks>("points");
  readonly tool = signal<Tool>("pan");
  readonly pins = signal(true);
  readonly compare = signal<Compare>("off");
  readonly tab = signal<Tab>("examples");
  readonly theme = signal<Mode>("light");
  readonly filters = signal<Filters>(NO_FILTERS);
  readonly sought = signal<Uint8Array | null>(null);
  readonly selection = signal<Uint32Array>(new Uint32Array(0));
  readonly origin = signal("");
  /** The last lasso in data coordinates, so that Python can draw the same one. */
  readonly region = signal<Point[]>([]);
  readonly hover = signal(-1);
  readonly focus = signal(-1);
  readonly focusClass = signal(-1);
  readonly sort = signal<{ key: string; down: boolean }>({ key: "sensitivity", down: true });
  readonly time = signal(0);
  readonly playing = signal(false);
  readonly said = signal("");
  readonly frame = signal<number[] | null>(null);

  readonly shown = computed(() => passing(this.table, this.drawn, this.filters.value, this.sought.value));
  /** The first map at an earlier step than its last: leverage, error and score as drawn; null at the last step. */
  readonly earlier = computed(() => {
    const { trajectory } = this;
    const time = this.time.value;
    if (!trajectory || time >= trajectory.steps - 1) return null;
    const [leverage, error] = [new Float32Array(this.n), new Float32Array(this.n)];
    trajectory.fill(time, leverage, error);
    const raised = [leverage, error].map((values) => values.map((v) => 10 ** v));
    return { leverage: raised[0], error: raised[1], scores: new Scores(this.meta.iso, raised[0], raised[1]) };
  });
  /** What examples are ranked by: the sensitivity, or at an earlier step, which has none, the score. */
  readonly ranked = computed(() => this.earlier.value?.scores.values ?? this.models[0].sensitivity);
  readonly rankedBy = computed(() => (this.earlier.value ? FORMULA[this.meta.iso] : "sensitivity"));
  /** Ranks of the first map as drawn, 0 for the largest. */
  readonly rank = computed(() => (this.earlier.value ? ranks(this.ranked.value) : this.models[0].rank));
  /** Share of the total that the first k examples hold. */
  readonly share = computed(() => shares(this.ranked.value, this.rank.value));
  readonly count = computed(() => this.shown.value.reduce((sum, one) => sum + one, 0));
  readonly chosen = computed(() => {
    const mask = new Uint8Array(this.n);
    for (const i of this.selection.value) mask[i] = 1;
    return mask;
  });
  /** What table, gallery and exports hold, in the table's order: the selection, or everything shown. */
  readonly listed = computed(() => {
    const shown = this.shown.value;
    const mask = this.selection.value.length ? this.chosen.value : null;
    const { key, down } = this.sort.value;
    return this.orderBy(key, down).filter((i) => shown[i] === 1 && (mask === null || mask[i] === 1));
  });

  constructor(
    readonly source: Source,
    readonly table: Table,
  ) {
    this.meta = source.meta;
    this.n = this.meta.n;
    this.log.value = this.meta.log;
    this.color.value = this.meta.color;
    this.marks.value = this.n > CROWD ? "density" : "points";
    this.time.value = Math.max(0, this.meta.steps.length - 1);
    this.models = this.meta.models.map((name, k) => this.model(name, k));
    const [first] = this.models;
    this.last = this.models.map((model) => new Scores(this.meta.iso, model.leverage, model.error));
    this.trajectory = this.meta.steps.length > 1 ? new Trajectory(table) : null;
    this.sheets = this.meta.pictures ? new Sheets(source, table.numbers("slot"), this.meta.pictures) : null;
    this.texts = this.meta.texts ? new Texts(source, this.meta.texts.per, this.meta.texts.chunks) : null;
    this.drawn = Uint8Array.from(first.leverage, (v, i) =>
      Number.isFinite(v) && Number.isFinite(first.error[i]) ? 1 : 0,
    );
    this.undrawn = this.drawn.reduce((sum, one) => sum - one, this.n);
    this.top.value = Math.max(1, Math.round(this.n / 100));
  }

  static async open(source: Source): Promise<Store> {
    if (source.meta.version > VERSION) {
      throw new Error(
        `this page holds data of version ${source.meta.version} and reads up to ${VERSION}: write it again`,
      );
    }
    return new Store(source, new Table(await source.table(), source.meta));
  }

  private model(name: string, k: number): Model {
    const get = (column: string) => this.table.numbers(k ? `${column}@${k}` : column);
    const sensitivity = get("sensitivity");
    const order = argsort(sensitivity);
    return { name, leverage: get("leverage"), error: get("error"), sensitivity, order, rank: ranks(sensitivity) };
  }

  /** Scores of the `k`-th map as it is drawn. */
  scores(k: number): Scores {
    return (k === 0 && this.earlier.value?.scores) || this.last[k];
  }

  /** A column of numbers as drawn: at an earlier step leverage and error, and the score in place of the sensitivity. */
  numbers(name: string): Float32Array {
    const then = this.earlier.value;
    if (then && name === "leverage") return then.leverage;
    if (then && name === "error") return then.error;
    return name === "sensitivity" ? this.ranked.value : (this.table.numbers(name) as Float32Array);
  }

  /** A column's heading. */
  heading(name: string): string {
    return name === "sensitivity" ? this.rankedBy.value : name.replaceAll("_", " ");
  }

  private moves(key: string): boolean {
    return this.earlier.value !== null && ["leverage", "error", "sensitivity"].includes(key);
  }

  orderBy(key: string, down: boolean): Uint32Array {
    if (this.moves(key)) return this.ordered(key, down);
    const name = `${key} ${down}`;
    let order = this.orders.get(name);
    if (!order) {
      order = this.ordered(key, down);
      this.orders.set(name, order);
    }
    return order;
  }

  private ordered(key: string, down: boolean): Uint32Array {
    const rows = new Uint32Array(this.n).map((_, i) => i);
    const text = key === "id" ? !this.meta.integers : this.table.about(key).kind === "text";
    if (text) {
      const words = Array.from(rows, (i) => (key === "id" ? this.table.id(i) : this.table.cell(key, i, String)));
      const order = rows.sort((a, b) => (words[a] < words[b] ? -1 : words[a] > words[b] ? 1 : a - b));
      return down ? order.reverse() : order;
    }
    const values = key === "id" ? Float32Array.from(rows, (i) => Number(this.table.id(i))) : this.sortable(key);
    return argsort(down ? values.map((v) => -v) : values);
  }

  private sortable(key: string): Float32Array {
    if (key !== "move") return this.numbers(key);
    const [a, b] = this.models;
    return a.sensitivity.map((v, i) => Math.abs(b.sensitivity[i] - v));
  }

  select(examples: ArrayLike<number>, origin: string): void {
    this.selection.value = Uint32Array.from(examples).sort();
    this.origin.value = origin;
    this.said.value = examples.length ? `${whole(examples.length)} examples selected, ${origin}` : "selection cleared";
    if (examples.length) this.tab.value = "examples";
  }

  selectTop(count: number): void {
    const top = this.orderBy("sensitivity", true).slice(0, count);
    this.select(top, `the ${whole(count)} largest by ${this.rankedBy.value}`);
  }

  async seek(words: string): Promise<void> {
    this.filters.value = { ...this.filters.peek(), search: words };
    const texts = words && !words.startsWith("=") && this.texts ? await this.texts.all() : null;
    if (this.filters.peek().search === words) this.sought.value = search(this.table, words, texts);
  }

  toggleLog(axis: number): void {
    const [x, y] = this.log.peek();
    this.frame.value = null;
    this.log.value = axis === 0 ? [!x, y] : [x, !y];
  }

  clear(): void {
    this.select([], "");
    this.region.value = [];
    this.hover.value = -1;
    this.focus.value = -1;
  }

  /** Walk the listed examples: `by` steps from the one in focus. */
  step(by: number): void {
    const listed = this.listed.peek();
    if (!listed.length) return;
    const at = listed.indexOf(this.focus.peek());
    const next = at < 0 ? (by > 0 ? 0 : listed.length - 1) : Math.min(listed.length - 1, Math.max(0, at + by));
    this.focus.value = listed[next];
    this.said.value = this.describe(listed[next]);
  }

  wrong(i: number): boolean {
    return this.meta.classification && this.table.codes("target")[i] !== this.table.codes("prediction")[i];
  }

  cell(name: string, i: number): string {
    if (name === "id") return this.table.id(i);
    return this.moves(name) ? figures(this.numbers(name)[i]) : this.table.cell(name, i, figures);
  }

  describe(i: number): string {
    const names = ["target", "prediction", "leverage", "error", "sensitivity"];
    const cells = names.map((name) => `${this.heading(name)} ${this.cell(name, i)}`);
    return `Example ${this.table.id(i)}, rank ${whole(this.rank.value[i] + 1)} of ${whole(this.n)}, ${cells.join(", ")}`;
  }

  warningsOf(i: number): string[] {
    const code = this.table.numbers("warning")[i];
    return Object.entries(this.meta.warnings).flatMap(([flag, words]) => (code & Number(flag) ? [words] : []));
  }

  /** Colour codes 0–255 of every example under a numeric column, and the values at both ends. */
  shade(name: string): { codes: Uint8Array; low: number; high: number } {
    const values = this.numbers(name);
    const positive = values.filter((v) => v > 0);
    let [low, high] = [quantile(positive, 0.02), quantile(positive, 0.999)];
    const log = positive.length > 0.9 * values.length && high > 30 * low;
    if (!log) [low, high] = [quantile(values, 0.005), quantile(values, 0.995)];
    const scale = (v: number) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low || 1));
    return { codes: Uint8Array.from(values, (v) => 255 * Math.min(1, Math.max(0, scale(v)))), low, high };
  }
}

/** Share of the total of the finite values that the first k by rank hold. */
function shares(values: Float32Array, rank: Uint32Array): Float64Array {
  const sums = new Float64Array(values.length + 1);
  const down = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) down[rank[i]] = i;
  down.forEach((i, j) => {
    sums[j + 1] = sums[j] + (Number.isFinite(values[i]) ? values[i] : 0);
  });
  const total = sums[values.length];
  return total > 0 ? sums.map((sum) => sum / total) : sums;
}
