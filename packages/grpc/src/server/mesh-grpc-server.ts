/**
 * `meshGrpcServer(server)`: the server half for gRPC. It reads what the caller says about its call,
 * refuses what cannot or must not be served, runs handlers where their own calls inherit the rest,
 * answers health, and knows how to leave. Its model is `meshServer` of @inmesh/http.
 */
import { Server as TlsServer } from "node:tls";
import {
  Server,
  ServerCredentials,
  type ServerInterceptingCall,
  type ServerInterceptor,
  type ServerOptions,
} from "@grpc/grpc-js";
import {
  assertOptions,
  graceMistake,
  isInstrumented,
  removeStaleSocket,
  ServerCore,
  type ServerIdentity,
  ServerSettings,
  SHARED_SERVER_OPTIONS,
  socketPathOf,
  type OptionKinds,
  type ServerState,
  type ServerTls,
  type SharedServerOptions,
  type SharedServerSnapshot,
} from "@inmesh/core/spi";
import { ServerInside } from "../internals.ts";
import { afterBinding, watchBinding } from "./bound-servers.ts";
import { interceptByCredentials, redirectEarlier } from "./given-server.ts";
import { HEALTH_PATH } from "./health-messages.ts";
import { Health, type GrpcHealthOptions } from "./health.ts";
import { HeadReader } from "./head-reader.ts";
import { InboundCalls } from "./inbound-calls.ts";
import { Inbound } from "./inbound.ts";
import {
  DEFAULT_GRPC_LIMITS,
  grpcServerOptions,
  weakerThan,
  type GivenGrpcLimit,
  type GrpcServerLimits,
} from "./limits.ts";
import { COUNTED, type GrpcCutReason } from "./refusals.ts";
import { serverCredentials } from "./server-credentials.ts";
import { GrpcServing } from "./serving.ts";
import { Sessions } from "./sessions.ts";

export interface GrpcServerOptions extends SharedServerOptions {
  /** Keys of identity metadata that stay, because something in front vouches for them. Default: none. */
  readonly keepMetadata?: readonly string[];
  /**
   * Certificate and key for `listen`: paths of files that are followed, or PEM, or an identity source of
   * `mesh`. Default: none; `listen` takes grpc-js's credentials. No effect on addresses that are bound by the
   * server's own `bindAsync` in plain text.
   */
  readonly tls?: ServerTls;
  /** Those that differ from the defaults of docs/reference/grpc-server.md. Default: none. */
  readonly limits?: Partial<GrpcServerLimits>;
  /** grpc.health.v1; false: not answered here. Default: answered. */
  readonly health?: GrpcHealthOptions | false;
  /**
   * For the server that is made: grpc-js's own options. They win over `limits`. Default: none. No effect
   * on one that is given.
   */
  readonly channelOptions?: ServerOptions;
}

const OPTIONS: OptionKinds<GrpcServerOptions> = {
  ...SHARED_SERVER_OPTIONS,
  tls: "object",
  keepMetadata: "list",
  limits: "object",
  health: "any",
  channelOptions: "object",
};
const OPTION_HINTS = {
  port: "it belongs to the server's bindAsync",
  host: "it belongs to the server's bindAsync",
  keepHeaders: 'did you mean "keepMetadata"?',
};

export interface GrpcServerSnapshot extends SharedServerSnapshot<GrpcCutReason> {
  readonly callsInFlight: number;
  readonly sessions: number;
  readonly limits: GrpcServerLimits;
  /** Limits that a server we were given does not keep. */
  readonly weaker: readonly GivenGrpcLimit[];
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

export class MeshGrpcServer implements AsyncDisposable {
  /** grpc-js's server: `addService`, and whatever else it can do. */
  readonly server: Server;
  readonly name: string;
  readonly #core: ServerCore<GrpcCutReason>;
  readonly #settings: ServerSettings<GrpcServerOptions, GrpcServerLimits>;
  readonly #weaker: readonly GivenGrpcLimit[];
  readonly #calls: InboundCalls;
  readonly #inside: ServerInside;
  readonly #sessions: Sessions;
  readonly #serving: GrpcServing;
  readonly #health: Health | undefined;
  readonly #identity: ServerIdentity | undefined;
  /** No interceptor of the host's sees a call before its handler. */
  readonly #alone: boolean;
  /** An address is bound, or connections are injected. One that is given may have been bound before. */
  #listens: boolean;
  /** Ends the watch for addresses that were being bound when the server was given. */
  #endRedirects: () => void = () => {};
  #left: Promise<void> | undefined = undefined;

