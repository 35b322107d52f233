/** What `stat`, `routes`, `endpoints` and `config` have in common: formats, columns, order, `-w`. */
import { duration } from "@inmesh/core/inspect";
import type { Answer } from "@inmesh/core/inspect";
import { withAdmin, type Admin } from "./admin.ts";
import { loadSuggest, type Values } from "./arguments.ts";
import { pause } from "./clock.ts";
import type { Context } from "./command.ts";
import { EXIT, Failure, mayCome, UsageFailure, type ExitCode } from "./failure.ts";
import type { CONNECTION, LISTING } from "./options.ts";
import { parseOrder } from "./order.ts";
import { InPlace } from "./screen.ts";
import {
  cellText,
  chosenColumns,
  itemOf,
  renderTable,
  sortRows,
  withSeparating,
  type Column,
  type Order,
} from "./table.ts";
import { cutEnd } from "./text.ts";
import { reading, windowMs, type Reading } from "./traffic.ts";

export type ListingValues = Values<typeof CONNECTION & typeof LISTING> & {
  readonly window?: number | undefined;
  readonly every?: number | undefined;
};

export interface Listing<A extends Answer, Row> {
  /** Of the JSON document: `StatList`; a row of jsonl is a `Stat`. */
  readonly kind: string;
  readonly columns: readonly Column<Row>[];
  readonly read: (admin: Admin) => Promise<A>;
  readonly rows: (reading: Reading<A>) => readonly Row[];
  /** Numbers are counted over time: `--window`. */
  readonly counts: boolean;
  /** Where there are no rows. */
  readonly empty: string;
  /** Sentences for stderr. */
  readonly notes?: (reading: Reading<A>) => readonly string[];
}

const DEFAULT_PERIOD_MS = 2000;

export async function list<A extends Answer, Row>(
  listing: Listing<A, Row>,
  values: ListingValues,
  context: Context,
): Promise<ExitCode> {
  const view = await viewOf(listing, values);
  const { output, clock, signal } = context;
  const period = values.window ?? values.every ?? DEFAULT_PERIOD_MS;
  const inPlace = output.isTerminal && view.format === "table" ? new InPlace(output) : undefined;
  return withAdmin(values, context, async (admin) => {
    let before: A | undefined;
    if (values.window !== undefined && !values.watch) {
      before = await listing.read(admin);
      await pause(clock, period, signal);
      if (signal.aborted) return EXIT.interrupted;
    }
    for (;;) {
      try {
        const read = reading(await listing.read(admin), listing.counts ? before : undefined);
        show(
          listing,
          read,
          { ...view, isOne: !values.watch },
          context,
          values.watch ? inPlace : undefined,
        );
        before = read.now;
      } catch (error) {
        // A process that is restarted while it is watched comes back; one that was never there is a mistake.
        if (before === undefined || !values.watch || !mayCome(error)) throw error;
        output.error(`${output.safe(error.message)}; reading again`);
        inPlace?.begin();
      }
      if (!values.watch) return EXIT.ok;
      await pause(clock, period, signal);
      if (signal.aborted) return EXIT.interrupted;
      if (inPlace === undefined && view.format === "table") output.line("");
    }
  });
}

interface View<Row> {
  readonly format: "table" | "json" | "jsonl" | "name";
  readonly columns: readonly Column<Row>[];
  /** By `--columns`. */
  readonly isChosen: boolean;
  readonly headers: boolean;
  /** There will be no other reading: a document may have several lines. */
  readonly isOne?: boolean;
  readonly order: Order<Row> | undefined;
}

/** Throws a `UsageFailure` with all that is wrong. */
async function viewOf<A extends Answer, Row>(
  { columns: all, counts }: Listing<A, Row>,
  values: ListingValues,
): Promise<View<Row>> {
  const mistakes: string[] = [];
  const { output = "table" } = values;
  if (values.json && values.output !== undefined && values.output !== "json") {
    mistakes.push(`--json and -o ${values.output} exclude each other`);
  }
  if (counts && values.window === 0) mistakes.push("--window must be longer than 0");
  if (!counts && values.every !== undefined && !values.watch) mistakes.push("--every needs -w");
  const names = (values.columns ?? "").split(",").flatMap((name) => name.trim() || []);
  if (values.columns !== undefined && names.length === 0)
    mistakes.push("--columns names no column");
  const { columns, unknown } = chosenColumns(all, names, output === "wide");
  if (unknown.length > 0) {
    const suggest = await loadSuggest();
    const known = all.map(({ name }) => name);
    for (const name of unknown)
      mistakes.push(`--columns ${JSON.stringify(name)} ${suggest(name, known)}`);
  }
  const { order, mistake } = values.sort === undefined ? {} : await parseOrder(all, values.sort);
  if (mistake !== undefined) mistakes.push(mistake);
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  const format = values.json ? "json" : output === "wide" ? "table" : output;
  return { format, columns, isChosen: names.length > 0, headers: !values["no-headers"], order };
}

