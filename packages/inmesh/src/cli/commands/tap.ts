/** `inmesh tap`: calls as they end, a line for each. */
import { duration } from "@inmesh/core/inspect";
import type { TapAttempt, TapDecision } from "@inmesh/core";
import { withAdmin } from "../admin.ts";
import type { Parsed } from "../arguments.ts";
import type { Context } from "../command.ts";
import { EXIT, type ExitCode } from "../failure.ts";
import { counted } from "../numbers.ts";
import type { CONNECTION, FILTER, TAP } from "../options.ts";
import type { Output, Style } from "../output.ts";
import { tapEvents, tapQuery, type Ended } from "../tap-events.ts";
import { cutEnd, cutMiddle, padded, widthOf } from "../text.ts";

type Options = typeof CONNECTION & typeof FILTER & typeof TAP;

export async function run(
  { values, positionals }: Parsed<Options>,
  context: Context,
): Promise<ExitCode> {
  const query = await tapQuery(positionals, values, values);
  const { output, signal } = context;
  const json = values.json || values.output === "json" || values.output === "jsonl";
  return withAdmin(values, context, async (admin) => {
    const begun = (): void => output.hint(`taps ${admin.shown}; Ctrl-C ends`);
    for await (const event of tapEvents(admin, query, begun)) {
      if (json) output.json(event);
      else if (event.event === "lost") {
        const why =
          event.because === "rate"
            ? "more come than --max-rps"
            : "they came faster than they were read";
        output.error(`${counted(event.count, "call")} not shown: ${why}`);
      } else {
        output.line(callLine(event, output));
        if (values.headers) for (const line of headLines(event, output)) output.line(line);
        if (values.attempts) for (const line of attemptLines(event, output)) output.line(line);
      }
    }
    return signal.aborted ? EXIT.interrupted : EXIT.ok;
  });
}

const OUTCOME_STYLES: Readonly<Record<string, Style>> = {
  success: "green",
  failure: "red",
  timeout: "red",
  overloaded: "yellow",
  abandoned: "dim",
};

const LEAST_PATH = 12;

/**
 * Columns have fixed widths: lines come one by one, so nothing can be measured before.
 * `10:02:17.041 out 503  118ms 2x orders/read     GET /v1/orders/42  10.0.0.8:8080  failure: …`
 */
function callLine(event: Ended, output: Output): string {
  const room = output.tableWidth;
  const mark = output.symbol("cut");
  const outbound = event.direction === "outbound";
  const attempts = outbound ? `${event.attempts.length}x` : "";
  const left = [
    timeOf(event.at),
    outbound ? "out" : "in ",
    padded(event.status === undefined ? "-" : String(event.status), 3, "right"),
    padded(duration(event.durationMs), 6, "right"),
    padded(attempts, 2, "right"),
  ].join(" ");
  const route = event.route === "" || event.route === "default" ? "" : `/${event.route}`;
  const narrow = room < 120;
  const who = output.safe(event.service + route);
  const name = padded(cutMiddle(who, narrow ? 18 : 28, mark), narrow ? 18 : 28, "left");
  const where = output.safe(outbound ? endpointOf(event.attempts) : peerOf(event));
  const whereWidth = narrow ? 0 : 24;
  const right = output.safe(endOf(event, narrow));
  const query = event.query === undefined ? "" : `?${event.query}`;
  const request = output.safe(`${event.method} ${event.path}${query}`);
  const fixed = widthOf(left) + 1 + widthOf(name) + 1;
  const place =
    whereWidth === 0 ? "" : padded(cutMiddle(where, whereWidth, mark), whereWidth, "left");
  if (room === Infinity) {
    return [left, padded(who, 28, "left"), padded(where, 24, "left"), request, right]
      .join(" ")
      .trimEnd();
  }
  const free = room - fixed - (place === "" ? 0 : whereWidth + 1);
  if (free < LEAST_PATH) return cutEnd([left, who, request, right].join(" "), room, mark);
  // What went wrong is read before the end of a long path.
  const endWidth = Math.min(widthOf(right), Math.max(0, free - LEAST_PATH - 1));
  const path = cutEnd(request, free - (endWidth === 0 ? 0 : endWidth + 1), mark);
  const end = cutEnd(right, endWidth, mark);
  const style = OUTCOME_STYLES[event.outcome];
  const painted = style === undefined || end === "" ? end : output.paint(style, end);
  return [left, name, ...(place === "" ? [] : [place]), end === "" ? path : `${path} ${painted}`]
    .join(" ")
    .trimEnd();
}

/** In the time zone of the reader. */
function timeOf(wallMs: number): string {
  const at = new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hour12: false,
  });
  return at.format(wallMs);
}

function endpointOf(attempts: readonly TapAttempt[]): string {
  return attempts.at(-1)?.endpoint ?? "-";
}

function peerOf({ peer }: Extract<Ended, { direction: "inbound" }>): string {
  if (peer.id !== undefined) return peer.id;
  return peer.address === undefined ? "unix" : `${peer.address}:${peer.port ?? 0}`;
}

/** Nothing for a success: a screen full of calls shows what is not one. */
function endOf({ outcome, reason }: Ended, narrow: boolean): string {
  if (reason === undefined) return outcome === "success" ? "" : outcome;
  return narrow ? reason : `${outcome}: ${reason}`;
}

function headLines({ headers }: Ended, output: Output): string[] {
  return Object.entries(headers ?? {}).map(([name, value]) =>
    cutEnd(output.safe(`    ${name}: ${value}`), output.tableWidth, output.symbol("cut")),
  );
}

/** `    #2 retry after status: 10.0.0.8:8080 503 failure, picked after 12ms, head after 40ms: lower cost of two` */
function attemptLines(event: Ended, output: Output): string[] {
  const lines = event.decisions.map(
    ({ what, result, why }: TapDecision) => `    ${what} ${result}: ${why}`,
  );
  if (event.direction === "outbound") {
    for (const one of event.attempts) lines.push(attemptLine(one));
    if (event.error !== undefined)
      lines.push(`    error ${event.error.code}: ${event.error.message}`);
  }
  return lines.map((line) =>
    output.paint("dim", cutEnd(output.safe(line), output.tableWidth, output.symbol("cut"))),
  );
}

function attemptLine(attempt: TapAttempt): string {
  const {
    number,
    kind,
    retryReason,
    endpoint,
    status,
    outcome,
    reason,
    startedMs,
    headMs,
    durationMs,
  } = attempt;
  const because = retryReason === undefined ? "" : ` because of ${retryReason}`;
  const ended = [
    status === undefined ? "" : ` ${status}`,
    ` ${outcome}`,
    reason === undefined ? "" : `: ${reason}`,
  ];
  const times = [`picked at ${duration(startedMs)}`];
  if (headMs !== undefined) times.push(`head ${duration(headMs)}`);
  if (durationMs !== undefined) times.push(`end ${duration(durationMs)}`);
  return `    #${number} ${kind}${because} ${endpoint}${ended.join("")} (${times.join(", ")}; ${attempt.why})`;
}
