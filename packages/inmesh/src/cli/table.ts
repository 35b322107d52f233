/**
 * Tables that fit. What is known of a column is data: help, `--columns`, `--sort`, JSON and the reference page are
 * made of the same list.
 */
import type { Output, Style } from "./output.ts";
import { cutEnd, cutMiddle, padded, widthOf } from "./text.ts";

/** What a program reads. */
export type Datum = string | number | boolean | null | readonly unknown[];

export interface Column<Row> {
  /** As the table's head has it, and `--columns` and `--sort` take it in any case. */
  readonly name: string;
  /** The name on a terminal that has no room for the long one. */
  readonly brief?: string;
  /** In JSON. */
  readonly key: string;
  /** One sentence, for the reference page. */
  readonly meaning: string;
  readonly align?: "right";
  /** A row is found by it: it is shortened last and only so far that rows stay different. */
  readonly identifies?: true;
  /** Shown by `-o wide` and `--columns` only. */
  readonly wide?: true;
  /** May be cut to this many columns of the terminal; others are left out instead. */
  readonly least?: number;
  /** Left out before the others where there is no room, the highest first. */
  readonly spare?: number;
  /** For programs: null where there is nothing to say. */
  readonly datum: (row: Row) => Datum;
  /** For people; without it, the datum as it is. Need not be escaped. */
  readonly text?: (row: Row) => string;
  readonly style?: (row: Row) => Style | undefined;
}

const GAP = "  ";
const IDENTIFYING_LEAST = 8;

export interface Rendered {
  readonly lines: readonly string[];
  /** Names of columns for which there was no room. */
  readonly leftOut: readonly string[];
}

export function cellText<Row>({ text, datum }: Column<Row>, row: Row): string {
  if (text !== undefined) return text(row);
  const value = datum(row);
  if (value === null) return "-";
  return Array.isArray(value) ? value.join(",") : String(value);
}

export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  output: Output,
  { headers = true, width = output.tableWidth } = {},
): Rendered {
  const mark = output.symbol("cut");
  let shown = columns.map((column) => measured(column, rows, output, headers));
  const leftOut: string[] = [];
  // Long names of columns give way first, then free text, then whole columns, then what rows are found by.
  if (total(shown) > width) for (const one of shown) abbreviate(one, headers);
  shrink(shown, width, ({ column: { identifies, least } }) => (identifies ? undefined : least));
  while (total(shown) > width) {
    const last = leastNeeded(shown);
    if (last < 0) break;
    leftOut.unshift(shown[last]!.column.name);
    shown = shown.toSpliced(last, 1);
  }
  if (leftOut.length > 0) widen(shown, width);
  shrink(shown, width, () => IDENTIFYING_LEAST);
  for (const one of shown) one.cells = cut(one, mark);
  const lines = rows.map((row, i) =>
    shown
      .map(({ column, cells, width: columns }, at) => {
        const isLast = at === shown.length - 1 && column.align !== "right";
        const text = isLast ? cells[i]! : padded(cells[i]!, columns, column.align ?? "left");
        const style = column.style?.(row);
        return style === undefined ? text : output.paint(style, text);
      })
      .join(GAP)
      .trimEnd(),
  );
  if (headers) {
    const head = shown.map(({ column, name, width: columns }) =>
      padded(cutEnd(name, columns, ""), columns, column.align ?? "left"),
    );
    lines.unshift(output.paint("bold", head.join(GAP).trimEnd()));
  }
  return { lines, leftOut };
}

interface Measured<Row> {
  readonly column: Column<Row>;
  /** At the head. */
  name: string;
  cells: readonly string[];
  /** Of the widest cell. */
  readonly content: number;
  /** Of cells and head. */
  natural: number;
  width: number;
}

