/** What the server remembers of one connection, with its requests and between them. */
import type { IncomingMessage } from "node:http";
import type { Trust, ConnectionUse, ServerPeer, Tally } from "@inmesh/core/spi";
import type { Http2Session } from "./listeners.ts";

/** What hangs on a socket, or on an HTTP/2 session. */
export interface ConnectionState extends ConnectionUse<Http2Session> {
  /** Instant from which it is to leave: it is old, or its certificate is. */
  endsAt: number;
  /** What is believed of its peer; decided with its first request. Writer: Serving. */
  trust: Trust | undefined;
  /** Looked up when it is first asked for. Writer: peer.ts. */
  peer: ServerPeer | undefined;
  /** Requests in progress; several if they are pipelined, or streams. */
  active: number;
  /** HTTP/1: several have been in progress at a time, so its end is looked at. Writer: left-behind.ts. */
  pipelined: boolean;
  /** Its replies say `Connection: close`: it is old, or the server is being drained. */
  leaving: boolean;
  /** A reply that says so is on its way: what was sent behind its request is not for us to serve. */
  ended: boolean;
  /** More came behind that: the connection is not parsed any further. Writer: surplus.ts. */
  surplus: boolean;
  /** … and its last reply is out. */
  closing: boolean;
  readonly glitches: Tally;
  /** A session that was asked to end, and is made to. Writer: made-to-end.ts. */
  ending: boolean;
  /** For the look at the idle: requests begun, and bytes read, when it was last not idle, and when. */
  seen: number;
  seenBytes: number;
  seenAt: number;
  /** A request whose body comes on after its reply, because its handler goes on reading. */
  unread: IncomingMessage | undefined;
  /** HTTP/2: streams that Node has shown to us, and those it has not. */
  shown: number;
  hidden: number;
  /** HTTP/2: replies that wait for the client to read. Writer: SlowPeers. */
  waiting: number;
  /** The socket or session itself: Node gives no more than a stand-in for a session's socket. */
  readonly holder: WithConnection;
  /** A socket that Node's HTTP/1 parser reads: no session's, and not handed over to another protocol. */
  parsed: boolean;
  /** HTTP/2: async id of the callback in which its last stream came, see in-context.ts. */
  callbackId: number | undefined;
}

export const CONNECTION: unique symbol = Symbol("inmesh.connection");
export interface WithConnection {
  [CONNECTION]?: ConnectionState;
}
