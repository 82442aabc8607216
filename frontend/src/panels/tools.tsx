// How the map is drawn: tool, axes, marks, colour, what is compared; and the legend.
import { number } from "../numbers";
import { CHANGES, type Changed, changesOf, isChange, limitOf } from "../state/change";
import type { Compare, Store } from "../state/store";
import { classColor, THEMES } from "../theme";
import { Choices, Drawing } from "./parts";

export function Tools({ store, picture }: { store: Store; picture: (kind: "png" | "svg") => void }) {
  return (
    <div class="mm-tools">
      <Choices
        label="Tool"
        value={store.tool.value}
        set={(v) => (store.tool.value = v)}
        options={[
          ["pan", "Pan", "v"],
          ["lasso", "Lasso", "l, or Shift and drag"],
          ["box", "Box", "b"],
        ]}
      />
      <fieldset class="mm-seg" aria-label="Logarithmic axes">
        {(["x", "y"] as const).map((axis, k) => (
          <button
            type="button"
            key={axis}
            class={store.log.value[k] ? "on" : ""}
            aria-pressed={store.log.value[k]}
            onClick={() => store.toggleLog(k)}
          >
            log {axis}
          </button>
        ))}
      </fieldset>
      <Choices
        label="Marks"
        value={store.marks.value}
        set={(v) => (store.marks.value = v)}
        options={[
          ["points", "points"],
          ["density", "density"],
        ]}
      />
      <label>
        colour{" "}
        <select
          aria-label="Colour"
          value={store.color.value}
          onChange={(e) => (store.color.value = e.currentTarget.value)}
        >
          {store.meta.classification && <option value="correct">correct or wrong</option>}
          {changesOf(store).map((name) => (
            <option key={name} value={name}>
              {CHANGES[name]}
            </option>
          ))}
          {store.meta.columns
            .filter((c) => c.kind !== "text" && c.name !== "slot" && !c.name.includes("@"))
            .map((c) => (
              <option key={c.name} value={c.name}>
                {c.name.slice(0, 60).replaceAll("_", " ")}
              </option>
            ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={store.pins.value}
          onChange={(e) => (store.pins.value = e.currentTarget.checked)}
        />{" "}
        {store.sheets ? "pin pictures" : "label outliers"}
      </label>
      {store.models.length > 1 && (
        <Choices<Compare>
          label="Compare"
          value={store.compare.value}
          set={(v) => (store.compare.value = v)}
          options={[
            ["off", "one map"],
            ["side", "side by side"],
            ["arrows", "arrows"],
          ]}
        />
      )}
      <fieldset class="mm-seg" aria-label="Save the map as an image">
        <button type="button" title="save the map as a PNG image" onClick={() => picture("png")}>
          PNG
        </button>
        <button type="button" title="save the map as an SVG image (vector graphics)" onClick={() => picture("svg")}>
          SVG
        </button>
      </fieldset>
      <Legend store={store} />
    </div>
  );
}

function Legend({ store }: { store: Store }) {
  const theme = THEMES[store.theme.value];
  const name = store.color.value;
  const density = store.marks.value === "density";
  if (!density && name === "correct") {
    return (
      <span class="mm-legend">
        <i style={`background:${theme.right}`} /> correct <i style={`background:${theme.wrong}`} /> wrong
      </span>
    );
  }
  if (!density && isChange(name)) return <ChangeLegend store={store} name={name} />;
  const { kind, names } = store.table.about(name);
  if (!density && kind === "class") {
    return (
      <span class="mm-legend">
        {names!.slice(0, 10).map((n, code) => (
          <span key={code} dir="auto">
            <i style={`background:${classColor(store.theme.value, code)}`} />
            {n.slice(0, 14)}
          </span>
        ))}
        {names!.length > 10 && "…"}
      </span>
    );
  }
  const lut = density ? theme.density : theme.ramp;
  const ends = density
    ? ["few", "many examples"]
    : [`${store.heading(name)} ${number(store.shade(name).low)}`, number(store.shade(name).high)];
  return <Scale lut={lut} ends={ends} />;
}

function Scale({ lut, ends, title }: { lut: Uint8Array; ends: string[]; title?: string }) {
  const draw = (pen: CanvasRenderingContext2D) => {
    for (let k = 0; k < 120; k++) {
      const c = 3 * Math.round((k / 119) * 255);
      pen.fillStyle = `rgb(${lut[c]},${lut[c + 1]},${lut[c + 2]})`;
      pen.fillRect(k, 0, 1.5, 8);
    }
  };
  return (
    <span class="mm-legend" title={title}>
      {ends[0]} <Drawing width={120} height={8} label="colour scale" draw={draw} deps={[lut]} /> {ends[1]}
    </span>
  );
}

/** Grey: unchanged. */
function ChangeLegend({ store, name }: { store: Store; name: Changed }) {
  const times = number(10 ** limitOf(store, name, store.time.value));
  return (
    <Scale
      lut={THEMES[store.theme.value].diverging}
      ends={[`÷ ${times}`, `× ${times}`]}
      title={`${CHANGES[name]}; grey: unchanged`}
    />
  );
}