  /** Use `meshGrpcServer`. */
  constructor(given: Server | undefined, options: GrpcServerOptions) {
    assertOptions("meshGrpcServer", options, OPTIONS, OPTION_HINTS);
    const settings = new ServerSettings("meshGrpcServer", options, DEFAULT_GRPC_LIMITS);
    const { limits, options: all } = settings;
    const { health = {}, channelOptions } = all;
    const core = new ServerCore<GrpcCutReason>("meshGrpcServer", "grpc", settings, COUNTED);
    const { runtime } = core;
    this.name = core.name;
    this.#core = core;
    this.#settings = settings;
    const count = (reason: GrpcCutReason): void => void core.count(reason);
    this.#calls = new InboundCalls(limits.writeStallTimeoutMs, runtime, (inbound) => {
      inbound.cut = core.count("write_stall");
      core.connections?.reset("server");
    });
    const intercept = this.#interceptor();
    this.#listens = given !== undefined;
    this.server = given ?? this.#make(intercept, channelOptions);
    this.#inside = new ServerInside(this.server);
    if (given !== undefined) this.#wrap(intercept);
    const own = channelOptions?.interceptors ?? [];
    this.#alone =
      given === undefined ? own.length === 0 : this.#inside.interceptors()?.length === 1;
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
    this.#sessions = new Sessions(
      this.server,
      this.#inside,
      limits,
      runtime,
      count,
      () => {
        this.#health?.close();
        this.#calls.endReflection();
      },
      core.connections,
      (http2) => {
        const tls = http2 instanceof TlsServer;
        core.listensBy(http2, { speaks: [tls ? "h2" : "h2c"], tls });
      },
    );
    core.bound("watchers", () => ({
      size: this.#health?.watchers ?? 0,
      limit: limits.maxWatchers,
    }));
    core.bound("connections", () => ({
      size: this.#sessions.count,
      limit: limits.maxConnections,
    }));
    const identity = options.tls && core.shows(options.tls, () => {});
    this.#identity = identity;
    if (identity !== undefined) {
      this.#sessions.onFound = (http2) => {
        if (http2 instanceof TlsServer) {
          identity.follow(http2, (withinMs) => this.#sessions.renew(withinMs));
        }
      };
    }
    const keep = new Set(all.keepMetadata?.map((key) => key.toLowerCase()));
    this.#serving = new GrpcServing({
      core,
      limits,
      reader: new HeadReader(limits, keep),
      calls: this.#calls,
      sessions: this.#sessions,
      tracedByOthers: isInstrumented(this.server, "register"),
      layered: (all.serverLayers?.length ?? 0) > 0,
    });
    this.#watchBinding();
    core.facts = () => ({
      connections: this.#sessions.known ? this.#sessions.count : undefined,
      sessions: this.#sessions.known ? this.#sessions.count : undefined,
      notReady: !this.#listens
        ? "not listening"
        : this.#health?.isMet === false
          ? "not ready"
          : undefined,
    });
    core.leavesBy(this.#sessions, IDLE_WAIT_MS, () => {}); // leaving does stop it
  }

  // ── calls ────────────────────────────────────────────────────────────────────────────────────

  /** First of the interceptors: what is refused reaches none of the others. */
  #interceptor(): ServerInterceptor {
    return ({ path, requestStream, responseStream }, call) => {
      if (path.startsWith(HEALTH_PATH)) return call as ServerInterceptingCall;
      const serving = this.#serving;
      const inbound = new Inbound(
        call,
        path,
        !requestStream,
        !responseStream,
        this.#alone,
        serving,
      );
      inbound.stream = this.#sessions.arriving;
      return inbound as unknown as ServerInterceptingCall;
    };
  }

  #make(intercept: ServerInterceptor, channelOptions: ServerOptions = {}): Server {
    const { interceptors = [] } = channelOptions;
    return new Server({
      ...grpcServerOptions(this.#settings.limits),
      ...channelOptions,
      interceptors: [intercept, ...interceptors],
    });
  }

  #wrap(intercept: ServerInterceptor): void {
    const interceptors = this.#inside.interceptors();
    if (interceptors !== undefined) {
      interceptors.unshift(intercept);
      return;
    }
    interceptByCredentials(this.server, intercept);
    this.#endRedirects = redirectEarlier(this.server);
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
          this.#listens ||= error === null;
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
      this.#listens = true;
      sessions.bound();
      return injector;
    };
  }

  /** Calls should come here: not draining, not overloaded. What `isReady` says is not in it. */
  get ready(): boolean {
    return this.#core.readiness === "ok";
  }

  // ── lifetime ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Binds: a port on every address of this host, or `host:port`, or `unix:path`. Resolves to the
   * port; 0, the default, chooses one. `credentials` default to those of `tls`, for whose first certificate it
   * waits at most 10 s; without `tls` to none: cleartext. Rejects if it cannot.
   * A socket that a killed process left behind is taken away, unless a process answers on it.
   */
  async listen(address: number | string = 0, credentials?: ServerCredentials): Promise<number> {
    await this.#identity?.answered();
    const given = credentials ?? this.#ownCredentials();
    const target = typeof address === "number" ? `0.0.0.0:${address}` : address;
    const path = socketPathOf(target);
    if (path !== undefined) await removeStaleSocket(path);
    return new Promise((resolve, reject) => {
      this.server.bindAsync(target, given, (error, port) => {
        if (error !== null) return reject(error);
        this.#identity?.show(); // after grpc-js's own, which sets less
        if (this.#identity === undefined || this.#sessions.known) return resolve(port);
        // It would go on with certificates that are not renewed, and let in clients that were not checked.
        this.server.forceShutdown();
        reject(
          new Error(
            "meshGrpcServer: tls cannot be used with this version of @grpc/grpc-js and Node",
          ),
        );
      });
    });
  }

  #ownCredentials(): ServerCredentials {
    const pem = this.#identity?.pem;
    if (pem === undefined) return ServerCredentials.createInsecure();
    const { requestCert = false, rejectUnauthorized = true } = this.#identity!.options;
    return serverCredentials(pem, requestCert, rejectUnauthorized);
  }

  get state(): ServerState {
    return this.#core.state;
  }

  /**
   * Leaves without losing a call: not serving, `discoveryWaitMs` later GOAWAY and no new connections,
   * then the end of what is in progress. Whatever is left `graceMs` after the call (default 30 000)
   * is destroyed. Idempotent: later calls give the same promise.
   */
  drain(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, false);
  }

  /** The same without waiting for discovery to notice; `graceMs` 0 destroys at once. Idempotent. */
  close(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, true);
  }

  #leave(graceMs: number, noticed: boolean): Promise<void> {
    const wrong = graceMistake("meshGrpcServer", graceMs);
    if (wrong !== undefined) return Promise.reject(wrong);
    const left = this.#core.leave(graceMs, noticed);
    this.#endRedirects();
    this.#health?.changed();
    return (this.#left ??= left.then(() => {
      this.#health?.close();
    }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** State behind every decision, as plain data. */
  snapshot(): GrpcServerSnapshot {
    return {
      ...this.#core.snapshot(this.#inside.degraded.list),
      callsInFlight: this.#core.admission.inFlight,
      sessions: this.#sessions.count,
      limits: { ...this.#settings.limits },
      weaker: this.#weaker,
    };
  }
}
