// Classes, and groups left out together: small tables of Python's numbers, sorted by any of their columns.
import { useState } from "preact/hooks";
import type { Groups } from "../data/meta";
import { number, percent, whole } from "../numbers";
import type { Store } from "../state/store";

export function GroupTables({ store }: { store: Store }) {
  return (
    <div class="mm-col" tabIndex={0} role="region" aria-label="Panel">
      {store.meta.groups.map((groups) => (
        <GroupTable key={groups.title} store={store} groups={groups} />
      ))}
    </div>
  );
}

function GroupTable({ store, groups }: { store: Store; groups: Groups }) {
  const [sort, setSort] = useState<{ column: number; down: boolean } | null>(null);
  const rows = sort ? sorted(groups.rows, sort.column, sort.down) : groups.rows;
  const click = (column: number) => setSort({ column, down: sort?.column === column ? !sort.down : true });
  return (
    <>
      <h2>{groups.title}</h2>
      <p class="mm-note">{groups.note}</p>
      <div class="mm-groups">
        <table>
          <thead>
            <tr>
              <th scope="col" />
              {groups.columns.map(({ name, unit, words }, k) => (
                <th
                  key={name}
                  scope="col"
                  aria-sort={k === sort?.column ? (sort.down ? "descending" : "ascending") : "none"}
                >
                  <button type="button" title={unit ? `${words} [${unit}]` : words} onClick={() => click(k)}>
                    {name}
                    {k === sort?.column && (sort.down ? " ↓" : " ↑")}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.name}>
                <th scope="row">
                  <Name store={store} groups={groups} name={row.name} />
                </th>
                {row.values.map((value, k) => (
                  <td key={k}>{cell(value, groups.columns[k].unit)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

/** A class's name shows that class alone on the map. */
function Name({ store, groups, name }: { store: Store; groups: Groups; name: string }) {
  const words = <span dir="auto">{name || "(empty)"}</span>;
  const code = groups.by === "target" && store.meta.classification ? codeOf(store, name) : -1;
  if (code < 0) return words;
  const { classes } = store.filters.value;
  const on = classes.length === 1 && classes[0] === code;
  return (
    <button
      type="button"
      class={on ? "on" : ""}
      aria-pressed={on}
      title={`${name.slice(0, 200)}: show this class only`}
      onClick={() => (store.filters.value = { ...store.filters.peek(), classes: on ? [] : [code] })}
    >
      {words}
    </button>
  );
}

const codeOf = (store: Store, name: string): number => store.table.about("target").names!.indexOf(name);

function sorted(rows: Groups["rows"], column: number, down: boolean): Groups["rows"] {
  const of = (row: Groups["rows"][number]) => row.values[column] ?? Number.NEGATIVE_INFINITY;
  return [...rows].sort((a, b) => (down ? of(b) - of(a) : of(a) - of(b)));
}

function cell(value: number | null, unit: string): string {
  if (value === null) return "–";
  if (unit === "share") return percent(value);
  return unit === "" ? whole(value) : number(value);
}
