/**
 * The client's half of what grpc-js has no public way for (the server's is server/internals.ts): the
 * HTTP/2 connection below a channel. Looked up where grpc-js 1.14 keeps it, and may be missing: then
 * calls go through the channel, which costs more and means the same.
 */
import type { Socket } from "node:net";
import { connectivityState, experimental, Metadata, type Channel } from "@grpc/grpc-js";
import type { AuthContext, WireCall, WireListener, WireStatus } from "./call-types.ts";

/** A call on a stream of its own. Messages go out and come in with their five bytes of framing. */
export interface StreamCall extends Pick<
  WireCall,
  "cancelWithStatus" | "getPeer" | "sendMessageWithContext" | "startRead" | "halfClose"
> {
  getAuthContext(): AuthContext;
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

/** The connection of a channel that has one. */
export class Standing {
  readonly #inside: Inside;
  readonly #subchannel: Subchannel;

  constructor(inside: Inside, subchannel: Subchannel) {
    this.#inside = inside;
    this.#subchannel = subchannel;
  }

  /** It takes calls. It hears of an end before its channel does. */
  get ready(): boolean {
    return this.#subchannel.getConnectivityState() === connectivityState.READY;
  }

  /** Throws if the connection has ended unnoticed. Each call is followed by one of `ended`. */
  open(metadata: Metadata, host: string, path: string, listener: WireListener): StreamCall {
    this.#inside.onCallStart();
    return this.#subchannel.createCall(metadata, host, path, listener);
  }

  ended(status: WireStatus): void {
    this.#inside.onCallEnd(status);
  }

  unpacker(): Unpacker {
    return this.#inside.filterStackFactory.createFilter();
  }
}

/** Undefined: there is no connection, or nobody can tell. */
export function standingOf(channel: Channel): Standing | undefined {
  const { internalChannel } = channel as unknown as { internalChannel?: Partial<Inside> };
  if (
    typeof internalChannel?.doPick !== "function" ||
    typeof internalChannel.onCallStart !== "function" ||
    typeof internalChannel.onCallEnd !== "function" ||
    typeof internalChannel.filterStackFactory?.createFilter !== "function"
  ) {
    return undefined;
  }
  const { pickResultType, subchannel, onCallStarted, onCallEnded } = internalChannel.doPick(
    new Metadata(),
    {},
  );
  if (pickResultType !== experimental.PickResultType.COMPLETE) return undefined;
  // Somebody counts the calls of this pick.
  if (onCallStarted !== null || onCallEnded !== null) return undefined;
  const real = subchannel?.getRealSubchannel() as Partial<Subchannel> | undefined;
  if (typeof real?.createCall !== "function") return undefined;
  return new Standing(internalChannel as Inside, real as Subchannel);
}

interface Pool {
  getOrCreateSubchannel(...given: unknown[]): {
    readonly connector?: { tcpConnect?: (address: object) => Promise<Socket> };
  };
}

/** From now on the channel's connections are dialled by `dial`, if that can be arranged. */
export function dialBy(channel: Channel, dial: (to: object) => Promise<Socket>): void {
  const { internalChannel } = channel as unknown as {
    internalChannel?: { readonly subchannelPool?: Partial<Pool> };
  };
  const pool = internalChannel?.subchannelPool;
  const make = pool?.getOrCreateSubchannel;
  if (pool === undefined || typeof make !== "function") return;
  pool.getOrCreateSubchannel = (...given) => {
    const subchannel = make.apply(pool, given);
    const { connector } = subchannel;
    if (typeof connector?.tcpConnect === "function") connector.tcpConnect = dial;
    return subchannel;
  };
}
