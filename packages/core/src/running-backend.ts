/**
 * A cluster in operation: the cluster, the picker over it, and the discovery that feeds it. Several
 * services may send to one backend (a route's backendRefs), and it sleeps when none of them calls.
 * When its configuration changes, only what the change is about is replaced.
 */
import { isDeepStrictEqual } from "node:util";
import type { Picker } from "./balance/picker.ts";
import { pickerOf } from "./balance/pickers.ts";
import type { Reply } from "./call.ts";
import type { ServiceConfig } from "./config/types.ts";
import { CoalescingSink } from "./discovery/coalesce.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { watchGuarded } from "./discovery/guarded.ts";
import type { Runtime } from "./runtime/runtime.ts";
import {
  BALANCER_PANIC,
  BALANCER_UPDATES,
  BREAKER_SUPPRESSED,
  BREAKER_TRANSITIONS,
  DISCOVERY_ENDPOINTS,
  DISCOVERY_ERRORS,
  DISCOVERY_STALE,
  ENDPOINTS_EXCESS,
  TRANSPORT_PROBLEM,
} from "./telemetry/instruments.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import type { Transport } from "./transport.ts";
import { Cluster, type ClusterOptions, type ClusterRecorder } from "./cluster/cluster.ts";

export class RunningBackend<Req, R extends Reply> {
  readonly name: string;
  readonly cluster: Cluster<Req, R>;
  /** Read once per attempt. */
  picker: Picker<Req, R>;
  discovery: Discovery;
  config: ServiceConfig;
  readonly #telemetry: Telemetry;
  readonly #runtime: Runtime;
  #errors: { add(value: number): void };
  #removeSourceGauges: () => void;
  readonly #gauges: readonly (() => void)[];
  #watch: EndpointWatch | undefined = undefined;
  /** The source watched now has named endpoints. */
  #answered = false;
  /** Waits for that. */
  #nextTransport: Transport<Req, R> | undefined = undefined;
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
    this.config = service;
    this.#telemetry = telemetry;
    this.#runtime = runtime;
    this.cluster = new Cluster(
      service.name,
      clusterOptions(service),
      transport,
      recorderOf(telemetry, labels),
      runtime,
    );
    this.picker = pickerOf(this.cluster, service.balancer, runtime);
    this.cluster.onSuspicion = () => this.#watch?.refresh();
    [this.#errors, this.#removeSourceGauges] = this.#sourceInstruments();
    const { cluster } = this;
    this.#gauges = [
      telemetry.gauge(BALANCER_PANIC, labels, () => (cluster.lists.panic ? 1 : 0)),
      telemetry.gauge(TRANSPORT_PROBLEM, labels, () => (cluster.problem === undefined ? 0 : 1)),
    ];
  }

  /**
   * Takes a changed configuration into force. `discovery` and `transport` are given where they
   * change: endpoints that the new source names too keep all they have, and a new transport means
   * new connections. If both change, the old endpoints keep the old transport until the new source
   * answers: what is said in the name of one must not be sent to the other.
   */
  configure(
    config: ServiceConfig,
    discovery: Discovery | undefined,
    transport: Transport<Req, R> | undefined,
  ): void {
    const before = this.config;
    this.config = config;
    const options = clusterOptions(config);
    if (!isDeepStrictEqual(options, clusterOptions(before))) this.cluster.configure(options);
    if (!isDeepStrictEqual(config.balancer, before.balancer)) {
      this.picker = pickerOf(this.cluster, config.balancer, this.#runtime);
    }
    if (transport !== undefined) this.#nextTransport = transport;
    // A higher limit has room for endpoints that were left out, and only the source knows them.
    const more = config.limits.maxEndpoints > before.limits.maxEndpoints;
    if (discovery !== undefined || more) this.#rewatch(discovery ?? this.discovery);
    if (this.#watch === undefined || this.#answered) this.#reconnect();
  }

  #reconnect(): void {
    if (this.#nextTransport === undefined) return;
    this.cluster.reconnect(this.#nextTransport);
    this.#nextTransport = undefined;
  }

  #rewatch(discovery: Discovery): void {
    if (discovery.source !== this.discovery.source) {
      this.discovery = discovery;
      this.#removeSourceGauges();
      [this.#errors, this.#removeSourceGauges] = this.#sourceInstruments();
    }
    this.discovery = discovery;
    if (this.#watch === undefined) return;
    this.#watch.stop();
    this.#watch = this.#startWatch();
  }

  #sourceInstruments(): [{ add(value: number): void }, () => void] {
    const labels = { service: this.name, source: this.discovery.source };
    const { cluster } = this;
    const gauges = [
      this.#telemetry.gauge(DISCOVERY_ENDPOINTS, labels, () => cluster.endpoints.size),
      this.#telemetry.gauge(DISCOVERY_STALE, labels, () => (cluster.stale === undefined ? 0 : 1)),
    ];
    return [
      this.#telemetry.counter(DISCOVERY_ERRORS, labels),
      () => {
        for (const remove of gauges) remove();
      },
    ];
  }

  get asleep(): boolean {
    return this.#watch === undefined;
  }

  /** Starts watching for `user`, a service; without effect while it does. */
  wake(user: object): void {
    this.#users.add(user);
    this.#watch ??= this.#startWatch();
  }

  #startWatch(): EndpointWatch {
    const { cluster } = this;
    this.#answered = false;
    const applied: EndpointSink = {
      replace: (infos: readonly EndpointInfo[], why?: string) => {
        this.#answered = true;
        this.#reconnect();
        cluster.replace(infos, why);
      },
      // After another source the first difference is a whole set: what it does not name is gone.
      change: (upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]) => {
        if (!this.#answered) return applied.replace(upserted);
        cluster.change(upserted, removed);
      },
      failed: (error: Error) => {
        this.#errors.add(1);
        cluster.failed(error);
      },
    };
    const sink = new CoalescingSink(applied, this.#runtime);
    const inner = watchGuarded(this.discovery, sink);
    return {
      refresh: () => inner.refresh(),
      stop() {
        sink.stop();
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
    this.#reconnect();
    await this.cluster.rest(this.config.drainGraceMs);
  }

  async close(graceMs: number): Promise<void> {
    this.#watch?.stop();
    this.#watch = undefined;
    this.#removeSourceGauges();
    for (const remove of this.#gauges) remove();
    await this.cluster.close(graceMs);
  }
}

function clusterOptions({
  balancer,
  breaker,
  limits,
  drainGraceMs,
}: ServiceConfig): ClusterOptions {
  return { balancer, breaker, maxEndpoints: limits.maxEndpoints, drainGraceMs };
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
