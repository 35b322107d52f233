/**
 * `meshGrpcServer(server)`: the server half for gRPC. It reads what the caller says about its call,
 * refuses what cannot or must not be served, runs handlers where their own calls inherit the rest,
 * answers health, and knows how to leave. Its model is `meshServer` of @inmesh/http.
 */
import {
  Server,
  ServerCredentials,
  type Metadata,
  type ServerInterceptingCall,
  type ServerInterceptor,
  type ServerOptions,
} from "@grpc/grpc-js";
import type { Log, Mesh } from "@inmesh/core";
import {
  Admission,
  assertOptions,
  BELIEFS,
  Drain,
  NodeRuntime,
  removeStaleSocket,
  ServedRecord,
  socketPathOf,
  withinDescriptors,
  type OptionKinds,
  type Posture,
  type Runtime,
  type ServerState,
} from "@inmesh/core/spi";
import { ServerInside } from "../internals.ts";
import { textOf } from "../metadata.ts";
import { httpCodeOf, outcomeOf } from "../status.ts";
import { afterBinding, watchBinding } from "./bound-servers.ts";
import { HEALTH_PATH } from "./health-messages.ts";
import { Health, type GrpcHealthOptions } from "./health.ts";
import { HeadReader } from "./head-reader.ts";
import { InboundCalls } from "./inbound-calls.ts";
import { Inbound, type InboundOwner } from "./inbound.ts";
import {
  grpcLimitsOf,
  grpcServerOptions,
  weakerThan,
  type GivenGrpcLimit,
  type GrpcServerLimits,
} from "./limits.ts";
import { refusalStatuses, type GrpcRefusalReason, type RefusalStatuses } from "./refusals.ts";
import { Sessions, type SessionCut } from "./sessions.ts";

export interface GrpcServerOptions {
  /** For people and metrics. Default `server`. */
  readonly name?: string;
  /** Counts its calls there, and shares its clock. Default: nobody counts; the process's own clock. */
  readonly mesh?: Mesh;
  /** Who is believed, and what; the same words as for HTTP. Default `edge`. */
  readonly posture?: Posture;
  /** Keys of identity metadata that stay, because something in front vouches for them. Default: none. */
  readonly keepMetadata?: readonly string[];
  /** Those that differ from the defaults of docs/reference/grpc-server.md. Default: none. */
  readonly limits?: Partial<GrpcServerLimits>;
  /** grpc.health.v1; false: not answered here. Default: answered. */
  readonly health?: GrpcHealthOptions | false;
  /** Gets a line when calls are refused for load, once a minute at most. Default: the log of `mesh`. */
  readonly log?: Log;
  /** Milliseconds from "not serving" until everybody has noticed, when draining. Default 5 000. */
  readonly discoveryWaitMs?: number;
  /**
   * For the server that is made: grpc-js's own options. They win over `limits`. Default: none. No effect
   * on one that is given.
   */
  readonly channelOptions?: ServerOptions;
}

const OPTIONS: OptionKinds<GrpcServerOptions> = {
  name: "text",
  mesh: "object",
  posture: "text",
  keepMetadata: "list",
  limits: "object",
  health: "any",
  log: "function",
  discoveryWaitMs: "milliseconds",
  channelOptions: "object",
};
const OPTION_HINTS = {
  port: "it belongs to the server's bindAsync",
  host: "it belongs to the server's bindAsync",
  tls: "credentials belong to the server's bindAsync",
  keepHeaders: 'did you mean "keepMetadata"?',
};

/** Why a call did not reach its handler or was cut short, or a connection was closed. */
export type GrpcCutReason = GrpcRefusalReason | "write_stall" | SessionCut;

export interface GrpcServerSnapshot {
  readonly name: string;
  readonly state: ServerState;
  readonly posture: Posture;
  readonly callsInFlight: number;
  readonly sessions: number;
  /** By how many milliseconds the event loop was late at least, over the last half second. 0 while no calls come. */
  readonly loopDelayMs: number;
  readonly refused: Readonly<Partial<Record<GrpcCutReason, number>>>;
  readonly limits: GrpcServerLimits;
  /** Limits that a server we were given does not keep. */
  readonly weaker: readonly GivenGrpcLimit[];
  /**
   * What works less well because a private member of grpc-js is not where it was: one line for each, with
   * what is lost. Empty with the versions that inmesh is tested with.
   */
  readonly degraded: readonly string[];
}

