// Recorded steps: a slider, play, and the loss beside it. Nothing moves unless asked to.
import { useEffect } from "preact/hooks";
import { number } from "../numbers";
import type { Store } from "../state/store";
import { THEMES } from "../theme";
import { Drawing } from "./parts";

const PACE = 650; // milliseconds a step

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
            <span key={k} class={k === at ? "on" : ""} dir="auto">
              {s.name}
            </span>
          ))}
        </div>
      </div>
      <div class="mm-when">
        <b dir="auto">{step.name}</b>
        {step.loss !== null && (
          <span class="solid" title="mean loss on the training examples, nats">{`loss ${number(step.loss)}`}</span>
        )}
        {step.loo_loss !== null && (
          <span class="dashed" title="mean leave-one-out loss, nats">{`leave-one-out ${number(step.loo_loss)}`}</span>
        )}
      </div>
    </div>
  );
}

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
    const values = steps.flatMap((s) => [s.loss, s.loo_loss]).filter((v): v is number => v !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (v: number) => height - 3 - ((v - low) / (high - low || 1)) * (height - 6);
    const line = (name: "loss" | "loo_loss", color: string, dash: number[]) => {
      pen.strokeStyle = color;
      pen.lineWidth = 1.5;
      pen.setLineDash(dash);
      pen.beginPath();
      steps.forEach((s, k) => {
        const v = s[name];
        if (v !== null) pen.lineTo(8 + (k / (steps.length - 1)) * (width - 16), y(v));
      });
      pen.stroke();
    };
    line("loss", theme.wrong, []);
    line("loo_loss", theme.accent, [4, 3]);
  };
  return (
    <Drawing
      fluid
      width={width}
      height={height}
      label="Mean loss and leave-one-out loss over the recorded steps"
      draw={draw}
      deps={[store.theme.value]}
    />
  );
}
