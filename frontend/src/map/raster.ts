// Points drawn on the processor: anti-aliased discs blended into pixels. The same pixels everywhere, no GPU, no eval.
import type { RGB } from "../theme";
import { type Crowd, counts, type Placed } from "./crowd";

export interface Cloud extends Placed {
  order: Uint32Array;
  /** Which examples: those whose state is `want`. */
  want: number;
  codes: Uint8Array;
  lut: Uint8Array;
  alpha: Float32Array;
  radius: number;
  hollow: boolean;
  stride: number;
  /** Makes points fainter where many are; none: as they are. */
  crowd: Crowd | null;
}

interface Kernel {
  offsets: Int32Array;
  weights: Uint8Array;
}

export class Raster {
  private readonly pen: CanvasRenderingContext2D;
  private image: ImageData;
  private kernels: Kernel[] = [];
  private kind = "";
  private reach = 0;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.pen = canvas.getContext("2d", { alpha: false })!;
    this.image = this.pen.createImageData(1, 1);
  }

  resize(width: number, height: number): void {
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.image = this.pen.createImageData(width, height);
    this.kind = "";
  }

  clear([r, g, b]: RGB): void {
    new Uint32Array(this.image.data.buffer).fill((255 << 24) | (b << 16) | (g << 8) | r);
  }

  flush(): void {
    this.pen.putImageData(this.image, 0, 0);
  }

  points(cloud: Cloud): void {
    this.prepare(cloud.radius, cloud.hollow);
    const { order, x, y, state, want, codes, lut, alpha, kx, bx, ky, by, stride, crowd } = cloud;
    const { data, width, height } = this.image;
    const reach = this.reach;
    const [right, low] = [width - reach - 1, height - reach - 1];
    for (let q = 0; q < order.length; q += stride) {
      const i = order[q];
      if (state[i] !== want) continue;
      const px = x[i] * kx + bx;
      const py = y[i] * ky + by;
      if (!(px >= reach && py >= reach && px < right && py < low)) continue;
      const [column, row] = [px | 0, py | 0];
      const { offsets, weights } = this.kernels[((((py - row) * 4) | 0) << 2) | (((px - column) * 4) | 0)];
      const code = codes[i];
      const a = (alpha[code] * (crowd ? crowd.at(px, py) : 1) * 256) | 0;
      const [r, g, b] = [lut[3 * code], lut[3 * code + 1], lut[3 * code + 2]];
      const base = (row * width + column) * 4;
      for (let m = 0; m < offsets.length; m++) {
        const p = base + offsets[m];
        const w = (weights[m] * a) >> 8;
        data[p] += ((r - data[p]) * w + 128) >> 8;
        data[p + 1] += ((g - data[p + 1]) * w + 128) >> 8;
        data[p + 2] += ((b - data[p + 2]) * w + 128) >> 8;
      }
    }
  }

  /** Counts in square cells, shaded by their logarithm. */
  density(cloud: Placed & { lut: Uint8Array }, cell: number): void {
    const { width, height } = this.image;
    const columns = Math.ceil(width / cell);
    const found = counts(cloud, width, height, cell);
    const scale = 254 / Math.log1p(found.reduce((most, v) => Math.max(most, v), 1));
    const pixels = new Uint32Array(this.image.data.buffer);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const count = found[((row / cell) | 0) * columns + ((column / cell) | 0)];
        if (!count) continue;
        const c = 3 * (1 + ((Math.log1p(count) * scale) | 0));
        pixels[row * width + column] = (255 << 24) | (cloud.lut[c + 2] << 16) | (cloud.lut[c + 1] << 8) | cloud.lut[c];
      }
    }
  }

  /** Discs (or rings) at 4 × 4 positions inside a pixel, so that slow motion does not shimmer. */
  private prepare(radius: number, hollow: boolean): void {
    const kind = `${radius} ${hollow}`;
    if (kind === this.kind) return;
    this.kind = kind;
    this.reach = Math.ceil(radius + 1);
    this.kernels = Array.from({ length: 16 }, (_, k) =>
      this.kernel(radius, hollow, ((k & 3) + 0.5) / 4, ((k >> 2) + 0.5) / 4),
    );
  }

  private kernel(radius: number, hollow: boolean, cx: number, cy: number): Kernel {
    const offsets: number[] = [];
    const weights: number[] = [];
    for (let y = -this.reach; y <= this.reach; y++) {
      for (let x = -this.reach; x <= this.reach; x++) {
        const distance = Math.hypot(x + 0.5 - cx, y + 0.5 - cy);
        const disc = Math.max(0, Math.min(1, radius - distance + 0.5));
        const cover = hollow ? Math.min(disc, Math.max(0, Math.min(1, distance - radius + 2))) : disc;
        if (cover <= 0.04) continue;
        offsets.push((y * this.image.width + x) * 4);
        weights.push(Math.round(cover * 255));
      }
    }
    return { offsets: Int32Array.from(offsets), weights: Uint8Array.from(weights) };
  }
}
