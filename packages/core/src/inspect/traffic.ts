/** The series of a mesh, put together by service and route. */
import type { Outcome } from "../call.ts";
import {
  ATTEMPTS,
  ATTEMPT_DURATION,
  CALLS,
  CALL_DURATION,
  RETRY_DECISIONS,
} from "../telemetry/instruments.ts";
import { MAX_LABEL_LENGTH } from "../telemetry/recorder.ts";
import type { Series } from "../telemetry/telemetry.ts";
import type { AttemptKinds, LatencyHistogram, OutcomeCounts, Traffic } from "./api.ts";
import { histogramOf } from "./window.ts";

/** Of all histograms of calls and attempts. */
export const LATENCY_BOUNDS: readonly number[] = CALL_DURATION.bounds;

type Counts = { -readonly [Name in keyof OutcomeCounts]: number };
type Kinds = { -readonly [Name in keyof AttemptKinds]: number };

/** Where it stands: `direction` is `outbound` or `inbound`. */
export interface TrafficKey {
  readonly direction: string;
  readonly protocol: string;
  readonly service: string;
}

class Latencies {
  readonly counts: Float64Array = new Float64Array(LATENCY_BOUNDS.length + 1);
  sumSeconds = 0;

  add(counts: readonly number[], sumSeconds: number): void {
    for (let i = 0; i < this.counts.length; i++) this.counts[i]! += counts[i] ?? 0;
    this.sumSeconds += sumSeconds;
  }

  get histogram(): LatencyHistogram {
    return histogramOf([...this.counts], this.sumSeconds, LATENCY_BOUNDS);
  }
}

/** What was counted of a route, or of a whole service. */
class Totals {
  readonly calls = noCounts();
  readonly attempts = noCounts();
  readonly kinds: Kinds = { first: 0, retry: 0, resend: 0, hedge: 0 };
  readonly callLatency = new Latencies();
  readonly attemptLatency = new Latencies();
  readonly retryDecisions = new Map<string, number>();
  readonly callReasons = new Map<string, number>();
  readonly attemptReasons = new Map<string, number>();
  readonly callStatuses = new Map<string, number>();

  add(series: Series): void {
    const { name, labels } = series;
    if (series.kind === "histogram") {
      if (name === CALL_DURATION.name) this.callLatency.add(series.counts, series.sum);
      else this.attemptLatency.add(series.counts, series.sum);
      return;
    }
    const { value } = series;
    if (name === RETRY_DECISIONS.name) return addTo(this.retryDecisions, labels["decision"], value);
    const isCall = name === CALLS.name;
    const counts = isCall ? this.calls : this.attempts;
    counts.total += value;
    const outcome = labels["outcome"] as Outcome;
    if (outcome in counts) counts[outcome] += value;
    if (labels["reason"] !== "none") {
      addTo(isCall ? this.callReasons : this.attemptReasons, labels["reason"], value);
    }
    if (isCall) return addTo(this.callStatuses, labels["status"], value);
    const kind = labels["kind"] as keyof Kinds;
    if (kind in this.kinds) this.kinds[kind] += value;
  }

  get traffic(): Traffic {
    return {
      calls: { ...this.calls },
      callLatency: this.callLatency.histogram,
      attempts: { ...this.attempts },
      attemptLatency: this.attemptLatency.histogram,
      attemptKinds: { ...this.kinds },
      retryDecisions: Object.fromEntries(this.retryDecisions),
      callReasons: Object.fromEntries(this.callReasons),
      attemptReasons: Object.fromEntries(this.attemptReasons),
      callStatuses: Object.fromEntries(this.callStatuses),
    };
  }
}

const READ: ReadonlySet<string> = new Set(
  [CALLS, CALL_DURATION, ATTEMPTS, ATTEMPT_DURATION, RETRY_DECISIONS].map(({ name }) => name),
);

interface ServiceTotals {
  readonly all: Totals;
  readonly routes: Map<string, Totals>;
}

export class TrafficTable {
  readonly #services = new Map<string, ServiceTotals>();

  add(series: Series): void {
    if (!READ.has(series.name)) return;
    const { service = "", protocol = "", direction = "outbound", route = "" } = series.labels;
    const key = keyOf({ direction, protocol, service });
    let found = this.#services.get(key);
    if (found === undefined) {
      found = { all: new Totals(), routes: new Map() };
      this.#services.set(key, found);
    }
    found.all.add(series);
    let ofRoute = found.routes.get(route);
    if (ofRoute === undefined) found.routes.set(route, (ofRoute = new Totals()));
    ofRoute.add(series);
  }

  /** Of all routes together, or of one. Zeros where nothing was counted. */
  of(key: TrafficKey, route?: string): Traffic {
    const found = this.#services.get(keyOf({ ...key, service: labelOf(key.service) }));
    const totals = route === undefined ? found?.all : found?.routes.get(labelOf(route));
    return (totals ?? NOTHING).traffic;
  }
}

const NOTHING: Totals = new Totals();

function noCounts(): Counts {
  return { total: 0, success: 0, failure: 0, timeout: 0, overloaded: 0, abandoned: 0 };
}

/** As the recorder writes it. */
function labelOf(name: string): string {
  return name.slice(0, MAX_LABEL_LENGTH).toWellFormed();
}

/** The first two have no blanks. */
function keyOf({ direction, protocol, service }: TrafficKey): string {
  return `${direction} ${protocol} ${service}`;
}

function addTo(map: Map<string, number>, name: string | undefined, value: number): void {
  if (name !== undefined && value > 0) map.set(name, (map.get(name) ?? 0) + value);
}
