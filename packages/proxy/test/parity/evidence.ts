/**
 * What a run has left behind, as facts with a name and a value each, so that two runs can be compared. What is another
 * number in every run (ports, times, dates) is taken out here, and nothing else.
 */
import type { LogLine, Mesh, MeshSnapshot, TapEvent } from "@inmesh/core";
import type { Answer } from "./callers.ts";
import { isInbound, type Kind } from "./kind.ts";
import type { SeenRequest } from "./upstream.ts";

/** By name, in no order. */
export type Evidence = Readonly<Record<string, unknown>>;

export interface Left {
  readonly kind: Kind;
  readonly answers: readonly Answer[];
  readonly order: readonly string[];
  readonly facts: Readonly<Record<string, unknown>>;
  readonly applications: readonly {
    readonly name: string;
    readonly seen: readonly SeenRequest[];
  }[];
  readonly refused: Readonly<Record<string, number>> | undefined;
  readonly metrics: ReturnType<Mesh["metrics"]>;
  readonly snapshot: MeshSnapshot;
  readonly tapped: readonly TapEvent[];
  readonly accessLines: readonly string[];
  readonly logLines: readonly LogLine[];
  /** Of addresses. */
  readonly names: ReadonlyMap<string, string>;
}

const TIMEOUT_MS = "x-mesh-timeout-ms";
/** The first of these that is not below a time that was left. */
const TIMES_MS: readonly number[] = [1_000, 5_000, 15_000, 60_000, 3_600_000];

/** Of tap and access log: other in every run, or wording. */
const NOT_SHOWN: ReadonlySet<string> = new Set([
  "at",
  "deadlineMs",
  "durationMs",
  "error.message",
  "headMs",
  "id",
  "inmesh.duration_ms",
  "message",
  "network.peer.port",
  "port",
  "queuedMs",
  "servedFor",
  "startedMs",
  "timestamp",
]);

/**
 * Instruments that are not compared, because they count what is not the same in two runs of one side either: chance,
 * time, the process.
 */
const NOT_COMPARED: ReadonlySet<string> = new Set([
  "inmesh.access_log.lines",
  "inmesh.bounded.limit",
  "inmesh.bounded.size",
  "inmesh.build.info",
  "inmesh.discovery.last_update.timestamp",
  "inmesh.discovery.update.duration",
  "inmesh.config.generation",
  "inmesh.config.last_applied.timestamp",
  "inmesh.config.updates",
  "inmesh.endpoint.cost",
  "inmesh.endpoint.latency",
  "inmesh.handles",
  "inmesh.metrics.series",
  "inmesh.overhead.duration",
  "inmesh.retry.budget.balance",
  "inmesh.runtime.heap.utilization",
  "inmesh.runtime.loop.delay",
  "inmesh.runtime.loop.utilization",
  "inmesh.runtime.supported",
  "inmesh.tap.events",
  "inmesh.tap.subscribers",
]);

export function evidenceOf(left: Left): Evidence {
  const { kind } = left;
  const flat: Record<string, unknown> = {};
  const put = (name: string, value: unknown): void => flatten(flat, name, named(value, left.names));
  put("fact", left.facts);
  put("answer", left.answers);
  put("order", left.order.join(" "));
  for (const { name, seen } of left.applications) {
    put(
      `seen by ${name}`,
      seen.map(({ fields, ...one }) => ({ ...one, fields: rounded(fields) })),
    );
  }
  const directions =
    kind === "hop" ? ["inbound", "outbound"] : [isInbound(kind) ? "inbound" : "outbound"];
  for (const direction of directions) {
    const events = left.tapped.filter((one) => "direction" in one && one.direction === direction);
    // Names first: they may have digits in them.
    put(`tap ${direction}`, timeless(named(sorted(events), left.names)));
    const lines = left.accessLines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line["inmesh.direction"] === direction);
    put(`access log ${direction}`, timeless(lines));
  }
  for (const [name, value] of metricsOf(left.metrics, kind))
    put(`metric ${named(name, left.names)}`, value);
  if (!isInbound(kind)) {
    for (const { name, protocol } of left.snapshot.services) put(`protocol of ${name}`, protocol);
    for (const { name, endpoints, panic, retryBudget } of left.snapshot.services) {
      put(`snapshot of ${name}`, {
        panic,
        retriesRefused: retryBudget.refused,
        endpoints: endpoints.map(({ address, picks, weight, draining, breaker }) => ({
          address,
          picks,
          weight,
          draining,
          state: breaker.state,
          trigger: breaker.trigger,
          failures: breaker.consecutiveFailures,
        })),
      });
    }
    put(
      "log",
      left.logLines
        .filter(({ event }) => !event.startsWith("config."))
        .map(
          ({ level, event, message }) =>
            `${level} ${event} ${numberless(String(named(message, left.names)))}`,
        ),
    );
  }
  if (left.refused !== undefined) put("refused", left.refused);
  return flat;
}

