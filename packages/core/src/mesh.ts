/**
 * A mesh: configuration turned into running services, and the one place that ends them. Every
 * service is compiled when it is first asked for; a call then reads one field, the pipeline in
 * force, and stays with it to its end. A changed configuration is compiled as a whole, and then
 * replaces what is about it: what stays equal keeps its counters, budgets and connections.
 */
import type { Reply } from "./call.ts";
import { RunningBackend } from "./running-backend.ts";
import { sameConnections, sameDiscovery } from "./config/compare.ts";
import type { MeshInput, ServiceInput } from "./config/input.ts";
import { ConfigSources } from "./config-sources.ts";
import { ConfigError, makeMistake, type PathPart } from "./config/mistakes.ts";
import { graceMistake } from "./config/options.ts";
import { isRaw } from "./config/plain.ts";
import type { ConfigOrigin, ConfigStore, Opener, Proposal } from "./config/store.ts";
import type { Unconfigured } from "./config/target.ts";
import type { MeshConfig, ServiceConfig } from "./config/types.ts";
import { degradedInProcess, watchDegraded } from "./degraded.ts";
import type { Discovery } from "./discovery/discovery.ts";
import type { DiscoveryKind } from "./discovery/kind.ts";
import { Discoveries } from "./discovery/open.ts";
import { unconfigured } from "./discovery/registry/kind.ts";
import { type RegistryPlace, registryPlace } from "./discovery/registry/place.ts";
import { MeshError } from "./errors.ts";
import { type Log, LogFilter, safeLog } from "./log.ts";
import { addBounds, MAX_SERVICES, measureRecorder } from "./mesh-bounds.ts";
import { checkedKinds, type MeshOptions } from "./mesh-options.ts";
import { MeshServers } from "./mesh-servers.ts";
import type { Protocol, Service } from "./protocol.ts";
import { ReplayMemory } from "./replay/memory.ts";
import type { RoutedRequest } from "./route/facts.ts";
import type { Observer } from "./observe/observer.ts";
import { publishWarning } from "./observe/channels.ts";
import { Observers } from "./observe/observers.ts";
import { NodeRuntime } from "./runtime/node-runtime.ts";
import { runtimeProblem } from "./runtime/supported.ts";
import { RunningService, type ServiceParts, type View } from "./running-service.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { EndpointSeriesCount } from "./backend-series.ts";
import { countOmitted } from "./limited-log.ts";
import { processGauges } from "./process-gauges.ts";
import type { ConfigSnapshot, MeshSnapshot } from "./snapshot.ts";
import { Bounds } from "./telemetry/bounds.ts";
import { Place } from "./place.ts";
import { ConnectionRecords } from "./telemetry/connections.ts";
import { HANDLES, LOG_SUPPRESSED } from "./telemetry/process-instruments.ts";
import { CONFIG_GENERATION, RUNTIME_SUPPORTED } from "./telemetry/instruments.ts";
import { Exporters, exportersOfProcess } from "./exporter.ts";
import { fanOut } from "./telemetry/fan-out.ts";
import { guardedTelemetry, NO_TELEMETRY } from "./telemetry/guarded.ts";
import { Recorder } from "./telemetry/recorder.ts";
import type { StandardMetrics } from "./telemetry/standard.ts";
import type { Series, Telemetry } from "./telemetry/telemetry.ts";
import { Identities } from "./tls/identities.ts";
import type { TapOptions } from "./tap/options.ts";
import { type Tap, Taps } from "./tap/taps.ts";
import type { Transport } from "./transport.ts";
import type { Watch } from "./watch/watch.ts";

/** The running parts of a mesh, as they are: everything in them changes while calls run. */
export interface Running {
  readonly state: MeshSnapshot["state"];
  /** Instant at which the mesh was made. */
  readonly startedAt: number;
  /** One for each service and protocol whose clients have asked for it. */
  readonly services: readonly RunningService<RoutedRequest, Reply>[];
  /** What they send to, those of routes included. */
  readonly backends: readonly RunningBackend<RoutedRequest, Reply>[];
  /** Built-in kinds of discovery, and those of the application. */
  readonly kinds: readonly DiscoveryKind[];
  readonly config: ConfigSnapshot;
  /** There is a recorder to read: `createMesh` was given no `telemetry`. */
  readonly measured: boolean;
  /** Who has written the value in force at a path; lays the configuration together once for all questions. */
  origins(): (path: readonly PathPart[]) => ConfigOrigin;
}

