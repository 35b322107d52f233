/** The tap of a process, as `tap` and `top` read it. */
import type { TapCall, TapEvent, TapLost, TapRequest } from "@inmesh/core";
import type { Admin } from "./admin.ts";
import { loadSuggest, type Values } from "./arguments.ts";
import { EXIT, Failure, UsageFailure } from "./failure.ts";
import { headersIn } from "./header-option.ts";
import type { FILTER } from "./options.ts";

export type Ended = TapCall | TapRequest;

const OUTCOMES = ["success", "failure", "timeout", "overloaded", "abandoned"];

/** The query of `/api/v1/tap`. Throws a `UsageFailure` with all that is wrong. */
export async function tapQuery(
  services: readonly string[],
  values: Values<typeof FILTER>,
  shown: { readonly headers?: boolean; readonly query?: boolean } = {},
): Promise<URLSearchParams> {
  const mistakes: string[] = [];
  const query = new URLSearchParams();
  const add = (name: string, all: readonly (string | number | undefined)[]): void => {
    for (const one of all) if (one !== undefined) query.append(name, String(one));
  };
  add("service", services);
  add("route", values.route);
  add("direction", [values.direction]);
  add("method", values.method);
  add("path", [values.path]);
  add("status", values.status);
  add("outcome", values.outcome);
  add("reason", values.reason);
  add("endpoint", [values.endpoint]);
  add("peer", [values.peer]);
  add("minLatencyMs", [values["min-latency"]]);
  add("traceId", [values["trace-id"]]);
  add("ratio", [values.ratio]);
  add("limit", [values.limit]);
  add("maxPerSecond", [values["max-rps"]]);
  if (shown.headers === true) query.append("headers", "true");
  if (shown.query === true) query.append("query", "true");
  for (const outcome of values.outcome.filter((one) => !OUTCOMES.includes(one))) {
    const suggest = await loadSuggest();
    mistakes.push(`--outcome ${JSON.stringify(outcome)} ${suggest(outcome, OUTCOMES)}`);
  }
  for (const status of values.status.filter((one) => !/^(\d{1,3}|[1-5]xx|none)$/.test(one))) {
    mistakes.push(
      `--status must be a number, a class such as 5xx, or none (got ${JSON.stringify(status)})`,
    );
  }
  if (values.path !== undefined && !values.path.startsWith("/")) {
    mistakes.push(`--path must begin with / (got ${JSON.stringify(values.path)})`);
  }
  if (values.ratio !== undefined && !(values.ratio > 0 && values.ratio <= 1)) {
    mistakes.push(`--ratio must be above 0 and at most 1 (got ${values.ratio})`);
  }
  if (values["max-rps"] !== undefined && values["max-rps"] > 1000) {
    mistakes.push(`--max-rps must be at most 1000 (got ${values["max-rps"]})`);
  }
  try {
    for (const [name, value] of Object.entries(headersIn(values.header))) {
      query.append(`header.${name}`, value);
    }
  } catch (error) {
    if (!(error instanceof UsageFailure)) throw error;
    mistakes.push(...error.mistakes);
  }
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  return query;
}

/** Ends when the process ends the tap, because of its limit or its own end. `onAccepted`: the filter is taken. */
export async function* tapEvents(
  admin: Admin,
  query: URLSearchParams,
  onAccepted?: () => void,
): AsyncGenerator<Ended | TapLost, void> {
  const path = query.size === 0 ? "tap" : `tap?${query.toString()}`;
  for await (const { data } of admin.events(path, onAccepted)) {
    let event: TapEvent;
    try {
      event = JSON.parse(data) as TapEvent;
    } catch (error) {
      throw new Failure(
        EXIT.unreachable,
        { what: `The tap of ${admin.shown} has sent something that is not JSON` },
        error,
      );
    }
    // Further kinds of events may come with a newer process.
    if (event.event === "call" || event.event === "lost") yield event;
  }
}
