/**
 * The connections of a server: their limits, and their end. GOAWAY is sent once and names the last
 * call that is served. The pair of GOAWAYs of RFC 9113 §6.8 would be worse here: Node's HTTP/2 drops
 * every stream that comes after the first, and its client would not know before the second
 * (docs/decisions/0011-grpc-server.md). What crosses the one GOAWAY its client sends again at once.
 */
import type { Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { Server } from "@grpc/grpc-js";
import {
  destroyStream,
  endSocketFirst,
  calmDown,
  measureConnections,
  Misuse,
  Tally,
  watchSending,
  type CloseTrigger,
  type ConnectionRecord,
  type Trust,
  type ConnectionUse,
  type LeavingConnections,
  type Runtime,
  type ServerPeer,
  type Timer,
} from "@inmesh/core/spi";
import type { Http2Server, Http2Session, Http2Stream, ServerInside } from "../internals.ts";
import type { GrpcServerLimits } from "./limits.ts";

/** What a connection has done, and does. */
export interface SessionUse extends ConnectionUse<Http2Session> {
  /** Calls in progress. */
  active: number;
  /** What is believed of its peer; decided with its first call. Writer: GrpcServing. */
  trust: Trust | undefined;
  /** Looked up when it is first asked for. Writer: Inbound. */
  peer: ServerPeer | undefined;
  /** Undefined if it came past the server's own events. */
  readonly socket: Socket | undefined;
  /** It was asked to end, and had no call in progress at the last check. */
  lingers: boolean;
  /** What this side has ended it for; undefined: it has not. */
  endedFor: CloseTrigger | undefined;
}

/** A call, as far as the connection that it came by is concerned. */
export interface SessionCall {
  /** Undefined if it is not known. */
  readonly stream: Http2Stream | undefined;
  /** Undefined until it is found, or if it is not known. Writer: Sessions. */
  connection: SessionUse | undefined;
  readonly headBytes: number;
  readonly startedAt: number;
  readonly deadlineAt: number;
}

/** On each socket, itself: `session.socket` refuses to be destroyed, and gives what hangs on the socket. */
const SOCKET: unique symbol = Symbol("inmesh.socket");
interface WithSocket {
  [SOCKET]?: Socket;
}

/** Why a connection was closed, or not accepted. */
export type SessionCut = "stream_resets" | "connections";

/** How often it is looked for connections that were asked to end, and at two looks have not. */
const LOOK_MS = 1_000;

export class Sessions implements LeavingConnections {
  onEmpty: (() => void) | undefined = undefined;
  /** The stream whose call grpc-js is making at this moment. */
  arriving: Http2Stream | undefined = undefined;
  /** At least one of its HTTP/2 servers has been found. */
  known = false;
  readonly #server: Server;
  readonly #limits: GrpcServerLimits;
  readonly #runtime: Runtime;
  readonly #inside: ServerInside;
  readonly #known = new WeakSet<Http2Server>();
  /** Stands before the other listeners for its connections. Writer: MeshGrpcServer. */
  onFound: ((http2: Http2Server) => void) | undefined = undefined;
  readonly #sessions = new Map<Http2Session, SessionUse>();
  /** Those without one when they were last looked at. */
  #idle = new Set<Http2Session>();
  readonly #misuse: Misuse<Http2Session, never>;
  readonly #count: (reason: SessionCut) => void;
  readonly #beforeLast: () => void;
  readonly #onListening: (http2: Http2Server) => void;
  readonly #record: ConnectionRecord | undefined;
  /** By socket, also shortly after their end. */
  readonly #uses = new WeakMap<Socket, SessionUse>();
  /** Why all of them end. */
  #endsFor: CloseTrigger | undefined = undefined;
  accepted = 0;
  #gone = false;
  #lookTimer: Timer | undefined = undefined;

  /** `record`: where they are reported; default nowhere. `beforeLast` ends what would keep a connection for ever: watchers, and questions of tools. */
  constructor(
    server: Server,
    inside: ServerInside,
    limits: GrpcServerLimits,
    runtime: Runtime,
    count: (reason: SessionCut) => void,
    beforeLast: () => void,
    record?: ConnectionRecord,
    onListening: (http2: Http2Server) => void = () => {},
  ) {
    this.#onListening = onListening;
    this.#record = record;
    this.#misuse = new Misuse<Http2Session, never>(limits, runtime, calmDown, count);
    this.#count = count;
    this.#server = server;
    this.#inside = inside;
    this.#limits = limits;
    this.#runtime = runtime;
    this.#beforeLast = beforeLast;
  }

  /** Looks for HTTP/2 servers of grpc-js that it does not know: an address may have been bound unseen. */
  bound(): void {
    for (const http2 of this.#inside.http2Servers()) this.found(http2);
  }

  /** It belongs to this server. */
  readonly found = (http2: Http2Server): void => {
    if (this.#known.has(http2)) return;
    this.#known.add(http2);
    this.known = true;
    this.onFound?.(http2);
    this.#tighten(http2);
    this.#onListening(http2);
    http2.on("drop", () => this.#count("connections"));
    measureConnections(http2, http2 instanceof TlsServer, this.#record, {
      spoken: () => "grpc",
      endedBy: (connection) => this.#endedBy(connection),
    });
    http2.prependListener("connection", mark);
    http2.on("connection", () => this.accepted++);
    http2.prependListener("secureConnection", mark);
    http2.on("session", (session: Http2Session) => this.#opened(session));
    // grpc-js makes its call, and by it calls our interceptor, between these two.
    http2.prependListener("stream", (stream: Http2Stream) => {
      this.arriving = stream;
      watchSending(stream);
      stream.destroy = destroy;
    });
    http2.on("stream", () => {
      this.arriving = undefined;
    });
  };

  #tighten(http2: Http2Server): void {
    const { maxConnections, maxHeaderTableBytes, maxMetadataBytes, maxConcurrentStreams } =
      this.#limits;
    if (!(http2.maxConnections > 0) || http2.maxConnections > maxConnections) {
      http2.maxConnections = maxConnections;
    }
    // Replaces what grpc-js has set, so all of it is said. For sessions to come.
    http2.updateSettings?.({
      maxConcurrentStreams: clamp(maxConcurrentStreams),
      headerTableSize: clamp(maxHeaderTableBytes),
      // Beside metadata a head has HTTP/2's own fields; what is a little too much gets an answer.
      maxHeaderListSize: clamp(2 * maxMetadataBytes),
    });
  }

  /** What ended a connection, as far as that is known here. */
  #endedBy(socket: Socket): CloseTrigger {
    const use = this.#uses.get(socket);
    if (use?.evicted === true) return "glitch";
    if (socket.errored !== null) return "error";
    return use?.endedFor ?? this.#endsFor ?? "peer";
  }

  #opened(session: Http2Session): void {
    const socket = (session.socket as WithSocket)[SOCKET];
    if (socket !== undefined) endSocketFirst(session, socket);
    const use: SessionUse = {
      session,
      evicted: false,
      streams: 0,
      resets: 0,
      recentResets: new Tally(),
      headBytes: 0,
      active: 0,
      trust: undefined,
      peer: undefined,
      socket,
      lingers: false,
      endedFor: undefined,
    };
    this.#sessions.set(session, use);
    if (socket !== undefined) this.#uses.set(socket, use);
    this.#look();
    session.on("error", ignore); // without a listener it would be an uncaught exception of the host
    const timer = this.#runtime.after(
      this.#limits.handshakeTimeoutMs,
      (silent) => silent.destroy(),
      session,
    );
    session.once("remoteSettings", () => timer.cancel());
    session.once("close", () => {
      timer.cancel();
      this.#sessions.delete(session);
    });
  }

  #look(): void {
    this.#lookTimer ??= this.#runtime.after(
      LOOK_MS,
      () => {
        this.#lookTimer = undefined;
        for (const [session, use] of this.#sessions) endIfDone(session, use);
        if (this.#sessions.size > 0) this.#look();
      },
      undefined,
    );
  }

  /** Open now; 1 if it cannot be known. */
  get size(): number {
    if (this.#gone) return 0;
    return this.known ? this.#sessions.size : 1;
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** GOAWAY, and no new connections; a session closes when its last call has ended. */
  leave(): void {
    this.#endsFor = "drain";
    this.#beforeLast();
    this.#server.tryShutdown(() => {
      this.#gone = true;
      this.onEmpty?.();
    });
  }

  /** Its connection; undefined if that is not known. */
  useOf({ connection, stream }: SessionCall): SessionUse | undefined {
    return connection ?? this.#sessions.get(stream?.session as Http2Session);
  }

  /** It has come on its connection. False: its metadata is too much beside that of the others there. */
  holds(inbound: SessionCall): boolean {
    const { stream } = inbound;
    if (stream === undefined) this.#inside.arrivedUnseen();
    const use = this.useOf(inbound);
    if (use === undefined) return true;
    use.streams++;
    if (!this.#misuse.holds(use, inbound.headBytes)) return false;
    inbound.connection = use;
    return true;
  }

  began({ connection: use, headBytes }: SessionCall): void {
    if (use === undefined) return;
    use.active++;
    use.headBytes += headBytes;
  }

  left({ connection: use, headBytes }: SessionCall): void {
    if (use === undefined) return;
    use.active--;
    use.headBytes -= headBytes;
  }

  ended(inbound: SessionCall): void {
    const { connection: use, stream, startedAt, deadlineAt } = inbound;
    this.left(inbound);
    // A handler cannot reset: what ends without a reply was ended by the client.
    if (use === undefined || stream!.headersSent) return;
    this.#record?.reset("client");
    this.#misuse.reset(use, startedAt, deadlineAt);
  }

  /** Those that are open now leave within `withinMs`, one by one: GOAWAY, and what is in progress goes on. */
  renew(withinMs: number): void {
    for (const [session, use] of this.#sessions) {
      use.endedFor = "identity";
      this.#runtime.after(this.#runtime.random() * withinMs, (old) => leave(old), session);
    }
  }

  /** Sessions close by themselves when both ends are done; one that is idle at two checks has not managed to. */
  closeIdle(): void {
    const idle = new Set<Http2Session>();
    for (const [session, { active }] of this.#sessions) {
      if (active > 0) continue;
      if (this.#idle.has(session)) session.destroy();
      else idle.add(session);
    }
    this.#idle = idle;
  }

  destroy(): void {
    // At the end of a drain nothing is left but what is closing.
    if (!this.#gone) this.#endsFor = "shutdown";
    this.#lookTimer?.cancel();
    this.#server.forceShutdown();
    for (const [session, { socket }] of this.#sessions) {
      session.destroy();
      socket?.destroy();
    }
  }
}

function mark(socket: Socket & WithSocket): void {
  socket[SOCKET] = socket;
}

/**
 * Node's `close()` of a session waits for the rest of a head that may never come, and `destroy()` of one
 * that is closing for the client to end its side.
 */
function endIfDone(session: Http2Session, use: SessionUse): void {
  const isDone = session.destroyed || (session.closed && use.active === 0);
  if (isDone && use.lingers) {
    session.destroy();
    use.socket?.destroy();
  }
  use.lingers = isDone;
}

/** Names the last call that is served; later ones their client sends again on another connection. */
function leave(session: Http2Session): void {
  if (!session.closed && !session.destroyed) session.close();
}

/** Node takes 32 bits. */
function clamp(value: number): number {
  return Math.min(value, 2 ** 32 - 1);
}

function destroy(this: Http2Stream, error?: Error): Http2Stream {
  destroyStream(this, error);
  return this;
}

function ignore(): void {}
