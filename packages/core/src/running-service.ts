/**
 * A service in operation, as the clients of one protocol use it: its pipeline, its budget, and when
 * it sleeps, wakes, changes and goes. A call reads `current` once and keeps what it read.
 */
import { isDeepStrictEqual } from "node:util";
import { ActiveCalls } from "./active-calls.ts";
import type { Attempt, Call, Reply } from "./call.ts";
import type { RunningBackend } from "./running-backend.ts";
import type { ServiceConfig } from "./config/types.ts";
import { MeshError } from "./errors.ts";
import type { Handler, Layer } from "./handler.ts";
import type { Log } from "./log.ts";
import type { Observers } from "./observe/observers.ts";
import { compilePipeline, type PipelineProtocol } from "./pipeline.ts";
import { RefusalLog } from "./refusal-log.ts";
import { RetryBudget } from "./retry/budget.ts";
import type { RoutedRequest } from "./route/facts.ts";
import type { Runtime, Timer } from "./runtime/runtime.ts";
import { snapshotEndpoints, type ServiceSnapshot } from "./snapshot.ts";
import { CONCURRENCY_LIMIT } from "./telemetry/endpoint-instruments.ts";
import { CALL_ACTIVE, RETRY_BUDGET_BALANCE } from "./telemetry/instruments.ts";
import type { Fill } from "./telemetry/bounds.ts";
import type { StandardMetrics } from "./telemetry/standard.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";

/** How long a client that waits for a connection waits for the first answer of discovery. */
const REACH_PATIENCE_MS = 3_000;
/** After this share of idleMs without a call it is looked at again. */
const SWEEPS_PER_IDLE = 4;

export interface ServiceParts<Req, R extends Reply> {
  readonly protocol: PipelineProtocol<Req>;
  readonly standardMetrics: StandardMetrics;
  readonly observers: Observers;
  /** The running backend of a service, made if it is not there. */
  readonly backendOf: (config: ServiceConfig) => RunningBackend<Req, R>;
  /** This service has no more use for the backend. */
  readonly left: (backend: RunningBackend<Req, R>) => void;
  readonly callLayers: readonly Layer<Call<Req>, R>[];
  readonly attemptLayers: readonly Layer<Attempt<Req>, R>[];
  readonly telemetry: Telemetry;
  readonly runtime: Runtime;
  readonly log: Log;
}

/** The services of a configuration, in force or about to be. */
export type View = (name: string) => ServiceConfig | undefined;

/**
 * Whether a call could go out at this moment. `asleep`: nothing is watched yet; `pending`: discovery has
 * not answered; `connected`: an endpoint that may be picked has a connection; `unconnected`: none of those
 * that may be picked has one; `unreachable`: there is none, or all are out; `closed`: for good.
 */
export type Reachability =
  | "asleep"
  | "pending"
  | "connected"
  | "unconnected"
  | "unreachable"
  | "closed";

interface Compiled<Req, R extends Reply> {
  readonly config: ServiceConfig;
  readonly budget: RetryBudget;
  readonly pipeline: Handler<Call<Req>, R>;
  readonly backends: ReadonlySet<RunningBackend<Req, R>>;
}

export class RunningService<Req extends RoutedRequest, R extends Reply> {
  readonly name: string;
  readonly runtime: Runtime;
  current: Handler<Call<Req>, R>;
  readonly #parts: ServiceParts<Req, R>;
  readonly #active = new ActiveCalls();
  readonly #refusals: RefusalLog;
  #compiled: Compiled<Req, R>;
  /** Backends of an earlier configuration, until the calls that began with it may be over. */
  readonly #leaving = new Map<RunningBackend<Req, R>, Timer>();
  readonly #asleep: Handler<Call<Req>, R> = (call) => this.#wake(call);
  #gauges: (() => void)[] = [];
  #usedAt: number;
  /** Its backends watch. */
  #awake = false;
  #sweep: Timer | undefined = undefined;
  #state: "running" | "removed" | "closed" = "running";

  constructor(name: string, view: View, parts: ServiceParts<Req, R>) {
    this.name = name;
    this.runtime = parts.runtime;
    this.#parts = parts;
    this.#usedAt = parts.runtime.now();
    const subject = { name, side: "service", noun: "call" } as const;
    this.#refusals = new RefusalLog(subject, parts.runtime, parts.log);
    this.#compiled = this.#compile(view(name)!, view, undefined);
    this.current = this.#asleep;
    this.#addGauges();
  }

  get config(): ServiceConfig {
    return this.#compiled.config;
  }

