// Pictures: sprite sheets, decoded when first shown, the least recently used forgotten.
import type { Pictures } from "./meta";
import type { Source } from "./source";

const KEPT = 32; // sheets of 1,024 pictures of 28 × 28: 3.2 MB each once decoded

export class Sheets {
  private readonly kept = new Map<number, Promise<ImageBitmap>>();

  constructor(
    private readonly source: Source,
    private readonly slots: Float32Array,
    readonly about: Pictures,
  ) {}

  has(i: number): boolean {
    const slot = this.slots[i];
    return slot >= 0 && slot < this.about.included;
  }

  private sheet(k: number): Promise<ImageBitmap> {
    const known = this.kept.get(k);
    const found = known ?? this.source.sheet(k).then((blob) => createImageBitmap(blob));
    this.kept.delete(k);
    this.kept.set(k, found);
    if (this.kept.size > KEPT) this.forget();
    return found;
  }

  private forget(): void {
    const [oldest, bitmap] = this.kept.entries().next().value!;
    this.kept.delete(oldest);
    void bitmap.then((image) => image.close());
  }

  /** Draw example `i` into a square of `size`, keeping its proportions; `alive` says whether it is still wanted. */
  async draw(i: number, pen: CanvasRenderingContext2D, size: number, alive: () => boolean = () => true): Promise<void> {
    const { width, height, grid } = this.about;
    const slot = this.slots[i];
    const sheet = await this.sheet(Math.floor(slot / (grid * grid)));
    if (!alive()) return;
    const place = slot % (grid * grid);
    const scale = Math.min(size / width, size / height);
    const [w, h] = [width * scale, height * scale];
    pen.imageSmoothingEnabled = scale < 3;
    pen.drawImage(
      sheet,
      (place % grid) * width,
      Math.floor(place / grid) * height,
      width,
      height,
      (size - w) / 2,
      (size - h) / 2,
      w,
      h,
    );
  }
}
