// The nearest example to a pixel, through buckets of the screen.
const CELL = 8;
const NEAR = 81; // squared pixels

export class Grid {
  private readonly columns: number;
  private readonly rows: number;
  private readonly head: Int32Array;
  private readonly next: Int32Array;

  constructor(
    private readonly px: (i: number) => number,
    private readonly py: (i: number) => number,
    width: number,
    height: number,
    order: Uint32Array,
    state: Uint8Array,
  ) {
    this.columns = Math.ceil(width / CELL) + 1;
    this.rows = Math.ceil(height / CELL) + 1;
    this.head = new Int32Array(this.columns * this.rows).fill(-1);
    this.next = new Int32Array(state.length);
    for (const i of order) if (state[i]) this.add(i);
  }

  private add(i: number): void {
    const [x, y] = [this.px(i), this.py(i)];
    if (!(x >= 0 && y >= 0)) return;
    const [column, row] = [Math.floor(x / CELL), Math.floor(y / CELL)];
    if (column >= this.columns || row >= this.rows) return;
    const cell = row * this.columns + column;
    this.next[i] = this.head[cell];
    this.head[cell] = i;
  }

  nearest(x: number, y: number): number {
    const [column, row] = [Math.floor(x / CELL), Math.floor(y / CELL)];
    let [best, distance] = [-1, NEAR];
    for (let r = Math.max(0, row - 1); r <= Math.min(this.rows - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(this.columns - 1, column + 1); c++) {
        for (let i = this.head[r * this.columns + c]; i >= 0; i = this.next[i]) {
          const d = (this.px(i) - x) ** 2 + (this.py(i) - y) ** 2;
          if (d < distance) [best, distance] = [i, d];
        }
      }
    }
    return best;
  }
}