/** Ends of calls that run at the same time come in any order: as they began. */
function sorted(events: readonly TapEvent[]): TapEvent[] {
  return events.toSorted((a, b) => ("id" in a ? a.id : 0) - ("id" in b ? b.id : 0));
}

/** How much time was left is not the same twice: its magnitude is. */
function rounded(fields: Readonly<Record<string, readonly string[]>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, values]) => [
      name,
      name === TIMEOUT_MS ? values.map(magnitude) : values,
    ]),
  );
}

function magnitude(text: string): string {
  const ms = Number(text);
  return `at most ${TIMES_MS.find((one) => ms <= one) ?? Infinity}`;
}

/** Sentences for people have times in them. */
const numberless = (text: string): string => text.replaceAll(/\d+(?:\.\d+)?/g, "N");

function timeless(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(timeless);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([name]) => !NOT_SHOWN.has(name));
  return Object.fromEntries(
    kept.map(([name, one]) => [
      name,
      name === TIMEOUT_MS && typeof one === "string"
        ? magnitude(one)
        : name === "why" && typeof one === "string"
          ? numberless(one)
          : timeless(one),
    ]),
  );
}

/** Addresses by their names. */
function named(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (typeof value === "string") {
    let text = value;
    for (const [address, name] of [...names].sort(([a], [b]) => b.length - a.length)) {
      text = text.replaceAll(address, `<${name}>`);
    }
    return text;
  }
  if (Array.isArray(value)) return value.map((one) => named(one, names));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, named(one, names)]));
}

function* metricsOf(metrics: Left["metrics"], kind: Kind): Generator<[string, unknown]> {
  for (const one of metrics) {
    const { labels } = one;
    // How often an endpoint that is out is dialled depends on the time.
    const isRedial =
      one.name === "inmesh.connection.opened" && labels["reason"] === "connect_refused";
    if (NOT_COMPARED.has(one.name) || isRedial) continue;
    const direction =
      labels["direction"] ?? (one.name.includes(".server.") ? "inbound" : "outbound");
    if (kind !== "hop" && direction !== (isInbound(kind) ? "inbound" : "outbound")) continue;
    const text = Object.keys(labels)
      .sort()
      .map((key) => `${key}=${labels[key]}`)
      .join(",");
    const value = one.kind === "histogram" ? one.count : one.value;
    // A series that has counted nothing yet says as much as none.
    if (value === 0) continue;
    yield [`${one.name}{${text}}`, one.name === "inmesh.io" ? "some" : value];
  }
}

function flatten(into: Record<string, unknown>, at: string, value: unknown): void {
  if (Array.isArray(value)) {
    if (value.length > 0 && value.every((one) => typeof one === "string"))
      into[at] = value.join(" | ");
    else for (const [i, one] of value.entries()) flatten(into, `${at}[${i}]`, one);
    return;
  }
  if (typeof value !== "object" || value === null) {
    if (value !== undefined) into[at] = value;
    return;
  }
  for (const [name, one] of Object.entries(value)) flatten(into, `${at}.${name}`, one);
}
