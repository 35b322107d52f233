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

const LATENCIES: readonly Column<Quantiles>[] = (["50", "95", "99"] as const).map((of) => ({
  name: `LATENCY_P${of}`,
  brief: `P${of}`,
  key: `p${of}Ms`,
  align: "right",
  text: ({ [`p${of}Ms` as const]: value, maxMs }) =>
    // The histogram does not say how far above its last limit.
    value !== undefined && value >= maxMs ? `>${duration(value)}` : duration(value),
  meaning: `Of ${of} of 100 calls it was at most this, until the last byte of the reply; interpolated within a bucket.`,
}));

const PROTOCOL: Column<unknown> = {
  name: "PROTOCOL",
  key: "protocol",
  wide: true,
  separates: true,
  meaning:
    "`http` or `grpc`; `tcp` of a mesh-proxy. Also shown where a service is called by several of them.",
};

/** What all columns of a success rate have. */
const SUCCESS = {
  align: "right",
  unit: percent,
  style: (_row: unknown, ratio: Datum): Style | undefined => {
    if (typeof ratio !== "number") return undefined;
    return ratio < 0.95 ? "red" : ratio < 0.99 ? "yellow" : undefined;
  },
} as const;

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
    meaning: "The service, or the server.",
  },
  {
    name: "DIR",
    key: "direction",
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
    ...SUCCESS,
    meaning: "Calls that succeeded, of those that the caller did not give up; in JSON from 0 to 1.",
  },
  {
    name: "RPS",
    key: "perSecond",
    align: "right",
    unit: rate,
    meaning: "Calls that ended, for each second.",
  },
  ...LATENCIES,
  {
    name: "TCP_CONN",
    brief: "CONN",
    spare: 2,
    key: "connections",
    align: "right",
    meaning: "Connections that are open now.",
  },
  {
    name: "ATTEMPTS",
    brief: "ATT",
    spare: 1,
    key: "attemptsPerCall",
    align: "right",
    unit: decimal,
    meaning: "Attempts for each call: the load that retries add.",
  },
  {
    name: "TLS",
    key: "tls",
    types: ["boolean", "null"],
    spare: 3,
    text: ({ tls }) => (tls === undefined ? NOTHING : tls ? "yes" : "no"),
    meaning: "All attempts are encrypted. What clients of a server use the process does not say.",
  },
  {
    name: "NOTE",
    key: "notes",
    types: ["array"],
    least: 20,
    below: true,
    text: (row) => row.notes.join("; "),
    style: (row) => (row.notes.length > 0 ? "yellow" : undefined),
    meaning: "What somebody should look at, the worst first.",
  },
  PROTOCOL,
  {
    name: "STATE",
    key: "state",
    wide: true,
    meaning:
      "Of a service `asleep`, `pending`, `connected`, `unconnected`, `unreachable` or `closed`; of a server `open`, `draining`, `closing` or `closed`.",
  },
  {
    name: "IN_FLIGHT",
    key: "inFlight",
    wide: true,
    align: "right",
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
    meaning: "Its name; `default` for calls that match none.",
  },
  {
    name: "SERVICE",
    key: "service",
    identifies: true,
    least: 14,
    meaning: "The service whose route it is.",
  },
  {
    name: "EFFECTIVE_SUCCESS",
    brief: "EFF_SUCC",
    key: "effectiveSuccessRatio",
    ...SUCCESS,
    meaning:
      "Calls that succeeded, as the application saw them, after retries; in JSON from 0 to 1.",
  },
  {
    name: "EFFECTIVE_RPS",
    brief: "EFF_RPS",
    key: "effectivePerSecond",
    align: "right",
    unit: rate,
    meaning: "Calls that ended, for each second.",
  },
  {
    name: "ACTUAL_SUCCESS",
    brief: "ACT_SUCC",
    key: "actualSuccessRatio",
    ...SUCCESS,
    meaning: "Attempts that succeeded, as the endpoints saw them; in JSON from 0 to 1.",
  },
  {
    name: "ACTUAL_RPS",
    brief: "ACT_RPS",
    key: "actualPerSecond",
    align: "right",
    unit: rate,
    meaning: "Attempts that ended, for each second.",
  },
  ...LATENCIES,
  {
    name: "WEIGHTS",
    key: "backends",
    types: ["array"],
    wide: true,
    least: 20,
    text: (row) =>
      row.backends.map(({ backend, share: part }) => `${backend} ${share(part)}`).join(", "),
    meaning: "Where it sends, with the share that its weights want.",
  },
  PROTOCOL,
];

