/**
 * The series of one running backend that are read with each scrape: its endpoints by state and zone, the
 * attempts that wait, and, while they are few, each endpoint by itself. Nothing here is kept for it: every
 * number is one that balancing needs anyway.
 */
import type { Reply } from "./call.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Endpoint } from "./cluster/endpoint.ts";
import type { Place } from "./place.ts";
import { ENDPOINT_STATES, endpointState, type EndpointState } from "./cluster/endpoint-state.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";
import { nearness, ZONES, type Nearness } from "./telemetry/connections.ts";
import {
  BALANCER_PICKS,
  ENDPOINT_COST,
  ENDPOINT_IN_FLIGHT,
  ENDPOINT_LATENCY,
  ENDPOINT_PICKS,
  ENDPOINT_STATE,
  ENDPOINTS,
  QUEUE_DEPTH,
} from "./telemetry/endpoint-instruments.ts";
import { totalIn, type Labels, type Telemetry } from "./telemetry/telemetry.ts";

/** Above it a service has no series for each endpoint. */
const MAX_ENDPOINTS = 50;
/** The same for all services of a mesh. */
export const MAX_ENDPOINT_SERIES = 500;
/** The series of an endpoint stay so long after it has gone. */
const ENDED_MS = 600_000;

const BREAKER_STATES = ["closed", "open", "half-open"] as const;

/** How many endpoints of a mesh have series of their own. */
export class EndpointSeriesCount {
  count = 0;
}

interface Shown {
  readonly remove: () => void;
  /** Armed since it has gone. */
  timer: Timer | undefined;
}

/** What one pass over the endpoints finds. */
interface Census {
  readonly states: Record<EndpointState, Record<Nearness, number>>;
  readonly picks: Record<Nearness, number>;
  /** Attempts that have no connection. */
  unsent: number;
  /** Attempts in the longest queue of one endpoint. */
  longestQueue: number;
}

export class BackendSeries<Req, R extends Reply> {
  readonly #cluster: Cluster<Req, R>;
  readonly #telemetry: Telemetry;
  readonly #runtime: Runtime;
  readonly #labels: Labels;
  readonly #place: Pick<Place, "zone">;
  readonly #mesh: EndpointSeriesCount;
  readonly #shown = new Map<Endpoint, Shown>();
  readonly #gauges: (() => void)[] = [];
  /** There are endpoints without series. */
  #someHidden = false;
  /** Of endpoints that are forgotten. */
  readonly #formerPicks: Record<Nearness, number> = { local: 0, remote: 0, unknown: 0 };
  #census: Census | undefined = undefined;

  /** `place`: of this process. `labels`: service and protocol. */
  constructor(
    cluster: Cluster<Req, R>,
    telemetry: Telemetry,
    runtime: Runtime,
    labels: Labels,
    place: Pick<Place, "zone">,
    mesh: EndpointSeriesCount,
  ) {
    this.#cluster = cluster;
    this.#telemetry = telemetry;
    this.#runtime = runtime;
    this.#labels = labels;
    this.#place = place;
    this.#mesh = mesh;
    for (const near of ZONES) {
      for (const state of ENDPOINT_STATES) {
        this.#gauge(ENDPOINTS, { state, zone: near }, () => this.#counted().states[state][near]);
      }
      totalIn(
        telemetry,
        BALANCER_PICKS,
        { ...labels, zone: near },
        () => this.#counted().picks[near],
      );
    }
    this.#gauge(QUEUE_DEPTH, {}, () => cluster.waiting + this.#counted().unsent);
  }

