/**
 * A running proxy: its listeners over one mesh, each with the server half of core (posture, limits, admission,
 * records, drain) and the codecs of what its clients speak. It opens no port itself.
 */
import type { Socket } from "node:net";
import {
  assertOptions,
  graceMistake,
  GRPC_SERVED_DURATION,
  ServerCore,
  ServerSettings,
  type CloseTrigger,
  type LeavingConnections,
  type Mesh,
  type OptionKinds,
  type ReplayMemory,
  type ResetTrigger,
  type Runtime,
  type ServerPeer,
  type SharedServerSnapshot,
  type StandardDuration,
  type Timer,
  type Trust,
} from "@inmesh/core/spi";
import { Authorities, COUNTED, type CutReason } from "@inmesh/http/spi/codec";
import { Defects } from "./defects.ts";
import { keptNames } from "./fields.ts";
import { Forward, type ForwardPipeline, type ForwardProtocol } from "./forward.ts";
import { Http1Front } from "./http1/front.ts";
import { RequestReader } from "./http1/request-reader.ts";
import { Http2Front } from "./http2/front.ts";
import {
  DEFAULT_LISTENER_LIMITS,
  type FrontConnection,
  type FrontParts,
  type ListenerLimits,
  type ListenerMode,
  type ListenerOptions,
  type ProxyListener,
  type ProxyOptions,
  type RunningProxy,
  type SpokenProtocol,
} from "./listener.ts";
import type { ProxyRequest } from "./request.ts";
import { isPseudonym, PSEUDONYM_RULE } from "./pseudonym.ts";
import { AuthorityRouter, FixedRouter } from "./router.ts";
import { serverDuration } from "./standard.ts";
import { PROXY_GRPC, PROXY_HTTP } from "./transport.ts";

const DEFAULT_GRACE_MS = 30_000;
const IDLE_WAIT_MS = 1_000;
/** How often the clocks of connections are looked at. */
const LOOK_MS = 500;

const OPTIONS: OptionKinds<ProxyOptions> = { mesh: "object", listeners: "list" };
const LISTENER_OPTIONS: OptionKinds<ListenerOptions> = {
  name: "text",
  mode: "text",
  service: "text",
  posture: "text",
  limits: "object",
  via: "text",
  stopListening: "function",
};

/**
 * Starts a proxy over a mesh. It opens no port: hand accepted connections to `listeners`. Throws a TypeError or
 * RangeError for options that cannot work.
 */
export function startProxy(options: ProxyOptions): RunningProxy {
  assertOptions("startProxy", options, OPTIONS);
  return new Proxying(options);
}

class Proxying implements RunningProxy {
  readonly listeners: readonly Listener[];

  constructor({ mesh, listeners }: ProxyOptions) {
    Defects.of(mesh.runtime).reportTo(mesh);
    this.listeners = listeners.map((one) => {
      assertOptions("startProxy: listeners", one, LISTENER_OPTIONS);
      return new Listener(mesh, one);
    });
  }

  drain(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, false);
  }

  close(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return this.#leave(graceMs, true);
  }

  #leave(graceMs: number, noticed: boolean): Promise<void> {
    const wrong = graceMistake("startProxy", graceMs);
    if (wrong !== undefined) return Promise.reject(wrong);
    return Promise.all(this.listeners.map((one) => one.leaveWithin(graceMs, noticed))).then(
      () => {},
    );
  }
}

interface CoreOptions {
  readonly name: string;
  readonly mesh: Mesh;
  readonly posture: NonNullable<ListenerOptions["posture"]>;
  readonly limits?: Partial<ListenerLimits>;
  readonly idleWaitMs?: number;
  readonly refuseUnderscores?: boolean;
  readonly authorities?: readonly string[];
  readonly keepHeaders?: readonly string[];
}

/** What becomes of the requests of one protocol. */
interface Forwarding {
  readonly forward: Forward;
  readonly pipeline: ForwardPipeline;
}

class Listener implements ProxyListener, FrontParts, LeavingConnections {
  readonly name: string;
  readonly mode: ListenerMode;
  readonly service: string | undefined;
  readonly limits: ListenerLimits;
  readonly runtime: Runtime;
  readonly memory: ReplayMemory;
  readonly keepsAuthority: boolean;
  readonly via: string | undefined;
  /** For `LeavingConnections`. Writer: Drain. */
  onEmpty: (() => void) | undefined = undefined;
  accepted = 0;
  isLeaving = false;
  readonly #core: ServerCore<CutReason>;
  readonly #http: Forwarding;
  /** Made when the first call comes: a listener that has none shows nothing of it. */
  #grpc: Forwarding | undefined = undefined;
  readonly #openGrpc: () => Forwarding;
  readonly #reader: RequestReader;
  readonly #http2: Http2Front;
  readonly #open = new Set<FrontConnection>();
  /** Of some that were accepted last it is not known yet whether they are HTTP. */
  #mayGetMore = false;
  #clock: Timer | undefined = undefined;

