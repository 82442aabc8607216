// The page: header, filters, map, time, side panel.
import { useEffect, useRef, useState } from "preact/hooks";
import { addressOf, type Maps } from "../data/source";
import { key, listen } from "../map/gestures";
import { png, svg } from "../map/picture";
import { MapView } from "../map/view";
import type { Store, Tab } from "../state/store";
import { download } from "../state/take";
import { HoverCard } from "./card";
import { Curve } from "./curve";
import { Examples } from "./examples";
import { FilterBar } from "./filters";
import { GroupTables } from "./groups";
import { About, Movers, Rankings } from "./rankings";
import { Time } from "./time";
import { Tools } from "./tools";

export function App({ store, views }: { store: Store; views: MapView[] }) {
  const field = useRef<HTMLInputElement>(null);
  const root = useRef<HTMLDivElement>(null);
  const onKey = (e: KeyboardEvent) => {
    const from = e.target as HTMLElement;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(from.tagName)) {
      if (e.key === "Escape") from.blur();
      return;
    }
    if (e.key === "/") field.current?.focus();
    else if (from.tagName === "BUTTON" && (e.key === "Enter" || e.key === " ")) return;
    else if (!views[0] || !key(views[0], e)) return;
    e.preventDefault();
  };
  useEffect(() => {
    const whole: EventTarget = store.source.permalinks ? document : root.current!; // a notebook has keys of its own
    whole.addEventListener("keydown", onKey as EventListener);
    return () => whole.removeEventListener("keydown", onKey as EventListener);
  }, []);
  return (
    <div class={`mm ${store.theme.value}`} ref={root} tabIndex={-1}>
      <Header store={store} field={field} />
      <FilterBar store={store} />
      <main>
        <section class="mm-left" aria-label="Memory map">
          <Tools store={store} picture={(kind) => void save(store, views, kind)} />
          <div class="mm-maps">
            <Pane store={store} k={0} views={views} />
            {store.compare.value === "side" && <Pane store={store} k={1} views={views} />}
          </div>
          {store.trajectory && <Time store={store} />}
        </section>
        <Side store={store} />
      </main>
      <div class="mm-said" role="status" aria-live="polite">
        {store.said.value}
      </div>
    </div>
  );
}

function Header({ store, field }: { store: Store; field: { current: HTMLInputElement | null } }) {
  const waiting = useRef(0);
  const seek = (words: string) => {
    clearTimeout(waiting.current);
    waiting.current = window.setTimeout(() => void store.seek(words), store.n > 50_000 ? 250 : 80);
  };
  const dark = store.theme.value === "dark";
  return (
    <header>
      <h1 dir="auto">{store.meta.title}</h1>
      {store.source.maps && store.source.maps.names.length > 1 && <Chooser maps={store.source.maps} />}
      <span class="mm-sub" dir="auto">
        {store.meta.subtitle}
      </span>
      <label class="mm-find">
        <span aria-hidden="true">⌕</span>
        <input
          ref={field}
          type="search"
          value={store.filters.value.search}
          placeholder={store.texts ? "search ids and texts" : "search ids"}
          aria-label="Search"
          onInput={(e) => seek(e.currentTarget.value)}
        />
        <kbd>/</kbd>
      </label>
      <button
        type="button"
        aria-label={dark ? "Light page" : "Dark page"}
        onClick={() => (store.theme.value = dark ? "light" : "dark")}
      >
        {dark ? "☀" : "☾"}
      </button>
    </header>
  );
}

/** The maps of a server: choosing one opens its page. */
function Chooser({ maps }: { maps: Maps }) {
  return (
    <select
      aria-label="Map"
      title={maps.names[maps.at]}
      value={maps.at}
      onChange={(e) => location.assign(addressOf(location.pathname, Number(e.currentTarget.value)))}
    >
      {maps.names.map((name, k) => (
        <option key={k} value={k}>
          {name.slice(0, 120)}
        </option>
      ))}
    </select>
  );
}

function Pane({ store, k, views }: { store: Store; k: number; views: MapView[] }) {
  const ref = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<MapView | null>(null);
  useEffect(() => {
    const made = new MapView(store, k);
    const stop = listen(made);
    ref.current!.prepend(made.root);
    views[k] = made;
    setView(made);
    return () => {
      stop();
      made.destroy();
      made.root.remove();
    };
  }, []);
  const words = `Map of ${store.n} examples: leverage across, prediction error up. Arrow keys move through the examples in the table's order.`;
  return (
    <div class="mm-pane" ref={ref} tabIndex={0} role="group" aria-label={words}>
      <HoverCard store={store} view={view} />
    </div>
  );
}

const groupsTitle = (store: Store): string => (store.meta.classification ? "Classes" : "Groups");

function Side({ store }: { store: Store }) {
  const tabs: [Tab, string, boolean][] = [
    ["examples", "Examples", true],
    ["curve", "Concentration", true],
    ["rankings", "Rankings", store.meta.agreement !== null],
    ["groups", groupsTitle(store), store.meta.groups.length > 0],
    ["movers", "Changes", store.models.length > 1],
    ["about", "About", true],
  ];
  const tab = store.tab.value;
  return (
    <aside aria-label="Panels">
      <div class="mm-tabs" role="tablist">
        {tabs
          .filter(([, , there]) => there)
          .map(([name, words]) => (
            <button
              type="button"
              key={name}
              role="tab"
              aria-selected={tab === name}
              class={tab === name ? "on" : ""}
              onClick={() => (store.tab.value = name)}
            >
              {words}
            </button>
          ))}
      </div>
      {tab === "examples" && <Examples store={store} />}
      {tab === "curve" && <Curve store={store} />}
      {tab === "rankings" && <Rankings store={store} />}
      {tab === "groups" && <GroupTables store={store} />}
      {tab === "movers" && <Movers store={store} />}
      {tab === "about" && <About store={store} />}
    </aside>
  );
}

async function save(store: Store, views: MapView[], kind: "png" | "svg"): Promise<void> {
  const seen = views.slice(0, store.compare.peek() === "side" ? 2 : 1);
  if (!seen.length) return;
  const picture = kind === "png" ? await png(seen) : new Blob([svg(seen)], { type: "image/svg+xml" });
  if (picture) download(`map.${kind}`, picture);
}
