/**
 * Everything that inmesh reads of grpc-js beyond its documented interface. Each member is where grpc-js
 * 1.14 keeps it and may be missing in another version: it is probed before its first use, and without
 * it the public way beside it is taken. What is lost then stands in `snapshot().degraded`.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Server as NetServer } from "node:net";
import {
  connectivityState,
  credentials,
  experimental,
  Metadata,
  type Channel,
  type Server,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { Degraded, type PrivateMember } from "@inmesh/core/spi";
import type { AuthContext, WireCall, WireListener, WireStatus } from "./call-types.ts";

/** Not private, but what a later version of Node or grpc-js might make useless. */
type PublicMeans = Pick<PrivateMember, "name" | "loss">;

/** Of the client half, in the whole process. */
const client = new Degraded();

const LOSS_OF_DIRECT_CALLS = "calls take grpc-js's own channel, at a quarter more CPU for each";

type MemberKey =
  | "internalChannel"
  | "subchannel"
  | "streamCall"
  | "authContext"
  | "secureConnector"
  | "interceptors"
  | "options"
  | "http2Servers"
  | "handlers";

/** All of them: what each is for, and what takes its place where it is missing. Their probes are below. */
export const MEMBERS: Readonly<Record<MemberKey, PrivateMember>> = {
  internalChannel: {
    name: "grpc-js Channel.internalChannel",
    makes: "faster",
    instead: "`Channel.createCall`",
    loss: LOSS_OF_DIRECT_CALLS,
  },
  subchannel: {
    name: "grpc-js Subchannel.createCall",
    makes: "faster",
    instead: "`Channel.createCall`",
    loss: LOSS_OF_DIRECT_CALLS,
  },
  streamCall: {
    name: "grpc-js SubchannelCall",
    makes: "faster",
    instead: "`Channel.createCall`",
    loss: LOSS_OF_DIRECT_CALLS,
  },
  /** Since grpc-js 1.14. */
  authContext: {
    name: "grpc-js SubchannelCall.getAuthContext",
    makes: "more is known",
    instead: "`callInfo` of a status or an error",
    loss: "a call does not know the certificate of its peer, and with grpc-js 1.13 callInfo() of a call knows nothing: ask for that of its status or its error",
  },
  secureConnector: {
    name: "grpc-js ChannelCredentials._createSecureConnector",
    makes: "stricter",
    instead: "grpc-js's own credentials, which verify the peer as well",
    loss: "a peer that speaks TLS and no HTTP/2 is noticed late, the reason of a failed handshake is read out of its text, handshakes seem to last until the SETTINGS of the server, and SNI names endpoint.invalid where a service has an address for its name",
  },
  interceptors: {
    name: "grpc-js Server.interceptors",
    makes: "faster",
    instead: "credentials with an interceptor, of each address that is bound",
    loss: "a server must be given to meshGrpcServer before its address is bound, and each of its calls costs a little more",
  },
  options: {
    name: "grpc-js Server.options",
    makes: "more is known",
    instead: "nothing is said of weaker limits",
    loss: "the limits that a given server does not keep are not reported",
  },
  http2Servers: {
    name: "grpc-js Server.http2Servers",
    makes: "stricter",
    instead: "the diagnostics channel `net.server.listen`, for what is bound later",
    loss: "connections of a server that was bound before it was wrapped, and injected ones, keep no limits of connections, and its clients that do not read are not found",
  },
  handlers: {
    name: "grpc-js Server.handlers",
    makes: "more is known",
    instead: "every service is answered for as the whole server",
    loss: "the health service answers for services that are not there as for the whole server",
  },
};

// ── clients: the HTTP/2 connection below a channel ─────────────────────────────────────────────

/** Not private, but what a later version of Node or grpc-js might make useless. */
const DIALS: PublicMeans = {
  name: "node net.client.socket",
  loss: "a connection that is given up while it is dialled keeps the process alive until the system gives it up too, which takes two minutes",
};

/** A call on a stream of its own. Messages go out and come in with their five bytes of framing. */
export interface StreamCall extends Pick<
  WireCall,
  "cancelWithStatus" | "getPeer" | "sendMessageWithContext" | "startRead" | "halfClose"
> {
  getAuthContext?(): AuthContext;
}

