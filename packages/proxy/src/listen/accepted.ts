/**
 * The seam between listeners and fronts: a connection that was accepted and looked at, and what speaks its protocol
 * from then on. Listeners know no HTTP, and fronts do not know how their protocol was found out.
 */
import type { Socket } from "node:net";

/** What the first bytes say. `tcp`: none of the others, or it was not looked at. */
export type Detected = "http1" | "http2" | "tls" | "tcp";

/** An address on the network. A Unix socket has none. */
export interface PeerAddress {
  /** An IP address, without brackets. */
  readonly address: string;
  readonly port: number;
}

/** From here on the connection belongs to the front, which ends the socket in every case. */
export interface Accepted {
  /**
   * Paused, with `allowHalfOpen` and without Nagle's delay. The listener has left its `error` listener on it, so an
   * error cannot end the process, and counts its `close`; every other listener is the front's.
   */
  readonly socket: Socket;
  /** What was read of it already, to be taken before anything else is read. May be empty. */
  readonly head: Buffer;
  /** Of the client itself where a PROXY protocol header has said so, else of the other end; undefined: a Unix socket. */
  readonly client: PeerAddress | undefined;
  /** Where the client connected to, by the PROXY protocol or by the socket. */
  readonly target: PeerAddress | undefined;
  /** Of a TLS ClientHello, in lower case. Undefined: it has none, or the protocol is another. */
  readonly serverName: string | undefined;
}

/** What speaks a protocol on the connections of one listener. */
export interface Front {
  /** Must not throw. */
  accept(connection: Accepted): void;
}
