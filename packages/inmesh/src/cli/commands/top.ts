/** `inmesh top`: which calls there are most of, added up while it runs, from the tap of the process. */
import { duration } from "@inmesh/core/inspect";
import type { TapLost, TapRequest } from "@inmesh/core";
import { withAdmin } from "../admin.ts";
import type { Parsed } from "../arguments.ts";
import { TOP_COLUMNS, TOP_ROUTE_COLUMNS, type TopRow } from "../columns.ts";
import type { Context } from "../command.ts";
import { EXIT, UsageFailure, type ExitCode } from "../failure.ts";
import { counted } from "../numbers.ts";
import type { CONNECTION, FILTER, TOP } from "../options.ts";
import { Screen } from "../screen.ts";
import { parseOrder } from "../order.ts";
import { itemOf, renderTable, sortRows, type Column, type Order } from "../table.ts";
import { tapEvents, tapQuery, type Ended } from "../tap-events.ts";
import { cutEnd } from "../text.ts";

type Options = typeof CONNECTION & typeof FILTER & typeof TOP;

/** Paths are what callers make of them. What comes when all rows are taken is counted in one that is named other. */
const MAX_ROWS = 1000;
const OTHER = "other";
const COUNT = TOP_COLUMNS.find(({ name }) => name === "COUNT")!;

type Columns = readonly Column<TopRow>[];

interface Sum {
  readonly source: string;
  readonly destination: string;
  readonly method: string;
  readonly path: string;
  count: number;
  success: number;
  abandoned: number;
  bestMs: number;
  worstMs: number;
  lastMs: number;
}

export async function run(
  { values, positionals }: Parsed<Options>,
  context: Context,
): Promise<ExitCode> {
  const columns = values.routes ? TOP_ROUTE_COLUMNS : TOP_COLUMNS;
  const order = await orderOf(columns, values.sort);
  // The table is about all calls, so a reader's limit is at its highest.
  const query = await tapQuery(positionals, { ...values, "max-rps": values["max-rps"] ?? 1000 });
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const stoppable = { ...context, signal: stop.signal };
  return withAdmin(values, stoppable, async (admin) => {
    const top = new Top(values, columns, order, context, end);
    const cancelEnd = values.for === undefined ? () => {} : context.clock.after(values.for, end);
    context.signal.addEventListener("abort", end);
    try {
      for await (const event of tapEvents(admin, query, () => top.begin())) top.add(event);
      top.end(context.signal.aborted);
      return context.signal.aborted ? EXIT.interrupted : EXIT.ok;
    } finally {
      cancelEnd();
      top.close();
      context.signal.removeEventListener("abort", end);
    }
  });
}

/** The table, and when and where it is drawn. */
class Top {
  readonly #values: Parsed<Options>["values"];
  readonly #columns: Columns;
  readonly #context: Context;
  readonly #screen: Screen | undefined;
  readonly #sums: Sums;
  readonly #beganAt: number;
  #order: Order<TopRow>;
  #cancelDraw: () => void = () => {};

