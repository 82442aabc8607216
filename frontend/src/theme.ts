// Colours, light and dark. Ramps keep neighbouring stops apart under colour-blind vision; classes too.
export type RGB = [number, number, number];
export type Mode = "light" | "dark";

export const rgb = (hex: string): RGB => [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)) as RGB;

export function ramp(stops: [number, string][]): Uint8Array {
  const lut = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const t = i / 255;
    let k = 0;
    while (k < stops.length - 2 && t > stops[k + 1][0]) k++;
    const part = (t - stops[k][0]) / (stops[k + 1][0] - stops[k][0]);
    const [a, b] = [rgb(stops[k][1]), rgb(stops[k + 1][1])];
    for (let j = 0; j < 3; j++) lut[3 * i + j] = Math.round(a[j] + (b[j] - a[j]) * part);
  }
  return lut;
}

export interface Theme {
  paper: string;
  ink: string;
  muted: string;
  bars: string;
  accent: string;
  onAccent: string;
  faint: string;
  right: string;
  wrong: string;
  ramp: Uint8Array;
  density: Uint8Array;
  /** From much less, over the same, to much more. */
  diverging: Uint8Array;
  classes: string[];
}

export const THEMES: Record<Mode, Theme> = {
  light: {
    paper: "#fdfdfc",
    ink: "#1b1f24",
    muted: "#5f6670",
    bars: "#b9c3cf",
    accent: "#0a66c2",
    onAccent: "#ffffff",
    faint: "#d5d9de",
    right: "#4477aa",
    wrong: "#c4400f",
    ramp: ramp([
      [0, "#bfcad8"],
      [0.3, "#a1b6d3"],
      [0.55, "#7f93cb"],
      [0.72, "#7c5db8"],
      [0.86, "#b23a86"],
      [1, "#d9481c"],
    ]),
    density: ramp([
      [0, "#dfe6ee"],
      [0.35, "#9db6d8"],
      [0.65, "#5a6fb6"],
      [1, "#2b1f5e"],
    ]),
    diverging: ramp([
      [0, "#0b4f9e"],
      [0.3, "#5b93d0"],
      [0.5, "#c3c8cf"],
      [0.7, "#e0925c"],
      [1, "#b33a06"],
    ]),
    classes: [
      "#4d22fa",
      "#e8618f",
      "#4d790d",
      "#7b93f0",
      "#790d63",
      "#a3a35c",
      "#b93863",
      "#2fae0c",
      "#8a3fc4",
      "#38380d",
    ],
  },
  dark: {
    paper: "#14171c",
    ink: "#e8eaed",
    muted: "#98a1ad",
    bars: "#475264",
    accent: "#5cb3ff",
    onAccent: "#0b1220",
    faint: "#333a44",
    right: "#6fa8dc",
    wrong: "#ff8a5c",
    ramp: ramp([
      [0, "#3f4959"],
      [0.3, "#446a9c"],
      [0.55, "#6f7ad2"],
      [0.72, "#bd7fdc"],
      [0.86, "#fb93a6"],
      [1, "#ffd678"],
    ]),
    density: ramp([
      [0, "#262d3a"],
      [0.35, "#3f5590"],
      [0.65, "#a765c4"],
      [1, "#ffe2a8"],
    ]),
    diverging: ramp([
      [0, "#7cc4ff"],
      [0.3, "#3f7fbf"],
      [0.5, "#5a6472"],
      [0.7, "#c06a35"],
      [1, "#ffb27a"],
    ]),
    classes: [
      "#a48efa",
      "#faa40d",
      "#79facf",
      "#d84fbb",
      "#8ecf79",
      "#fab9fa",
      "#2fae82",
      "#fafa79",
      "#b95cf5",
      "#8f9e4a",
    ],
  },
};

/** The scheme that the reader's machine asks for. */
export const preferred = (): Mode => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

export const classColor = (mode: Mode, code: number): string => THEMES[mode].classes[code % 10];
