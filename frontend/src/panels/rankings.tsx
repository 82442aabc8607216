// The same examples by several measures: the top of each, how far they agree, who moved most between two maps.
import { useState } from "preact/hooks";
import type { Agreement } from "../data/meta";
import { number, percent, whole } from "../numbers";
import type { Store } from "../state/store";
import { Picture } from "./parts";

const TOP = 8;
const title = (name: string): string => name.replaceAll("_", " ");

function Entry({ store, i, words }: { store: Store; i: number; words: string }) {
  return (
    <button
      type="button"
      class="mm-entry"
      data-example={i}
      title={store.describe(i)}
      onMouseEnter={() => (store.hover.value = i)}
      onMouseLeave={() => (store.hover.value = -1)}
      onClick={() => (store.focus.value = i)}
    >
      <Picture store={store} i={i} size={32} />
      <span>
        <b>{words}</b>
        <small dir="auto">{store.table.id(i)}</small>
      </span>
    </button>
  );
}

export function Rankings({ store }: { store: Store }) {
  const { agreement } = store.meta;
  const shown = store.shown.value;
  if (!agreement) return null;
  return (
    <div class="mm-col" tabIndex={0} role="region" aria-label="Panel">
      <h2>{`Top ${TOP} by each measure`}</h2>
      <div class="mm-rank-grid">
        {agreement.measures.map((name) => (
          <div key={name}>
            <h3 title={store.table.about(name).words}>{title(name)}</h3>
            {Array.from(
              store
                .orderBy(name, true)
                .filter((i) => shown[i])
                .slice(0, TOP),
              (i) => (
                <Entry key={i} store={store} i={i} words={store.cell(name, i)} />
              ),
            )}
          </div>
        ))}
      </div>
      <h2>Do the rankings agree?</h2>
      <table class="mm-matrix">
        <thead>
          <tr>
            <th />
            {agreement.measures.map((name) => (
              <th key={name} scope="col">
                {title(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {agreement.measures.map((name, row) => (
            <tr key={name}>
              <th scope="row">{title(name)}</th>
              {agreement.measures.map((other, column) => {
                if (row === column)
                  return (
                    <td key={other} class="same">
                      –
                    </td>
                  );
                const value = row < column ? agreement.spearman[row][column] : agreement.overlap[row][column];
                const words = value === null ? "–" : row < column ? value.toFixed(2) : percent(value);
                return (
                  <td key={other} style={`--share:${Math.max(0, value ?? 0)}`}>
                    {words}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      <p class="mm-note">{`Above the diagonal: Spearman's rank correlation. Below: examples in common among the top ${whole(agreement.top)}.`}</p>
      {agreement.disagreements.length > 0 && <Disagreements store={store} agreement={agreement} />}
    </div>
  );
}

/** Examples that one measure puts far above the other: memory of two kinds. */
function Disagreements({ store, agreement }: { store: Store; agreement: Agreement }) {
  const [at, setAt] = useState(0);
  const { measures, disagreements } = agreement;
  const { pair, first, second } = disagreements[at];
  const [a, b] = pair.map((k) => title(measures[k]));
  const shown = store.shown.value;
  const sides: [string, [number, number, number][]][] = [
    [`higher by ${a}`, first],
    [`higher by ${b}`, second],
  ];
  return (
    <section aria-label="Disagreements">
      <h2>Where they disagree</h2>
      <select aria-label="Two measures" value={at} onChange={(e) => setAt(Number(e.currentTarget.value))}>
        {disagreements.map(({ pair: [i, j] }, k) => (
          <option key={k} value={k}>
            {`${title(measures[i])} against ${title(measures[j])}`}
          </option>
        ))}
      </select>
      <div class="mm-rank-grid">
        {sides.map(([words, rows]) => (
          <div key={words}>
            <h3>{words}</h3>
            {rows
              .filter(([i]) => shown[i])
              .slice(0, TOP)
              .map(([i, x, y]) => (
                <Entry key={i} store={store} i={i} words={`${place(x)} · ${place(y)}`} />
              ))}
          </div>
        ))}
      </div>
      <p class="mm-note">{`Ranks by ${a} · by ${b}, 1 the largest. Listed are those whose ranks differ by the largest factor.`}</p>
    </section>
  );
}

const place = (rank: number): string => whole(Math.round(rank));

export function Movers({ store }: { store: Store }) {
  const [a, b] = store.models;
  const shown = store.shown.value;
  const top = store
    .orderBy("move", true)
    .filter((i) => shown[i])
    .slice(0, 40);
  return (
    <div class="mm-col" tabIndex={0} role="region" aria-label="Panel">
      <h2>Largest changes of sensitivity</h2>
      <p class="mm-note" dir="auto">{`${a.name} → ${b.name}, linked by id`}</p>
      <div class="mm-movers">
        {Array.from(top, (i) => (
          <Entry key={i} store={store} i={i} words={`${number(a.sensitivity[i])} → ${number(b.sensitivity[i])}`} />
        ))}
      </div>
    </div>
  );
}

export function About({ store }: { store: Store }) {
  return (
    <div class="mm-col mm-about" tabIndex={0} role="region" aria-label="Panel">
      <h2>About this map</h2>
      <ul>
        {store.meta.notes.map((note, k) => (
          <li key={k} dir="auto">
            {note}
          </li>
        ))}
      </ul>
      <h2>Columns</h2>
      <dl>
        {store.meta.columns
          .filter((column) => column.words)
          .map((column) => [
            <dt key={`t${column.name}`} dir="auto">
              {column.name}
            </dt>,
            <dd key={`d${column.name}`}>
              {column.words}
              {column.unit && ` [${column.unit}]`}
            </dd>,
          ])}
      </dl>
      <h2>Keys</h2>
      <p class="mm-note">
        Arrows move through the table, Shift and arrows pan the map, + − 0 zoom, v l b pan, lasso, box, Enter selects,
        Esc clears, / searches. Shift and drag draws a lasso, double click resets the view.
      </p>
    </div>
  );
}