  constructor(
    values: Parsed<Options>["values"],
    columns: Columns,
    order: Order<TopRow>,
    context: Context,
    end: () => void,
  ) {
    this.#values = values;
    this.#columns = columns;
    this.#context = context;
    this.#order = order;
    this.#sums = new Sums(values.routes);
    this.#beganAt = context.clock.now();
    if (!context.output.isTerminal || values.json) return;
    this.#screen = new Screen(
      context,
      (key) => {
        if (key === "q") end();
        else if (key === "s") this.#order = nextOrder(this.#columns, this.#order);
        else if (key === "c") this.#sums.clear();
        else return;
        this.#draw();
      },
      () => this.#draw(),
    );
  }

  /** Once the process has taken the filter: before that there may be an error to print. */
  begin(): void {
    this.#screen?.open();
    if (this.#screen !== undefined) this.#draw();
    this.#drawLater();
  }

  add(event: Ended | TapLost): void {
    if (event.event === "lost") this.#sums.lost += event.count;
    else this.#sums.add(event);
  }

  /** Lines are drawn once more, so that nothing that was counted is missing. */
  end(wasInterrupted: boolean): void {
    if (this.#screen === undefined && !wasInterrupted) this.#draw();
  }

  close(): void {
    this.#cancelDraw();
    this.#screen?.close();
  }

  #drawLater(): void {
    const everyMs = this.#values.every ?? (this.#screen === undefined ? 5000 : 1000);
    this.#cancelDraw = this.#context.clock.after(everyMs, () => {
      this.#draw();
      this.#drawLater();
    });
  }

  #draw(): void {
    const { output, clock } = this.#context;
    const windowMs = clock.now() - this.#beganAt;
    const rows = sortRows(this.#sums.rows(), this.#order);
    const { lost } = this.#sums;
    if (this.#values.json) {
      const items = rows.map((row) => itemOf(this.#columns, row));
      output.json({ apiVersion: "inmesh.dev/v1", kind: "TopList", windowMs, lost, items });
      return;
    }
    const screen = this.#screen;
    const height = this.#values.rows ?? (screen === undefined ? 20 : output.height - 3);
    const shown = rows.slice(0, Math.max(1, height));
    const { lines } = renderTable(this.#columns, shown, output);
    const head = [`${counted(this.#sums.count, "call")} in ${duration(windowMs)}`];
    // Before the rest: what does not fit is cut from the end.
    if (screen !== undefined) head.push("q ends, s sorts, c clears");
    if (lost > 0) head.push(`${lost} more not shown`);
    if (rows.length > shown.length) head.push(`${rows.length - shown.length} rows below`);
    const { column, descending } = this.#order;
    head.push(`by ${column.name.toLowerCase()}${descending ? ", largest first" : ""}`);
    const line = cutEnd(head.join("; "), output.width, output.symbol("cut"));
    if (screen === undefined) output.line([line, ...lines, ""].join("\n"));
    else screen.draw([output.paint("dim", line), "", ...lines]);
  }
}

/** Calls of one source, destination, method and path, added up. */
class Sums {
  lost = 0;
  count = 0;
  readonly #byRoute: boolean;
  readonly #sums = new Map<string, Sum>();

  constructor(byRoute: boolean) {
    this.#byRoute = byRoute;
  }

  clear(): void {
    this.#sums.clear();
    this.count = 0;
    this.lost = 0;
  }

  add(event: Ended): void {
    const { outcome, durationMs } = event;
    const sum = this.#sumOf(event);
    this.count++;
    sum.count++;
    if (outcome === "success") sum.success++;
    if (outcome === "abandoned") sum.abandoned++;
    sum.bestMs = Math.min(sum.bestMs, durationMs);
    sum.worstMs = Math.max(sum.worstMs, durationMs);
    sum.lastMs = durationMs;
  }

  rows(): TopRow[] {
    return [...this.#sums.values()].map(({ success, abandoned, ...sum }) => {
      const judged = sum.count - abandoned;
      return { ...sum, successRatio: judged > 0 ? success / judged : undefined };
    });
  }

  #sumOf(event: Ended): Sum {
    const { direction, service: destination, method, route } = event;
    const source = direction === "outbound" ? "self" : peerName(event);
    const path = this.#byRoute ? route || "default" : event.path;
    let key = JSON.stringify([source, destination, method, path]);
    let found = this.#sums.get(key);
    if (found !== undefined) return found;
    let names = { source, destination, method, path };
    if (this.#sums.size >= MAX_ROWS) {
      names = { source: OTHER, destination: OTHER, method: OTHER, path: OTHER };
      key = OTHER;
      found = this.#sums.get(key);
    }
    found ??= {
      ...names,
      count: 0,
      success: 0,
      abandoned: 0,
      bestMs: Infinity,
      worstMs: 0,
      lastMs: 0,
    };
    this.#sums.set(key, found);
    return found;
  }
}

/** Its port is another one for each connection. */
function peerName({ peer }: TapRequest): string {
  return peer.id ?? peer.address ?? "unix";
}

async function orderOf(columns: Columns, sort: string | undefined): Promise<Order<TopRow>> {
  if (sort === undefined) return { column: COUNT, descending: true };
  const { order, mistake } = await parseOrder(columns, sort);
  if (mistake !== undefined) throw new UsageFailure([mistake]);
  return order!;
}

function nextOrder(columns: Columns, { column }: Order<TopRow>): Order<TopRow> {
  const at = columns.findIndex(({ name }) => name === column.name);
  const next = columns[(at + 1) % columns.length]!;
  return { column: next, descending: next.align === "right" };
}
