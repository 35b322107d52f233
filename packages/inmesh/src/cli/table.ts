/** Tables that fit their terminal. */
import type { Output, Style } from "./output.ts";
import { cutEnd, cutMiddle, padded, widthOf } from "./text.ts";

/** What a program reads. */
export type Datum = string | number | boolean | null | readonly unknown[];

/** What is known of a column is data: help, `--columns`, `--sort`, JSON and the reference page are made of it. */
export interface Column<Row> {
  /** As the table's head has it, and `--columns` and `--sort` take it in any case. */
  readonly name: string;
  /** The name on a terminal that has no room for the long one. */
  readonly brief?: string;
  /** In JSON. */
  readonly key: string;
  /** Types of its value there. Default: `number` and `null` where it is aligned to the right, else `string`. */
  readonly types?: readonly ("string" | "number" | "boolean" | "null" | "array" | "object")[];
  /** One sentence, for the reference page. */
  readonly meaning: string;
  readonly align?: "right";
  /** A row is found by it: it is never left out, and shortened only so far that rows stay different. */
  readonly identifies?: true;
  /** Shown by `-o wide` and `--columns` only. */
  readonly wide?: true;
  /** A wide one that is shown as well where rows differ in nothing by which they are found but have different values here. */
  readonly separates?: true;
  /** May be cut to this many columns of the terminal; without it, it is shown whole or left out. */
  readonly least?: number;
  /** Cut in its middle, because the end says as much as the beginning. */
  readonly middle?: true;
  /** Left out before the others where there is no room, the highest first. */
  readonly spare?: number;
  /** What there is no room for in a cell is printed below the table. */
  readonly below?: true;
  /** For programs: null where there is nothing to say. Default: what the row has under `key`. */
  readonly datum?: (row: Row) => Datum;
  /** How people see its number. */
  readonly unit?: (value: number | undefined) => string;
  /** For people; without it and `unit`, the datum as it is. Need not be escaped. */
  readonly text?: (row: Row) => string;
  readonly style?: (row: Row, datum: Datum) => Style | undefined;
}

export interface Rendered {
  readonly lines: readonly string[];
  /** Names of columns for which there was no room, without those that `below` has. */
  readonly leftOut: readonly string[];
  /** What had no room in a cell and is important, a line for each. */
  readonly below: readonly string[];
}

const GAP = "  ";
/** Of a column by which rows are found, where even without all others the rest is too wide. */
const SHORTEST_NAME = 8;

export function datumOf<Row>({ key, datum }: Column<Row>, row: Row): Datum {
  if (datum !== undefined) return datum(row);
  const value = (row as Readonly<Record<string, Datum | undefined>>)[key] ?? null;
  return typeof value === "number" && !Number.isFinite(value) ? null : value;
}

/** What a program reads of a row. */
export function itemOf<Row>(columns: readonly Column<Row>[], row: Row): Record<string, Datum> {
  return Object.fromEntries(columns.map((column) => [column.key, datumOf(column, row)]));
}

export function cellText<Row>(column: Column<Row>, row: Row): string {
  const { text, unit } = column;
  if (text !== undefined) return text(row);
  const value = datumOf(column, row);
  if (unit !== undefined) return unit(typeof value === "number" ? value : undefined);
  if (value === null) return "-";
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** With those that separate rows which would look the same, behind the columns by which rows are found. */
export function withSeparating<Row>(
  shown: readonly Column<Row>[],
  all: readonly Column<Row>[],
  rows: readonly Row[],
): readonly Column<Row>[] {
  const found = all.filter(({ identifies }) => identifies === true);
  const needed = all.filter((column) => {
    if (column.separates !== true || shown.includes(column)) return false;
    const values = new Map<string, string>();
    return rows.some((row) => {
      const key = JSON.stringify(found.map((one) => cellText(one, row)));
      const value = cellText(column, row);
      if (!values.has(key)) values.set(key, value);
      return values.get(key) !== value;
    });
  });
  if (needed.length === 0) return shown;
  const at = shown.findLastIndex(({ identifies }) => identifies === true) + 1;
  return shown.toSpliced(at, 0, ...needed);
}

export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  output: Output,
  headers = true,
): Rendered {
  const width = output.tableWidth;
  const mark = output.symbol("cut");
  const all = columns.map((column) => measured(column, rows, output, headers));
  let shown = all;
  // Long names of columns give way first, then text, then whole columns, and at last what rows are found by.
  if (total(shown) > width) for (const one of shown) abbreviate(one, headers);
  const leasts = new Map(shown.map((one) => [one, leastOf(one, one.column.least, mark)]));
  shrink(shown, width, leasts);
  while (total(shown) > width) {
    const last = leastNeeded(shown);
    if (last < 0) break;
    shown = shown.toSpliced(last, 1);
  }
  if (shown.length < all.length) widen(shown, width);
  if (total(shown) > width) {
    shrink(shown, width, new Map(shown.map((one) => [one, leastOf(one, SHORTEST_NAME, mark)])));
  }
  const cells = shown.map((one) => shortened(one, one.width, mark) ?? one.cells);
  const lines = rows.map((row, i) =>
    shown
      .map(({ column, width: room }, at) => {
        const isLast = at === shown.length - 1 && column.align !== "right";
        const cell = cells[at]![i]!;
        const text = isLast ? cell : padded(cell, room, column.align ?? "left");
        const style = column.style?.(row, datumOf(column, row));
        return style === undefined ? text : output.paint(style, text);
      })
      .join(GAP)
      .trimEnd(),
  );
  if (headers) {
    const head = shown.map(({ column, name, width: room }) =>
      padded(cutEnd(name, room, ""), room, column.align ?? "left"),
    );
    lines.unshift(output.paint("bold", head.join(GAP).trimEnd()));
  }
  const leftOut = all.filter((one) => !shown.includes(one));
  const below = belowOf(all, new Map(shown.map((one, i) => [one, cells[i]!])));
  const silent = leftOut.filter(({ column }) => column.below !== true);
  return { lines, leftOut: silent.map(({ column }) => column.name), below };
}

