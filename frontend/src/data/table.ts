// The map's columns, out of Arrow bytes: numbers as typed arrays, text read only where it is shown.
import { type Column, tableFromIPC } from "@uwdata/flechette";
import { type ColumnMeta, type Meta, MISSING } from "./meta";

type Floats = Float32Array<ArrayBufferLike>;

export class Table {
  readonly n: number;
  private readonly arrow: ReturnType<typeof tableFromIPC>;
  private readonly metas: Map<string, ColumnMeta>;
  private readonly floats = new Map<string, Floats>();

  constructor(
    bytes: Uint8Array,
    readonly meta: Meta,
  ) {
    this.arrow = tableFromIPC(bytes);
    this.n = meta.n;
    this.metas = new Map(meta.columns.map((column) => [column.name, column]));
  }

  has(name: string): boolean {
    return this.metas.has(name);
  }

  about(name: string): ColumnMeta {
    return this.metas.get(name) ?? { name, kind: "number", unit: "", words: "" };
  }

  ofKind(kind: ColumnMeta["kind"]): ColumnMeta[] {
    return this.meta.columns.filter((column) => column.kind === kind);
  }

  private column(name: string): Column<unknown> {
    const column = this.arrow.getChild(name);
    if (!column) throw new Error(`the page has no column ${name}: it has ${this.arrow.names.join(", ")}`);
    return column as Column<unknown>;
  }

  /** A numeric column; codes of a class column as numbers, missing as NaN. */
  numbers(name: string): Floats {
    let found = this.floats.get(name);
    if (!found) {
      const raw = this.column(name).toArray() as Floats | Uint16Array;
      found =
        raw instanceof Float32Array ? raw : Float32Array.from(raw, (code) => (code === MISSING ? Number.NaN : code));
      this.floats.set(name, found);
    }
    return found;
  }

  codes(name: string): Uint16Array {
    return this.column(name).toArray() as Uint16Array;
  }

  /** Positions at a recorded step: 16-bit codes of a logarithm, stored as differences from step to step. */
  differences(name: string): Uint16Array {
    return this.column(name).toArray() as Uint16Array;
  }

  id(i: number): string {
    return String(this.column("id").at(i));
  }

  /** A cell in words, whatever its kind. */
  cell(name: string, i: number, write: (value: number) => string): string {
    const about = this.about(name);
    if (about.kind === "text") return String(this.column(name).at(i) ?? "");
    if (about.kind === "number") return write(this.numbers(name)[i]);
    const code = this.codes(name)[i];
    return code === MISSING ? "–" : about.names![code];
  }
}
