/**
 * A cluster in operation: the cluster, the picker over it, and the discovery that feeds it. Several
 * services may send to one backend (a route's backendRefs), and it sleeps when none of them calls.
 */
import type { Picker } from "../balance/picker.ts";
import { InTurn } from "../balance/round-robin.ts";
import { TwoChoices } from "../balance/two-choices.ts";
import type { Reply } from "../call.ts";
import type { ServiceConfig } from "../config/types.ts";
import type { Discovery, EndpointInfo, EndpointWatch } from "../discovery/discovery.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  BALANCER_PANIC,
  BALANCER_UPDATES,
  BREAKER_SUPPRESSED,
  BREAKER_TRANSITIONS,
  DISCOVERY_ENDPOINTS,
  DISCOVERY_ERRORS,
  DISCOVERY_STALE,
  ENDPOINTS_EXCESS,
} from "../telemetry/instruments.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Transport } from "../transport.ts";
import { Cluster, type ClusterRecorder } from "./cluster.ts";
import type { Endpoint } from "./endpoint.ts";
import { rowCost } from "./latency.ts";
import { LOAD, type RowCost } from "./scores.ts";

export class RunningBackend<Req, R extends Reply> {
  readonly name: string;
  readonly cluster: Cluster<Req, R>;
  readonly picker: Picker<Req, R>;
  readonly discovery: Discovery;
  readonly #drainGraceMs: number;
  readonly #errors: { add(value: number): void };
  readonly #gauges: (() => void)[];
  #watch: EndpointWatch | undefined = undefined;
  /** Services that are awake: one that falls asleep leaves the backend to the others. */
  readonly #users = new Set<object>();

  constructor(
    service: ServiceConfig,
    protocol: string,
    discovery: Discovery,
    transport: Transport<Req, R>,
    telemetry: Telemetry,
    runtime: Runtime,
  ) {
    const labels = { service: service.name, protocol };
    this.name = service.name;
    this.discovery = discovery;
    this.#drainGraceMs = service.drainGraceMs;
    this.cluster = new Cluster(
      service.name,
      {
        balancer: service.balancer,
        breaker: service.breaker,
        maxEndpoints: service.limits.maxEndpoints,
        drainGraceMs: service.drainGraceMs,
      },
      transport,
      recorderOf(telemetry, labels),
      runtime,
    );
    this.picker = pickerOf(this.cluster, service, runtime);
    this.cluster.onSuspicion = () => this.#watch?.refresh();
    const sourced = { service: service.name, source: discovery.source };
    this.#errors = telemetry.counter(DISCOVERY_ERRORS, sourced);
    this.#gauges = [
      telemetry.gauge(DISCOVERY_ENDPOINTS, sourced, () => this.cluster.endpoints.size),
      telemetry.gauge(DISCOVERY_STALE, sourced, () => (this.cluster.stale === undefined ? 0 : 1)),
      telemetry.gauge(BALANCER_PANIC, labels, () => (this.cluster.lists.panic ? 1 : 0)),
    ];
  }

  get asleep(): boolean {
    return this.#watch === undefined;
  }

  /** Starts watching for `user`, a service; without effect while it does. */
  wake(user: object): void {
    this.#users.add(user);
    if (this.#watch !== undefined) return;
    let current = true;
    const { cluster } = this;
    const inner = this.discovery.watch({
      replace: (infos: readonly EndpointInfo[]) => {
        if (current) cluster.replace(infos);
      },
      change: (upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]) => {
        if (current) cluster.change(upserted, removed);
      },
      failed: (error: Error) => {
        if (!current) return;
        this.#errors.add(1);
        cluster.failed(error);
      },
    });
    this.#watch = {
      refresh: () => inner.refresh(),
      stop() {
        current = false;
        inner.stop();
      },
    };
  }

  /** When no other service uses it: stops watching and closes the connections; a call wakes it. */
  async sleep(user: object): Promise<void> {
    this.#users.delete(user);
    if (this.#users.size > 0) return;
    this.#watch?.stop();
    this.#watch = undefined;
    await this.cluster.rest(this.#drainGraceMs);
  }

  async close(graceMs: number): Promise<void> {
    this.#watch?.stop();
    this.#watch = undefined;
    for (const remove of this.#gauges) remove();
    await this.cluster.close(graceMs);
  }
}

function pickerOf<Req, R extends Reply>(
  cluster: Cluster<Req, R>,
  { balancer }: ServiceConfig,
  runtime: Runtime,
): Picker<Req, R> {
  switch (balancer.kind) {
    case "peak-ewma": {
      const cost = (endpoint: Endpoint<Req, R>, now: number): number =>
        endpoint.cost(now, cluster.peerMedian(now));
      const { decayMs } = balancer;
      const ofRow: RowCost = (numbers, at, now) =>
        rowCost(numbers, at, now, cluster.peerMedian(now), decayMs);
      return new TwoChoices(cluster.lists, cost, balancer.slowStartMs, runtime, ofRow);
    }
    case "least-request": {
      const cost = (endpoint: Endpoint<Req, R>): number =>
        (endpoint.inFlight + 1) / (endpoint.weight || 1);
      const ofRow: RowCost = (numbers, at) => numbers[at + LOAD]!;
      return new TwoChoices(cluster.lists, cost, balancer.slowStartMs, runtime, ofRow);
    }
    case "round-robin":
      return new InTurn(cluster.lists, runtime, false);
    case "random":
      return new InTurn(cluster.lists, runtime, true);
  }
}

function recorderOf(telemetry: Telemetry, labels: Record<string, string>): ClusterRecorder {
  const suppressed = telemetry.counter(BREAKER_SUPPRESSED, labels);
  const added = telemetry.counter(BALANCER_UPDATES, { ...labels, op: "add" });
  const removed = telemetry.counter(BALANCER_UPDATES, { ...labels, op: "remove" });
  const excess = telemetry.counter(ENDPOINTS_EXCESS, labels);
  return {
    transition(state, trigger) {
      telemetry
        .counter(BREAKER_TRANSITIONS, { ...labels, state, trigger: trigger ?? "none" })
        .add(1);
    },
    suppressed: () => suppressed.add(1),
    panic() {},
    updated(plus, minus) {
      if (plus > 0) added.add(plus);
      if (minus > 0) removed.add(minus);
    },
    excess: (count) => excess.add(count),
  };
}