const DEFAULT_GRACE_MS = 30_000;
/** From GOAWAY until connections that stay open although they are idle are closed. */
const IDLE_WAIT_MS = 1_000;

/**
 * Wraps a grpc-js Server, before or after its services are added and its address is bound, or makes
 * one. Throws a TypeError or RangeError for options that cannot work.
 */
export function meshGrpcServer(server?: Server, options?: GrpcServerOptions): MeshGrpcServer;
export function meshGrpcServer(options: GrpcServerOptions): MeshGrpcServer;
export function meshGrpcServer(
  target: Server | GrpcServerOptions = {},
  options: GrpcServerOptions = {},
): MeshGrpcServer {
  if (typeof target !== "object" || target === null) {
    throw new TypeError("meshGrpcServer: takes a Server of grpc-js, options, or both");
  }
  // Not `instanceof`: the application may have a grpc-js of its own.
  return "bindAsync" in target
    ? new MeshGrpcServer(target, options)
    : new MeshGrpcServer(undefined, target);
}

export class MeshGrpcServer implements AsyncDisposable, InboundOwner {
  /** grpc-js's server: `addService`, and whatever else it can do. */
  readonly server: Server;
  readonly name: string;
  readonly #posture: Posture;
  readonly #limits: GrpcServerLimits;
  readonly #weaker: readonly GivenGrpcLimit[];
  readonly #runtime: Runtime;
  readonly #mesh: Mesh | undefined;
  readonly #admission: Admission;
  readonly #reader: HeadReader;
  readonly #refusals: RefusalStatuses;
  readonly #calls: InboundCalls;
  readonly #inside: ServerInside;
  readonly #sessions: Sessions;
  readonly #health: Health | undefined;
  readonly #drain: Drain;
  readonly #stranger: boolean;
  /** No interceptor of the host's sees a call before its handler. */
  readonly #alone: boolean;
  readonly #refused = new Map<GrpcCutReason, number>();
  readonly #records = new Map<string, ServedRecord>();
  #left: Promise<void> | undefined = undefined;