type AnyBackend = RunningBackend<RoutedRequest, Reply>;
type AnyProtocol = Protocol<RoutedRequest, Reply>;

export function createMesh(options: MeshOptions = {}): Mesh {
  return new Mesh(options);
}

export class Mesh implements AsyncDisposable {
  readonly runtime: Runtime;
  /** Where everything is measured: for server halves and layers that count something of their own. */
  readonly telemetry: Telemetry;
  /** For server halves: which durations they record under OpenTelemetry's names. */
  readonly standardMetrics: StandardMetrics;
  /** The application's log, which cannot throw: for server halves that have something to say. */
  readonly log: Log;
  /** Which lines the log gets. */
  readonly logFilter: LogFilter;
  /** Those that were made with this mesh. */
  readonly servers: MeshServers = new MeshServers();
  readonly #options: MeshOptions;
  readonly #kinds: readonly DiscoveryKind[];
  readonly #startedAt: number;
  readonly #sources: ConfigSources;
  readonly #config: ConfigStore;
  readonly #services = new Map<string, RunningService<RoutedRequest, Reply>>();
  readonly #backends = new Map<string, { backend: AnyBackend; protocol: AnyProtocol }>();
  readonly #discoveries: Discoveries;
  #registry: RegistryPlace | undefined = undefined;
  /** For server halves: they say what they serve to those who observe. */
  readonly observers: Observers;
  /** How much the calls of all clients keep so that it can be sent again: for protocols. */
  readonly replayMemory: ReplayMemory = new ReplayMemory();
  /** Who this process is to peers: for server halves. */
  readonly identities: Identities;
  /** For server halves: where they report their connections. */
  readonly connections: ConnectionRecords;
  /** Where this process stands. */
  readonly place: Place;
  /** For server halves: how full what they hold is. */
  readonly bounds: Bounds;
  readonly #recorder: Recorder | undefined;
  readonly #endpointSeries = new EndpointSeriesCount();
  readonly #exporters: Exporters;
  readonly #taps: Taps;
  readonly #gauges: (() => void)[];
  readonly #unwatchDegraded: () => void;
  #state: MeshSnapshot["state"] = "open";
  #closing: Promise<void> | undefined = undefined;

