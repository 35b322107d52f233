/**
 * A cluster in operation: the cluster, the picker over it, and the discovery that feeds it. Several
 * services may send to one backend (a route's backendRefs), and it sleeps when none of them calls.
 * When its configuration changes, only what the change is about is replaced.
 */
import { isDeepStrictEqual } from "node:util";
import type { Picker } from "./balance/picker.ts";
import { pickerOf } from "./balance/pickers.ts";
import type { Stretch } from "./cluster/lists.ts";
import type { Reply } from "./call.ts";
import type { ServiceConfig } from "./config/types.ts";
import { CoalescingSink, type AppliedSink } from "./discovery/coalesce.ts";
import type { Discovery, EndpointWatch } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { watchGuarded } from "./discovery/guarded.ts";
import type { Log } from "./log.ts";
import type { Place } from "./place.ts";
import type { DiscoveryChange, EndpointChange } from "./observe/observer.ts";
import { BackendSeries, type EndpointSeriesCount } from "./backend-series.ts";
import type { Observers } from "./observe/observers.ts";
import type { Runtime } from "./runtime/runtime.ts";
import {
  BALANCER_PANIC,
  BALANCER_UPDATES,
  BREAKER_SUPPRESSED,
  BREAKER_TRANSITIONS,
  DISCOVERY_ENDPOINTS,
  DISCOVERY_ERRORS,
  DISCOVERY_LATE,
  DISCOVERY_STALE,
  ENDPOINTS_EXCESS,
  TRANSPORT_PROBLEM,
} from "./telemetry/instruments.ts";
import { CONNECTION_REUSE } from "./telemetry/connection-instruments.ts";
import {
  DISCOVERY_LAST_UPDATE,
  DISCOVERY_RESTARTS,
  DISCOVERY_UPDATE_DURATION,
  OVERHEAD_DURATION,
  QUEUE_DURATION,
} from "./telemetry/endpoint-instruments.ts";
import type { Bounds, Fill } from "./telemetry/bounds.ts";
import type { Counter, Histogram, Telemetry } from "./telemetry/telemetry.ts";
import type { Transport } from "./transport.ts";
import { Cluster } from "./cluster/cluster.ts";
import { ClusterLog } from "./cluster/cluster-log.ts";
import type { ClusterOptions, ClusterRecorder } from "./cluster/state.ts";
import type { Endpoint } from "./cluster/endpoint.ts";
import { ZoneBalance, type ZoneSettings } from "./zones/zone-balance.ts";
import { ZonePicker } from "./zones/zone-picker.ts";
import type { ServiceSnapshot } from "./snapshot.ts";

/** For people who ask. Instants are those of the runtime's monotonic clock; counts never go down. */
export interface DiscoveryHeard {
  answeredAt: number | undefined;
  failedAt: number | undefined;
  answers: number;
  added: number;
  removed: number;
  errors: number;
  /** Endpoints of the last answer that `limits.maxEndpoints` had no room for. */
  excess: number;
}

/** What a backend has of its mesh. */
export interface BackendParts {
  readonly telemetry: Telemetry;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly observers: Observers;
  /** Where this process stands. */
  readonly place: Place;
  readonly endpointSeries: EndpointSeriesCount;
  readonly bounds: Bounds;
}

/** What is measured of the source that is watched. */
interface SourceInstruments {
  readonly errors: Counter;
  readonly updates: Histogram;
  readonly restarts: Counter;
  /** It has named endpoints. */
  updated(): void;
  remove(): void;
}

export class RunningBackend<Req, R extends Reply> {
  readonly name: string;
  readonly cluster: Cluster<Req, R>;
  /** Read once per attempt. */
  picker: Picker<Req, R>;
  readonly zones: ZoneBalance<Req, R>;
  discovery: Discovery;
  config: ServiceConfig;
  readonly #telemetry: Telemetry;
  readonly #runtime: Runtime;
  readonly #log: ClusterLog<Req, R>;
  readonly #series: BackendSeries<Req, R>;
  #source: SourceInstruments;
  readonly #gauges: readonly (() => void)[];
  #watch: EndpointWatch | undefined = undefined;
  /** The source watched now has named endpoints. */
  #answered = false;
  /** The transport to use as soon as the source watched now has named endpoints. */
  #nextTransport: Transport<Req, R> | undefined = undefined;
  /** Services that are awake: one that falls asleep leaves the backend to the others. */
  readonly #users = new Set<object>();
  readonly protocol: string;
  /** What discovery has said since it is watched. */
  readonly heard: DiscoveryHeard = {
    answeredAt: undefined,
    failedAt: undefined,
    answers: 0,
    added: 0,
    removed: 0,
    errors: 0,
    excess: 0,
  };
  readonly #observers: Observers;
  /** Since the last report to observers of what discovery says: endpoints have come, gone or got other weights. */
  #changed = false;
  #announcedState: DiscoveryChange["state"] | undefined = undefined;

