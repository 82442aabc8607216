// Recorded steps: a slider, play, and the loss beside it. Nothing moves unless asked to.
import { useEffect } from "preact/hooks";
import type { Step } from "../data/meta";
import { number } from "../numbers";
import type { Store } from "../state/store";
import { THEMES } from "../theme";
import { Drawing } from "./parts";

const PACE = 650; // milliseconds a step

const LINES = [
  { name: "loss", words: "loss", hint: "mean loss on the training examples, nats", style: "solid" },
  { name: "loo_loss", words: "leave-one-out", hint: "mean leave-one-out loss, nats", style: "dashed" },
  { name: "test_loss", words: "test", hint: "mean loss on the test examples, nats", style: "dotted" },
] as const;

export function Time({ store }: { store: Store }) {
  const { steps } = store.meta;
  const last = steps.length - 1;
  usePlaying(store, last);
  const at = Math.round(store.time.value);
  const step = steps[at];
  return (
    <div class="mm-time">
      <button
        type="button"
        class="mm-play"
        aria-label={store.playing.value ? "Pause" : "Play the recorded steps"}
        onClick={() => (store.playing.value = !store.playing.value)}
      >
        {store.playing.value ? "❚❚" : "▶"}
      </button>
      <div class="mm-track">
        <Losses store={store} />
        <input
          type="range"
          min={0}
          max={last}
          step={0.02}
          value={store.time.value}
          aria-label="Recorded step"
          aria-valuetext={step.name}
          onInput={(e) => {
            store.playing.value = false;
            store.time.value = Number(e.currentTarget.value);
          }}
        />
        <div class="mm-steps">
          {steps.map((s, k) => (
            <span
              key={k}
              class={k === at ? "on" : ""}
              style={`left:calc(8px + ${k / last} * (100% - 16px));translate:${-100 * (k / last)}%`}
              dir="auto"
            >
              {isNamed(k, last) && s.name.slice(0, 24)}
            </span>
          ))}
        </div>
      </div>
      <div class="mm-when">
        <b dir="auto">{step.name}</b>
        {LINES.filter(({ name }) => step[name] !== null).map(({ name, words, hint, style }) => (
          <span key={name} class={style} title={hint}>{`${words} ${number(step[name]!)}${trusted(name, step)}`}</span>
        ))}
        {step.effective !== null && (
          <span title="effective number of parameters: sum of the leverages">{`effective parameters ${number(step.effective)}`}</span>
        )}
        {at < last && (
          <span title="leverage and error are recorded at every step, predictions and losses of an example at the last one only">{`predictions: ${steps[last].name.slice(0, 24)}`}</span>
        )}
      </div>
    </div>
  );
}

/** How far the left-out loss of a step can be trusted, where that is less than its size. */
const trusted = (name: string, { loo_trust }: Step): string =>
  name === "loo_loss" && (loo_trust === "ranks only" || loo_trust === "not to be used") ? ` (${loo_trust})` : "";

/** Names of many steps would cover one another: about eight are written. */
const isNamed = (k: number, last: number): boolean => {
  const every = Math.ceil((last + 1) / 8);
  return k === last || (k % every === 0 && last - k >= every);
};

function usePlaying(store: Store, last: number): void {
  const playing = store.playing.value;
  useEffect(() => {
    if (!playing) return;
    if (store.time.peek() >= last) store.time.value = 0;
    let [frame, before] = [0, performance.now()];
    const tick = (now: number) => {
      store.time.value = Math.min(last, store.time.peek() + (now - before) / PACE);
      before = now;
      if (store.time.peek() >= last) store.playing.value = false;
      else frame = requestAnimationFrame(tick);
    };
    frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }, [playing]);
}

function Losses({ store }: { store: Store }) {
  const { steps } = store.meta;
  const [width, height] = [600, 30];
  const draw = (pen: CanvasRenderingContext2D) => {
    const theme = THEMES[store.theme.value];
    const values = steps.flatMap((s) => LINES.map(({ name }) => s[name])).filter((v): v is number => v !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (v: number) => height - 3 - ((v - low) / (high - low || 1)) * (height - 6);
    const across = (k: number) => 8 + (k / (steps.length - 1)) * (width - 16);
    const line = (name: (typeof LINES)[number]["name"], color: string, dash: number[]) => {
      pen.strokeStyle = color;
      pen.lineWidth = 1.5;
      pen.setLineDash(dash);
      pen.beginPath();
      steps.forEach((s, k) => {
        const v = s[name];
        if (v !== null) pen.lineTo(across(k), y(v));
      });
      pen.stroke();
    };
    line("loss", theme.wrong, []);
    line("loo_loss", theme.accent, [4, 3]);
    line("test_loss", theme.ink, [1.5, 2.5]);
    pen.setLineDash([]);
    pen.strokeStyle = theme.muted;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(across(store.time.value), 0);
    pen.lineTo(across(store.time.value), height);
    pen.stroke();
  };
  return (
    <Drawing
      fluid
      width={width}
      height={height}
      label="Mean training, leave-one-out and test loss over the recorded steps, with a line at the one shown"
      draw={draw}
      deps={[store.theme.value, store.time.value]}
    />
  );
}