/** What unpacks messages, by the head of their reply. */
export interface Unpacker {
  receiveMetadata(metadata: Metadata): Metadata;
  receiveMessage(framed: Buffer): Promise<Buffer>;
}

interface Subchannel {
  createCall(metadata: Metadata, host: string, path: string, listener: WireListener): StreamCall;
  getConnectivityState(): connectivityState;
}

interface Inside {
  doPick(metadata: Metadata, info: object): experimental.PickResult;
  /** They keep the channel from being idle. */
  onCallStart(): void;
  onCallEnd(status: WireStatus): void;
  readonly filterStackFactory: { createFilter(): Unpacker };
}

/** False once a call on a stream turned out to have other methods. */
let knowsStreamCalls = true;

/** The connection of a channel that has one. */
export class Standing {
  readonly #inside: Inside;
  readonly #subchannel: Subchannel;
  /** The methods of its calls have been seen. */
  #proven = false;

  constructor(inside: Inside, subchannel: Subchannel) {
    this.#inside = inside;
    this.#subchannel = subchannel;
  }

  /** It takes calls. It learns of an end before its channel does. */
  get ready(): boolean {
    return knowsStreamCalls && this.#subchannel.getConnectivityState() === connectivityState.READY;
  }

  /** Throws if the connection has ended unnoticed. Each call is followed by one of `ended`. */
  open(metadata: Metadata, host: string, path: string, listener: WireListener): StreamCall {
    this.#inside.onCallStart();
    const call = this.#subchannel.createCall(metadata, host, path, listener);
    if (!this.#proven) this.#prove(call);
    return call;
  }

  /** Nothing but the head of that call has been sent, so its attempt is made again through the channel. */
  #prove(call: StreamCall): void {
    knowsStreamCalls = client.allows(MEMBERS.streamCall, isStreamCall(call));
    if (!knowsStreamCalls) throw new Error("its calls have other methods");
    client.allows(MEMBERS.authContext, typeof call.getAuthContext === "function");
    this.#proven = true;
  }

  ended(status: WireStatus): void {
    this.#inside.onCallEnd(status);
  }

  unpacker(): Unpacker {
    return this.#inside.filterStackFactory.createFilter();
  }
}

/** Undefined: there is no connection, or it cannot be reached; then calls go through the channel. */
export function standingOf(channel: Channel): Standing | undefined {
  const { internalChannel } = channel as unknown as { internalChannel?: Partial<Inside> };
  const inside = isInside(internalChannel) ? internalChannel : undefined;
  const picked = inside === undefined ? undefined : pick(inside);
  if (!client.allows(MEMBERS.internalChannel, picked !== undefined) || !knowsStreamCalls)
    return undefined;
  const { pickResultType, subchannel, onCallStarted, onCallEnded } = picked!;
  if (pickResultType !== experimental.PickResultType.COMPLETE) return undefined;
  // Calls of such a pick are counted, which a call past the channel would escape.
  if (onCallStarted !== null || onCallEnded !== null) return undefined;
  const real = (
    subchannel as Partial<NonNullable<typeof subchannel>> | null
  )?.getRealSubchannel?.();
  const isThere = isSubchannel(real);
  return client.allows(MEMBERS.subchannel, isThere) && isThere
    ? new Standing(inside!, real)
    : undefined;
}

/** Undefined: it takes other arguments, or gives something else. */
function pick(inside: Inside): experimental.PickResult | undefined {
  try {
    const picked: Partial<experimental.PickResult> | undefined = inside.doPick(new Metadata(), {});
    return picked?.pickResultType === undefined ? undefined : (picked as experimental.PickResult);
  } catch {
    return undefined;
  }
}

function isInside(given: Partial<Inside> | undefined): given is Inside {
  if (
    typeof given?.doPick !== "function" ||
    typeof given.onCallStart !== "function" ||
    typeof given.onCallEnd !== "function" ||
    typeof given.filterStackFactory?.createFilter !== "function"
  ) {
    return false;
  }
  const unpacker: Partial<Unpacker> = given.filterStackFactory.createFilter();
  return (
    typeof unpacker.receiveMetadata === "function" && typeof unpacker.receiveMessage === "function"
  );
}

