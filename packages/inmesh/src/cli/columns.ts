/** Columns of `stat`, `routes`, `endpoints`, `config` and `top`: what the reference page and the tests read too. */
import { duration } from "@inmesh/core/inspect";
import type { EndpointView, ConfigValue } from "@inmesh/core/inspect";
import { NOTHING, decimal, percent, rate, share } from "./numbers.ts";
import type { Style } from "./output.ts";
import type { Column, Datum } from "./table.ts";

export interface Quantiles {
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** The last limit of the histogram: what is above it is not known more exactly. */
  readonly maxMs: number;
}

/** One service that the process calls, or one server that it runs. */
export interface StatRow extends Quantiles {
  readonly name: string;
  readonly direction: "out" | "in";
  readonly protocol: string;
  /** Of a service. */
  readonly endpoints: { readonly available: number; readonly total: number } | undefined;
  readonly state: string;
  readonly successRatio: number | undefined;
  readonly perSecond: number | undefined;
  readonly connections: number | undefined;
  readonly attemptsPerCall: number | undefined;
  readonly tls: boolean | undefined;
  readonly inFlight: number;
  readonly notes: readonly string[];
}

export const STAT_COLUMNS: readonly Column<StatRow>[] = [
  {
    name: "NAME",
    key: "name",
    identifies: true,
    least: 20,
    datum: (row) => row.name,
    meaning: "The service, or the server.",
  },
  {
    name: "DIR",
    key: "direction",
    datum: (row) => row.direction,
    meaning: "`out`: a service that the process calls; `in`: a server that it runs.",
  },
  {
    name: "ENDPOINTS",
    brief: "ENDP",
    key: "endpoints",
    align: "right",
    datum: ({ endpoints }) => endpoints?.available ?? null,
    text: ({ endpoints }) =>
      endpoints === undefined ? NOTHING : `${endpoints.available}/${endpoints.total}`,
    style: ({ endpoints }) =>
      endpoints !== undefined && endpoints.available < endpoints.total ? "yellow" : undefined,
    meaning: "Endpoints that may be picked now, of all; in JSON the former.",
  },
  {
    name: "SUCCESS",
    key: "successRatio",
    align: "right",
    datum: (row) => known(row.successRatio),
    text: (row) => percent(row.successRatio),
    style: (row) => bySuccess(row.successRatio),
    meaning: "Calls that succeeded, of those that the caller did not give up; in JSON from 0 to 1.",
  },
  {
    name: "RPS",
    key: "perSecond",
    align: "right",
    datum: (row) => known(row.perSecond),
    text: (row) => rate(row.perSecond),
    meaning: "Calls that ended, for each second.",
  },
  ...(["50", "95", "99"] as const).map((of) =>
    latency<StatRow>(
      of,
      (row) => row[`p${of}Ms`],
      (row) => row.maxMs,
    ),
  ),
  {
    name: "TCP_CONN",
    brief: "CONN",
    spare: 2,
    key: "connections",
    align: "right",
    datum: (row) => known(row.connections),
    meaning: "Connections that are open now.",
  },
  {
    name: "ATTEMPTS",
    brief: "ATT",
    spare: 1,
    key: "attemptsPerCall",
    align: "right",
    datum: (row) => known(row.attemptsPerCall),
    text: (row) => decimal(row.attemptsPerCall),
    meaning: "Attempts for each call: the load that retries add.",
  },
  {
    name: "TLS",
    key: "tls",
    types: ["boolean", "null"],
    spare: 3,
    datum: (row) => row.tls ?? null,
    text: ({ tls }) => (tls === undefined ? NOTHING : tls ? "yes" : "no"),
    meaning: "All attempts are encrypted. What clients of a server use the process does not say.",
  },
  {
    name: "NOTE",
    key: "notes",
    types: ["array"],
    least: 20,
    below: true,
    datum: (row) => row.notes,
    text: (row) => row.notes.join("; "),
    style: (row) => (row.notes.length > 0 ? "yellow" : undefined),
    meaning: "What somebody should look at, the worst first.",
  },
  {
    name: "PROTOCOL",
    key: "protocol",
    wide: true,
    separates: true,
    datum: (row) => row.protocol,
    meaning:
      "`http` or `grpc`; `tcp` of a mesh-proxy. Also shown where a service is called by several of them.",
  },
  {
    name: "STATE",
    key: "state",
    wide: true,
    datum: (row) => row.state,
    meaning:
      "Of a service `asleep`, `pending`, `connected`, `unconnected`, `unreachable` or `closed`; of a server `open`, `draining`, `closing` or `closed`.",
  },
  {
    name: "IN_FLIGHT",
    key: "inFlight",
    wide: true,
    align: "right",
    datum: (row) => row.inFlight,
    meaning: "Calls in progress now.",
  },
];

