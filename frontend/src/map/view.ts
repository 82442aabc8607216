// One map on the page: three canvases (points; axes, lines and pins; what the pointer is on) and how they are drawn.
import { effect } from "@preact/signals";
import type { Point } from "../numbers";
import { whole } from "../numbers";
import type { Store } from "../state/store";
import { rgb, THEMES, type Theme } from "../theme";
import { axes, type Box, font, Histograms, halo, isoLines, type Pen, threshold, titles } from "./axes";
import { type Paint, Positions, paint, radius } from "./cloud";
import { Crowd, type Placed } from "./crowd";
import { type Domain, Frame, MARGIN, room } from "./frame";
import { Grid } from "./grid";
import { crowding, LINE, named, PIN, type Pin, place } from "./pins";
import { type Cloud, Raster } from "./raster";

const HIDDEN = 0; // states of a point
const CONTEXT = 1;
const SHOWN = 2;
const WARNED = 3;
const QUICK = 2e5; // more points than this are thinned while the map moves
const RINGS = 400;
const ARROWS = 400;
const CELL = 6; // CSS pixels over which the density of points is told
const NAME = 24; // characters of an id beside its point

type Pass = Omit<Cloud, keyof Placed>;

export class MapView {
  readonly frame = new Frame();
  readonly positions: Positions;
  readonly root = document.createElement("div");
  readonly top: HTMLCanvasElement;
  handle: [number, number] | null = null;
  lasso: Point[] = [];
  private readonly state: Uint8Array;
  private readonly histograms = new Histograms();
  private readonly raster: Raster;
  private readonly middle: CanvasRenderingContext2D;
  private readonly upper: CanvasRenderingContext2D;
  private readonly tiles = new Map<number, HTMLCanvasElement>();
  private readonly shades = new Map<string, Uint8Array>();
  private readonly stops: (() => void)[] = [];
  private home: Domain = [0, 1, 0, 1];
  private grid: Grid | null = null;
  private pins: Pin[] = [];
  private ratio = 1;
  private waiting = 0;
  private idle = 0;
  private quick = false;
  private stale = new Set<"points" | "axes" | "hover">();

  constructor(
    readonly store: Store,
    readonly k: number,
  ) {
    this.root.className = "mm-map";
    this.positions = new Positions(store, k);
    this.state = new Uint8Array(store.n);
    const [points, lines, top] = ["mm-points", "mm-lines", "mm-top"].map((name) => this.canvas(name));
    this.top = top;
    this.raster = new Raster(points);
    this.middle = lines.getContext("2d")!;
    this.upper = top.getContext("2d")!;
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(this.root);
    this.stops.push(() => observer.disconnect());
    this.react();
  }