function isSubchannel(given: unknown): given is Subchannel {
  const { createCall, getConnectivityState } = (given ?? {}) as Partial<Subchannel>;
  return typeof createCall === "function" && typeof getConnectivityState === "function";
}

/** The methods by which a call on a stream is used. They can only be probed on a call. */
function isStreamCall(call: Partial<StreamCall>): boolean {
  return (
    typeof call.cancelWithStatus === "function" &&
    typeof call.getPeer === "function" &&
    typeof call.sendMessageWithContext === "function" &&
    typeof call.startRead === "function" &&
    typeof call.halfClose === "function"
  );
}

/** A connection was made, and its socket was not seen. */
export function dialledUnseen(): void {
  client.allows(DIALS, false);
}

/** Whether credentials of our own can be given to a channel (tls-credentials.ts). */
export function takesOwnCredentials(): boolean {
  const known = credentials.createInsecure() as unknown as Record<string, unknown>;
  const isThere = ["_isSecure", "_equals", "_createSecureConnector"].every(
    (name) => typeof known[name] === "function",
  );
  return client.allows(MEMBERS.secureConnector, isThere);
}

// ── servers ────────────────────────────────────────────────────────────────────────────────────

/** Not private, but the only way to find what a later version of Node or grpc-js might hide. */
const LISTENING: PublicMeans = {
  name: "node tracing:net.server.listen",
  loss: "connections have no limits of the mesh's, and clients that do not read are not found",
};
const ARRIVING: PublicMeans = {
  name: "grpc-js interceptors called within the event of a stream",
  loss: "connections are not ended for what their calls do, and clients that do not read are not found",
};

/** Node's server below a grpc-js one. */
export type Http2Server = NetServer & {
  updateSettings?(settings: object): void;
};
export type Http2Session = ServerHttp2Session;
export type Http2Stream = ServerHttp2Stream;

interface ServerMembers {
  readonly interceptors?: unknown;
  readonly http2Servers?: unknown;
  readonly handlers?: unknown;
  readonly options?: unknown;
}

/** What can be reached of a server beyond what grpc-js documents. */
export class ServerInside {
  readonly degraded: Degraded = new Degraded();
  readonly #server: ServerMembers;
  readonly #hasServers: boolean;
  readonly #hasHandlers: boolean;

  constructor(server: Server) {
    this.#server = server as unknown as ServerMembers;
    this.#hasServers = this.degraded.allows(
      MEMBERS.http2Servers,
      this.#server.http2Servers instanceof Map,
    );
    this.#hasHandlers = this.degraded.allows(
      MEMBERS.handlers,
      this.#server.handlers instanceof Map,
    );
  }

  /** Read by grpc-js for each call. Undefined: they go in with credentials (server/given-server.ts). */
  interceptors(): ServerInterceptor[] | undefined {
    const { interceptors } = this.#server;
    return this.degraded.allows(MEMBERS.interceptors, Array.isArray(interceptors))
      ? (interceptors as ServerInterceptor[])
      : undefined;
  }

  /** What it was made with. Undefined if unknown. */
  options(): Readonly<Record<string, unknown>> | undefined {
    const { options } = this.#server;
    return this.degraded.allows(MEMBERS.options, typeof options === "object" && options !== null)
      ? (options as Record<string, unknown>)
      : undefined;
  }

  /** Those that are bound. None if unknown: servers are then found when they are bound (bound-servers.ts). */
  http2Servers(): Http2Server[] {
    if (!this.#hasServers) return [];
    return [...(this.#server.http2Servers as Map<Http2Server, unknown>).keys()];
  }

  /** An address was bound, and none of its HTTP/2 servers was found. */
  boundUnseen(): void {
    this.degraded.allows(LISTENING, false);
  }

  /** A call has come whose stream is not known. */
  arrivedUnseen(): void {
    this.degraded.allows(ARRIVING, false);
  }

  /** Whether it has a method of that service; true if unknown. */
  serves(service: string): boolean {
    if (!this.#hasHandlers) return true;
    const prefix = `/${service}/`;
    for (const path of (this.#server.handlers as Map<unknown, unknown>).keys()) {
      if (typeof path === "string" && path.startsWith(prefix)) return true;
    }
    return false;
  }
}