function show<A extends Answer, Row>(
  listing: Listing<A, Row>,
  read: Reading<A>,
  view: View<Row>,
  context: Context,
  inPlace: InPlace | undefined,
): void {
  const { output } = context;
  let rows = listing.rows(read);
  if (view.order !== undefined) rows = sortRows(rows, view.order);
  if (view.format === "json" || view.format === "jsonl") {
    printJson(listing, read, rows, view, context);
    return;
  }
  if (view.format === "name") {
    const found = listing.columns.filter(({ identifies }) => identifies === true);
    for (const row of rows)
      output.line(found.map((one) => output.safe(cellText(one, row))).join(" "));
    return;
  }
  const columns = view.isChosen
    ? view.columns
    : withSeparating(view.columns, listing.columns, rows);
  const { lines, leftOut, below: cut } = renderTable(columns, rows, output, view.headers);
  const notes = [...cut, ...notesOf(listing, read, rows, leftOut).map((note) => output.safe(note))];
  if (inPlace !== undefined) {
    const below = notes.flatMap((note) => output.wrap(note, 0).split("\n"));
    const fitting = below.map((line) => cutEnd(line, output.width, output.symbol("cut")));
    inPlace.draw([...lines, ...fitting.map((line) => output.paint("dim", line))]);
    return;
  }
  for (const line of rows.length === 0 ? [] : lines) output.line(line);
  for (const note of notes) output.note(note);
}

function notesOf<A extends Answer, Row>(
  { empty, counts, notes }: Listing<A, Row>,
  read: Reading<A>,
  rows: readonly Row[],
  leftOut: readonly string[],
): string[] {
  if (rows.length === 0) return [empty];
  const all: string[] = [];
  if (counts) {
    const length = duration(windowMs(read));
    all.push(
      read.before === undefined
        ? `counted for ${length}, since the mesh was made; --window 10s or -w counts what happens now`
        : `counted for ${length}`,
    );
  }
  if (leftOut.length > 0) {
    all.push(
      `no room for ${leftOut.join(", ")}; a wider terminal, a pipe, --columns or -o json shows them`,
    );
  }
  return [...all, ...(notes?.(read) ?? [])];
}

function printJson<A extends Answer, Row>(
  { columns, kind, counts }: Listing<A, Row>,
  read: Reading<A>,
  rows: readonly Row[],
  { format, isOne = true }: View<Row>,
  { output }: Context,
): void {
  const { apiVersion, instance, readAtWallMs } = read.now;
  const head = { instance, readAtWallMs, ...(counts ? { windowMs: windowMs(read) } : {}) };
  const items = rows.map((row) => itemOf(columns, row));
  if (format === "json") {
    output.json({ apiVersion, kind: `${kind}List`, ...head, items }, isOne ? 2 : undefined);
  } else for (const item of items) output.json({ apiVersion, kind, ...head, ...item });
}

/** Those that the arguments name, in the order of the process; all without one. Throws a `Failure`. */
export async function onlyServices<T extends { readonly name: string }>(
  all: readonly T[],
  names: readonly string[],
): Promise<readonly T[]> {
  if (names.length === 0) return all;
  const known = [...new Set(all.map(({ name }) => name))];
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return all.filter(({ name }) => names.includes(name));
  const suggest = await loadSuggest();
  const what = unknown.map((name) => `The service ${JSON.stringify(name)} ${suggest(name, known)}`);
  throw new Failure(EXIT.usage, {
    what: known.length === 0 ? "The process has called no service yet" : what.join("\n"),
    next: "A service is known once it has been called: inmesh stat lists them.",
  });
}
