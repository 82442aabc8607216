// A pen that writes SVG where the page's pen paints a canvas: the same drawing, with lines and words that stay sharp.
import type { Pen } from "./axes";

const EM: Record<string, number> = { top: 0.8, middle: 0.35, bottom: -0.22, alphabetic: 0 };
const ANCHOR: Record<string, string> = { left: "start", center: "middle", right: "end" };

/** Text inside SVG: markup is literal, characters that XML forbids become a sign for what cannot be shown. */
export const literal = (text: string): string =>
  Array.from(text, (sign) => (/^[\ud800-\udfff]$/.test(sign) ? "\ufffd" : sign))
    .join("")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML forbids
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const short = (value: number): string => String(Number(value.toFixed(2)));

type State = Pick<Pen, "fillStyle" | "strokeStyle" | "lineWidth" | "globalAlpha" | "font" | "lineJoin"> & {
  textAlign: CanvasTextAlign;
  textBaseline: CanvasTextBaseline;
};

const START: State = {
  fillStyle: "#000",
  strokeStyle: "#000",
  lineWidth: 1,
  globalAlpha: 1,
  font: "400 10px sans-serif",
  lineJoin: "miter",
  textAlign: "left",
  textBaseline: "alphabetic",
};

export class SvgPen implements Pen {
  fillStyle = START.fillStyle;
  strokeStyle = START.strokeStyle;
  lineWidth = START.lineWidth;
  globalAlpha = START.globalAlpha;
  font = START.font;
  lineJoin = START.lineJoin;
  textAlign = START.textAlign;
  textBaseline = START.textBaseline;
  private readonly out: string[] = [];
  private readonly open: number[] = [];
  private groups = 0;
  private clips = 0;
  private path = "";
  private dash: number[] = [];

  constructor(
    readonly width: number,
    readonly height: number,
    private readonly name: string,
    private readonly measure: (font: string, text: string) => TextMetrics,
  ) {}

  /** Everything drawn so far, `left` pixels to the right. */
  nested(left: number): string {
    const size = `width="${short(this.width)}" height="${short(this.height)}"`;
    return `<svg x="${short(left)}" ${size}>${this.out.join("")}</svg>`;
  }

  save(): void {
    this.open.push(this.groups);
    this.groups = 0;
  }

  restore(): void {
    this.out.push("</g>".repeat(this.groups));
    this.groups = this.open.pop() ?? 0;
  }

  clip(): void {
    const id = `${this.name}-clip-${this.clips++}`;
    this.out.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath><g clip-path="url(#${id})">`);
    this.groups++;
  }

  beginPath(): void {
    this.path = "";
  }

  closePath(): void {
    if (this.path) this.path += "Z";
  }

  moveTo(x: number, y: number): void {
    this.path += `M${short(x)} ${short(y)}`;
  }

  lineTo(x: number, y: number): void {
    this.path += `${this.path ? "L" : "M"}${short(x)} ${short(y)}`;
  }

  /** Whole circles only: the map draws no other arcs. */
  arc(x: number, y: number, r: number): void {
    const turn = (way: number) => `a${short(r)} ${short(r)} 0 1 0 ${short(way * 2 * r)} 0`;
    this.path += `M${short(x - r)} ${short(y)}${turn(1)}${turn(-1)}Z`;
  }

  rect(x: number, y: number, w: number, h: number): void {
    this.path += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z`;
  }

  roundRect(x: number, y: number, w: number, h: number, radii?: unknown): void {
    const r = Math.min(Number(radii), w / 2, h / 2);
    const turn = (dx: number, dy: number) => `a${r} ${r} 0 0 1 ${dx * r} ${dy * r}`;
    const [across, down] = [short(w - 2 * r), short(h - 2 * r)];
    this.path += `M${short(x + r)} ${short(y)}h${across}${turn(1, 1)}v${down}${turn(-1, 1)}h-${across}${turn(-1, -1)}v-${down}${turn(1, -1)}Z`;
  }

  stroke(): void {
    if (this.path) this.out.push(`<path d="${this.path}" fill="none" ${this.line()}/>`);
  }

  fill(): void {
    if (this.path) this.out.push(`<path d="${this.path}" ${this.ink()}/>`);
  }

  fillRect(x: number, y: number, w: number, h: number): void {
    this.out.push(`<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" ${this.ink()}/>`);
  }

  disc(x: number, y: number, r: number, color: string, alpha: number, hollow: boolean): void {
    const how = hollow ? `fill="none" stroke="${color}" stroke-width="2"` : `fill="${color}"`;
    this.out.push(`<circle cx="${short(x)}" cy="${short(y)}" r="${short(r)}" ${how} opacity="${short(alpha)}"/>`);
  }

  fillText(text: string, x: number, y: number): void {
    this.words(text, x, y, this.ink());
  }

  strokeText(text: string, x: number, y: number): void {
    this.words(text, x, y, `fill="none" stroke-linejoin="${this.lineJoin}" ${this.line()}`);
  }

  measureText(text: string): TextMetrics {
    return this.measure(this.font, text);
  }

  setLineDash(dash: Iterable<number>): void {
    this.dash = [...dash];
  }

  drawImage(picture: CanvasImageSource, x: number, y: number, w = 0, h = 0): void {
    const bytes = (picture as HTMLCanvasElement).toDataURL("image/png");
    const place = `x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}"`;
    this.out.push(`<image ${place} preserveAspectRatio="none" href="${bytes}"/>`);
  }

  private words(text: string, x: number, y: number, how: string): void {
    const [, weight, size, family] = /^(\d+) ([\d.]+)px (.*)$/.exec(this.font) ?? ["", "400", "10", "sans-serif"];
    const font = `font-family="${literal(family)}" font-size="${size}" font-weight="${weight}"`;
    const at = `x="${short(x)}" y="${short(y + EM[this.textBaseline] * Number(size))}"`;
    this.out.push(`<text ${at} text-anchor="${ANCHOR[this.textAlign]}" ${font} ${how}>${literal(text)}</text>`);
  }

  private line(): string {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    return `stroke="${this.strokeStyle}" stroke-width="${short(this.lineWidth)}" stroke-opacity="${short(this.globalAlpha)}"${dash}`;
  }

  private ink(): string {
    return `fill="${this.fillStyle}" fill-opacity="${short(this.globalAlpha)}"`;
  }
}
