/**
 * The names that queries and alerts made for Linkerd ask for, derived from ours. Outbound ones come from
 * attempts, because Linkerd counts below its retries as well; inbound ones from the requests that were served.
 */
import type { Group } from "./rules.ts";

/** Bounds of ours, in seconds. Linkerd's are in milliseconds; only the number is another one. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** `le` of a whole number is `1` in the text format and `1.0` in OpenMetrics. */
const limitOf = (seconds: number): string => {
  const text = String(seconds).replace(".", String.raw`\\.`);
  return Number.isInteger(seconds) ? String.raw`${text}(\\.0)?` : text;
};

interface Side {
  readonly direction: "outbound" | "inbound";
  /** What our series have besides, that Linkerd has not. */
  readonly without: string;
  readonly total: string;
  readonly duration: string;
  readonly matchers: readonly string[];
}

const SIDES: readonly Side[] = [
  {
    direction: "outbound",
    without:
      "inmesh_service, inmesh_route, inmesh_protocol, inmesh_kind, inmesh_outcome, inmesh_status, inmesh_reason",
    total: "inmesh_attempts_total",
    duration: "inmesh_attempt_duration_seconds",
    matchers: [],
  },
  {
    direction: "inbound",
    without:
      "inmesh_service, inmesh_route, inmesh_protocol, inmesh_direction, inmesh_outcome, inmesh_status, inmesh_reason",
    total: "inmesh_calls_total",
    duration: "inmesh_call_duration_seconds",
    matchers: [`inmesh_direction="inbound"`],
  },
];

/** The label that Linkerd gives the one that is called, on the side of its callers. */
const named = ({ direction }: Pick<Side, "direction">, series: string): string =>
  direction === "outbound"
    ? `label_replace(${series}, "dst_service", "$1", "inmesh_service", "(.*)")`
    : series;

const sum = (side: Side, metric: string, ...more: string[]): string => {
  const matchers = [...side.matchers, ...more];
  const series = matchers.length === 0 ? metric : `${metric}{${matchers.join(", ")}}`;
  return `sum without (${side.without}) (\n  ${named(side, series)}\n)`;
};

export const LINKERD_NAMES: readonly Group[] = [
  {
    name: "inmesh-linkerd-names",
    rules: SIDES.flatMap((side) => {
      const { direction, total, duration } = side;
      return [
        { record: "request_total", expr: sum(side, total), labels: { direction } },
        {
          record: "response_total",
          expr: sum(side, total, `inmesh_outcome="success"`),
          labels: { direction, classification: "success" },
        },
        {
          record: "response_total",
          expr: sum(side, total, `inmesh_outcome!~"success|abandoned"`),
          labels: { direction, classification: "failure" },
        },
        ...BOUNDS.map((bound) => ({
          record: "response_latency_ms_bucket",
          expr: sum(side, `${duration}_bucket`, `le=~"${limitOf(bound)}"`),
          labels: { direction, le: String(bound * 1000) },
        })),
        {
          record: "response_latency_ms_bucket",
          expr: sum(side, `${duration}_bucket`, `le="+Inf"`),
          labels: { direction, le: "+Inf" },
        },
        {
          record: "response_latency_ms_count",
          expr: sum(side, `${duration}_count`),
          labels: { direction },
        },
        {
          record: "response_latency_ms_sum",
          expr: `1000 * ${sum(side, `${duration}_sum`)}`,
          labels: { direction },
        },
        {
          record: "tcp_open_connections",
          expr: `sum without (inmesh_direction, inmesh_protocol, inmesh_mtls) (\n  inmesh_connections{inmesh_direction="${direction}"}\n)`,
          labels: { direction, peer: direction === "outbound" ? "dst" : "src" },
        },
      ];
    }),
  },
];
