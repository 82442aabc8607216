// The filter bar: classes, predictions, right and wrong, warnings, columns.
import { whole } from "../numbers";
import { type Filters, isOpen, NO_FILTERS } from "../state/filters";
import type { Store } from "../state/store";
import { classColor } from "../theme";
import { Choices } from "./parts";

const CHIPS = 12; // more classes than this are a list

export function FilterBar({ store }: { store: Store }) {
  const filters = store.filters.value;
  const set = (change: Partial<Filters>) => (store.filters.value = { ...store.filters.peek(), ...change });
  const warned =
    store.meta.columns.some((c) => c.name === "warning") && store.table.numbers("warning").some((v) => v > 0);
  return (
    <div class="mm-bar">
      {store.meta.classification && <ClassFilters store={store} filters={filters} set={set} />}
      {warned && (
        <Toggle
          on={filters.warned}
          words="warnings"
          hint="examples whose scores carry a warning"
          click={() => set({ warned: !filters.warned })}
        />
      )}
      {store.undrawn > 0 && (
        <Toggle
          on={filters.undrawn}
          words={`not drawn (${whole(store.undrawn)})`}
          hint="examples without finite coordinates: listed in the table, not on the map"
          click={() => set({ undrawn: !filters.undrawn })}
        />
      )}
      <Where store={store} filters={filters} set={set} />
      {!isOpen(filters) && (
        <button
          type="button"
          onClick={() => {
            void store.seek("");
            store.filters.value = NO_FILTERS;
          }}
        >
          show all
        </button>
      )}
      <span class="mm-count" data-count={store.count.value}>{`${whole(store.count.value)} of ${whole(store.n)}`}</span>
    </div>
  );
}

interface Bar {
  store: Store;
  filters: Filters;
  set: (change: Partial<Filters>) => void;
}

function Toggle({ on, words, hint, click }: { on: boolean; words: string; hint: string; click: () => void }) {
  return (
    <button type="button" class={on ? "on" : ""} aria-pressed={on} title={hint} onClick={click}>
      {words}
    </button>
  );
}

function ClassFilters({ store, filters, set }: Bar) {
  const names = store.table.about("target").names!;
  return (
    <>
      {names.length <= CHIPS ? (
        <Chips store={store} names={names} filters={filters} set={set} />
      ) : (
        <select
          aria-label="Class"
          value={filters.classes[0] ?? -1}
          onChange={(e) => {
            const code = Number(e.currentTarget.value);
            set({ classes: code < 0 ? [] : [code] });
          }}
        >
          <option value={-1}>{`class: any of ${whole(names.length)}`}</option>
          {names.map((name, code) => (
            <option key={code} value={code}>
              {name.slice(0, 80)}
            </option>
          ))}
        </select>
      )}
      <select
        aria-label="Predicted class"
        value={filters.predicted}
        onChange={(e) => set({ predicted: Number(e.currentTarget.value) })}
      >
        <option value={-1}>predicted: any</option>
        {store.table.about("prediction").names!.map((name, code) => (
          <option key={code} value={code}>{`predicted: ${name.slice(0, 80)}`}</option>
        ))}
      </select>
      <Choices
        label="Correctness"
        value={filters.correct}
        set={(correct) => set({ correct })}
        options={[
          ["all", "all"],
          ["right", "correct"],
          ["wrong", "wrong"],
        ]}
      />
      <Toggle
        on={filters.flips}
        words="flips when left out"
        hint="the predicted class changes if the example is left out of training"
        click={() => set({ flips: !filters.flips })}
      />
    </>
  );
}

function Chips({ store, names, filters, set }: Bar & { names: string[] }) {
  const on = (code: number) => !filters.classes.length || filters.classes.includes(code);
  const click = (code: number, more: boolean) => {
    const { classes } = filters;
    if (more) return set({ classes: classes.includes(code) ? classes.filter((c) => c !== code) : [...classes, code] });
    set({ classes: classes.length === 1 && classes[0] === code ? [] : [code] });
  };
  return (
    <fieldset class="mm-chips" aria-label="Filter by class">
      {names.map((name, code) => (
        <button
          type="button"
          key={code}
          class={`mm-chip${on(code) ? " on" : ""}`}
          aria-pressed={on(code)}
          title={`${name.slice(0, 200)}: click for this class only, Shift-click to add`}
          onMouseEnter={() => (store.focusClass.value = code)}
          onMouseLeave={() => (store.focusClass.value = -1)}
          onClick={(e) => click(code, e.shiftKey)}
        >
          <i
            style={`background:${store.color.value === "target" ? classColor(store.theme.value, code) : "var(--muted)"}`}
          />
          <span dir="auto">{name || "(empty)"}</span>
        </button>
      ))}
    </fieldset>
  );
}

/** Any other column of classes, chosen by name. */
function Where({ store, filters, set }: Bar) {
  const columns = store.table
    .ofKind("class")
    .filter((c) => !["target", "prediction", "loo_prediction"].includes(c.name) && !c.name.includes("@"));
  if (!columns.length) return null;
  const value = filters.where ? `${filters.where.code} ${filters.where.column}` : "";
  const choose = (text: string) => {
    const space = text.indexOf(" ");
    set({ where: text ? { column: text.slice(space + 1), code: Number(text.slice(0, space)) } : null });
  };
  return (
    <select aria-label="Filter by a column" value={value} onChange={(e) => choose(e.currentTarget.value)}>
      <option value="">column: any</option>
      {columns.map((column) => (
        <optgroup key={column.name} label={column.name.slice(0, 80)}>
          {column.names!.slice(0, 1000).map((name, code) => (
            <option
              key={code}
              value={`${code} ${column.name}`}
            >{`${column.name.slice(0, 40)}: ${name.slice(0, 80)}`}</option>
          ))}
        </optgroup>
      ))}
    </select>
  );
}
