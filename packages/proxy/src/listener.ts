/**
 * What stands between a program that accepts connections and the codecs: a listener takes a connection of which
 * it is known what is spoken on it, and the codecs get from it what they need of their listener.
 */
import type { Socket } from "node:net";
import {
  DEFAULT_GRPC_LIMITS,
  DEFAULT_HTTP_LIMITS,
  type CloseTrigger,
  type GrpcServerLimits,
  type HttpServerLimits,
  type Mesh,
  type Posture,
  type ReplayMemory,
  type ResetTrigger,
  type Runtime,
  type ServerPeer,
  type SharedServerSnapshot,
  type Trust,
} from "@inmesh/core/spi";
import type { CutReason } from "@inmesh/http/spi/codec";
import type { ProxyRequest, RequestOwner } from "./request.ts";

/** `outbound`: applications of this host send to other services. `inbound`: others send to the application of this host. */
export type ListenerMode = "outbound" | "inbound";

/** What is spoken on a connection, as the program that accepted it has found out. */
export type SpokenProtocol = "http1" | "http2";

/** A listener as the program that accepts its connections sees it. */
export interface ProxyListener {
  readonly name: string;
  readonly mode: ListenerMode;
  /** The one service that all its requests go to; undefined: the authority of each says it. */
  readonly service: string | undefined;
  /**
   * Takes a connection over. `first`: bytes that were read of it already. Nothing else may read or write it from
   * now on, and its `error` events are handled here. The socket is one with `allowHalfOpen: true`.
   */
  handle(socket: Socket, first: Buffer | undefined, spoken: SpokenProtocol): void;
  /** Connections that are open now, of HTTP. */
  readonly connections: number;
  /** `ok`, or why requests should not come here. */
  readonly readiness: string;
  /** Its state now, with what it has refused by reason. */
  snapshot(): SharedServerSnapshot<CutReason>;
}

/** Those of servers of HTTP; and, as servers of gRPC have it, when a client over HTTP/2 is asked whether it is still there. */
export type ListenerLimits = HttpServerLimits &
  Pick<GrpcServerLimits, "pingIntervalMs" | "pingTimeoutMs">;

export const DEFAULT_LISTENER_LIMITS: ListenerLimits = {
  ...DEFAULT_HTTP_LIMITS,
  pingIntervalMs: DEFAULT_GRPC_LIMITS.pingIntervalMs,
  pingTimeoutMs: DEFAULT_GRPC_LIMITS.pingTimeoutMs,
};

/** What a codec of clients has of its listener. */
export interface FrontParts extends RequestOwner {
  readonly mode: ListenerMode;
  readonly limits: ListenerLimits;
  readonly runtime: Runtime;
  /** How much may be kept of bodies, for further attempts. */
  readonly memory: ReplayMemory;
  trustOf(peer: () => ServerPeer): Trust;
  /** Gives a request to the pipeline. Its refusal, reply or failure comes to its sink. */
  serve(request: ProxyRequest): void;
  /** Counts what never became a request, was cut short, or was tolerated. */
  count(reason: CutReason): void;
  /** A connection of the listener, for its drain. Gives what is called when it has closed. */
  opened(connection: FrontConnection, socket: Socket, spoken: SpokenProtocol): () => void;
  /** A stream of HTTP/2 was reset before its end, by that side. */
  streamReset(by: ResetTrigger): void;
  /** It ends for that. */
  closing(socket: Socket, trigger: CloseTrigger): void;
  /** The listener is leaving: replies say so. */
  readonly isLeaving: boolean;
}

/** A client's connection, as a drain sees it. */
export interface FrontConnection {
  /** Requests in progress. */
  readonly active: number;
  /** Asks the client to go, as its protocol can; what is in progress goes on. */
  leave(): void;
  /** Looks at its clocks; called about twice a second. */
  look(now: number): void;
  /** Closes it if nothing is in progress on it. */
  closeIdle(): void;
  destroy(): void;
}

/** One listener of `startProxy`. */
export interface ListenerOptions {
  /** Of `servers.<name>` in the configuration, in metrics and for people. */
  readonly name: string;
  readonly mode: ListenerMode;
  /** The one service that all its requests go to. Default: the authority of each request names it. Needed by `inbound`. */
  readonly service?: string;
  /** What is believed of clients. Default: `servers.<name>.posture`, else `local` for `outbound`, `edge` for `inbound`. */
  readonly posture?: Posture;
  /** Those that differ from the defaults of docs/reference/limits.md. Default: none. */
  readonly limits?: Partial<ListenerLimits>;
  /**
   * The name by which it adds itself to the `via` of requests and replies that it passes on (RFC 9110 §7.6.3): a token. Default:
   * it does not, and leaves what others said there.
   */
  readonly via?: string;
  /**
   * Called when it leaves, perhaps again when it has left: no further connection may be accepted. Those that it is given before
   * what this gives resolves, which must not reject, are served all the same. Default: nothing.
   */
  readonly stopListening?: () => void | Promise<void>;
}

export interface ProxyOptions {
  /** Where its services, their endpoints and their policies come from, and where it counts. */
  readonly mesh: Mesh;
  readonly listeners: readonly ListenerOptions[];
}

/** A running proxy. It opens no port: who accepts connections hands them to its listeners. */
export interface RunningProxy {
  /** In the order of the options. */
  readonly listeners: readonly ProxyListener[];
  /** Leaves without losing a request: see `MeshServer.drain`. Idempotent. */
  drain(graceMs?: number): Promise<void>;
  /** The same without waiting for discovery to notice; 0 destroys at once. Idempotent. Does not close the mesh. */
  close(graceMs?: number): Promise<void>;
}
