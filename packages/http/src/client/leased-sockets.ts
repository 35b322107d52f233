/**
 * Connections to one endpoint for callers who speak HTTP/1 on them by node's own parser: opened,
 * leased, kept while idle, and counted. What node does with a socket when a reply is over it says by
 * events: `free`, or `agentRemove` when the connection has changed hands.
 */
import type { Socket } from "node:net";
import {
  endOfAge,
  type MeshError,
  stacklessError,
  type Runtime,
  type ServiceConfig,
  type Timer,
} from "@inmesh/core/spi";
import type { Dialled } from "./connector.ts";
import { KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MS } from "./pool-life.ts";

/** Gets a socket or an error, once; a socket never in the turn of `take`. */
export type Borrower = (
  error: MeshError | null,
  socket: Socket | null,
  /** It has carried a request before. */
  reused: boolean,
) => void;

interface Idle {
  readonly socket: Socket;
  readonly timer: Timer;
}

export class LeasedSockets {
  readonly #service: ServiceConfig;
  readonly #dial: (done: Dialled) => void;
  readonly #runtime: Runtime;
  readonly #idle: Idle[] = [];
  readonly #waiting: Borrower[] = [];
  /** `Keep-Alive` of the last reply on each, if it said so. */
  readonly #hints = new WeakMap<Socket, string>();
  /** Leased, idle and being opened. */
  #open = 0;
  #closed = false;

  constructor(service: ServiceConfig, dial: (done: Dialled) => void, runtime: Runtime) {
    this.#service = service;
    this.#dial = dial;
    this.#runtime = runtime;
  }

  /** Leased, idle, and being opened. */
  get open(): number {
    return this.#open;
  }

  take(borrower: Borrower): void {
    // The one used last is the one least likely to have been closed by the server.
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      idle.timer.cancel();
      if (!isUsable(idle.socket)) continue;
      this.#lease(idle.socket, borrower);
      return;
    }
    const { maxConnectionsPerEndpoint, maxQueuedPerEndpoint } = this.#service.limits;
    if (this.#open < maxConnectionsPerEndpoint) this.#connect(borrower);
    else if (this.#waiting.length < maxQueuedPerEndpoint) this.#waiting.push(borrower);
    else borrower(this.#full(), null, false);
  }

  /** Those who wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes a borrower that no longer waits out of the queue. */
  leave(borrower: Borrower): void {
    const at = this.#waiting.indexOf(borrower);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** What the head of a reply says about how long its connection stays open. */
  hinted(socket: Socket, keepAlive: string | undefined): void {
    if (keepAlive === undefined) this.#hints.delete(socket);
    else this.#hints.set(socket, keepAlive);
  }

  /** What is leased ends with its request. */
  close(): void {
    this.#closed = true;
    for (const { socket, timer } of this.#idle.splice(0)) {
      timer.cancel();
      socket.destroy();
    }
  }

  #connect(borrower: Borrower): void {
    this.#open++;
    this.#dial((error, socket) => {
      if (socket === null) {
        borrower(error, null, false);
        this.#gone();
        return;
      }
      const endsAt = endOfAge(this.#service.limits.maxConnectionAgeMs, this.#runtime);
      const onFree = (): void => this.#free(socket, endsAt);
      const onClose = (): void => {
        socket.off("free", onFree);
        socket.off("close", onClose);
        socket.off("agentRemove", onClose);
        this.#gone();
      };
      socket.on("free", onFree);
      socket.on("close", onClose);
      socket.on("agentRemove", onClose);
      borrower(null, socket, false);
    });
  }

  /** There is room for one more. */
  #gone(): void {
    this.#open--;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#connect(next);
  }

  /**
   * What came for an idle connection while the loop was busy is still in the kernel: surplus bytes would
   * be taken for the reply (faults.md C13), and an end would fail the request (C5). So both are read
   * first, which takes two turns, because a callback of I/O is followed by no reading in its own.
   */
  #lease(socket: Socket, borrower: Borrower): void {
    socket.ref();
    const lease = (): void => {
      if (!isUsable(socket)) {
        this.take(borrower);
        return;
      }
      socket.off("error", ignore);
      socket.off("data", surplus);
      borrower(null, socket, true);
    };
    this.#runtime.afterIo(() => this.#runtime.afterIo(lease));
  }

  #free(socket: Socket, endsAt: number): void {
    const idleMs = Math.min(idleMsOf(this.#hints.get(socket)), endsAt - this.#runtime.now());
    if (this.#closed || !isUsable(socket) || idleMs <= 0) {
      socket.destroy();
      return;
    }
    socket.setTimeout(0);
    // A reset of an idle connection would be an uncaught exception of the host, and bytes that no request
    // asked for would be taken for the next reply.
    socket.on("error", ignore);
    socket.on("data", surplus);
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#lease(socket, next);
      return;
    }
    socket.unref();
    const timer = this.#runtime.after(idleMs, (one) => one.destroy(), socket);
    this.#idle.push({ socket, timer });
  }

  #full(): MeshError {
    const message = `${this.#service.name}: ${this.#waiting.length} requests wait for a connection already (limits.maxQueuedPerEndpoint): send less, or allow more connections`;
    return stacklessError("overloaded", "queue_full", "not-sent", message);
  }
}

function isUsable({ destroyed, writable }: Socket): boolean {
  return !destroyed && writable;
}

function ignore(): void {}

function surplus(this: Socket): void {
  this.destroy();
}

/** How long the server leaves it open, by its own word, less a margin. */
function idleMsOf(keepAlive = ""): number {
  const hint = /\btimeout=(\d{1,6})/.exec(keepAlive);
  if (hint === null) return KEEP_ALIVE_MS;
  return Math.min(KEEP_ALIVE_MS, Number(hint[1]) * 1_000 - KEEP_ALIVE_MARGIN_MS);
}