  constructor(mesh: Mesh, options: ListenerOptions) {
    const { name, mode, service, posture, limits, via, stopListening } = options;
    if (mode !== "outbound" && mode !== "inbound") {
      throw new TypeError(
        `startProxy: listeners: mode is outbound or inbound (got ${String(mode)})`,
      );
    }
    if (mode === "inbound" && service === undefined) {
      throw new TypeError(
        `startProxy: ${name}: an inbound listener needs the service it stands before`,
      );
    }
    if (via !== undefined && !isPseudonym(via)) {
      throw new TypeError(
        `startProxy: ${name}: via ${PSEUDONYM_RULE} (got ${JSON.stringify(via)})`,
      );
    }
    const given: CoreOptions = {
      name,
      mesh,
      posture:
        posture ??
        mesh.config.current.servers?.[name]?.posture ??
        (mode === "outbound" ? "local" : "edge"),
      ...(limits && { limits }),
    };
    const settings = new ServerSettings("startProxy", given, DEFAULT_LISTENER_LIMITS);
    const core = new ServerCore<CutReason>("startProxy", "http", settings, COUNTED);
    this.#core = core;
    this.name = core.name;
    this.mode = mode;
    this.service = service;
    this.keepsAuthority = mode === "inbound";
    this.via = via;
    this.limits = settings.limits;
    this.runtime = core.runtime;
    this.memory = mesh.replayMemory;
    const authorities = Authorities.of(name, settings.options.authorities);
    const forwarding = (
      protocol: ForwardProtocol,
      standard: StandardDuration<ProxyRequest>,
      isSecond: boolean,
    ): Forwarding => {
      const forward = new Forward({
        router:
          service === undefined
            ? new AuthorityRouter(mesh, protocol)
            : new FixedRouter(mesh, service, protocol),
        limits: settings.limits,
        runtime: core.runtime,
        standard,
        authorities,
      });
      const second = { protocol: protocol.name, inFlight: () => forward.inFlight };
      const pipeline = core.pipeline<ProxyRequest>(forward, isSecond ? second : undefined);
      return { forward, pipeline };
    };
    this.#http = forwarding(PROXY_HTTP, serverDuration(false), false);
    this.#openGrpc = () => forwarding(PROXY_GRPC, GRPC_SERVED_DURATION, true);
    // Throws here, and not at the first request, for what is no service.
    if (service !== undefined) mesh.service(service, PROXY_HTTP);
    const { refuseUnderscores = false, keepHeaders } = settings.options;
    const rules = {
      secure: false,
      refusesUnderscores: refuseUnderscores,
      kept: keptNames(keepHeaders),
    };
    this.#reader = new RequestReader({ limits: settings.limits, ...rules });
    this.#http2 = new Http2Front(this, rules);
    core.bound("connections", () => ({
      size: this.#open.size,
      limit: settings.limits.maxConnections,
    }));
    core.leavesBy(this, settings.options.idleWaitMs ?? IDLE_WAIT_MS, () =>
      this.#stop(stopListening),
    );
  }

  handle(socket: Socket, first: Buffer | undefined, spoken: SpokenProtocol): void {
    if (this.#core.state === "closed" || this.#open.size >= this.limits.maxConnections) {
      this.count("connections");
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    try {
      if (spoken === "http1") new Http1Front(socket, this, this.#reader).begin(first);
      else this.#http2.accept(socket, first);
    } catch (error) {
      Defects.of(this.runtime).end(error, socket);
    }
  }

  get connections(): number {
    return this.#open.size;
  }

  get size(): number {
    return this.#open.size + (this.#mayGetMore ? 1 : 0);
  }

  get readiness(): string {
    return this.#core.readiness;
  }

  snapshot(): SharedServerSnapshot<CutReason> {
    return this.#core.snapshot([]);
  }

  leaveWithin(graceMs: number, noticed: boolean): Promise<void> {
    return this.#core.leave(graceMs, noticed);
  }

  // ── for codecs ───────────────────────────────────────────────────────────────────────────────

  trustOf(peer: () => ServerPeer): Trust {
    return this.#core.trustOf(peer);
  }

  serve(request: ProxyRequest): void {
    this.#of(request).pipeline.serve(request);
  }

  ended(request: ProxyRequest): void {
    const { forward, pipeline } = this.#of(request);
    if (pipeline.ended(request)) forward.inFlight--;
  }

  #of({ isGrpc }: ProxyRequest): Forwarding {
    return isGrpc ? (this.#grpc ??= this.#openGrpc()) : this.#http;
  }

  count(reason: CutReason): void {
    this.#core.count(reason);
  }

  opened(connection: FrontConnection, socket: Socket, spoken: SpokenProtocol): () => void {
    this.accepted++;
    this.#open.add(connection);
    this.#core.connections?.opened(socket, { protocol: spoken, mutual: "false" });
    this.#clock ??= this.runtime.after(LOOK_MS, look, this);
    return () => {
      this.#open.delete(connection);
      if (this.size === 0) this.onEmpty?.();
    };
  }

  streamReset(by: ResetTrigger): void {
    this.#core.connections?.reset(by);
  }

  closing(socket: Socket, trigger: CloseTrigger): void {
    this.#core.connections?.closing(socket, trigger);
  }

  look(): void {
    this.#clock = undefined;
    const now = this.runtime.now();
    this.#each((one) => one.look(now));
    if (this.#open.size > 0) this.#clock = this.runtime.after(LOOK_MS, look, this);
  }

  // ── for the drain ────────────────────────────────────────────────────────────────────────────

  #stop(stopListening: ListenerOptions["stopListening"]): void {
    const stopped = stopListening?.();
    if (stopped === undefined) return;
    this.#mayGetMore = true;
    void stopped.then(() => {
      this.#mayGetMore = false;
      if (this.size === 0) this.onEmpty?.();
    });
  }

  leave(): void {
    this.isLeaving = true;
    this.#each((one) => one.leave());
  }

  closeIdle(): void {
    this.#each((one) => one.closeIdle());
  }

  destroy(): void {
    this.#each((one) => one.destroy());
    this.#clock?.cancel();
  }

  /** Where one of them throws, the others have their turn all the same. */
  #each(act: (one: FrontConnection) => void): void {
    for (const one of this.#open) {
      try {
        act(one);
      } catch (error) {
        Defects.of(this.runtime).end(error, one);
      }
    }
  }
}

function look(listener: Listener): void {
  listener.look();
}