  constructor(
    service: ServiceConfig,
    protocol: string,
    discovery: Discovery,
    transport: Transport<Req, R>,
    { telemetry, runtime, log, observers, place, endpointSeries, bounds }: BackendParts,
  ) {
    const labels = { service: service.name, protocol };
    this.protocol = protocol;
    this.#observers = observers;
    this.name = service.name;
    this.discovery = discovery;
    this.config = service;
    this.#telemetry = telemetry;
    this.#runtime = runtime;
    this.cluster = new Cluster(
      service.name,
      clusterOptions(service),
      transport,
      this.#recorder(labels),
      runtime,
    );
    this.#log = new ClusterLog(log, this.cluster, runtime);
    this.zones = new ZoneBalance(this.cluster, place, zoneSettings(service), runtime);
    this.picker = this.newPicker();
    this.cluster.onSuspicion = () => this.#watch?.refresh();
    this.#source = this.#sourceInstruments();
    const { cluster } = this;
    this.#series = new BackendSeries(cluster, telemetry, runtime, labels, place, endpointSeries);
    this.#gauges = [
      bounds.add("endpoints", () => this.#fill(cluster.endpoints.size)),
      bounds.add("endpoints_departed", () => this.#fill(cluster.departed.size)),
      bounds.add("queue", () => ({
        size: this.#series.longestQueue,
        limit: this.config.limits.maxQueuedPerEndpoint,
      })),
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
    if (!isDeepStrictEqual(zoneSettings(config), zoneSettings(before))) {
      this.zones.configure(zoneSettings(config));
    }
    if (
      !isDeepStrictEqual(config.balancer, before.balancer) ||
      config.zones.prefer !== before.zones.prefer
    ) {
      this.picker = this.newPicker();
    }
    if (transport !== undefined) this.#nextTransport = transport;
    // A higher limit has room for endpoints that were left out, and only the source knows them.
    const more = config.limits.maxEndpoints > before.limits.maxEndpoints;
    if (discovery !== undefined || more) this.#rewatch(discovery ?? this.discovery);
    if (this.#watch === undefined || this.#answered) this.#reconnect();
  }

  /** A picker as the configuration in force says, which remembers nothing of earlier picks. */
  newPicker(): Picker<Req, R> {
    const { cluster, config } = this;
    const make = (stretch?: Stretch): Picker<Req, R> =>
      pickerOf(cluster, config.balancer, this.#runtime, stretch);
    if (!config.zones.prefer) return make();
    return new ZonePicker(this.zones, cluster.lists, this.#runtime, make);
  }

  #fill(size: number): Fill {
    return { size, limit: this.config.limits.maxEndpoints };
  }

  #endpointChanged(endpoint: Endpoint, kind: EndpointChange["kind"]): void {
    if (kind !== "breaker") this.#changed = true;
    if (kind === "added") this.#series.added(endpoint);
    else if (kind === "removed") this.#series.removed(endpoint);
    if (this.#observers.attached === undefined) return;
    const { address, zone, weight, draining, breaker } = endpoint;
    this.#observers.tellSoon("endpointChanged", {
      service: this.name,
      protocol: this.protocol,
      kind,
      endpoint: address,
      zone,
      weight,
      draining,
      breaker: breaker.state,
      trigger: breaker.state === "closed" ? undefined : breaker.trigger,
    });
  }

  /** `state`: what became of it by an answer of discovery, or by falling asleep. */
  #discovered(state: DiscoveryChange["state"]): void {
    const { cluster } = this;
    const isNews = this.#changed || state !== this.#announcedState;
    this.#changed = false;
    this.#announcedState = state;
    if (!isNews || this.#observers.attached === undefined) return;
    this.#observers.tellSoon("discoveryChanged", {
      service: this.name,
      protocol: this.protocol,
      source: this.discovery.source,
      state,
      endpoints: state === "idle" ? 0 : cluster.endpoints.size,
      error: state === "stale" ? cluster.stale : undefined,
    });
  }