  /** Throws ConfigError, with every mistake, if the configuration is not valid. */
  constructor(options: MeshOptions = {}) {
    const kinds = checkedKinds(options);
    this.#options = options;
    this.#kinds = kinds;
    this.runtime = options.runtime ?? new NodeRuntime();
    this.#startedAt = this.runtime.now();
    const { telemetry, exporters = [] } = options;
    this.standardMetrics = options.standardMetrics ?? "auto";
    this.#recorder = telemetry === undefined ? new Recorder(this.runtime) : undefined;
    this.telemetry =
      telemetry === false
        ? NO_TELEMETRY
        : fanOut([
            this.#recorder ?? guardedTelemetry(telemetry!),
            ...exporters.flatMap((one) =>
              one.telemetry === undefined ? [] : [guardedTelemetry(one.telemetry)],
            ),
          ]);
    this.place = new Place(options.zone, (options.env ?? process.env)["INMESH_ZONE"]);
    this.connections = new ConnectionRecords(this.telemetry, this.runtime, this.place);
    this.bounds = new Bounds(this.telemetry);
    this.logFilter = new LogFilter(options.log);
    this.log = safeLog((line) => {
      publishWarning(line);
      this.logFilter.log(line);
    });
    const suppressed = this.telemetry.counter(LOG_SUPPRESSED, { reason: "rate" });
    countOmitted(this.log, () => suppressed.add(1));
    this.observers = new Observers(this.runtime, this.telemetry, this.log);
    this.#taps = new Taps(this.observers, this.runtime, this.telemetry);
    this.#sources = new ConfigSources(options, {
      sections: options.sections,
      kinds,
      runtime: this.runtime,
      telemetry: this.telemetry,
      log: this.log,
      findUnconfigured: (name) => this.#findUnconfigured(name),
      apply: (proposal) => this.#apply(proposal),
      changed: (source, result, about) => {
        if (this.observers.attached === undefined) return;
        const { version } = this.#config;
        this.observers.tellSoon("configChanged", { source, result, version, mistakes: about });
      },
    });
    const { store } = this.#sources;
    this.#config = store;
    this.#discoveries = new Discoveries(kinds, {
      runtime: this.runtime,
      log: this.log,
      telemetry: this.telemetry,
      bounds: this.bounds,
      place: this.place,
    });
    const problem = runtimeProblem(process.version);
    if (problem !== undefined) {
      this.log({ level: "warn", event: "runtime.unsupported", message: problem });
    }
    this.#unwatchDegraded = watchDegraded((message) =>
      this.log({ level: "warn", event: "runtime.degraded", message }),
    );
    this.#gauges = [
      this.telemetry.gauge(CONFIG_GENERATION, {}, () => store.version),
      this.telemetry.gauge(RUNTIME_SUPPORTED, {}, () => (problem === undefined ? 1 : 0)),
      ...processGauges(this.telemetry, this.runtime),
    ];
    // It stays after a close, to show that nothing is left.
    this.telemetry.gauge(HANDLES, { kind: "socket" }, () => this.connections.size);
    this.telemetry.gauge(HANDLES, { kind: "server" }, () => this.connections.servers);
    addBounds(this.bounds, {
      services: this.#services,
      replayMemory: this.replayMemory,
      endpointSeries: this.#endpointSeries,
      recorder: this.#recorder,
    });
    if (this.#recorder !== undefined)
      this.#gauges.push(measureRecorder(this.#recorder, this.telemetry));
    this.identities = new Identities(
      options.identities ?? [],
      this.runtime,
      this.telemetry,
      this.log,
    );
    const all = [...exporters, ...exportersOfProcess(this)];
    this.#exporters = new Exporters(all, this.observers, this);
    this.#sources.begin();
  }

  /**
   * Calls the hooks of `observer` from now on (docs/reference/observers.md), until the function that it gives
   * is called. Both may be done while calls run. Throws ConfigError for hooks that do not exist or are no
   * functions.
   */
  observe(observer: Observer): () => void {
    return this.observers.attach(observer);
  }

  /**
   * Shows calls and served requests as they end, from now on, to a loop: `for await (const event of
   * mesh.tap({ status: "5xx" }))` (docs/reference/tap.md). It ends when its loop is left, by `return()`, after
   * `limit` calls, or with the mesh. A reader that is too slow loses the oldest events, and gets their number.
   * Throws ConfigError with every mistake in `options`, and MeshError for more than 8 at the same time
   * (`overloaded`) and for a mesh that is closed (`closed`).
   */
  tap(options: TapOptions = {}): Tap {
    return this.#taps.open(options);
  }

  /** The configuration in force; services that clients opened by URL are not in it. */
  get config(): Watch<MeshConfig> {
    return this.#config.current;
  }

  /** Of the configuration in force: goes up by one with each change, as `inmesh.config.generation` says. */
  get configVersion(): number {
    return this.#config.version;
  }

  /**
   * The service of that name or URL, for clients of one protocol. The same name gives the same
   * service; `input` counts when it is first given, and asking again with another one is an error,
   * which names the line that has called `opener` the first time.
   */
  service<Req extends RoutedRequest, R extends Reply>(
    nameOrUrl: string | URL,
    protocol: Protocol<Req, R>,
    input?: ServiceInput,
    opener?: Opener,
  ): Service<Req, R> {
    const { name, proposal } = this.#config.open(nameOrUrl, input, opener);
    if (proposal !== undefined) this.#apply(proposal);
    const key = `${protocol.name} ${name}`;
    let service = this.#services.get(key);
    if (service === undefined) {
      this.#makeRoom(name);
      service = this.#open(name, protocol);
      this.#services.set(key, service);
    }
    return service as unknown as Service<Req, R>;
  }

  #makeRoom(name: string): void {
    if (this.#services.size < MAX_SERVICES) return;
    for (const [key, { removed }] of this.#services) {
      if (removed) return void this.#services.delete(key);
    }
    throw new MeshError({
      code: "overloaded",
      reason: "concurrency",
      message: `${name}: a mesh holds at most ${MAX_SERVICES} services: give meshClient fixed names or URLs, not one for each request`,
      progress: "not-sent",
    });
  }

  #open(name: string, protocol: AnyProtocol): RunningService<RoutedRequest, Reply> {
    const service = new RunningService<RoutedRequest, Reply>(
      name,
      this.#view(this.config.current),
      {
        protocol,
        observers: this.observers,
        backendOf: (config) => this.#backend(config, protocol),
        left: (backend) => this.#closeUnused(backend),
        callLayers: this.#options.callLayers ?? [],
        attemptLayers: this.#options.attemptLayers ?? [],
        standardMetrics: this.standardMetrics,
        telemetry: this.telemetry,
        runtime: this.runtime,
        log: this.log,
      } as ServiceParts<RoutedRequest, Reply>,
    );
    if (this.#state !== "open") service.refuse();
    return service;
  }

  #backend(config: ServiceConfig, protocol: AnyProtocol): AnyBackend {
    const key = `${protocol.name} ${config.name}`;
    const known = this.#backends.get(key);
    if (known !== undefined) return known.backend;
    const backend = new RunningBackend(
      config,
      protocol.name,
      this.#discoveryOf(config, protocol),
      this.#transportOf(config, protocol),
      {
        telemetry: this.telemetry,
        runtime: this.runtime,
        log: this.log,
        observers: this.observers,
        place: this.place,
        endpointSeries: this.#endpointSeries,
        bounds: this.bounds,
      },
    );
    this.#backends.set(key, { backend, protocol });
    return backend;
  }

  #transportOf(config: ServiceConfig, protocol: AnyProtocol): Transport<RoutedRequest, Reply> {
    const connections =
      this.telemetry === NO_TELEMETRY
        ? undefined
        : this.connections.of("outbound", config.name, protocol.name);
    return protocol.transport(config, this.runtime, this.identities, connections);
  }

  #discoveryOf(service: ServiceConfig, { name: protocol }: AnyProtocol): Discovery {
    const own = this.#options.discovery?.(service);
    if (own !== undefined) return own;
    const { scheme, http2 } = service;
    return this.#discoveries.open(service.discovery, { protocol, scheme, http2 });
  }

  // ── configuration ────────────────────────────────────────────────────────────────────────────

  /**
   * Replaces what code says (`createMesh({ config })`, or the last update) and returns the version
   * then in force, which goes up only if something changes. All of it is applied, or nothing: throws
   * ConfigError with every mistake. Calls in progress keep the pipeline they began with; counters,
   * connections and budgets of what does not change stay.
   */
  update(config: MeshInput): number {
    if (this.#state !== "open") throw closedError();
    if (!isRaw(config)) {
      const rule = "must be an object; {} takes back what code said before";
      throw new ConfigError([makeMistake(["config"], rule, config, "mesh.update")]);
    }
    return this.#sources.update(config);
  }

  /**
   * Who has written the value in force at a path, for people: `mesh.explain(["services", "orders", "retry",
   * "attempts"])` gives the rank of its source, its origin (`file:/etc/mesh.yaml`, `code`), and its line where
   * that is known. Rank and origin are `default` where no source says anything. Costs as much as a change of
   * the configuration; never called by a call.
   */
  explain(path: readonly PathPart[]): ConfigOrigin {
    return this.#config.explain(path);
  }

  /**
   * Waits until every configuration source has said something, or that it cannot: for a program that calls
   * services which only such a source describes. False: one had not after `timeoutMs` (default 10 s), or the
   * mesh was closed meanwhile.
   */
  configured(timeoutMs = 10_000): Promise<boolean> {
    const wrong = graceMistake("mesh.configured", timeoutMs, "timeoutMs");
    return wrong === undefined ? this.#sources.answered(timeoutMs) : Promise.reject(wrong);
  }

  /** Everything that can fail comes first; what follows is assignments. */
  #apply(proposal: Proposal): void {
    const view = this.#view(proposal.config);
    const commits: (() => void)[] = [];
    try {
      for (const { backend, protocol } of this.#backends.values()) {
        const config = view(backend.name);
        if (config !== undefined && config !== backend.config) {
          commits.push(this.#prepareBackend(backend, protocol, config));
        }
      }
      for (const service of this.#services.values()) commits.push(service.prepare(view));
    } catch (error) {
      for (const { backend } of this.#backends.values()) this.#closeUnused(backend);
      throw error;
    }
    for (const commit of commits) commit();
    this.#config.accept(proposal);
  }

  #prepareBackend(backend: AnyBackend, protocol: AnyProtocol, config: ServiceConfig): () => void {
    const before = backend.config;
    const discovery = sameDiscovery(config, before)
      ? undefined
      : this.#discoveryOf(config, protocol);
    const transport = sameConnections(config, before)
      ? undefined
      : this.#transportOf(config, protocol);
    return () => backend.configure(config, discovery, transport);
  }

  #view(config: MeshConfig): View {
    return (name) => this.#config.find(name, config);
  }

  #closeUnused(backend: AnyBackend): void {
    for (const service of this.#services.values()) if (service.uses(backend)) return;
    for (const [key, one] of this.#backends)
      if (one.backend === backend) this.#backends.delete(key);
    void backend.close(backend.config.drainGraceMs);
  }

  /** For server halves: where they announce themselves. Found out when it is first needed. */
  get registry(): RegistryPlace {
    const { registry, env = process.env } = this.#options;
    return (this.#registry ??= registryPlace(registry, env));
  }

  /** Asked once for each name, as a client is made. */
  #findUnconfigured(name: string): Unconfigured | string | undefined {
    const found = unconfigured(name, this.registry);
    if (typeof found !== "object") return found;
    const message = `${name}: nothing configures it, so its endpoints are the servers that processes of this machine announce under that name in ${this.registry.dir}`;
    this.log({ level: "info", event: "registry.used", service: name, message });
    return found;
  }

  // ── readers, end ─────────────────────────────────────────────────────────────────────────────

  /** State behind every decision, as plain data. Costs O(endpoints); never called by a call. */
  snapshot(): MeshSnapshot {
    const services = [...this.#services.values()].filter(({ removed }) => !removed);
    return {
      config: this.#configSnapshot(),
      state: this.#state,
      services: services.map((service) => service.snapshot()),
      identities: this.identities.snapshot(),
      place: this.place.snapshot(),
      observers: this.observers.snapshot(),
      degraded: degradedInProcess(),
    };
  }

  #configSnapshot(): ConfigSnapshot {
    const sources = this.#sources.snapshot();
    const mistakes = sources.flatMap((source) => source.mistakes);
    return {
      version: this.#config.version,
      file: this.#sources.file,
      state: mistakes.length > 0 ? "refused" : "current",
      mistakes,
      sources,
    };
  }

  /** What runs in it, for packages that show it to people. O(services) to ask for; never called by a call. */
  get running(): Running {
    return {
      state: this.#state,
      startedAt: this.#startedAt,
      services: [...this.#services.values()].filter(({ removed }) => !removed),
      backends: [...this.#backends.values()].map(({ backend }) => backend),
      kinds: this.#kinds,
      config: this.#configSnapshot(),
      measured: this.#recorder !== undefined,
      origins: () => this.#config.origins(),
    };
  }

  /** Every series of the in-memory recorder; empty if `telemetry` was given, or is `false`. */
  metrics(): Series[] {
    return this.#recorder?.read() ?? [];
  }

  /**
   * Refuses new calls, waits up to `graceMs` (default 30 s) for calls in progress, ends the rest
   * with `cancelled`/`shutdown`, closes every connection and timer. Exporters have the last tenth of
   * that time, at most 1 s, to send what they hold. Idempotent: later calls give the same promise.
   */
  close(graceMs = 30_000): Promise<void> {
    const wrong = graceMistake("mesh.close", graceMs);
    if (wrong !== undefined) return Promise.reject(wrong);
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(graceMs: number): Promise<void> {
    const startedAt = this.runtime.now();
    this.#state = "closing";
    this.connections.ending = true;
    this.#taps.refuse();
    const sourcesEnd = this.#sources.close();
    const services = [...this.#services.values()];
    for (const service of services) service.refuse();
    const endsAt = startedAt + graceMs;
    const drainMs = graceMs - this.#exporters.flushMs(graceMs);
    await Promise.all(services.map((service) => service.drain(drainMs)));
    const backends = [...this.#backends.values()];
    const closeMs = Math.max(0, drainMs - (this.runtime.now() - startedAt));
    await Promise.all(backends.map(({ backend }) => backend.close(closeMs)));
    this.identities.close();
    await this.#exporters.close(Math.max(0, endsAt - this.runtime.now()));
    await sourcesEnd;
    this.#taps.close();
    for (const remove of this.#gauges) remove();
    this.bounds.close();
    this.#unwatchDegraded();
    this.#state = "closed";
  }
}

function closedError(): MeshError {
  return new MeshError({
    code: "closed",
    reason: "closing",
    message: "the mesh is closed",
    progress: "not-sent",
  });
}
