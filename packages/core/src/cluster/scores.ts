/**
 * The numbers that a pick compares, of all endpoints of a list side by side. A pick draws two of
 * maybe ten thousand endpoints: following pointers from each to its estimate costs several cache
 * misses, reading one row of four numbers costs one. The rows are the only place where these
 * numbers stand; endpoints read and write them through their row.
 */

/** The stored latency estimate; -1 while there is no data. */
export const ESTIMATE = 0;
/** When the estimate was last written. */
export const STAMP = 1;
/** When the oldest unanswered attempt started; Infinity: there is none. */
export const OLDEST = 2;
/** (In flight + 1) / weight; negative: there is more to know, so ask the endpoint itself. */
export const LOAD = 3;

const ROW = 4;
const MIN_ROWS = 16;

/** Where the row of one endpoint is: alone, or in the table of the list that it stands in. */
export class ScoreRow {
  numbers: Float64Array = Float64Array.of(-1, 0, Infinity, 1);
  /** Offset of the row in `numbers`. */
  at = 0;
}

/** The rows of a list, in the order of the list. */
export class Scores {
  numbers: Float64Array = new Float64Array(MIN_ROWS * ROW);
  #rows: ScoreRow[] = [];

  /** Takes the row of the endpoint that was appended to the list. */
  push(row: ScoreRow): void {
    const at = this.#rows.push(row) * ROW - ROW;
    if (at === this.numbers.length) this.#grow();
    move(row, this.numbers, at);
  }

  /** Gives back row `i`; the last one moves into the gap, as in the list. */
  remove(i: number): void {
    const row = this.#rows[i]!;
    const last = this.#rows.pop()!;
    move(row, new Float64Array(ROW), 0);
    if (last === row) return;
    this.#rows[i] = last;
    move(last, this.numbers, i * ROW);
  }

  /** Two rows change places, as their endpoints do in the list. */
  swap(i: number, j: number): void {
    const a = this.#rows[i]!;
    const b = this.#rows[j]!;
    move(a, new Float64Array(ROW), 0);
    move(b, this.numbers, i * ROW);
    move(a, this.numbers, j * ROW);
    this.#rows[i] = b;
    this.#rows[j] = a;
  }

  /** The same rows in another order. */
  arrange(rows: ScoreRow[]): void {
    const numbers = new Float64Array(this.numbers.length);
    for (const [i, row] of rows.entries()) move(row, numbers, i * ROW);
    this.numbers = numbers;
    this.#rows = rows;
  }

  #grow(): void {
    const grown = new Float64Array(2 * this.numbers.length);
    grown.set(this.numbers);
    this.numbers = grown;
    for (const row of this.#rows) row.numbers = grown;
  }
}

function move(row: ScoreRow, to: Float64Array, at: number): void {
  for (let k = 0; k < ROW; k++) to[at + k] = row.numbers[row.at + k]!;
  row.numbers = to;
  row.at = at;
}

/** The cost of an endpoint from its row alone; for rows whose load is not negative. */
export type RowCost = (numbers: Float64Array, at: number, now: number) => number;

/** Offset of row `i`. */
export function rowAt(i: number): number {
  return i * ROW;
}
