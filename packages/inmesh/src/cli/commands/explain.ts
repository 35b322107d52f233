/** `inmesh explain GET http://checkout/pay`: where a call would go now, by which route, and why not elsewhere. */
import { duration } from "@inmesh/core/inspect";
import type {
  Candidate,
  ExplainedMatch,
  ExplainedRoute,
  ExplainRequest,
  Explanation,
  WrittenBy,
} from "@inmesh/core/inspect";
import { withAdmin } from "../admin.ts";
import type { Parsed } from "../arguments.ts";
import type { Context } from "../command.ts";
import { EXIT, UsageFailure, type ExitCode } from "../failure.ts";
import { headersIn } from "../header-option.ts";
import { counted, decimal, share } from "../numbers.ts";
import type { CONNECTION, EXPLAIN } from "../options.ts";
import type { Output } from "../output.ts";
import { widthOf } from "../text.ts";

type Options = typeof CONNECTION & typeof EXPLAIN;
type Request = { -readonly [K in keyof ExplainRequest]: ExplainRequest[K] };

/** Of what is left out only the number is said. */
const MOST_ENDPOINTS = 20;

export async function run(
  { values, positionals }: Parsed<Options>,
  context: Context,
): Promise<ExitCode> {
  const request = requestOf(positionals, values);
  return withAdmin(values, context, async (admin) => {
    const answer = await admin.post<Explanation>("Explanation", "explain", request);
    if (values.json) context.output.json(answer, 2);
    else for (const line of explained(answer, context.output)) context.output.line(line);
    return answer.refused === undefined ? EXIT.ok : EXIT.failed;
  });
}

function requestOf(positionals: readonly string[], values: Parsed<Options>["values"]): Request {
  const [method, target = ""] =
    positionals.length === 1 ? [undefined, positionals[0]] : positionals;
  if (method !== undefined && !/^[A-Za-z]+(-[A-Za-z]+)*$/.test(method)) {
    throw new UsageFailure([
      `<method> must be a method of HTTP such as GET (got ${JSON.stringify(method)})`,
    ]);
  }
  const request: Request = { service: target, headers: headersIn(values.header) };
  // A URL goes as it is; `orders/v1/orders/42` is a name and a path.
  const slash = target.includes("://") ? -1 : target.indexOf("/");
  if (slash >= 0) {
    request.service = target.slice(0, slash);
    request.path = target.slice(slash);
  }
  if (method !== undefined) request.method = method.toUpperCase();
  if (values.protocol !== undefined) request.protocol = values.protocol;
  return request;
}

function explained(answer: Explanation, output: Output): string[] {
  const { service, protocol, method, path, refused, route, matches, split } = answer;
  const lines = [
    output.paint("bold", output.safe(`${method} ${path}`)) +
      output.safe(`  to ${service} by ${protocol}`),
  ];
  const block = new Block(lines, output);
  if (refused !== undefined) {
    const text = `${refused.reason}: ${refused.why}`;
    block.rows("refused", [[output.paint("red", output.safe(text))]]);
  }
  block.rows("route", [
    [output.paint("green", output.safe(route.name)), takenBy(matches)],
    ...matches
      .filter((one) => !one.taken)
      .map((one) => [output.safe(matchName(one, matches)), output.safe(notTaken(one))]),
  ]);
  block.rows("written by", writers(route.wroteBy, output));
  block.rows("timeout", [[timeoutOf(route)]]);
  block.rows("attempts", [[attemptsOf(route)]]);
  block.rows(
    "split",
    split.map(({ backend, share: wanted, shareNow, why }) => {
      const now = Math.abs(wanted - shareNow) < 0.0005 ? "" : `, now ${share(shareNow)}`;
      return [output.safe(backend), `${share(wanted)}${now}`, output.safe(why ?? "")];
    }),
  );
  block.rows("zones", zoneRows(split, output));
  block.rows("endpoint", candidateRows(answer.candidates, output));
  return lines;
}

/** Only of backends whose calls are not spread over all zones alike. */
function zoneRows(split: Explanation["split"], output: Output): string[][] {
  return split.flatMap(({ backend, zones }) => {
    if (zones === undefined || zones.mode === "all") return [];
    const shares = zones.shares.map((one) => `${one.zone || "others"} ${share(one.share)}`);
    return [[output.safe(backend), output.safe(shares.join(", ")), output.safe(zones.why)]];
  });
}

