// The maps as a picture to take away: PNG as they are on the screen, SVG with sharp lines, words and points.
import { THEMES } from "../theme";
import { MARGIN } from "./frame";
import { SvgPen } from "./svg";
import type { MapView } from "./view";

const VECTORS = 20_000; // more points than this are embedded as pixels: a larger file opens nowhere

/** All layers of the maps, side by side. */
export function png(views: MapView[]): Promise<Blob | null> {
  const sheet = document.createElement("canvas");
  sheet.width = views.reduce((sum, view) => sum + view.top.width, 0);
  sheet.height = Math.max(...views.map((view) => view.top.height));
  const pen = sheet.getContext("2d")!;
  pen.fillStyle = getComputedStyle(views[0].root).backgroundColor;
  pen.fillRect(0, 0, sheet.width, sheet.height);
  let left = 0;
  for (const view of views) {
    const box = view.root.getBoundingClientRect();
    const scale = view.top.width / box.width;
    for (const canvas of view.root.querySelectorAll("canvas")) {
      const own = canvas.getBoundingClientRect();
      const [x, y] = [own.left - box.left, own.top - box.top];
      pen.drawImage(canvas, left + x * scale, y * scale, own.width * scale, own.height * scale);
    }
    left += view.top.width;
  }
  return new Promise((resolve) => sheet.toBlob(resolve));
}

export function svg(views: MapView[]): string {
  const width = views.reduce((sum, view) => sum + view.frame.width, 0);
  const height = Math.max(...views.map((view) => view.frame.height));
  const { paper } = THEMES[views[0].store.theme.peek()];
  let left = 0;
  const parts = views.map((view, k) => {
    const part = one(view, `map${k}`).nested(left);
    left += view.frame.width;
    return part;
  });
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const page = `<rect width="100%" height="100%" fill="${paper}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${page}${parts.join("")}</svg>\n`;
}

function one(view: MapView, name: string): SvgPen {
  const { frame } = view;
  const ruler = document.createElement("canvas").getContext("2d")!;
  const pen = new SvgPen(frame.width, frame.height, name, (font, text) => {
    ruler.font = font;
    return ruler.measureText(text);
  });
  if (view.store.n > VECTORS || view.store.marks.peek() === "density") {
    pen.drawImage(view.pixels, MARGIN.left, MARGIN.top, frame.plotWidth, frame.plotHeight);
  } else {
    for (const disc of view.discs()) pen.disc(...disc);
  }
  view.overlay(pen);
  return pen;
}
