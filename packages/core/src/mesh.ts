/**
 * A mesh: configuration turned into running services, and the one place that ends them. Every
 * service is compiled when it is first asked for; a call then reads one field, the pipeline in
 * force, and stays with it to its end.
 */
import { ActiveCalls } from "./active-calls.ts";
import type { Attempt, Call, Reply } from "./call.ts";
import { RunningBackend } from "./cluster/backend.ts";
import type { MeshInput, ServiceInput } from "./config/input.ts";
import { ConfigStore } from "./config/store.ts";
import type { DiscoveryConfig, ServiceConfig } from "./config/types.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { lazyDiscovery } from "./discovery/lazy.ts";
import { staticDiscovery } from "./discovery/static.ts";
import { MeshError } from "./errors.ts";
import type { Handler, Layer } from "./handler.ts";
import { compilePipeline } from "./pipeline.ts";
import { RetryBudget } from "./retry/budget.ts";
import type { RouteFacts } from "./route/facts.ts";
import { NodeRuntime } from "./runtime/node-runtime.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";
import { snapshotEndpoints, type MeshSnapshot, type ServiceSnapshot } from "./snapshot.ts";
import { CALL_ACTIVE, RETRY_BUDGET_BALANCE } from "./telemetry/instruments.ts";
import { Recorder } from "./telemetry/recorder.ts";
import type { Series, Telemetry } from "./telemetry/telemetry.ts";
import type { Transport } from "./transport.ts";

export interface MeshOptions {
  /** Configuration from code; wins over file and environment, service by service, field by field. */
  readonly config?: MeshInput;
  /** Path of a mesh.yaml or mesh.json. Default: the environment's `INMESH_CONFIG`, else none. */
  readonly configFile?: string;
  /** Where `INMESH_…` variables are read from, once, at creation. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Time, chance and timers. Default: the process's own. */
  readonly runtime?: Runtime;
  /** Receives every measurement. Default: an in-memory recorder that `mesh.metrics()` reads. */
  readonly telemetry?: Telemetry;
  /** A source of endpoints of your own; undefined leaves the service to the configured one. */
  readonly discovery?: (service: ServiceConfig) => Discovery | undefined;
  /** Layers around every call, below its record; see pipeline.ts. */
  readonly callLayers?: readonly Layer<Call, Reply>[];
  /** Layers around every attempt. */
  readonly attemptLayers?: readonly Layer<Attempt, Reply>[];
}

/** What a protocol supplies to run over the mesh. */
export interface Protocol<Req extends RouteFacts, R extends Reply> {
  /** Closed set, used as a label: `http`, `grpc`, `stub`. */
  readonly name: string;
  transport(service: ServiceConfig, runtime: Runtime): Transport<Req, R>;
}

/** One service as one protocol's clients use it. */
export interface Service<Req, R extends Reply> {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly runtime: Runtime;
  /** The pipeline in force. Read it once per call. */
  readonly current: Handler<Call<Req>, R>;
}

/** Used by nobody for this share of idleMs: looked at again. */
const SWEEPS_PER_IDLE = 4;
const MAX_SERVICES = 500;

export function createMesh(options: MeshOptions = {}): Mesh {
  return new Mesh(options);
}

export class Mesh implements AsyncDisposable {
  readonly runtime: Runtime;
  readonly #options: MeshOptions;
  readonly #config: ConfigStore;
  readonly #telemetry: Telemetry;
  readonly #services = new Map<string, RunningService<RouteFacts, Reply>>();
  readonly #backends = new Map<string, RunningBackend<RouteFacts, Reply>>();
  readonly #dns: DnsSource;
  #state: MeshSnapshot["state"] = "open";
  #closing: Promise<void> | undefined = undefined;

  /** Throws ConfigError, with every mistake, if the configuration is not valid. */
  constructor(options: MeshOptions = {}) {
    this.#options = options;
    this.runtime = options.runtime ?? new NodeRuntime();
    this.#telemetry = options.telemetry ?? new Recorder();
    this.#config = new ConfigStore(options);
    this.#dns = dnsSource(this.runtime);
  }