  #gauge(instrument: typeof ENDPOINTS, labels: Labels, read: () => number): void {
    this.#gauges.push(this.#telemetry.gauge(instrument, { ...this.#labels, ...labels }, read));
  }

  #near(endpoint: Endpoint): Nearness {
    return nearness(endpoint.zone, this.#place.zone);
  }

  /** Attempts in the longest queue of one endpoint. */
  get longestQueue(): number {
    return this.#counted().longestQueue;
  }

  /** One pass for all the gauges of a scrape, which reads them in one turn. */
  #counted(): Census {
    if (this.#census !== undefined) return this.#census;
    const none = (): Record<Nearness, number> => ({ local: 0, remote: 0, unknown: 0 });
    const census: Census = {
      states: Object.fromEntries(
        ENDPOINT_STATES.map((state) => [state, none()]),
      ) as Census["states"],
      picks: { ...this.#formerPicks },
      unsent: 0,
      longestQueue: 0,
    };
    const { endpoints, departed } = this.#cluster;
    const now = this.#runtime.now();
    for (const endpoint of endpoints.values()) {
      this.#count(endpoint, census);
      census.states[endpointState(endpoint, now)][this.#near(endpoint)]++;
    }
    for (const endpoint of departed.values()) this.#count(endpoint, census);
    this.#census = census;
    queueMicrotask(() => (this.#census = undefined));
    return census;
  }

  #count(endpoint: Endpoint, census: Census): void {
    const { unsent, connection } = endpoint;
    census.picks[this.#near(endpoint)] += endpoint.picks;
    census.unsent += unsent;
    census.longestQueue = Math.max(census.longestQueue, connection?.queued ?? 0);
  }

  // ── each endpoint ────────────────────────────────────────────────────────────────────────────

  added(endpoint: Endpoint): void {
    const shown = this.#shown.get(endpoint);
    if (shown !== undefined) {
      shown.timer?.cancel();
      shown.timer = undefined;
    } else if (this.#fits()) this.#show(endpoint);
    else {
      this.#someHidden = true;
      if (this.#cluster.endpoints.size > MAX_ENDPOINTS) this.#hideAll();
    }
  }

  /** It has gone, and may come back. */
  removed(endpoint: Endpoint): void {
    const shown = this.#shown.get(endpoint);
    if (shown === undefined) return;
    shown.timer ??= this.#runtime.after(ENDED_MS, (one) => this.#hide(one), endpoint);
  }

  /** Its counters are given up. */
  forgotten(endpoint: Endpoint): void {
    this.#formerPicks[this.#near(endpoint)] += endpoint.picks;
  }

  #fits(): boolean {
    const { size } = this.#cluster.endpoints;
    return size <= MAX_ENDPOINTS && this.#mesh.count < MAX_ENDPOINT_SERIES;
  }

  /** All that discovery has said was applied: the service may have become small enough. */
  updated(): void {
    if (!this.#someHidden || !this.#fits()) return;
    this.#someHidden = false;
    for (const endpoint of this.#cluster.endpoints.values()) {
      if (this.#shown.has(endpoint)) continue;
      if (this.#mesh.count < MAX_ENDPOINT_SERIES) this.#show(endpoint);
      else this.#someHidden = true;
    }
  }

  #show(endpoint: Endpoint): void {
    const cluster = this.#cluster;
    const telemetry = this.#telemetry;
    const runtime = this.#runtime;
    const labels = { ...this.#labels, endpoint: endpoint.address };
    const ends = [
      telemetry.gauge(ENDPOINT_LATENCY, labels, () => {
        const now = runtime.now();
        return endpoint.latency.projected(now, cluster.peerMedian(now)) / 1_000;
      }),
      telemetry.gauge(ENDPOINT_COST, labels, () => {
        const now = runtime.now();
        return endpoint.cost(now, cluster.peerMedian(now));
      }),
      telemetry.gauge(ENDPOINT_IN_FLIGHT, labels, () => endpoint.inFlight),
      totalIn(telemetry, ENDPOINT_PICKS, labels, () => endpoint.picks),
      ...BREAKER_STATES.map((state) =>
        telemetry.gauge(ENDPOINT_STATE, { ...labels, state }, () =>
          endpoint.breaker.state === state ? 1 : 0,
        ),
      ),
    ];
    const remove = (): void => {
      for (const end of ends) end();
    };
    this.#shown.set(endpoint, { remove, timer: undefined });
    this.#mesh.count++;
  }

  #hide(endpoint: Endpoint): void {
    const shown = this.#shown.get(endpoint);
    if (shown === undefined) return;
    this.#shown.delete(endpoint);
    shown.timer?.cancel();
    shown.remove();
    this.#mesh.count--;
  }

  #hideAll(): void {
    for (const endpoint of this.#shown.keys()) this.#hide(endpoint);
  }

  /** The backend has closed. Counters stay. */
  close(): void {
    this.#hideAll();
    for (const remove of this.#gauges) remove();
  }
}