export interface RouteRow extends Quantiles {
  readonly route: string;
  readonly service: string;
  readonly protocol: string;
  /** As the application sees it. */
  readonly effectiveSuccessRatio: number | undefined;
  readonly effectivePerSecond: number | undefined;
  /** As the endpoints see it. */
  readonly actualSuccessRatio: number | undefined;
  readonly actualPerSecond: number | undefined;
  readonly backends: readonly { readonly backend: string; readonly share: number }[];
}

export const ROUTE_COLUMNS: readonly Column<RouteRow>[] = [
  {
    name: "ROUTE",
    key: "route",
    identifies: true,
    least: 14,
    datum: (row) => row.route,
    meaning: "Its name; `default` for calls that match none.",
  },
  {
    name: "SERVICE",
    key: "service",
    identifies: true,
    least: 14,
    datum: (row) => row.service,
    meaning: "The service whose route it is.",
  },
  {
    name: "EFFECTIVE_SUCCESS",
    brief: "EFF_SUCC",
    key: "effectiveSuccessRatio",
    align: "right",
    datum: (row) => known(row.effectiveSuccessRatio),
    text: (row) => percent(row.effectiveSuccessRatio),
    style: (row) => bySuccess(row.effectiveSuccessRatio),
    meaning:
      "Calls that succeeded, as the application saw them, after retries; in JSON from 0 to 1.",
  },
  {
    name: "EFFECTIVE_RPS",
    brief: "EFF_RPS",
    key: "effectivePerSecond",
    align: "right",
    datum: (row) => known(row.effectivePerSecond),
    text: (row) => rate(row.effectivePerSecond),
    meaning: "Calls that ended, for each second.",
  },
  {
    name: "ACTUAL_SUCCESS",
    brief: "ACT_SUCC",
    key: "actualSuccessRatio",
    align: "right",
    datum: (row) => known(row.actualSuccessRatio),
    text: (row) => percent(row.actualSuccessRatio),
    style: (row) => bySuccess(row.actualSuccessRatio),
    meaning: "Attempts that succeeded, as the endpoints saw them; in JSON from 0 to 1.",
  },
  {
    name: "ACTUAL_RPS",
    brief: "ACT_RPS",
    key: "actualPerSecond",
    align: "right",
    datum: (row) => known(row.actualPerSecond),
    text: (row) => rate(row.actualPerSecond),
    meaning: "Attempts that ended, for each second.",
  },
  ...(["50", "95", "99"] as const).map((of) =>
    latency<RouteRow>(
      of,
      (row) => row[`p${of}Ms`],
      (row) => row.maxMs,
    ),
  ),
  {
    name: "WEIGHTS",
    key: "backends",
    types: ["array"],
    wide: true,
    least: 20,
    datum: (row) => row.backends,
    text: (row) =>
      row.backends.map(({ backend, share: part }) => `${backend} ${share(part)}`).join(", "),
    meaning: "Where it sends, with the share that its weights want.",
  },
  {
    name: "PROTOCOL",
    key: "protocol",
    wide: true,
    separates: true,
    datum: (row) => row.protocol,
    meaning:
      "`http` or `grpc`; `tcp` of a mesh-proxy. Also shown where a service is called by several of them.",
  },
];

export interface EndpointRow {
  readonly view: EndpointView;
  /** Of the picks of its service, since it is known or within the window. */
  readonly share: number | undefined;
}

const STATE_STYLES: Readonly<Record<string, Style>> = {
  open: "red",
  refusing: "red",
  "half-open": "yellow",
  busy: "yellow",
  connecting: "yellow",
  draining: "dim",
  spare: "dim",
};