/** Its number only where the route has several. */
function matchName({ route, match }: ExplainedMatch, all: readonly ExplainedMatch[]): string {
  const isOnly = !all.some((one) => one.route === route && one.match !== match);
  return isOnly ? route : `${route}, match ${match + 1}`;
}

function takenBy(matches: readonly ExplainedMatch[]): string {
  const taken = matches.find((one) => one.taken);
  if (taken === undefined) return "no route matches, so the settings of the service apply";
  return matchName(taken, matches) === taken.route ? "" : `by its match ${taken.match + 1}`;
}

function notTaken({ matched, why }: ExplainedMatch): string {
  return matched
    ? "not: it would match, and others come before it"
    : `not: ${why ?? "a condition does not hold"}`;
}

/** A word on the left, and rows whose cells stand below each other on its right. */
class Block {
  readonly #lines: string[];
  readonly #output: Output;

  constructor(lines: string[], output: Output) {
    this.#lines = lines;
    this.#output = output;
  }

  rows(word: string, rows: readonly (readonly string[])[]): void {
    const widths: number[] = [];
    for (const row of rows) {
      for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, bareWidth(cell));
    }
    for (const [i, row] of rows.entries()) {
      const head = (i === 0 ? word : "").padEnd(12);
      const cells = row.map(
        (cell, at) => cell + " ".repeat(Math.max(0, widths[at]! - bareWidth(cell))),
      );
      const line = `${head}${cells.join("  ")}`.trimEnd();
      this.#lines.push(...folded(line, cells, this.#output));
    }
  }
}

/** Where the last cell has no room, it goes on below itself. */
function folded(line: string, cells: readonly string[], output: Output): string[] {
  if (bareWidth(line) <= output.width || cells.length < 2) return [line];
  const before = 12 + cells.slice(0, -1).reduce((sum, cell) => sum + bareWidth(cell) + 2, 0);
  const last = cells.at(-1)!.trimEnd();
  // Beside a long name there is too little room for a sentence.
  const indent = output.width - before < 30 ? 14 : before;
  const start = line.slice(0, line.length - last.length).trimEnd();
  const wrapped = output.wrap(last, indent).split("\n");
  if (indent !== before) return [start, ...wrapped];
  return [
    start + " ".repeat(Math.max(2, before - bareWidth(start))) + wrapped[0]!.trimStart(),
    ...wrapped.slice(1),
  ];
}

// oxlint-disable-next-line no-control-regex
const COLOUR = /\u001b\[\d+m/g;

function bareWidth(text: string): number {
  return widthOf(text.replaceAll(COLOUR, ""));
}

function writers(wroteBy: readonly WrittenBy[], output: Output): string[][] {
  return wroteBy.map(({ path, rank, origin, line }) => {
    const place = line === undefined ? origin : `${origin}:${line}`;
    // Most origins begin with what their source is.
    const isClear = origin === rank || /^(file|env):/.test(origin);
    return [output.safe(path), output.safe(isClear ? place : `${rank}, ${place}`)];
  });
}

function timeoutOf({ requestMs, backendRequestMs }: ExplainedRoute): string {
  const call =
    requestMs === undefined ? "none for the call" : `${duration(requestMs)} for the call`;
  return backendRequestMs === undefined
    ? call
    : `${call}, ${duration(backendRequestMs)} for an attempt`;
}

function attemptsOf({ attempts, idempotent, streaming }: ExplainedRoute): string {
  const most = attempts === 1 ? "1" : `up to ${attempts}`;
  const again = idempotent
    ? "may be repeated"
    : "is repeated only if it certainly was not processed";
  return `${most}; the call ${again}${streaming ? "; a stream" : ""}`;
}

function candidateRows(candidates: readonly Candidate[], output: Output): string[][] {
  if (candidates.length === 0) return [["none"]];
  const rows = candidates
    .slice(0, MOST_ENDPOINTS)
    .map(({ endpoint, chance, cost, inFlight, why }) => [
      output.safe(endpoint),
      chance > 0 ? share(chance) : "never",
      `cost ${decimal(cost, 1)}`,
      `${inFlight} in flight`,
      output.safe(why),
    ]);
  const more = candidates.length - rows.length;
  if (more > 0) rows.push([`and ${counted(more, "endpoint")} more; --json has them`]);
  return rows;
}
