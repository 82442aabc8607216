// Texts in chunks, fetched when first read and kept: searching reads them all once.
import type { Source } from "./source";

export class Texts {
  private readonly chunks = new Map<number, Promise<string[]>>();

  constructor(
    private readonly source: Source,
    private readonly per: number,
    private readonly count: number,
  ) {}

  async get(i: number): Promise<string> {
    return (await this.chunk(Math.floor(i / this.per)))[i % this.per];
  }

  async all(): Promise<string[]> {
    const parts = await Promise.all(Array.from({ length: this.count }, (_, k) => this.chunk(k)));
    return parts.flat();
  }

  private chunk(k: number): Promise<string[]> {
    let found = this.chunks.get(k);
    if (!found) {
      found = this.source.texts(k);
      this.chunks.set(k, found);
    }
    return found;
  }
}
