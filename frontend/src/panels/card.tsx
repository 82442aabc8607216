// One example in full: beside the pointer while hovering, in the side panel when in focus.
import { useEffect, useState } from "preact/hooks";
import type { MapView } from "../map/view";
import { percent, whole } from "../numbers";
import type { Store } from "../state/store";
import { Picture } from "./parts";

export function useText(store: Store, i: number): string {
  const [text, setText] = useState("");
  useEffect(() => {
    let alive = true;
    setText("");
    if (i >= 0) store.texts?.get(i).then((found) => alive && setText(found));
    return () => {
      alive = false;
    };
  }, [i]);
  return text;
}

export function HoverCard({ store, view }: { store: Store; view: MapView | null }) {
  const i = store.hover.value;
  const text = useText(store, i);
  if (i < 0 || !view || !view.frame.inside(view.px(i), view.py(i))) return null;
  const [x, y] = [view.px(i), view.py(i)];
  const left = x + 320 > view.frame.width ? x - 300 : x + 20;
  const top = Math.max(8, Math.min(view.frame.height - 190, y - 60));
  return (
    <div class="mm-card" style={`left:${Math.max(4, left)}px;top:${top}px`}>
      <Picture store={store} i={i} size={84} />
      <div class="mm-card-body">
        <Head store={store} i={i} k={view.k} />
        {text && (
          <p class="mm-text" dir="auto">
            {text.slice(0, 180)}
          </p>
        )}
        <Numbers store={store} i={i} names={["leverage", "error", "sensitivity"]} k={view.k} />
      </div>
    </div>
  );
}

/** An example's name and its rank on the `k`-th map as drawn. */
function Head({ store, i, k }: { store: Store; i: number; k: number }) {
  const rank = (k ? store.models[k].rank : store.rank.value)[i] + 1;
  const by = k ? "sensitivity" : store.rankedBy.value;
  return (
    <>
      <div class="mm-card-id" dir="auto">
        {store.table.id(i)}
      </div>
      <div class="mm-rank">{`${whole(rank)} of ${whole(store.n)} by ${by} · top ${percent(rank / store.n)}`}</div>
      {k > 0 && (
        <div class="mm-note" dir="auto">
          {store.models[k].name}
        </div>
      )}
      {k === 0 && <Verdict store={store} i={i} />}
    </>
  );
}

function Verdict({ store, i }: { store: Store; i: number }) {
  const [target, prediction, loo] = ["target", "prediction", "loo_prediction"].map((name) => store.cell(name, i));
  const wrong = store.wrong(i);
  // predictions are recorded at the last step only
  if (store.earlier.value) return <div dir="auto">{`target ${target}, at the last step predicted ${prediction}`}</div>;
  if (!store.meta.classification) return <div>{`observed ${target}, predicted ${prediction}`}</div>;
  return (
    <div class={wrong ? "mm-bad" : "mm-ok"} dir="auto">
      {wrong ? "✗ " : "✓ "}
      {target}
      {wrong && ` → ${prediction}`}
      {loo !== prediction && loo !== "–" && (
        <div class="mm-flip" title="the prediction if this example were left out of training">
          left out: <s>{prediction}</s> {loo}
        </div>
      )}
    </div>
  );
}

function Numbers({ store, i, names, k = 0 }: { store: Store; i: number; names: string[]; k?: number }) {
  return (
    <dl>
      {names.map((name) => {
        const { unit, words } = store.table.about(name);
        return [
          <dt key={`t${name}`} title={words} dir="auto">
            {k ? name : store.heading(name)}
          </dt>,
          <dd key={`d${name}`} title={unit} dir="auto">
            {store.cell(k ? `${name}@${k}` : name, i)}
          </dd>,
        ];
      })}
    </dl>
  );
}

/** The example in focus, with everything the page knows of it. */
export function FocusCard({ store }: { store: Store }) {
  const i = store.focus.value;
  const text = useText(store, i);
  if (i < 0) return null;
  const names = store.meta.columns
    .map((column) => column.name)
    .filter((name) => !HEAD.has(name) && !name.includes("@"));
  const warnings = store.warningsOf(i);
  return (
    <section class="mm-focus" aria-label="Example in focus">
      <button type="button" class="mm-close" aria-label="Close the card" onClick={() => (store.focus.value = -1)}>
        ×
      </button>
      <div class="mm-focus-top">
        <Picture store={store} i={i} size={112} />
        <div class="mm-card-body">
          <Head store={store} i={i} k={0} />
        </div>
      </div>
      {text && (
        <p class="mm-text full" dir="auto">
          {text}
        </p>
      )}
      <p class={warnings.length ? "mm-light warn" : "mm-light"}>
        {warnings.length ? `◯ ${warnings.join("; ")}` : `● no warning of its own; ${verdict(store)}`}
      </p>
      <Numbers store={store} i={i} names={names} />
    </section>
  );
}

/** How far the sensitivity can be trusted. */
function verdict(store: Store): string {
  const found = store.meta.trust.find(({ figure }) => figure === "sensitivity");
  return found ? `sensitivity ${found.level}: ${found.reasons.join("; ")}` : "";
}

const HEAD = new Set(["target", "prediction", "loo_prediction", "warning", "slot"]);