export interface EndpointRow extends Omit<EndpointView, "share"> {
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
    meaning: "Its address or name; `unix:` and the path of a socket.",
  },
  {
    name: "PORT",
    key: "port",
    align: "right",
    identifies: true,
    datum: ({ port }) => port || null,
    meaning: "Nothing for a socket.",
  },
  {
    name: "SERVICE",
    key: "service",
    identifies: true,
    least: 14,
    meaning: "The service whose endpoint it is.",
  },
  {
    name: "STATE",
    key: "state",
    text: ({ state, breaker }) =>
      state === "open" && breaker.nextProbeInMs > 0
        ? `${state}, probe ${Math.ceil(breaker.nextProbeInMs / 1000)}s`
        : state,
    style: ({ state }) => STATE_STYLES[state],
    meaning:
      "`available`, `connecting` (attempts wait for its first connection), `busy` (asked to be spared), `half-open` (one call may try it), `open` (out after failures), `refusing` (accepts no connection), `draining`, `spare` (weight 0).",
  },
  {
    name: "COST",
    key: "cost",
    align: "right",
    unit: (cost) => decimal(cost, 1),
    meaning:
      "What the balancer compares: milliseconds times attempts in flight. Less is picked more often.",
  },
  {
    name: "PENDING",
    brief: "PEND",
    key: "inFlight",
    align: "right",
    meaning: "Attempts in flight.",
  },
  {
    name: "CONNS",
    key: "connections",
    spare: 2,
    align: "right",
    meaning: "Connections that are open.",
  },
  {
    name: "SHARE",
    key: "share",
    align: "right",
    unit: share,
    meaning: "Of the picks of its service; in JSON from 0 to 1.",
  },
  {
    name: "LATENCY",
    key: "latencyMs",
    spare: 1,
    align: "right",
    unit: duration,
    meaning: "The estimate by which it is compared.",
  },
  {
    name: "WHY",
    key: "why",
    types: ["string", "null"],
    least: 20,
    below: true,
    text: ({ why }) => why ?? "",
    meaning: "Why its state is what it is.",
  },
  {
    name: "ZONE",
    key: "zone",
    types: ["string", "null"],
    wide: true,
    meaning: "As discovery says.",
  },
  {
    name: "WEIGHT",
    key: "weight",
    wide: true,
    align: "right",
    meaning: "As discovery says.",
  },
  {
    name: "BREAKER",
    key: "breaker",
    wide: true,
    datum: ({ breaker }) => breaker.state,
    meaning: "`closed`, `open` or `half-open`.",
  },
  {
    name: "FAILURES",
    key: "consecutiveFailures",
    wide: true,
    align: "right",
    datum: ({ breaker }) => breaker.consecutiveFailures,
    meaning: "Since the last success.",
  },
  {
    name: "PENALTY",
    key: "penaltyMs",
    wide: true,
    align: "right",
    unit: duration,
    meaning: "Added to the estimate because of failures.",
  },
  {
    name: "BUSY_FOR",
    key: "busyForMs",
    wide: true,
    align: "right",
    unit: duration,
    meaning: "It asked to be spared for this long.",
  },
  {
    name: "RAMP",
    key: "rampRatio",
    wide: true,
    align: "right",
    unit: share,
    meaning: "Slow start: how much of its share a new endpoint gets by now.",
  },
  {
    name: "PICKS",
    key: "picks",
    wide: true,
    align: "right",
    meaning: "Since it is known.",
  },
  {
    name: "AGE",
    key: "ageMs",
    wide: true,
    align: "right",
    unit: duration,
    meaning: "Since discovery first named it.",
  },
  PROTOCOL,
];

export const CONFIG_COLUMNS: readonly Column<ConfigValue>[] = [
  {
    name: "PATH",
    key: "path",
    identifies: true,
    least: 32,
    meaning: "As in a configuration file, with dots.",
  },
  {
    name: "VALUE",
    key: "value",
    types: ["string", "number", "boolean", "null", "array", "object"],
    least: 16,
    text: ({ value }) => (typeof value === "string" ? value : JSON.stringify(value)),
    meaning:
      "As a configuration file would have it; a list or an object is JSON. Secrets are not shown.",
  },
  {
    name: "WRITTEN_BY",
    key: "rank",
    style: (row) => (row.rank === "default" ? "dim" : undefined),
    meaning:
      "The rank of the source that won: `override`, `code`, `control-plane`, `file`, `environment`, or `default`.",
  },
  {
    name: "ORIGIN",
    key: "origin",
    least: 12,
    middle: true,
    text: ({ origin, line }) => (line === undefined ? origin : `${origin}:${line}`),
    meaning: "The file and its line, the variable, or the name of the source.",
  },
  {
    name: "LINE",
    key: "line",
    wide: true,
    align: "right",
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
    meaning: "Who called: `self`, or the peer of a request that was served.",
  },
  {
    name: "DESTINATION",
    brief: "DEST",
    key: "destination",
    identifies: true,
    least: 12,
    meaning: "The service that was called, or the server.",
  },
  { name: "METHOD", key: "method", spare: 1, meaning: "Of HTTP." },
  {
    name: "PATH",
    key: "path",
    identifies: true,
    least: 16,
    meaning:
      "Without query. With `--routes` the column is named ROUTE, and has the name of the route.",
  },
  {
    name: "COUNT",
    key: "count",
    align: "right",
    meaning: "Calls that ended while the command ran.",
  },
  ...(["best", "worst", "last"] as const).map((which) => ({
    name: which.toUpperCase(),
    key: `${which}Ms`,
    align: "right" as const,
    unit: duration,
    meaning: `The ${which === "best" ? "shortest" : which === "worst" ? "longest" : "last"} of them, until the last byte of the reply.`,
  })),
  {
    name: "SUCCESS_RATE",
    brief: "SUCCESS",
    key: "successRatio",
    ...SUCCESS,
    meaning: "Of those that the caller did not give up; in JSON from 0 to 1.",
  },
];

/** Of `top --routes`. */
export const TOP_ROUTE_COLUMNS: readonly Column<TopRow>[] = TOP_COLUMNS.map((column) =>
  column.name === "PATH" ? { ...column, name: "ROUTE" } : column,
);

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
