// The selection, or everything shown: key figures, take-away, gallery, table.
import { useState } from "preact/hooks";
import { percent, whole } from "../numbers";
import type { Store } from "../state/store";
import { copy, csv, download, ids, json, python } from "../state/take";
import { FocusCard } from "./card";
import { Picture, Tile } from "./parts";

const ROW = 30;
const TALLEST = 8e6; // pixels a browser still scrolls

export function Examples({ store }: { store: Store }) {
  const listed = store.listed.value;
  return (
    <div class="mm-col" tabIndex={0} role="region" aria-label="Panel">
      <FocusCard store={store} />
      <Figures store={store} listed={listed} />
      <TakeAway store={store} />
      {listed.length === 0 ? <Nothing store={store} /> : <Gallery store={store} listed={listed} />}
      {listed.length > 0 && <Rows store={store} listed={listed} />}
    </div>
  );
}

function Nothing({ store }: { store: Store }) {
  return (
    <div class="mm-empty">
      <p>No example matches the filters.</p>
      <button
        type="button"
        onClick={() => {
          store.clear();
          void store.seek("");
          store.filters.value = {
            ...store.filters.peek(),
            classes: [],
            predicted: -1,
            correct: "all",
            flips: false,
            warned: false,
            undrawn: false,
            where: null,
          };
        }}
      >
        Show all {whole(store.n)}
      </button>
    </div>
  );
}

function Figures({ store, listed }: { store: Store; listed: Uint32Array }) {
  const sensitivity = store.ranked.value;
  let [part, all, wrong] = [0, 0, 0];
  for (const v of sensitivity) if (Number.isFinite(v)) all += v;
  for (const i of listed) {
    if (Number.isFinite(sensitivity[i])) part += sensitivity[i];
    if (store.wrong(i)) wrong++;
  }
  return (
    <div class="mm-kpi">
      <div>
        <b>{whole(listed.length)}</b>
        <span>{store.selection.value.length ? "selected" : "shown"}</span>
      </div>
      <div>
        <b>{percent(all > 0 ? part / all : 0)}</b>
        <span>of all {store.rankedBy.value}</span>
      </div>
      {store.meta.classification && (
        <div>
          <b>{percent(listed.length ? wrong / listed.length : 0)}</b>
          <span>misclassified</span>
        </div>
      )}
    </div>
  );
}

function TakeAway({ store }: { store: Store }) {
  const some = store.selection.value.length > 0;
  const file = (name: string, text: string, type: string) => download(name, new Blob([text], { type }));
  return (
    <div class="mm-act">
      <span class="mm-src">{some ? store.origin.value : "nothing selected"}</span>
      <button
        type="button"
        title="copy the ids, one per line"
        onClick={() => copy(store, ids(store).join("\n"), "ids")}
      >
        ids
      </button>
      <button
        type="button"
        title="copy Python code that selects these examples"
        onClick={() => copy(store, python(store), "Python")}
      >
        Python
      </button>
      <button type="button" onClick={() => file("selection.csv", csv(store), "text/csv")}>
        CSV
      </button>
      <button type="button" onClick={() => file("selection.json", json(store), "application/json")}>
        JSON
      </button>
      {some && (
        <button type="button" onClick={() => store.clear()}>
          clear
        </button>
      )}
    </div>
  );
}

function Gallery({ store, listed }: { store: Store; listed: Uint32Array }) {
  const [more, setMore] = useState(28);
  if (!store.sheets) return null;
  return (
    <div class="mm-gallery">
      {Array.from(listed.slice(0, more), (i) => (
        <Tile key={i} store={store} i={i} size={49} />
      ))}
      {listed.length > more && (
        <button type="button" class="mm-more" onClick={() => setMore(more + 56)}>
          +{whole(Math.min(56, listed.length - more))}
        </button>
      )}
    </div>
  );
}

const COLUMNS = ["target", "prediction", "leverage", "error", "sensitivity"];

function Rows({ store, listed }: { store: Store; listed: Uint32Array }) {
  const [top, setTop] = useState(0);
  const height = Math.min(listed.length * ROW, TALLEST);
  const start = Math.max(0, Math.floor((top / height) * listed.length) - 3);
  const first = (start / listed.length) * height;
  return (
    <div class={`mm-tablebox${store.sheets ? "" : " plain"}${store.meta.classification ? "" : " numeric"}`}>
      <div
        class="mm-scroll"
        tabIndex={0}
        role="region"
        aria-label="Rows of the table"
        onScroll={(e) => setTop(e.currentTarget.scrollTop)}
      >
        <HeadRow store={store} />
        <div style={`height:${height}px;position:relative`}>
          {Array.from(listed.slice(start, start + 30), (i, q) => (
            <Row key={i} store={store} i={i} top={first + q * ROW} />
          ))}
        </div>
      </div>
    </div>
  );
}

function HeadRow({ store }: { store: Store }) {
  const { key, down } = store.sort.value;
  const click = (name: string) => (store.sort.value = { key: name, down: name === key ? !down : true });
  return (
    <div class="mm-row mm-head">
      <span />
      {["id", ...COLUMNS].map((name) => (
        <button
          type="button"
          key={name}
          data-sort={name}
          class={`${name === key ? "on " : ""}${isNumber(store, name) ? "num" : ""}`}
          title={store.table.about(name).words}
          onClick={() => click(name)}
        >
          {name === "prediction" ? "predicted" : store.heading(name)}
          {name === key && (down ? "↓" : "↑")}
        </button>
      ))}
    </div>
  );
}

const isNumber = (store: Store, name: string): boolean => name !== "id" && store.table.about(name).kind === "number";

function Row({ store, i, top }: { store: Store; i: number; top: number }) {
  const style = `top:${top}px`;
  return (
    <button
      type="button"
      class={`mm-row mm-line${store.focus.value === i ? " on" : ""}`}
      data-example={i}
      style={style}
      title={store.describe(i)}
      onMouseEnter={() => (store.hover.value = i)}
      onMouseLeave={() => (store.hover.value = -1)}
      onClick={() => (store.focus.value = i)}
    >
      <Picture store={store} i={i} size={24} />
      {!store.sheets && <span />}
      {["id", ...COLUMNS].map((name) => (
        <span
          key={name}
          dir="auto"
          class={`${isNumber(store, name) ? "num" : ""}${name === "prediction" && store.wrong(i) ? " mm-bad" : ""}`}
        >
          {store.cell(name, i)}
        </span>
      ))}
    </button>
  );
}
