// Small parts that several panels are made of.
import { useEffect, useRef } from "preact/hooks";
import type { Store } from "../state/store";

interface Choice<T extends string> {
  label: string;
  value: T;
  set: (value: T) => void;
  options: [T, string, string?][];
}

export function Choices<T extends string>({ label, value, set, options }: Choice<T>) {
  return (
    <fieldset class="mm-seg" aria-label={label}>
      {options.map(([option, words, hint]) => (
        <button
          type="button"
          key={option}
          title={hint}
          aria-pressed={option === value}
          class={option === value ? "on" : ""}
          onClick={() => set(option)}
        >
          {words}
        </button>
      ))}
    </fieldset>
  );
}

/** A picture of example `i`; one that was left out or cannot be read says so. */
export function Picture({ store, i, size }: { store: Store; i: number; size: number }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const pixels = Math.round(size * Math.min(2, devicePixelRatio || 1));
  const has = store.sheets?.has(i) ?? false;
  useEffect(() => {
    let alive = true;
    const pen = ref.current?.getContext("2d");
    pen?.clearRect(0, 0, pixels, pixels);
    if (pen && has) void store.sheets!.draw(i, pen, pixels, () => alive);
    return () => {
      alive = false;
    };
  }, [i, pixels, has]);
  if (!store.sheets) return null;
  const style = `width:${size}px;height:${size}px`;
  if (!has)
    return (
      <span class="mm-nopic" style={style} title="no picture of this example in this file">
        –
      </span>
    );
  return <canvas ref={ref} class="mm-pic" width={pixels} height={pixels} style={style} />;
}

/** A button that stands for an example: hovering links it with the map, clicking brings it into focus. */
export function Tile({ store, i, size }: { store: Store; i: number; size: number }) {
  const wrong = store.wrong(i);
  const words = store.describe(i);
  return (
    <button
      type="button"
      class={`mm-tile${wrong ? " wrong" : ""}`}
      data-example={i}
      title={words}
      aria-label={words}
      onMouseEnter={() => (store.hover.value = i)}
      onMouseLeave={() => (store.hover.value = -1)}
      onFocus={() => (store.hover.value = i)}
      onClick={() => (store.focus.value = i)}
    >
      <Picture store={store} i={i} size={size} />
      {wrong && <span class="mm-badge">{store.cell("prediction", i)}</span>}
    </button>
  );
}

/** A canvas of a fixed size that is drawn by `draw` whenever `deps` change. */
export function Drawing({
  width,
  height,
  label,
  draw,
  deps,
  onDrag,
  fluid,
}: {
  width: number;
  height: number;
  label: string;
  draw: (pen: CanvasRenderingContext2D) => void;
  deps: unknown[];
  onDrag?: (x: number) => void;
  fluid?: boolean;
}) {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const canvas = ref.current!;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d")!;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(pen);
  }, deps);
  const drag = (e: PointerEvent) => {
    if (e.buttons) onDrag?.(e.offsetX);
  };
  return (
    <canvas
      ref={ref}
      role="img"
      aria-label={label}
      style={fluid ? `width:100%;height:${height}px` : `width:${width}px;height:${height}px`}
      class={onDrag ? "mm-drag" : ""}
      onPointerDown={drag}
      onPointerMove={drag}
    />
  );
}