  #reconnect(): void {
    const next = this.#nextTransport;
    if (next === undefined) return;
    // What stands goes on until its successor can make connections.
    if (next.ready !== undefined && this.#watch !== undefined) {
      void next.ready.then(() => {
        if (this.#nextTransport === next) this.#reconnect();
      });
      return;
    }
    this.cluster.reconnect(next);
    this.#nextTransport = undefined;
  }

  #rewatch(discovery: Discovery): void {
    if (discovery.source !== this.discovery.source) {
      this.discovery = discovery;
      this.#source.remove();
      this.#source = this.#sourceInstruments();
    }
    this.discovery = discovery;
    if (this.#watch === undefined) return;
    this.#watch.stop();
    this.#watch = this.#startWatch();
  }

  #sourceInstruments(): SourceInstruments {
    const labels = { service: this.name, source: this.discovery.source };
    const { cluster } = this;
    const telemetry = this.#telemetry;
    const runtime = this.#runtime;
    const gauges = [
      telemetry.gauge(DISCOVERY_ENDPOINTS, labels, () => cluster.endpoints.size),
      telemetry.gauge(DISCOVERY_STALE, labels, () => (cluster.stale === undefined ? 0 : 1)),
    ];
    let updatedAtWallMs = 0;
    return {
      errors: telemetry.counter(DISCOVERY_ERRORS, labels),
      updates: telemetry.histogram(DISCOVERY_UPDATE_DURATION, labels),
      restarts: telemetry.counter(DISCOVERY_RESTARTS, { ...labels, trigger: "error" }),
      updated() {
        // Before that there is no time to tell, and 1970 would look like an age.
        if (updatedAtWallMs === 0) {
          const read = (): number => updatedAtWallMs / 1_000;
          gauges.push(telemetry.gauge(DISCOVERY_LAST_UPDATE, labels, read));
        }
        updatedAtWallMs = runtime.wallNow();
      },
      remove() {
        for (const remove of gauges.splice(0)) remove();
      },
    };
  }

  /** Applies what the source says, and measures that. */
  #apply(act: () => void | Promise<void>): void | Promise<void> {
    const startedAt = this.#runtime.now();
    const source = this.#source;
    const applied = (): void => {
      source.updates.record((this.#runtime.now() - startedAt) / 1_000);
      source.updated();
      this.#discovered("current");
    };
    const done = act();
    return done === undefined ? applied() : done.then(applied);
  }

  get asleep(): boolean {
    return this.#watch === undefined;
  }

  discoverySnapshot(): ServiceSnapshot["discovery"] {
    const { source } = this.discovery;
    if (this.asleep) return { source, state: "idle", error: undefined };
    const { stale, known } = this.cluster;
    if (stale !== undefined) return { source, state: "stale", error: stale.message };
    return { source, state: known ? "current" : "pending", error: undefined };
  }

  /** Starts watching for `user`, a service; without effect while it does. */
  wake(user: object): void {
    this.#users.add(user);
    this.#watch ??= this.#startWatch();
  }

  #startWatch(): EndpointWatch {
    const { cluster } = this;
    this.#answered = false;
    const applied: AppliedSink = {
      replace: (infos: readonly EndpointInfo[], why?: string) => {
        this.#answered = true;
        this.#reconnect();
        this.#heard();
        return this.#apply(() => cluster.replace(infos, why));
      },
      // After another source the first difference is a whole set: what it does not name is gone.
      change: (upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]) => {
        if (!this.#answered) return applied.replace(upserted);
        this.#heard();
        return this.#apply(() => cluster.change(upserted, removed));
      },
      failed: (error: Error) => {
        this.#source.errors.add(1);
        this.heard.errors++;
        this.heard.failedAt = this.#runtime.now();
        cluster.failed(error);
        this.#discovered("stale");
      },
    };
    const sink = new CoalescingSink(applied, this.#runtime);
    const { ready } = cluster;
    let isStopped = false;
    const watch = (): EndpointWatch =>
      watchGuarded(this.discovery, sink, this.#runtime, {
        late: this.#lateReports(),
        restarted: () => this.#source.restarts.add(1),
      });
    let inner = ready === undefined ? watch() : undefined;
    // Without endpoints calls wait, and their errors say why there are none.
    void ready?.then(() => {
      if (!isStopped) inner = watch();
    });
    return {
      refresh: () => inner?.refresh(),
      stop() {
        isStopped = true;
        sink.stop();
        inner?.stop();
      },
    };
  }

  #heard(): void {
    this.heard.answers++;
    this.heard.answeredAt = this.#runtime.now();
  }

  /** Counts what a source reports after its watch was stopped, and writes a line for the first of it. */
  #lateReports(): () => void {
    const { source } = this.discovery;
    const labels = { service: this.name, source };
    let reported = false;
    return () => {
      this.#telemetry.counter(DISCOVERY_LATE, labels).add(1);
      if (!reported) this.#log.late(source);
      reported = true;
    };
  }

  /** When no other service uses it: stops watching and closes the connections; a call wakes it. */
  async sleep(user: object): Promise<void> {
    this.#users.delete(user);
    if (this.#users.size > 0) return;
    this.#watch?.stop();
    this.#watch = undefined;
    this.#reconnect();
    this.#discovered("idle");
    await this.cluster.rest(this.config.drainGraceMs);
  }

  async close(graceMs: number): Promise<void> {
    this.#watch?.stop();
    this.#watch = undefined;
    this.#source.remove();
    for (const remove of this.#gauges) remove();
    this.#series.close();
    this.zones.close();
    this.#log.close();
    await this.cluster.close(graceMs);
  }

  #recorder(labels: Record<string, string>): ClusterRecorder {
    const telemetry = this.#telemetry;
    const { heard } = this;
    const suppressed = telemetry.counter(BREAKER_SUPPRESSED, labels);
    const added = telemetry.counter(BALANCER_UPDATES, { ...labels, op: "add" });
    const removed = telemetry.counter(BALANCER_UPDATES, { ...labels, op: "remove" });
    const changed = telemetry.counter(BALANCER_UPDATES, { ...labels, op: "change" });
    const excess = telemetry.counter(ENDPOINTS_EXCESS, labels);
    const fresh = telemetry.counter(CONNECTION_REUSE, { ...labels, result: "new" });
    const reuse = telemetry.counter(CONNECTION_REUSE, { ...labels, result: "reused" });
    const waits = telemetry.histogram(QUEUE_DURATION, labels);
    const overhead = telemetry.histogram(OVERHEAD_DURATION, { direction: "outbound" });
    return {
      transition: (endpoint) => {
        const { state, trigger = "none" } = endpoint.breaker;
        telemetry.counter(BREAKER_TRANSITIONS, { ...labels, state, trigger }).add(1);
        this.#log.breaker(endpoint);
        this.zones.changed();
        this.#endpointChanged(endpoint, "breaker");
      },
      changed: (endpoint, kind) => {
        if (kind === "weight" || kind === "draining") changed.add(1);
        this.#endpointChanged(endpoint, kind);
      },
      forgotten: (endpoint) => this.#series.forgotten(endpoint),
      waited: (ms) => waits.record(ms / 1_000),
      connected: (reused) => (reused ? reuse : fresh).add(1),
      handedOver: (ms) => overhead.record(ms / 1_000),
      suppressed: () => suppressed.add(1),
      panic: (on) => this.#log.panic(on),
      updated(plus, minus) {
        if (plus > 0) added.add(plus);
        if (minus > 0) removed.add(minus);
        heard.added += plus;
        heard.removed += minus;
      },
      excess: (count, maxEndpoints) => {
        if (count > 0) excess.add(count);
        heard.excess = count;
        this.#log.excess(count, maxEndpoints);
      },
      answered: () => {
        this.#series.updated();
        this.zones.changed();
        this.#log.answered(this.discovery.source);
      },
      failed: (error) => this.#log.failed(error, this.discovery.source),
    };
  }
}

function zoneSettings({ zones, balancer }: ServiceConfig): ZoneSettings {
  return { zones, slowStartMs: balancer.slowStartMs };
}

function clusterOptions({
  balancer,
  breaker,
  limits,
  drainGraceMs,
}: ServiceConfig): ClusterOptions {
  return { balancer, breaker, maxEndpoints: limits.maxEndpoints, drainGraceMs };
}