  /**
   * The service of that name or URL, for clients of one protocol. The same name gives the same
   * service; `input` counts when it is first asked for, and asking again with another one is an error.
   */
  service<Req extends RouteFacts, R extends Reply>(
    nameOrUrl: string | URL,
    protocol: Protocol<Req, R>,
    input?: ServiceInput,
  ): Service<Req, R> {
    const config = this.#config.serviceFor(nameOrUrl, input);
    const key = `${protocol.name} ${config.name}`;
    let service = this.#services.get(key);
    if (service === undefined) {
      if (this.#services.size >= MAX_SERVICES) {
        throw new MeshError({
          code: "overloaded",
          reason: "concurrency",
          message: `${config.name}: a mesh holds at most ${MAX_SERVICES} services`,
          progress: "not-sent",
        });
      }
      service = this.#open(config, protocol);
      this.#services.set(key, service);
    }
    return service as unknown as Service<Req, R>;
  }

  #open(
    config: ServiceConfig,
    protocol: Protocol<RouteFacts, Reply>,
  ): RunningService<RouteFacts, Reply> {
    const backends = new Set<RunningBackend<RouteFacts, Reply>>();
    const backendOf = (name: string): RunningBackend<RouteFacts, Reply> => {
      const backend = this.#backend(
        name === config.name ? config : this.#config.serviceFor(name),
        protocol,
      );
      backends.add(backend);
      return backend;
    };
    backendOf(config.name);
    const service = new RunningService(
      config,
      protocol.name,
      backends,
      backendOf,
      this.#options,
      this.#telemetry,
      this.runtime,
    );
    if (this.#state !== "open") service.refuse();
    return service;
  }

  #backend(
    config: ServiceConfig,
    protocol: Protocol<RouteFacts, Reply>,
  ): RunningBackend<RouteFacts, Reply> {
    const key = `${protocol.name} ${config.name}`;
    let backend = this.#backends.get(key);
    if (backend === undefined) {
      backend = new RunningBackend(
        config,
        protocol.name,
        this.#options.discovery?.(config) ?? this.#discoveryOf(config.discovery),
        protocol.transport(config, this.runtime),
        this.#telemetry,
        this.runtime,
      );
      this.#backends.set(key, backend);
    }
    return backend;
  }

  #discoveryOf(config: DiscoveryConfig): Discovery {
    if (config.kind === "static") return staticDiscovery(config.endpoints);
    return lazyDiscovery("dns", () => this.#dns(config));
  }

  /** State behind every decision, as plain data. Costs O(endpoints); never called by a call. */
  snapshot(): MeshSnapshot {
    return {
      configVersion: this.#config.version,
      state: this.#state,
      services: [...this.#services.values()].map((service) => service.snapshot()),
    };
  }

  /** Every series of the in-memory recorder; empty if `telemetry` was given. */
  metrics(): Series[] {
    return this.#telemetry instanceof Recorder ? this.#telemetry.read() : [];
  }

  /**
   * Refuses new calls, waits up to `graceMs` (default 30 s) for calls in progress, ends the rest
   * with `cancelled`/`shutdown`, closes every connection and timer. Idempotent: later calls give
   * the same promise.
   */
  close(graceMs = 30_000): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(graceMs: number): Promise<void> {
    const startedAt = this.runtime.now();
    this.#state = "closing";
    const services = [...this.#services.values()];
    for (const service of services) service.refuse();
    await Promise.all(services.map((service) => service.drain(graceMs)));
    const leftMs = Math.max(0, graceMs - (this.runtime.now() - startedAt));
    await Promise.all([...this.#backends.values()].map((backend) => backend.close(leftMs)));
    this.#state = "closed";
  }
}

class RunningService<Req extends RouteFacts, R extends Reply> implements Service<Req, R> {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly runtime: Runtime;
  current: Handler<Call<Req>, R>;
  readonly #protocol: string;
  readonly #backends: ReadonlySet<RunningBackend<Req, R>>;
  readonly #active = new ActiveCalls();
  readonly #budget: RetryBudget;
  readonly #gauges: (() => void)[];
  readonly #asleep: Handler<Call<Req>, R>;
  #usedAt: number;
  #sweep: Timer | undefined = undefined;
  #refusing = false;

  constructor(
    config: ServiceConfig,
    protocol: string,
    backends: ReadonlySet<RunningBackend<Req, R>>,
    backendOf: (name: string) => RunningBackend<Req, R>,
    { callLayers = [], attemptLayers = [] }: MeshOptions,
    telemetry: Telemetry,
    runtime: Runtime,
  ) {
    this.name = config.name;
    this.config = config;
    this.runtime = runtime;
    this.#protocol = protocol;
    this.#backends = backends;
    this.#usedAt = runtime.now();
    this.#budget = new RetryBudget(config.retryBudget, runtime);
    const pipeline = compilePipeline<Req, R>({
      service: config,
      protocol,
      backendOf,
      budget: this.#budget,
      active: this.#active,
      telemetry,
      runtime,
      callLayers: callLayers as unknown as readonly Layer<Call<Req>, R>[],
      attemptLayers: attemptLayers as unknown as readonly Layer<Attempt<Req>, R>[],
    });
    this.#asleep = this.#waking(pipeline);
    this.current = this.#asleep;
    const labels = { service: config.name, protocol };
    this.#gauges = [
      telemetry.gauge(CALL_ACTIVE, { ...labels, direction: "outbound" }, () => this.#active.calls),
      telemetry.gauge(RETRY_BUDGET_BALANCE, labels, () => this.#budget.balance()),
    ];
  }

  /** The pipeline of a service that sleeps: the first call starts discovery and takes its place. */
  #waking(pipeline: Handler<Call<Req>, R>): Handler<Call<Req>, R> {
    return (call) => {
      for (const backend of this.#backends) backend.wake(this);
      this.current = pipeline;
      this.#usedAt = this.runtime.now();
      this.#watchIdle();
      return pipeline(call);
    };
  }

  #watchIdle(): void {
    if (this.config.idleMs === Infinity) return;
    const picks = this.#picks();
    this.#sweep = this.runtime.after(
      this.config.idleMs / SWEEPS_PER_IDLE,
      () => this.#lookIdle(picks),
      undefined,
    );
  }

  /** Use is read off the endpoints' counters, so a call pays nothing for it. */
  #lookIdle(picksBefore: number): void {
    if (this.#refusing) return;
    const now = this.runtime.now();
    if (this.#active.calls > 0 || this.#picks() !== picksBefore) this.#usedAt = now;
    if (now - this.#usedAt < this.config.idleMs) return this.#watchIdle();
    this.current = this.#asleep;
    for (const backend of this.#backends) void backend.sleep(this);
  }

  #picks(): number {
    let sum = 0;
    for (const { cluster } of this.#backends) {
      for (const endpoint of cluster.endpoints.values()) sum += endpoint.picks;
    }
    return sum;
  }

  /** From now on every call is refused. */
  refuse(): void {
    this.#refusing = true;
    this.#sweep?.cancel();
    this.current = (call) =>
      Promise.reject(
        new MeshError({
          code: "closed",
          reason: "closing",
          message: `${call.service}: the mesh is closed`,
          progress: "not-sent",
        }),
      );
  }

  async drain(graceMs: number): Promise<void> {
    if (this.#active.calls > 0 && graceMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.runtime.after(graceMs, resolve, undefined, true);
        this.#active.onEmpty = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#active.cancelAll(
      (call) =>
        new MeshError({
          code: "cancelled",
          reason: "shutdown",
          message: `${call.service}: the mesh was closed before the call ended`,
          progress: "maybe-processed",
        }),
    );
    for (const remove of this.#gauges) remove();
  }

  snapshot(): ServiceSnapshot {
    const now = this.runtime.now();
    const backends = [...this.#backends];
    const own = backends.find(({ name }) => name === this.name)!;
    const { cluster } = own;
    return {
      name: this.name,
      protocol: this.#protocol,
      routes: [...this.config.routes.map(({ name }) => name), "default"],
      callsInFlight: this.#active.calls,
      retryBudget: {
        balance: this.#budget.balance(),
        refused: this.#budget.refused,
        withdrawn: this.#budget.withdrawn,
      },
      discovery: {
        source: own.discovery.source,
        state: own.asleep
          ? "idle"
          : cluster.stale !== undefined
            ? "stale"
            : cluster.known
              ? "current"
              : "pending",
        error: cluster.stale?.message,
      },
      panic: cluster.lists.panic,
      endpoints: backends.flatMap((backend) => snapshotEndpoints(backend, now)),
    };
  }
}

type DnsSource = (config: Exclude<DiscoveryConfig, { kind: "static" }>) => Promise<Discovery>;

/** DNS, loaded when first needed; all services of a mesh share one resolver and its cache. */
function dnsSource(runtime: Runtime): DnsSource {
  let loaded: Promise<DnsSource> | undefined;
  const load = async (): Promise<DnsSource> => {
    const [{ dnsDiscovery }, { StubResolver }] = await Promise.all([
      import("./discovery/dns/dns.ts"),
      import("./discovery/dns/resolver.ts"),
    ]);
    const resolver = new StubResolver(runtime);
    return (config) => Promise.resolve(dnsDiscovery(config, { runtime, resolver }));
  };
  return async (config) => (await (loaded ??= load()))(config);
}