export const ENDPOINT_COLUMNS: readonly Column<EndpointRow>[] = [
  {
    name: "IP",
    key: "host",
    identifies: true,
    least: 20,
    datum: ({ view }) => view.host,
    meaning: "Its address or name; `unix:` and the path of a socket.",
  },
  {
    name: "PORT",
    key: "port",
    align: "right",
    identifies: true,
    datum: ({ view }) => view.port || null,
    meaning: "Nothing for a socket.",
  },
  {
    name: "SERVICE",
    key: "service",
    identifies: true,
    least: 14,
    datum: ({ view }) => view.service,
    meaning: "The service whose endpoint it is.",
  },
  {
    name: "STATE",
    key: "state",
    datum: ({ view }) => view.state,
    text: ({ view: { state, breaker } }) =>
      state === "open" && breaker.nextProbeInMs > 0
        ? `${state}, probe ${Math.ceil(breaker.nextProbeInMs / 1000)}s`
        : state,
    style: ({ view }) => STATE_STYLES[view.state],
    meaning:
      "`available`, `connecting` (attempts wait for its first connection), `busy` (asked to be spared), `half-open` (one call may try it), `open` (out after failures), `refusing` (accepts no connection), `draining`, `spare` (weight 0).",
  },
  {
    name: "COST",
    key: "cost",
    align: "right",
    datum: ({ view }) => view.cost,
    text: ({ view }) => decimal(view.cost, 1),
    meaning:
      "What the balancer compares: milliseconds times attempts in flight. Less is picked more often.",
  },
  {
    name: "PENDING",
    brief: "PEND",
    key: "inFlight",
    align: "right",
    datum: ({ view }) => view.inFlight,
    meaning: "Attempts in flight.",
  },
  {
    name: "CONNS",
    key: "connections",
    spare: 2,
    align: "right",
    datum: ({ view }) => known(view.connections),
    meaning: "Connections that are open.",
  },
  {
    name: "SHARE",
    key: "share",
    align: "right",
    datum: (row) => known(row.share),
    text: (row) => share(row.share),
    meaning: "Of the picks of its service; in JSON from 0 to 1.",
  },
  {
    name: "LATENCY",
    key: "latencyMs",
    spare: 1,
    align: "right",
    datum: ({ view }) => view.latencyMs,
    text: ({ view }) => duration(view.latencyMs),
    meaning: "The estimate by which it is compared.",
  },
  {
    name: "WHY",
    key: "why",
    types: ["string", "null"],
    least: 20,
    below: true,
    datum: ({ view }) => view.why ?? null,
    text: ({ view }) => view.why ?? "",
    meaning: "Why its state is what it is.",
  },
  {
    name: "ZONE",
    key: "zone",
    types: ["string", "null"],
    wide: true,
    datum: ({ view }) => view.zone ?? null,
    meaning: "As discovery says.",
  },
  {
    name: "WEIGHT",
    key: "weight",
    wide: true,
    align: "right",
    datum: ({ view }) => view.weight,
    meaning: "As discovery says.",
  },
  {
    name: "BREAKER",
    key: "breaker",
    wide: true,
    datum: ({ view }) => view.breaker.state,
    meaning: "`closed`, `open` or `half-open`.",
  },
  {
    name: "FAILURES",
    key: "consecutiveFailures",
    wide: true,
    align: "right",
    datum: ({ view }) => view.breaker.consecutiveFailures,
    meaning: "Since the last success.",
  },
  {
    name: "PENALTY",
    key: "penaltyMs",
    wide: true,
    align: "right",
    datum: ({ view }) => view.penaltyMs,
    text: ({ view }) => duration(view.penaltyMs),
    meaning: "Added to the estimate because of failures.",
  },
  {
    name: "BUSY_FOR",
    key: "busyForMs",
    wide: true,
    align: "right",
    datum: ({ view }) => view.busyForMs,
    text: ({ view }) => duration(view.busyForMs),
    meaning: "It asked to be spared for this long.",
  },
  {
    name: "RAMP",
    key: "rampRatio",
    wide: true,
    align: "right",
    datum: ({ view }) => view.rampRatio,
    text: ({ view }) => share(view.rampRatio),
    meaning: "Slow start: how much of its share a new endpoint gets by now.",
  },
  {
    name: "PICKS",
    key: "picks",
    wide: true,
    align: "right",
    datum: ({ view }) => view.picks,
    meaning: "Since it is known.",
  },
  {
    name: "AGE",
    key: "ageMs",
    wide: true,
    align: "right",
    datum: ({ view }) => view.ageMs,
    text: ({ view }) => duration(view.ageMs),
    meaning: "Since discovery first named it.",
  },
  {
    name: "PROTOCOL",
    key: "protocol",
    wide: true,
    separates: true,
    datum: ({ view }) => view.protocol,
    meaning:
      "`http` or `grpc`; `tcp` of a mesh-proxy. Also shown where a service is called by several of them.",
  },
];

