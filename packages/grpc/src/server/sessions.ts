/**
 * The connections of a server: their limits, and their end. GOAWAY is sent once and names the last
 * call that is served. The pair of GOAWAYs of RFC 9113 §6.8 would be worse here: Node's HTTP/2 drops
 * every stream that comes after the first, and its client would not know before the second
 * (docs/decisions/0011-grpc-server.md). What crosses the one GOAWAY its client sends again at once.
 */
import type { Server } from "@grpc/grpc-js";
import type { LeavingConnections, Runtime } from "@inmesh/core/spi";
import { http2ServersOf, type Http2Server, type Http2Session } from "./internals.ts";
import type { GrpcServerLimits } from "./limits.ts";

export class Sessions implements LeavingConnections {
  onEmpty: (() => void) | undefined = undefined;
  readonly #server: Server;
  readonly #limits: GrpcServerLimits;
  readonly #runtime: Runtime;
  readonly #known = new WeakSet<Http2Server>();
  /** With the calls in progress on each. */
  readonly #sessions = new Map<Http2Session, number>();
  /** Those without one when they were last looked at. */
  #idle = new Set<Http2Session>();
  readonly #beforeLast: () => void;
  #gone = false;

  /** `beforeLast` ends what would keep a connection for ever: watchers, and questions of tools. */
  constructor(server: Server, limits: GrpcServerLimits, runtime: Runtime, beforeLast: () => void) {
    this.#server = server;
    this.#limits = limits;
    this.#runtime = runtime;
    this.#beforeLast = beforeLast;
  }

  /** An address was bound. */
  bound(): void {
    for (const http2 of http2ServersOf(this.#server)) {
      if (this.#known.has(http2)) continue;
      this.#known.add(http2);
      this.#tighten(http2);
      http2.on("session", (session: Http2Session) => this.#opened(session));
    }
  }

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

  #opened(session: Http2Session): void {
    this.#sessions.set(session, 0);
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

  /** Open now; 1 if nobody can tell. */
  get size(): number {
    if (this.#gone) return 0;
    return http2ServersOf(this.#server).length > 0 ? this.#sessions.size : 1;
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** GOAWAY, and no new connections; a session closes when its last call has ended. */
  leave(): void {
    this.#beforeLast();
    this.#server.tryShutdown(() => {
      this.#gone = true;
      this.onEmpty?.();
    });
  }

  began(session: Http2Session | undefined): void {
    const count = session === undefined ? undefined : this.#sessions.get(session);
    if (count !== undefined) this.#sessions.set(session!, count + 1);
  }

  ended(session: Http2Session | undefined): void {
    const count = session === undefined ? undefined : this.#sessions.get(session);
    if (count !== undefined) this.#sessions.set(session!, count - 1);
  }

  /** They close by themselves when both ends are done; who is idle at two looks has not managed to. */
  closeIdle(): void {
    const idle = new Set<Http2Session>();
    for (const [session, count] of this.#sessions) {
      if (count > 0) continue;
      if (this.#idle.has(session)) session.destroy();
      else idle.add(session);
    }
    this.#idle = idle;
  }

  destroy(): void {
    this.#server.forceShutdown();
    for (const session of this.#sessions.keys()) session.destroy();
  }
}

/** Node takes 32 bits. */
function clamp(value: number): number {
  return Math.min(value, 2 ** 32 - 1);
}

function ignore(): void {}