function measured<Row>(
  column: Column<Row>,
  rows: readonly Row[],
  output: Output,
  headers: boolean,
): Measured<Row> {
  const cells = rows.map((row) => output.safe(cellText(column, row)));
  const { name } = column;
  const content = cells.reduce((widest, cell) => Math.max(widest, widthOf(cell)), 1);
  const natural = headers ? Math.max(content, name.length) : content;
  return { column, name, cells, content, natural, width: natural };
}

function abbreviate<Row>(one: Measured<Row>, headers: boolean): void {
  one.name = one.column.brief ?? one.name;
  one.natural = headers ? Math.max(one.content, one.name.length) : one.content;
  one.width = one.natural;
}

/** Which column goes next: the highest `spare`, and among equals the one on the right; -1 when only names are left. */
function leastNeeded<Row>(shown: readonly Measured<Row>[]): number {
  let found = -1;
  for (const [i, { column }] of shown.entries()) {
    if (column.identifies === true) continue;
    if (found < 0 || (column.spare ?? 0) >= (shown[found]!.column.spare ?? 0)) found = i;
  }
  return found;
}

function total<Row>(shown: readonly Measured<Row>[]): number {
  return shown.reduce((sum, { width }) => sum + width, GAP.length * Math.max(0, shown.length - 1));
}

/** Takes from the widest that may give, until all fit or none can. */
function shrink<Row>(
  shown: readonly Measured<Row>[],
  width: number,
  least: (one: Measured<Row>) => number | undefined,
): void {
  let over = total(shown) - width;
  while (over > 0) {
    let widest: Measured<Row> | undefined;
    for (const one of shown) {
      const floor = least(one);
      if (floor === undefined || one.width <= floor) continue;
      if (widest === undefined || one.width > widest.width) widest = one;
    }
    if (widest === undefined) return;
    widest.width--;
    over--;
  }
}

/** Gives back what a column that was left out has made free. */
function widen<Row>(shown: readonly Measured<Row>[], width: number): void {
  let free = width - total(shown);
  for (const one of shown) {
    const more = Math.min(free, one.natural - one.width);
    if (more <= 0) continue;
    one.width += more;
    free -= more;
  }
}

/** Shares of the room that the end of a name gets: what rows differ in may be at either side. */
const END_SHARES = [0.5, 0.75, 0.25, 0.9, 0.1];

function cut<Row>({ column, cells, width, natural }: Measured<Row>, mark: string): readonly string[] {
  if (width >= natural) return cells;
  if (column.identifies !== true) return cells.map((cell) => cutEnd(cell, width, mark));
  const different = new Set(cells).size;
  for (const share of END_SHARES) {
    const shorter = cells.map((cell) => cutMiddle(cell, width, mark, share));
    if (new Set(shorter).size === different) return shorter;
  }
  // No shorter form tells them apart: a line that is too long does.
  return cells;
}

/** The columns that `--columns` names, or those that the format shows. Throws what is not known, by name. */
export function chosenColumns<Row>(
  all: readonly Column<Row>[],
  names: readonly string[],
  wide: boolean,
): { readonly columns: readonly Column<Row>[]; readonly unknown: readonly string[] } {
  if (names.length === 0) return { columns: all.filter((one) => wide || one.wide !== true), unknown: [] };
  const unknown: string[] = [];
  const columns = names.flatMap((name) => {
    const found = all.find((one) => one.name.toLowerCase() === name.toLowerCase());
    if (found === undefined) unknown.push(name);
    return found ?? [];
  });
  return { columns, unknown };
}

export interface Order<Row> {
  readonly column: Column<Row>;
  readonly descending: boolean;
}

/** Rows without a value are last. Rows that are equal keep their order. */
export function sortRows<Row>(rows: readonly Row[], { column, descending }: Order<Row>): Row[] {
  return rows.toSorted((one, other) => {
    const a = column.datum(one);
    const b = column.datum(other);
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    const order =
      typeof a === "number" && typeof b === "number"
        ? a - b
        : String(a) < String(b)
          ? -1
          : String(a) > String(b)
            ? 1
            : 0;
    return descending ? -order : order;
  });
}
