// How concentrated the sensitivity is: share of the sum against share of the examples.
import { percent, whole } from "../numbers";
import type { Store } from "../state/store";
import { THEMES } from "../theme";
import { Drawing } from "./parts";

const [W, H, LEFT, LOW] = [380, 220, 44, 32];

export function Curve({ store }: { store: Store }) {
  const { n } = store;
  const share = store.share.value;
  const count = store.top.value;
  const what = store.rankedBy.value;
  const start = Math.log10(1 / n);
  const x = (part: number) => LEFT + ((Math.log10(Math.max(part, 1 / n)) - start) / -start || 0) * (W - LEFT - 12);
  const y = (value: number) => 10 + (1 - value) * (H - LOW - 10);
  const draw = (pen: CanvasRenderingContext2D) => {
    const theme = THEMES[store.theme.value];
    pen.font = "11px system-ui, sans-serif";
    grid(pen, theme.muted, start, x, y);
    pen.beginPath();
    for (let q = 0; q <= 240; q++) {
      const part = 10 ** (start * (1 - q / 240));
      pen.lineTo(x(part), y(share[Math.min(n, Math.round(part * n))]));
    }
    pen.strokeStyle = theme.ink;
    pen.lineWidth = 2;
    pen.stroke();
    pen.strokeStyle = pen.fillStyle = theme.accent;
    pen.lineWidth = 1;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    pen.moveTo(x(count / n), y(0));
    pen.lineTo(x(count / n), y(share[count]));
    pen.lineTo(LEFT, y(share[count]));
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    pen.arc(x(count / n), y(share[count]), 5, 0, 7);
    pen.fill();
  };
  const drag = (px: number) => {
    const part = 10 ** (start * (1 - Math.max(0, Math.min(1, (px - LEFT) / (W - LEFT - 12)))));
    store.top.value = Math.max(1, Math.round(part * n));
  };
  const half = share.findIndex((v) => v >= 0.5);
  return (
    <div class="mm-col" tabIndex={0} role="region" aria-label="Panel">
      <p class="mm-lead">
        <b>{percent(share[count])}</b> of the {what} is in <b>{percent(count / n)}</b> of the examples{" "}
        <span>({whole(count)})</span>
      </p>
      <Drawing
        width={W}
        height={H}
        label={`Share of the ${what} in the largest examples; half of it in ${percent(half / n)}`}
        draw={draw}
        deps={[count, store.theme.value, share]}
        onDrag={drag}
      />
      <p class="mm-note">{`Half of it is in ${percent(half / n)} (${whole(half)} examples). Drag here, or drag the line on the map.`}</p>
      <button
        type="button"
        class="mm-big"
        onClick={() => store.selectTop(count)}
      >{`Select the ${whole(count)} largest by ${what}`}</button>
    </div>
  );
}

function grid(
  pen: CanvasRenderingContext2D,
  color: string,
  start: number,
  x: (p: number) => number,
  y: (v: number) => number,
): void {
  pen.fillStyle = pen.strokeStyle = color;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    pen.globalAlpha = 0.2;
    pen.beginPath();
    pen.moveTo(LEFT, y(value));
    pen.lineTo(W - 12, y(value));
    pen.stroke();
    pen.globalAlpha = 1;
    pen.fillText(percent(value), LEFT - 6, y(value));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (let e = Math.ceil(start); e <= 0; e++) pen.fillText(percent(10 ** e), Math.min(W - 20, x(10 ** e)), H - LOW + 8);
}