export const CONFIG_COLUMNS: readonly Column<ConfigValue>[] = [
  {
    name: "PATH",
    key: "path",
    identifies: true,
    least: 32,
    datum: (row) => row.path,
    meaning: "As in a configuration file, with dots.",
  },
  {
    name: "VALUE",
    key: "value",
    types: ["string", "number", "boolean", "null", "array", "object"],
    least: 16,
    datum: (row) => row.value as Datum,
    text: ({ value }) => (typeof value === "string" ? value : JSON.stringify(value)),
    meaning:
      "As a configuration file would have it; a list or an object is JSON. Secrets are not shown.",
  },
  {
    name: "WRITTEN_BY",
    key: "rank",
    datum: (row) => row.rank,
    style: (row) => (row.rank === "default" ? "dim" : undefined),
    meaning:
      "The rank of the source that won: `override`, `code`, `control-plane`, `file`, `environment`, or `default`.",
  },
  {
    name: "ORIGIN",
    key: "origin",
    least: 12,
    middle: true,
    datum: (row) => row.origin,
    text: ({ origin, line }) => (line === undefined ? origin : `${origin}:${line}`),
    meaning: "The file and its line, the variable, or the name of the source.",
  },
  {
    name: "LINE",
    key: "line",
    wide: true,
    align: "right",
    datum: (row) => row.line ?? null,
    meaning: "In the file, from 1.",
  },
];

/** Calls of one kind, as the tap showed them. */
export interface TopRow {
  readonly source: string;
  readonly destination: string;
  readonly method: string;
  readonly path: string;
  readonly count: number;
  readonly bestMs: number;
  readonly worstMs: number;
  readonly lastMs: number;
  readonly successRatio: number | undefined;
}

export const TOP_COLUMNS: readonly Column<TopRow>[] = [
  {
    name: "SOURCE",
    key: "source",
    identifies: true,
    least: 10,
    datum: (row) => row.source,
    meaning: "Who called: `self`, or the peer of a request that was served.",
  },
  {
    name: "DESTINATION",
    brief: "DEST",
    key: "destination",
    identifies: true,
    least: 12,
    datum: (row) => row.destination,
    meaning: "The service that was called, or the server.",
  },
  { name: "METHOD", key: "method", spare: 1, datum: (row) => row.method, meaning: "Of HTTP." },
  {
    name: "PATH",
    key: "path",
    identifies: true,
    least: 16,
    datum: (row) => row.path,
    meaning:
      "Without query. With `--routes` the column is named ROUTE, and has the name of the route.",
  },
  {
    name: "COUNT",
    key: "count",
    align: "right",
    datum: (row) => row.count,
    meaning: "Calls that ended while the command ran.",
  },
  ...(["best", "worst", "last"] as const).map((which) => ({
    name: which.toUpperCase(),
    key: `${which}Ms`,
    align: "right" as const,
    datum: (row: TopRow) => row[`${which}Ms`],
    text: (row: TopRow) => duration(row[`${which}Ms`]),
    meaning: `The ${which === "best" ? "shortest" : which === "worst" ? "longest" : "last"} of them, until the last byte of the reply.`,
  })),
  {
    name: "SUCCESS_RATE",
    brief: "SUCCESS",
    key: "successRatio",
    align: "right",
    datum: (row) => known(row.successRatio),
    text: (row) => percent(row.successRatio),
    style: (row) => bySuccess(row.successRatio),
    meaning: "Of those that the caller did not give up; in JSON from 0 to 1.",
  },
];

/** Of `top --routes`. */
export const TOP_ROUTE_COLUMNS: readonly Column<TopRow>[] = TOP_COLUMNS.map((column) =>
  column.name === "PATH" ? { ...column, name: "ROUTE" } : column,
);

function latency<Row>(
  of: "50" | "95" | "99",
  ms: (row: Row) => number | undefined,
  maxMs: (row: Row) => number,
): Column<Row> {
  return {
    name: `LATENCY_P${of}`,
    brief: `P${of}`,
    key: `p${of}Ms`,
    align: "right",
    datum: (row) => known(ms(row)),
    text: (row) => {
      const value = ms(row);
      // The histogram does not say how far above its last limit.
      return value !== undefined && value >= maxMs(row) ? `>${duration(value)}` : duration(value);
    },
    meaning: `Of ${of} of 100 calls it was at most this, until the last byte of the reply; interpolated within a bucket.`,
  };
}

function known(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : value;
}

function bySuccess(ratio: number | undefined): Style | undefined {
  if (ratio === undefined) return undefined;
  return ratio < 0.95 ? "red" : ratio < 0.99 ? "yellow" : undefined;
}

/** By command: for help, completion and the reference page. */
export const COLUMNS: Readonly<
  Record<
    string,
    readonly Pick<
      Column<never>,
      "name" | "brief" | "key" | "meaning" | "wide" | "align" | "types"
    >[]
  >
> = {
  stat: STAT_COLUMNS,
  routes: ROUTE_COLUMNS,
  endpoints: ENDPOINT_COLUMNS,
  config: CONFIG_COLUMNS,
  top: TOP_COLUMNS,
};