  private canvas(name: string): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    canvas.className = name;
    this.root.append(canvas);
    return canvas;
  }

  /** Redraw what depends on what has changed, and nothing else. */
  private react(): void {
    const s = this.store;
    const on = (run: () => void) => this.stops.push(effect(run));
    on(() => {
      s.log.value;
      s.compare.value;
      this.positions.update();
      this.home = this.homeDomain();
      const kept = s.frame.peek(); // a link's view, or the other map's
      if (kept) this.move(kept as Domain);
      else this.show(this.home);
    });
    on(() => {
      s.time.value;
      this.positions.update();
      this.changed("points", "axes", "hover");
    });
    on(() => {
      const [shown, chosen] = [s.shown.value, s.chosen.value];
      const some = s.selection.value.length > 0;
      const one = s.focusClass.value;
      const target = one >= 0 ? s.table.codes("target") : null;
      const warning = s.table.numbers("warning");
      for (let i = 0; i < s.n; i++) {
        const aside = (some && !chosen[i]) || (target !== null && target[i] !== one);
        this.state[i] = !shown[i] || !s.drawn[i] ? HIDDEN : aside ? CONTEXT : warning[i] > 0 ? WARNED : SHOWN;
      }
      this.changed("points", "axes", "hover");
    });
    on(() => {
      s.theme.value;
      s.color.value;
      s.marks.value;
      this.changed("points", "axes", "hover");
    });
    on(() => {
      s.top.value;
      s.pins.value;
      this.changed("axes");
    });
    on(() => {
      s.hover.value;
      s.focus.value;
      this.changed("hover");
    });
    on(() => {
      const domain = s.frame.value;
      if (domain && domain.join() !== this.frame.domain.join()) this.move(domain as Domain);
    });
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    cancelAnimationFrame(this.waiting);
    this.waiting = -1;
  }

  private get theme(): Theme {
    return THEMES[this.store.theme.peek()];
  }

  private homeDomain(): Domain {
    const { log, compare, models, trajectory } = this.store;
    const all = compare.peek() !== "off" ? models : [models[this.k]];
    const gather = (axis: "leverage" | "error", logged: boolean): [number, number] => {
      const ranges = all.map((model) => room(logged ? model[axis].map(Math.log10) : model[axis], logged));
      const steps = trajectory ? this.store.meta.steps : [];
      const side = axis === "leverage" ? 0 : 1;
      for (const step of steps)
        ranges.push(logged ? [step.low[side], step.high[side]] : [0, 10 ** step.high[side] * 1.05]);
      return [Math.min(...ranges.map((r) => r[0])), Math.max(...ranges.map((r) => r[1]))];
    };
    return [...gather("leverage", log.peek()[0]), ...gather("error", log.peek()[1])] as Domain;
  }

  private resize(): void {
    const { width, height } = this.root.getBoundingClientRect();
    this.frame.width = Math.max(260, width);
    this.frame.height = Math.max(220, height);
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const pen of [this.middle, this.upper]) {
      pen.canvas.width = this.frame.width * this.ratio;
      pen.canvas.height = this.frame.height * this.ratio;
    }
    const { canvas } = this.raster;
    this.raster.resize(Math.round(this.frame.plotWidth * this.ratio), Math.round(this.frame.plotHeight * this.ratio));
    canvas.style.left = `${MARGIN.left}px`;
    canvas.style.top = `${MARGIN.top}px`;
    canvas.style.width = `${this.frame.plotWidth}px`;
    canvas.style.height = `${this.frame.plotHeight}px`;
    this.changed("points", "axes", "hover");
  }

  // --- moving ---------------------------------------------------------------------------------------------------------

  /** Show a part of the plane, and say so to the other map and the address bar. */
  show(domain: Domain): void {
    this.move(domain);
    this.store.frame.value = domain.join() === this.home.join() ? null : [...domain];
  }

  private move(domain: Domain): void {
    this.frame.domain = domain;
    this.quick = this.store.n > QUICK;
    if (this.quick) {
      clearTimeout(this.idle);
      this.idle = window.setTimeout(() => {
        this.quick = false;
        this.changed("points", "axes");
      }, 140);
    }
    this.changed("points", "axes", "hover");
  }

  reset(): void {
    this.show(this.home);
  }

  zoom(factor: number, px: number, py: number, along: "xy" | "x" | "y" = "xy"): void {
    this.show(this.frame.zoomed(factor, px, py, along));
  }

  // --- asking ---------------------------------------------------------------------------------------------------------

  px = (i: number): number => this.frame.x(this.positions.x[i]);
  py = (i: number): number => this.frame.y(this.positions.y[i]);

  pick(x: number, y: number): number {
    if (!this.frame.inside(x, y)) return -1;
    const { width, height } = this.frame;
    this.grid ??= new Grid(this.px, this.py, width, height, this.store.models[this.k].order, this.state);
    return this.grid.nearest(x, y);
  }

  pinAt(x: number, y: number): number {
    const pin = this.pins.find((p) => x >= p.left && x <= p.left + PIN && y >= p.top && y <= p.top + PIN);
    return pin ? pin.example : -1;
  }

  /** Examples that are drawn, shown and fulfil a test on their axis coordinates. */
  within(test: (x: number, y: number) => boolean): number[] {
    const shown = this.store.shown.peek();
    const [x0, x1, y0, y1] = this.frame.domain;
    const found: number[] = [];
    const { x, y } = this.positions;
    for (let i = 0; i < this.store.n; i++) {
      if (!shown[i] || !(x[i] >= x0 && x[i] <= x1 && y[i] >= y0 && y[i] <= y1)) continue;
      if (test(x[i], y[i])) found.push(i);
    }
    return found;
  }

  // --- drawing --------------------------------------------------------------------------------------------------------

  changed(...what: ("points" | "axes" | "hover")[]): void {
    for (const layer of what) this.stale.add(layer);
    if (what.includes("points")) this.grid = null;
    if (this.waiting === 0) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.draw();
      });
    }
  }

  private draw(): void {
    if (this.frame.width === 0 || this.frame.plotWidth < 10) return;
    const stale = this.stale;
    this.stale = new Set();
    if (stale.has("points")) this.drawPoints();
    if (stale.has("axes") || stale.has("points")) {
      this.clear(this.middle);
      this.lines(this.middle, stale.has("points"));
    }
    this.clear(this.upper);
    this.marks(this.upper);
  }

  private get stride(): number {
    return this.quick ? Math.ceil(this.store.n / 12e4) : 1;
  }

  private get some(): boolean {
    return this.store.selection.peek().length > 0 || this.store.focusClass.peek() >= 0;
  }

  private drawPoints(): void {
    const { store, frame, ratio, placed } = this;
    this.raster.clear(rgb(this.theme.paper));
    if (store.marks.peek() === "density") {
      this.raster.density({ ...placed, lut: this.theme.density }, Math.round(2 * ratio));
    } else {
      for (const pass of this.passes()) this.raster.points({ ...pass, ...placed, radius: pass.radius * ratio });
    }
    this.raster.flush();
    this.histograms.count(frame, this.positions.x, this.positions.y, this.state, this.some, this.stride);
  }

  /** The points in pixels of the raster. */
  private get placed(): Placed {
    const { x, y } = this.positions;
    const [left, right, low, high] = this.frame.domain;
    const kx = this.raster.canvas.width / (right - left);
    const ky = -this.raster.canvas.height / (high - low);
    return { x, y, state: this.state, kx, bx: -left * kx, ky, by: -high * ky };
  }

  private crowd(radius: number): Crowd {
    const { width, height } = this.raster.canvas;
    return new Crowd(this.placed, width, height, CELL * this.ratio, radius * this.ratio, this.stride);
  }

  /** What is drawn one upon the other: those aside in grey, those shown, and rings around those with a warning. */
  private passes(): Pass[] {
    const { store, frame } = this;
    const zoom = (this.home[1] - this.home[0]) / (frame.domain[1] - frame.domain[0]);
    const r = radius(store.n, zoom);
    const cloud = { order: store.models[this.k].order, stride: this.stride, hollow: false, radius: r, crowd: null };
    const colors = paint(store, this.k, this.shades);
    const strong = { ...colors, alpha: new Float32Array(256).fill(1) };
    return [
      ...(this.some ? [{ ...cloud, want: CONTEXT, ...this.grey() }] : []),
      { ...cloud, ...colors, want: SHOWN, crowd: this.crowd(r) },
      { ...cloud, ...strong, want: WARNED, hollow: true, radius: r + 1.6, stride: 1 },
    ];
  }

  /** Every point inside the frame as a disc: place, radius, colour, strength, hollow or not. */
  *discs(): Generator<[number, number, number, string, number, boolean]> {
    for (const { order, want, codes, lut, alpha, radius: r, hollow, crowd } of this.passes()) {
      for (const i of order) {
        if (this.state[i] !== want || !this.frame.inside(this.px(i), this.py(i))) continue;
        const c = 3 * codes[i];
        const [px, py] = [this.px(i), this.py(i)];
        const room = crowd?.at((px - MARGIN.left) * this.ratio, (py - MARGIN.top) * this.ratio) ?? 1;
        yield [px, py, r, `rgb(${lut[c]},${lut[c + 1]},${lut[c + 2]})`, alpha[codes[i]] * room, hollow];
      }
    }
  }

  /** The points as they are on the screen. */
  get pixels(): HTMLCanvasElement {
    return this.raster.canvas;
  }

  /** Everything but the points, with any pen. */
  overlay(pen: Pen): void {
    this.lines(pen, false);
    this.marks(pen);
  }

  private grey(): Paint {
    const lut = new Uint8Array(768);
    lut.set(rgb(this.theme.faint), 0);
    return {
      codes: new Uint8Array(this.store.n),
      lut,
      alpha: new Float32Array(256).fill(this.store.theme.peek() === "dark" ? 0.75 : 0.5),
    };
  }

  private clear(pen: CanvasRenderingContext2D): void {
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.frame.width, this.frame.height);
  }

  private clipped(pen: Pen, run: () => void): void {
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, MARGIN.top, this.frame.plotWidth, this.frame.plotHeight);
    pen.clip();
    run();
    pen.restore();
  }

  private lines(pen: Pen, moved: boolean): void {
    const { store, frame, theme } = this;
    const log = store.log.peek();
    const { iso } = store.meta;
    const scores = store.scores(this.k);
    const cut = scores.cutOfTop(store.top.peek());
    let taken: Box[] = [];
    axes(pen, frame, theme, log);
    titles(pen, frame, theme, this.hiddenWords());
    this.histograms.draw(pen, frame, theme, this.some);
    this.clipped(pen, () => {
      const part = scores.countAbove(cut) / store.n;
      const mark = threshold(pen, frame, theme, log, iso, cut, part);
      this.handle = mark.handle;
      if (mark.box) taken.push(mark.box);
      if (mark.handle) taken.push([mark.handle[0] - 10, mark.handle[1] - 10, mark.handle[0] + 10, mark.handle[1] + 10]);
      taken = isoLines(pen, frame, theme, log, iso, taken);
      if (store.compare.peek() === "arrows" && this.k === 0) this.arrows(pen);
      threshold(pen, frame, theme, log, iso, cut, part); // again, above the lines that it made room among
      this.rings(pen);
    });
    if (store.compare.peek() === "side") this.modelName(pen);
    if (!store.pins.peek()) return;
    if (store.sheets) this.drawPins(pen, taken, moved);
    else this.names(pen, taken);
  }

  private hiddenWords(): [string, string] {
    const { hidden, x, y } = this.positions;
    const [, right, , top] = this.frame.domain;
    const words = (count: number, far: number) =>
      [count && `${whole(count)} at zero not drawn`, far && `${whole(far)} beyond the frame`]
        .filter(Boolean)
        .join(", ");
    return [words(hidden[0], this.above(x, right)), words(hidden[1], this.above(y, top))];
  }

  private above(values: Float32Array, end: number): number {
    if (this.quick) return 0;
    let count = 0;
    for (let i = 0; i < values.length; i++) if (this.state[i] && values[i] > end) count++;
    return count;
  }

  private modelName(pen: Pen): void {
    font(pen, 12, 600);
    pen.textAlign = "left";
    pen.textBaseline = "top";
    halo(
      pen,
      this.theme,
      this.store.models[this.k].name.slice(0, 60),
      MARGIN.left + 10,
      MARGIN.top + 8,
      this.theme.ink,
    );
  }

  private rings(pen: Pen): void {
    const chosen = this.store.selection.peek();
    if (!chosen.length || chosen.length > RINGS || this.store.marks.peek() === "density") return;
    pen.strokeStyle = this.theme.accent;
    pen.lineWidth = 1;
    for (const i of chosen) circle(pen, this.px(i), this.py(i), 4.5);
  }

  /** Where the examples that moved most went in the second map (or the selected ones). */
  private arrows(pen: Pen): void {
    const { store, frame } = this;
    const chosen = store.selection.peek();
    const list = chosen.length ? chosen.slice(0, ARROWS) : store.orderBy("move", true).slice(0, 60);
    const [lx, ly] = store.log.peek();
    const other = store.models[1];
    pen.strokeStyle = this.theme.accent;
    pen.fillStyle = this.theme.accent;
    pen.lineWidth = 1.2;
    for (const i of list) {
      const x = frame.x(lx ? Math.log10(other.leverage[i]) : other.leverage[i]);
      const y = frame.y(ly ? Math.log10(other.error[i]) : other.error[i]);
      arrow(pen, this.px(i), this.py(i), x, y);
    }
  }

  private *spots(): Generator<[number, number]> {
    const step = Math.max(1, Math.floor(this.store.n / 30_000));
    for (let i = 0; i < this.store.n; i += step) if (this.state[i]) yield [this.px(i), this.py(i)];
  }

  /** The most sensitive of those shown. */
  private *candidates(): Generator<number> {
    const { store } = this;
    const order =
      this.k === 0 && store.earlier.peek() ? store.orderBy("sensitivity", false) : store.models[this.k].order;
    for (let q = order.length - 1; q >= Math.max(0, order.length - 600); q--) {
      const i = order[q];
      if (this.state[i] >= SHOWN && (this.store.sheets?.has(i) ?? true)) yield i;
    }
  }

  /** Ids of the most sensitive, where there are no pictures. */
  private names(pen: Pen, taken: Box[]): void {
    const { frame, theme } = this;
    font(pen, 11);
    const wide = (i: number) => pen.measureText(this.store.table.id(i).slice(0, NAME)).width;
    const spot = (i: number): [number, number] => [this.px(i), this.py(i)];
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const { example, left, top } of named(
      frame,
      this.candidates(),
      spot,
      wide,
      taken,
      frame.plotWidth < 420 ? 6 : 10,
    ))
      halo(pen, theme, this.store.table.id(example).slice(0, NAME), left, top + LINE / 2, theme.ink);
  }

  private drawPins(pen: Pen, taken: Box[], moved: boolean): void {
    const { frame, theme } = this;
    if (moved || !this.pins.length) {
      const most = frame.plotWidth < 420 ? 5 : 8;
      const spot = (i: number): [number, number] => [this.px(i), this.py(i)];
      this.pins = place(frame, this.candidates(), spot, crowding(frame, this.spots()), taken, most);
    }
    for (const pin of this.pins) {
      pen.strokeStyle = theme.ink;
      pen.lineWidth = 1;
      pen.globalAlpha = 0.5;
      line(pen, pin.x, pin.y, pin.left + PIN / 2, pin.top + PIN / 2);
      pen.globalAlpha = 1;
    }
    for (const pin of this.pins) {
      pen.fillStyle = theme.paper;
      pen.strokeStyle = this.store.wrong(pin.example) ? theme.wrong : theme.muted;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.roundRect(pin.left - 2, pin.top - 2, PIN + 4, PIN + 4, 4);
      pen.fill();
      pen.stroke();
      pen.drawImage(this.tile(pin.example), pin.left, pin.top, PIN, PIN);
    }
  }

  private tile(i: number): HTMLCanvasElement {
    let tile = this.tiles.get(i);
    if (!tile) {
      tile = document.createElement("canvas");
      tile.width = tile.height = 2 * PIN;
      this.tiles.set(i, tile);
      void this.store.sheets!.draw(i, tile.getContext("2d")!, 2 * PIN).then(() => this.changed("axes"));
    }
    return tile;
  }

  private marks(pen: Pen): void {
    const { store, theme } = this;
    this.clipped(pen, () => {
      for (const i of store.selection.peek().slice(0, 24)) this.trail(pen, i, 0.5);
      for (const [i, width] of [
        [store.focus.peek(), 2.2],
        [store.hover.peek(), 1.6],
      ]) {
        if (i < 0 || !this.frame.inside(this.px(i), this.py(i))) continue;
        this.trail(pen, i, 1);
        this.mark(pen, i, width);
      }
      if (this.lasso.length > 1) outline(pen, theme, this.lasso);
    });
  }

  private mark(pen: Pen, i: number, width: number): void {
    const [x, y] = [this.px(i), this.py(i)];
    pen.strokeStyle = this.theme.paper;
    pen.lineWidth = width + 2.5;
    circle(pen, x, y, 7);
    pen.strokeStyle = this.theme.ink;
    pen.lineWidth = width;
    circle(pen, x, y, 7);
    pen.globalAlpha = 0.4;
    pen.lineWidth = 1;
    pen.setLineDash([2, 3]);
    line(pen, x, y + 8, x, this.frame.bottom);
    line(pen, x - 8, y, MARGIN.left, y);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  /** The path of an example over the recorded steps, older parts fainter. */
  private trail(pen: Pen, i: number, strength: number): void {
    const { trajectory, log } = this.store;
    if (!trajectory || this.k > 0) return;
    const [lx, ly] = log.peek();
    const at = (t: number): Point => {
      const [x, y] = trajectory.at(t, i);
      return [this.frame.x(lx ? x : 10 ** x), this.frame.y(ly ? y : 10 ** y)];
    };
    pen.strokeStyle = strength === 1 ? this.theme.ink : this.theme.accent;
    pen.lineWidth = 1.3;
    for (let t = 0; t < trajectory.steps - 1; t++) {
      pen.globalAlpha = strength * (0.15 + (0.75 * (t + 1)) / trajectory.steps);
      line(pen, ...at(t), ...at(t + 1));
      circle(pen, ...at(t), 1.3);
    }
    pen.globalAlpha = 1;
  }
}

function circle(pen: Pen, x: number, y: number, r: number): void {
  pen.beginPath();
  pen.arc(x, y, r, 0, 2 * Math.PI);
  pen.stroke();
}

function line(pen: Pen, x0: number, y0: number, x1: number, y1: number): void {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function arrow(pen: Pen, x0: number, y0: number, x1: number, y1: number): void {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  pen.globalAlpha = 0.65;
  line(pen, x0, y0, x1, y1);
  pen.beginPath();
  pen.moveTo(x1, y1);
  for (const turn of [2.7, -2.7]) pen.lineTo(x1 + 7 * Math.cos(angle + turn), y1 + 7 * Math.sin(angle + turn));
  pen.fill();
  pen.globalAlpha = 1;
}

function outline(pen: Pen, theme: Theme, polygon: Point[]): void {
  pen.beginPath();
  for (const [x, y] of polygon) pen.lineTo(x, y);
  pen.closePath();
  pen.fillStyle = theme.accent;
  pen.globalAlpha = 0.1;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = theme.accent;
  pen.lineWidth = 1.25;
  pen.stroke();
}
