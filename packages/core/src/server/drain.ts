/**
 * How a server leaves without taking a request with it: first it says that it is not ready, and
 * waits until those who balance have noticed; then its replies say close and its sessions GOAWAY;
 * connections that have had no request for a while are closed; what is left at the end of the grace is
 * destroyed. The clock runs from the start of all this, so `graceMs` can be compared with what the
 * orchestrator grants.
 */
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { whenAllIsRead } from "./all-read.ts";

export type ServerState = "open" | "draining" | "closing" | "closed";

/** What a drain needs to know of a server's connections, and to be able to do with them. */
export interface LeavingConnections {
  /** Connections that are open now. */
  readonly size: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Runs whenever the last one has gone. Writer: Drain. */
  onEmpty: (() => void) | undefined;
  /** Asks those at the other ends to leave; what is in progress goes on. */
  leave(): void;
  /** Closes those on which nothing is in progress. Called again and again. */
  closeIdle(): void;
  destroy(): void;
}

export interface DrainParts {
  readonly connections: LeavingConnections;
  readonly runtime: Runtime;
  /** From "not ready" to "close": as long as discovery takes to reach every client. */
  readonly discoveryWaitMs: number;
  /**
   * An idle connection may get one more request for so long, which is answered with close. Connections
   * that wait to be accepted get as much at most.
   */
  readonly idleWaitMs: number;
  /** No further connection is accepted. */
  stopListening(): void;
}

/** How often connections that have become idle are looked for. */
const SWEEP_MS = 100;
/** The wait for discovery leaves at least half the time for requests in progress. */
const MAX_WAIT_RATIO = 0.5;

export class Drain {
  state: ServerState = "open";
  readonly #parts: DrainParts;
  readonly #ended: Promise<void>;
  #resolve!: () => void;
  #wait: Timer | undefined = undefined;
  #end: Timer | undefined = undefined;
  #sweep: Timer | undefined = undefined;
  #endsAt = Infinity;
  /** The wait for discovery is over. */
  #isLeaving = false;
  /** Idle connections do not get their time. */
  #hurries = false;
  #isClosingIdle = false;

  constructor(parts: DrainParts) {
    this.#parts = parts;
    this.#ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    parts.connections.onEmpty = () => {
      if (this.state === "closing") this.#close();
    };
  }

  /** Idempotent: a later call gives the same promise, and can only shorten the time. */
  start(graceMs: number, noticed: boolean): Promise<void> {
    const { runtime, discoveryWaitMs } = this.#parts;
    if (this.state === "closed") return this.#ended;
    this.#limit(graceMs);
    if (noticed) this.#leaveNow();
    else if (this.state === "open") {
      this.state = "draining";
      const waitMs = Math.min(discoveryWaitMs, graceMs * MAX_WAIT_RATIO);
      // Held: a process whose last server is draining must not end before it has drained.
      if (waitMs > 0) this.#wait = runtime.after(waitMs, () => this.#leave(), undefined, true);
      else this.#leave();
    }
    return this.#ended;
  }

  #limit(graceMs: number): void {
    const { runtime } = this.#parts;
    const endsAt = runtime.now() + graceMs;
    if (endsAt >= this.#endsAt) return;
    this.#endsAt = endsAt;
    this.#end?.cancel();
    if (graceMs > 0) this.#end = runtime.after(graceMs, () => this.#close(), undefined, true);
  }

  #leave(): void {
    const { connections, runtime, idleWaitMs } = this.#parts;
    this.#wait?.cancel();
    if (runtime.now() >= this.#endsAt) return this.#close();
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.state = "draining";
    let { accepted } = connections;
    const acceptedMore = (): boolean => {
      const before = accepted;
      accepted = connections.accepted;
      return accepted !== before;
    };
    // Those that have connected, and wait to be accepted, would be reset. Clients that are asked to leave
    // before that connect once more, and wait there too.
    whenAllIsRead(runtime, () => this.#goAway(), acceptedMore, idleWaitMs);
  }

  /** The caller has made sure that no more requests come. */
  #leaveNow(): void {
    this.#hurries = true;
    this.#leave();
    this.#closeIdle();
  }

  #goAway(): void {
    if (this.state === "closed") return;
    const { connections, idleWaitMs } = this.#parts;
    this.state = "closing";
    this.#parts.stopListening();
    connections.leave();
    if (connections.size === 0) return this.#close();
    if (this.#hurries) this.#closeIdle();
    this.#sweepIn(idleWaitMs);
  }

  #sweepIn(delayMs: number): void {
    this.#sweep = this.#parts.runtime.after(
      delayMs,
      () => {
        this.#closeIdle();
        if (this.state === "closing") this.#sweepIn(SWEEP_MS);
      },
      undefined,
    );
  }

  /** Closes nothing while a request in one of them can be unread. */
  #closeIdle(): void {
    if (this.#isClosingIdle || this.state !== "closing") return;
    this.#isClosingIdle = true;
    whenAllIsRead(this.#parts.runtime, () => {
      this.#isClosingIdle = false;
      if (this.state === "closing") this.#parts.connections.closeIdle();
    });
  }

  #close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#wait?.cancel();
    this.#end?.cancel();
    this.#sweep?.cancel();
    this.#parts.stopListening();
    this.#parts.connections.destroy();
    this.#resolve();
  }
}