interface Measured<Row> {
  readonly column: Column<Row>;
  /** At the head. */
  name: string;
  readonly cells: readonly string[];
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

function total<Row>(shown: readonly Measured<Row>[]): number {
  return shown.reduce((sum, { width }) => sum + width, GAP.length * Math.max(0, shown.length - 1));
}

/** How narrow it may become: never below its head, and names only so far that they stay different. */
function leastOf<Row>(one: Measured<Row>, least: number | undefined, mark: string): number {
  const { natural, name, column } = one;
  if (least === undefined) return natural;
  let width = Math.min(natural, Math.max(least, name.length));
  if (column.identifies !== true) return width;
  while (width < natural && shortened(one, width, mark) === undefined) {
    width = Math.min(natural, width + 4);
  }
  return width;
}

/** Takes from the widest that may give, until all fit or none can. */
function shrink<Row>(
  shown: readonly Measured<Row>[],
  width: number,
  leasts: ReadonlyMap<Measured<Row>, number>,
): void {
  let over = total(shown) - width;
  while (over > 0) {
    let widest: Measured<Row> | undefined;
    for (const one of shown) {
      if (one.width <= leasts.get(one)!) continue;
      if (widest === undefined || one.width > widest.width) widest = one;
    }
    if (widest === undefined) return;
    widest.width--;
    over--;
  }
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

/** Undefined: in this width names that differ would look the same. */
function shortened<Row>(
  { column, cells, natural }: Measured<Row>,
  width: number,
  mark: string,
): readonly string[] | undefined {
  if (width >= natural) return cells;
  if (column.identifies !== true) {
    const cut = column.middle === true ? cutMiddle : cutEnd;
    return cells.map((cell) => cut(cell, width, mark));
  }
  const different = new Set(cells).size;
  for (const share of END_SHARES) {
    const shorter = cells.map((cell) => cutMiddle(cell, width, mark, share));
    if (new Set(shorter).size === different) return shorter;
  }
  return undefined;
}

/** Of columns that are left out, and of cells that were cut. */
function belowOf<Row>(
  all: readonly Measured<Row>[],
  shown: ReadonlyMap<Measured<Row>, readonly string[]>,
): string[] {
  const names = all.filter(({ column }) => column.identifies === true);
  const lines: string[] = [];
  for (const one of all) {
    if (one.column.below !== true) continue;
    for (const [i, cell] of one.cells.entries()) {
      if (cell === "" || cell === "-" || shown.get(one)?.[i] === cell) continue;
      lines.push(`${names.map(({ cells }) => cells[i]).join(" ")}: ${cell}`);
    }
  }
  return lines;
}

/** The columns that `--columns` names, or those that the format shows. Throws what is not known, by name. */
export function chosenColumns<Row>(
  all: readonly Column<Row>[],
  names: readonly string[],
  wide: boolean,
): { readonly columns: readonly Column<Row>[]; readonly unknown: readonly string[] } {
  if (names.length === 0)
    return { columns: all.filter((one) => wide || one.wide !== true), unknown: [] };
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
    const a = datumOf(column, one);
    const b = datumOf(column, other);
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