  /** Use `meshGrpcServer`. */
  constructor(given: Server | undefined, options: GrpcServerOptions) {
    assertOptions("meshGrpcServer", options, OPTIONS, OPTION_HINTS);
    const { posture = "edge", health = {} } = options;
    const beliefs = BELIEFS[posture];
    if (beliefs === undefined)
      throw new TypeError(
        `meshGrpcServer: no posture ${posture}; known: ${Object.keys(BELIEFS).join(", ")}`,
      );
    const limits = withinDescriptors(grpcLimitsOf(options.limits));
    const runtime = options.mesh?.runtime ?? (ownRuntime ??= new NodeRuntime());
    this.name = options.name ?? "server";
    this.#posture = posture;
    this.#limits = limits;
    this.#runtime = runtime;
    this.#mesh = options.mesh;
    this.#admission = new Admission(limits, runtime, this.name, options.log ?? options.mesh?.log);
    const keep = new Set(options.keepMetadata?.map((key) => key.toLowerCase()));
    this.#reader = new HeadReader(limits, beliefs, keep);
    this.#refusals = refusalStatuses(beliefs.tellsReasons);
    this.#stranger = !beliefs.deadlineIsOurs;
    const count = (reason: GrpcCutReason): void => this.#count(reason);
    this.#calls = new InboundCalls(limits.writeStallTimeoutMs, runtime, () => count("write_stall"));
    const intercept = this.#interceptor();
    this.server = given ?? this.#make(intercept, options.channelOptions);
    this.#inside = new ServerInside(this.server);
    if (given !== undefined) this.#wrap(intercept);
    const own = options.channelOptions?.interceptors ?? [];
    this.#alone =
      given === undefined ? own.length === 0 : this.#inside.interceptors()!.length === 1;
    this.#weaker = given === undefined ? [] : weakerThan(limits, this.#inside.options());
    this.#health =
      health === false
        ? undefined
        : new Health(
            this.server,
            health,
            (service) => this.#inside.serves(service),
            () => this.ready,
            limits.maxWatchers,
            runtime,
          );
    this.#sessions = new Sessions(this.server, this.#inside, limits, runtime, count, () => {
      this.#health?.close();
      this.#calls.endReflection();
    });
    this.#watchBinding();
    this.#drain = new Drain({
      connections: this.#sessions,
      runtime,
      discoveryWaitMs: options.discoveryWaitMs ?? 5_000,
      idleWaitMs: IDLE_WAIT_MS,
      stopListening: () => {}, // leaving does
    });
  }

  // ── calls ────────────────────────────────────────────────────────────────────────────────────

  /** First of the interceptors: what is refused reaches none of the others. */
  #interceptor(): ServerInterceptor {
    return ({ path, requestStream, responseStream }, call) => {
      if (path.startsWith(HEALTH_PATH)) return call as ServerInterceptingCall;
      const inbound = new Inbound(call, path, !requestStream, !responseStream, this.#alone, this);
      inbound.stream = this.#sessions.arriving;
      return inbound as unknown as ServerInterceptingCall;
    };
  }

  #make(intercept: ServerInterceptor, channelOptions: ServerOptions = {}): Server {
    const { interceptors = [] } = channelOptions;
    return new Server({
      ...grpcServerOptions(this.#limits),
      ...channelOptions,
      interceptors: [intercept, ...interceptors],
    });
  }

  #wrap(intercept: ServerInterceptor): void {
    const interceptors = this.#inside.interceptors();
    if (interceptors === undefined) {
      throw new TypeError(
        "meshGrpcServer: this version of @grpc/grpc-js takes interceptors only when a server is made; leave the server to meshGrpcServer(options)",
      );
    }
    interceptors.unshift(intercept);
  }

  /** The server's own way to say that it has a socket. */
  #watchBinding(): void {
    const { server } = this;
    const sessions = this.#sessions;
    sessions.bound();
    const bindAsync = server.bindAsync.bind(server);
    server.bindAsync = (address, credentials, done) => {
      // grpc-js throws for this at once; a function of ours in its place would hide the mistake.
      if (typeof done !== "function") return bindAsync(address, credentials, done);
      watchBinding(sessions.found, (bound) =>
        bindAsync(address, credentials, (error, port) => {
          bound();
          sessions.bound();
          if (error === null && !sessions.known) this.#inside.boundUnseen();
          // It has been closed while it was binding.
          if (this.state === "closed") server.forceShutdown();
          afterBinding(() => done(error, port));
        }),
      );
    };
    const inject = server.createConnectionInjector?.bind(server);
    if (inject === undefined) return;
    server.createConnectionInjector = (credentials) => {
      const injector = inject(credentials);
      sessions.bound();
      return injector;
    };
  }

  /** @internal */
  admits(inbound: Inbound, metadata: Metadata): GrpcRefusalReason | undefined {
    const runtime = this.#runtime;
    const now = runtime.now();
    inbound.startedAt = now;
    const unread = this.#reader.read(inbound, metadata);
    const observers = this.#mesh?.observers;
    if (observers?.attached !== undefined) {
      inbound.observed = observers.servedStarted({
        protocol: "grpc",
        server: this.name,
        method: "POST",
        path: inbound.path,
        header: (name) => textOf(metadata, name),
        request: inbound,
      });
    }
    if (unread !== undefined) return unread;
    const deadline = inbound.getDeadline();
    let remainingMs = Infinity;
    if (deadline !== Infinity) {
      remainingMs = Math.min(Number(deadline) - runtime.wallNow(), this.#limits.maxTimeoutMs);
      inbound.deadlineAt = now + remainingMs;
      inbound.stranger = this.#stranger;
    }
    const refused = this.#admission.refuses(inbound, remainingMs);
    if (refused !== undefined) return refused;
    if (!this.#sessions.began(inbound)) return "connection_headers";
    this.#admission.inFlight++;
    this.#calls.add(inbound);
    return undefined;
  }

  /** @internal */
  refused(inbound: Inbound, reason: GrpcRefusalReason): void {
    this.#count(reason);
    const status = this.#refusals[reason];
    inbound.call.sendStatus(status);
    this.#record(inbound, status.code, reason);
  }

  /** @internal */
  ended(inbound: Inbound): void {
    this.#admission.inFlight--;
    this.#calls.remove(inbound);
    this.#sessions.ended(inbound);
    if (this.#mesh === undefined) return;
    this.#record(inbound, inbound.status ?? sentStatus(inbound), undefined);
  }

  #record(inbound: Inbound, code: number, reason: GrpcRefusalReason | undefined): void {
    const telemetry = this.#mesh?.telemetry;
    if (telemetry === undefined) return;
    const { path } = inbound;
    let record = this.#records.get(path); // registered methods only reach an interceptor: a closed set
    if (record === undefined) {
      record = new ServedRecord(telemetry, { service: this.name, route: path, protocol: "grpc" });
      this.#records.set(path, record);
    }
    const outcome =
      reason === "expired_on_arrival" ? "timeout" : outcomeOf(code, reason !== undefined);
    record.ended(outcome, httpCodeOf(code), reason, this.#runtime.now() - inbound.startedAt);
    inbound.observed?.ended(outcome, code, reason);
  }

  #count(reason: GrpcCutReason): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
  }

  /** Calls should come here: not draining, not overloaded. What `isReady` says is not in it. */
  get ready(): boolean {
    return this.#drain.state === "open" && !this.#admission.overloaded;
  }

  // ── lifetime ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Binds: a port on every address of this host, or `host:port`, or `unix:path`. Resolves to the
   * port; 0, the default, chooses one. `credentials` default to none: cleartext. Rejects if it cannot.
   * A socket that a killed process left behind is taken away, unless somebody answers on it.
   */
  async listen(
    address: number | string = 0,
    credentials: ServerCredentials = ServerCredentials.createInsecure(),
  ): Promise<number> {
    const target = typeof address === "number" ? `0.0.0.0:${address}` : address;
    const path = socketPathOf(target);
    if (path !== undefined) await removeStaleSocket(path);
    return new Promise((resolve, reject) => {
      this.server.bindAsync(target, credentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }

  get state(): ServerState {
    return this.#drain.state;
  }

  /**
   * Leaves without losing a call: not serving, `discoveryWaitMs` later GOAWAY and no new connections,
   * then the end of what is in progress. Whatever is left `graceMs` after the call (default 30 000)
   * is destroyed. Idempotent: later calls give the same promise.
   */
  drain(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, false);
  }

  /** The same without waiting for anybody to notice; `graceMs` 0 destroys at once. Idempotent. */
  close(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, true);
  }

  #leave(graceMs: number, noticed: boolean): Promise<void> {
    const left = this.#drain.start(graceMs, noticed);
    this.#health?.changed();
    return (this.#left ??= left.then(() => {
      this.#health?.close();
      this.#calls.close();
    }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** State behind every decision, as plain data. */
  snapshot(): GrpcServerSnapshot {
    return {
      name: this.name,
      state: this.#drain.state,
      posture: this.#posture,
      callsInFlight: this.#admission.inFlight,
      sessions: this.#sessions.count,
      loopDelayMs: this.#admission.loopDelayMs,
      refused: Object.fromEntries(this.#refused),
      limits: this.#limits,
      weaker: this.#weaker,
      degraded: this.#inside.degraded.list,
    };
  }
}

let ownRuntime: Runtime | undefined;
const CANCELLED = 1;
const STATUS = "grpc-status";

/** What grpc-js itself answered; CANCELLED if the client left before anybody could. */
function sentStatus({ stream }: Inbound): number {
  const code = stream?.sentTrailers?.[STATUS] ?? stream?.sentHeaders?.[STATUS];
  return code === undefined ? CANCELLED : Number(code);
}
