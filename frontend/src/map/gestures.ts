// What pointer and keys do on the map.

import { inPolygon, number, type Point } from "../numbers";
import { FORMULA, scoreOf } from "../state/scores";
import type { MapView } from "./view";

type Mode = "pan" | "lasso" | "box" | "threshold";

interface Drag {
  mode: Mode;
  x: number;
  y: number;
  domain: MapView["frame"]["domain"];
  moved: boolean;
  add: boolean;
}

export function listen(view: MapView): () => void {
  const { store, top } = view;
  const ends = new AbortController();
  const { signal } = ends;
  let drag: Drag | null = null;
  const onHandle = (e: PointerEvent): boolean =>
    view.handle !== null && Math.hypot(view.handle[0] - e.offsetX, view.handle[1] - e.offsetY) < 12;
  const at = (e: PointerEvent): number => {
    const pin = view.pinAt(e.offsetX, e.offsetY);
    return pin >= 0 ? pin : view.pick(e.offsetX, e.offsetY);
  };

  top.addEventListener(
    "pointerdown",
    (e) => {
      if (e.button) return;
      top.setPointerCapture(e.pointerId);
      const mode: Mode = onHandle(e) ? "threshold" : e.shiftKey ? "lasso" : store.tool.peek();
      const add = e.ctrlKey || e.metaKey;
      drag = { mode, x: e.offsetX, y: e.offsetY, domain: view.frame.domain, moved: false, add };
      view.lasso = mode === "lasso" ? [[e.offsetX, e.offsetY]] : [];
    },
    { signal },
  );

  top.addEventListener(
    "pointermove",
    (e) => {
      if (!drag) {
        store.hover.value = at(e);
        top.style.cursor = onHandle(e)
          ? "grab"
          : store.hover.peek() >= 0
            ? "pointer"
            : store.tool.peek() === "pan"
              ? "default"
              : "crosshair";
        return;
      }
      if (Math.hypot(e.offsetX - drag.x, e.offsetY - drag.y) > 3) drag.moved = true;
      if (drag.moved) follow(view, drag, e.offsetX, e.offsetY);
    },
    { signal },
  );

  top.addEventListener(
    "pointerup",
    (e) => {
      const done = drag;
      drag = null;
      if (!done) return;
      if (done.moved) finish(view, done);
      else click(view, at(e), done.add);
      view.lasso = [];
      view.changed("hover");
    },
    { signal },
  );

  top.addEventListener(
    "pointerleave",
    () => {
      if (!drag) store.hover.value = -1;
    },
    { signal },
  );
  top.addEventListener("dblclick", () => view.reset(), { signal });
  top.addEventListener(
    "wheel",
    (e) => {
      e.preventDefault();
      const factor = Math.exp(Math.max(-80, Math.min(80, e.deltaY || e.deltaX)) * 0.0028);
      view.zoom(factor, e.offsetX, e.offsetY, e.shiftKey ? "x" : e.altKey ? "y" : "xy");
    },
    { signal, passive: false },
  );
  return () => ends.abort();
}

function follow(view: MapView, drag: Drag, x: number, y: number): void {
  const { frame, store } = view;
  if (drag.mode === "pan") view.show(frame.shifted(drag.domain, x - drag.x, y - drag.y));
  else if (drag.mode === "threshold") store.top.value = Math.max(1, store.scores(view.k).countAbove(score(view, x, y)));
  else if (drag.mode === "box")
    view.lasso = [
      [drag.x, drag.y],
      [x, drag.y],
      [x, y],
      [drag.x, y],
    ];
  else view.lasso.push([x, y]);
  view.changed("hover");
}

function score(view: MapView, px: number, py: number): number {
  const [x, y] = view.frame.back(px, py);
  const [lx, ly] = view.store.log.peek();
  return Math.max(0, scoreOf(view.store.meta.iso, lx ? 10 ** x : x, ly ? 10 ** y : y));
}

function finish(view: MapView, drag: Drag): void {
  const { store, frame } = view;
  if (drag.mode === "pan") return;
  if (drag.mode === "threshold") {
    const scores = store.scores(view.k);
    const cut = scores.cutOfTop(store.top.peek());
    const shown = store.shown.peek();
    const top = [...scores.values.keys()].filter((i) => shown[i] && scores.values[i] >= cut);
    store.select(top, `${FORMULA[store.meta.iso]} ≥ ${number(cut)}`);
    return;
  }
  const polygon = view.lasso.map(([x, y]) => frame.back(x, y));
  const found = view.within((x, y) => inPolygon(x, y, polygon));
  const [lx, ly] = store.log.peek();
  store.region.value = polygon.map(([x, y]): Point => [lx ? 10 ** x : x, ly ? 10 ** y : y]);
  store.select(drag.add ? [...new Set([...store.selection.peek(), ...found])] : found, `inside the ${drag.mode}`);
}

function click(view: MapView, i: number, add: boolean): void {
  const { store } = view;
  if (i < 0) {
    if (!add) store.clear();
    return;
  }
  store.focus.value = i;
  if (add) store.select([...new Set([...store.selection.peek(), i])], "picked one by one");
}

/** Keys of the whole page; returns whether the key meant something. */
export function key(view: MapView, e: KeyboardEvent): boolean {
  const { store, frame } = view;
  const [cx, cy] = [frame.width / 2, frame.height / 2];
  const shift = (dx: number, dy: number) => view.show(frame.shifted(frame.domain, dx * 80, dy * 80));
  const keys: Record<string, () => void> = {
    ArrowDown: () => (e.shiftKey ? shift(0, -1) : store.step(1)),
    ArrowUp: () => (e.shiftKey ? shift(0, 1) : store.step(-1)),
    ArrowRight: () => (e.shiftKey ? shift(-1, 0) : store.step(1)),
    ArrowLeft: () => (e.shiftKey ? shift(1, 0) : store.step(-1)),
    "+": () => view.zoom(0.7, cx, cy),
    "=": () => view.zoom(0.7, cx, cy),
    "-": () => view.zoom(1 / 0.7, cx, cy),
    "0": () => view.reset(),
    v: () => (store.tool.value = "pan"),
    l: () => (store.tool.value = "lasso"),
    b: () => (store.tool.value = "box"),
    Enter: () => store.focus.peek() >= 0 && store.select([store.focus.peek()], "by keyboard"),
    Escape: () => store.clear(),
    " ": () => store.trajectory && (store.playing.value = !store.playing.peek()),
  };
  const run = keys[e.key];
  if (!run || e.ctrlKey || e.metaKey || e.altKey) return false;
  run();
  return true;
}