  get protocol(): string {
    return this.#parts.protocol.name;
  }

  /** Of the configuration in force: its own, and those that its routes refer to. */
  get backends(): ReadonlySet<RunningBackend<Req, R>> {
    return this.#compiled.backends;
  }

  get budget(): RetryBudget {
    return this.#compiled.budget;
  }

  get callsInFlight(): number {
    return this.#active.calls;
  }

  /** No source names it any more. */
  get removed(): boolean {
    return this.#state === "removed";
  }

  uses(backend: RunningBackend<Req, R>): boolean {
    if (this.#leaving.has(backend)) return true;
    return this.#state !== "removed" && this.#compiled.backends.has(backend);
  }

  // ── configuration ────────────────────────────────────────────────────────────────────────────

  /**
   * Compiles a changed configuration and returns the function that takes it into force, which
   * cannot fail: a change of several services is applied as a whole or not at all.
   */
  prepare(view: View): () => void {
    const config = view(this.name);
    if (config === undefined) return () => this.#remove();
    if (config === this.config && this.#state === "running") return () => {};
    const compiled = this.#compile(config, view, this.#compiled);
    return () => this.#configure(compiled);
  }

  #compile(
    config: ServiceConfig,
    view: View,
    before: Compiled<Req, R> | undefined,
  ): Compiled<Req, R> {
    const { protocol, standardMetrics, observers, telemetry, runtime, callLayers, attemptLayers } =
      this.#parts;
    const backends = new Set<RunningBackend<Req, R>>();
    const backendOf = (name: string): RunningBackend<Req, R> => {
      const backend = this.#parts.backendOf(view(name)!);
      backends.add(backend);
      return backend;
    };
    backendOf(config.name);
    const budget =
      before !== undefined && isDeepStrictEqual(config.retryBudget, before.config.retryBudget)
        ? before.budget
        : new RetryBudget(config.retryBudget, runtime);
    const pipeline = compilePipeline<Req, R>({
      service: config,
      protocol,
      standardMetrics,
      observers,
      backendOf,
      budget,
      active: this.#active,
      telemetry,
      runtime,
      refusals: this.#refusals,
      callLayers,
      attemptLayers,
    });
    return { config, budget, pipeline, backends };
  }

  #configure(compiled: Compiled<Req, R>): void {
    if (this.#state === "closed") return;
    const before = this.#compiled;
    const awake = this.#awake;
    this.#compiled = compiled;
    for (const backend of compiled.backends) {
      this.#leaving.get(backend)?.cancel();
      this.#leaving.delete(backend);
      if (awake) backend.wake(this);
    }
    this.current = awake ? compiled.pipeline : this.#asleep;
    const returns = this.#state === "removed";
    this.#state = "running";
    if (returns) this.#addGauges();
    for (const backend of before.backends) {
      if (!compiled.backends.has(backend)) this.#leave(backend);
    }
    if (awake && (returns || compiled.config.idleMs !== before.config.idleMs)) {
      this.#sweep?.cancel();
      this.#watchIdle();
    }
  }

  /** No source names the service any more: calls in progress finish, new ones are refused. */
  #remove(): void {
    if (this.#state !== "running") return;
    this.#state = "removed";
    this.#sweep?.cancel();
    this.current = removed;
    for (const backend of this.#compiled.backends) this.#leave(backend);
    this.#removeGauges();
  }

  /** Calls in progress may still retry on the backend; after the grace it sleeps. */
  #leave(backend: RunningBackend<Req, R>): void {
    if (this.#leaving.has(backend)) return;
    const timer = this.runtime.after(
      this.config.drainGraceMs,
      () => {
        this.#leaving.delete(backend);
        if (this.#state === "removed") this.#awake = false;
        void backend.sleep(this);
        this.#parts.left(backend);
      },
      undefined,
    );
    this.#leaving.set(backend, timer);
  }

  // ── sleep ────────────────────────────────────────────────────────────────────────────────────

  /** The first call starts discovery, and puts the pipeline where it found this. */
  #wake(call: Call<Req>): Promise<R> {
    this.#awaken();
    return this.#compiled.pipeline(call);
  }

  #awaken(): void {
    const { pipeline, backends } = this.#compiled;
    for (const backend of backends) backend.wake(this);
    this.current = pipeline;
    this.#awake = true;
    this.#usedAt = this.runtime.now();
    this.#watchIdle();
  }

  get reachability(): Reachability {
    if (this.#state === "closed") return "closed";
    if (this.#state === "removed") return "unreachable";
    if (!this.#awake) return "asleep";
    let usable = false;
    let pending = false;
    for (const { cluster } of this.#compiled.backends) {
      if (cluster.connected) return "connected";
      usable ||= cluster.usable;
      pending ||= !cluster.known && cluster.stale === undefined;
    }
    return usable ? "unconnected" : pending ? "pending" : "unreachable";
  }

  async reach(): Promise<boolean> {
    if (this.#state !== "running") return false;
    if (!this.#awake) this.#awaken();
    this.#usedAt = this.runtime.now();
    const reached = await Promise.all(
      [...this.#compiled.backends].map(async ({ cluster }) => {
        await cluster.whenKnown(REACH_PATIENCE_MS);
        return cluster.reach();
      }),
    );
    return reached.includes(true);
  }

  #watchIdle(): void {
    const { idleMs } = this.config;
    if (idleMs === Infinity) return;
    const picks = this.#picks();
    this.#sweep = this.runtime.after(
      idleMs / SWEEPS_PER_IDLE,
      () => this.#lookIdle(picks),
      undefined,
    );
  }

  /** Use is read off the endpoints' counters, so a call pays nothing for it. */
  #lookIdle(picksBefore: number): void {
    if (this.#state !== "running") return;
    const now = this.runtime.now();
    if (this.#active.calls > 0 || this.#picks() !== picksBefore) this.#usedAt = now;
    if (now - this.#usedAt < this.config.idleMs) return this.#watchIdle();
    this.current = this.#asleep;
    this.#awake = false;
    for (const backend of this.#compiled.backends) void backend.sleep(this);
  }

  #picks(): number {
    let sum = 0;
    for (const { cluster } of this.#compiled.backends) {
      for (const endpoint of cluster.endpoints.values()) sum += endpoint.picks;
    }
    return sum;
  }

  // ── end ──────────────────────────────────────────────────────────────────────────────────────

  /** From now on every call is refused. */
  refuse(): void {
    this.#state = "closed";
    this.#sweep?.cancel();
    this.#refusals.close();
    for (const timer of this.#leaving.values()) timer.cancel();
    this.#leaving.clear();
    this.current = closed;
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
          message: `${call.service}: the mesh was closed before the call ended: close it later, or with a longer grace period`,
          progress: call.progress,
        }),
    );
    this.#removeGauges();
  }

  // ── telemetry ────────────────────────────────────────────────────────────────────────────────

  #addGauges(): void {
    const { telemetry, protocol } = this.#parts;
    const labels = { service: this.name, protocol: protocol.name };
    this.#gauges = [
      telemetry.gauge(CALL_ACTIVE, { ...labels, direction: "outbound" }, () => this.#active.calls),
      telemetry.gauge(
        CONCURRENCY_LIMIT,
        { ...labels, direction: "outbound" },
        () => this.config.limits.maxInFlight,
      ),
      telemetry.gauge(RETRY_BUDGET_BALANCE, labels, () => this.#compiled.budget.balance()),
    ];
  }

  #removeGauges(): void {
    for (const remove of this.#gauges) remove();
    this.#gauges = [];
  }

  /** Calls in progress, of those that may be. */
  get load(): Fill {
    return { size: this.#active.calls, limit: this.config.limits.maxInFlight };
  }

  snapshot(): ServiceSnapshot {
    const now = this.runtime.now();
    const { config, budget } = this.#compiled;
    const backends = [...this.#compiled.backends];
    const own = backends.find(({ name }) => name === this.name)!;
    const { cluster } = own;
    return {
      name: this.name,
      protocol: this.#parts.protocol.name,
      routes: [...config.routes.map(({ name }) => name), "default"],
      callsInFlight: this.#active.calls,
      retryBudget: {
        balance: budget.balance(),
        refused: budget.refused,
        withdrawn: budget.withdrawn,
      },
      discovery: own.discoverySnapshot(),
      connections: { problem: cluster.problem },
      panic: cluster.lists.panic,
      zones: own.zones.view,
      endpoints: backends.flatMap((backend) => snapshotEndpoints(backend, now)),
    };
  }
}

function closed(call: Call): Promise<never> {
  return Promise.reject(
    new MeshError({
      code: "closed",
      reason: "closing",
      message: `${call.service}: the mesh is closed: make calls before mesh.close(), or a new mesh`,
      progress: "not-sent",
    }),
  );
}

function removed(call: Call): Promise<never> {
  return Promise.reject(
    new MeshError({
      code: "no_route",
      reason: "no_route",
      message: `${call.service}: the configuration in force no longer has this service: put it back, or stop calling it`,
      progress: "not-sent",
    }),
  );
}
