/**
 * How a server leaves without taking a request with it: first it says that it is not ready, and
 * waits until those who balance have noticed; then its replies say close and its sessions GOAWAY;
 * connections on which nobody has asked anything for a while are closed; what is left at the end of
 * the grace is destroyed. The clock runs from the start of all this, so `graceMs` can be compared
 * with what the orchestrator grants.
 */
import type { Runtime, Timer } from "../runtime/runtime.ts";

export type ServerState = "open" | "draining" | "closing" | "closed";

/** What a drain needs to know of a server's connections, and to be able to do with them. */
export interface LeavingConnections {
  /** Open now. */
  readonly size: number;
  /** Runs whenever the last one has gone. Writer: Drain. */
  onEmpty: (() => void) | undefined;
  /** Tells those at the other ends to go; what is in progress goes on. */
  leave(): void;
  /** Closes those on which nothing is in progress. Called again and again. */
  closeIdle(): void;
  destroy(): void;
}

export interface DrainParts {
  readonly connections: LeavingConnections;
  readonly runtime: Runtime;
  /** From "not ready" to "close": as long as it takes until discovery has told everybody. */
  readonly discoveryWaitMs: number;
  /** An idle connection may get one more request for so long, which is answered with close. */
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
    if (noticed) this.#leave();
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
    if (this.state === "closing" || this.state === "closed") {
      if (runtime.now() >= this.#endsAt) this.#close();
      return;
    }
    this.state = "closing";
    this.#parts.stopListening();
    connections.leave();
    if (connections.size === 0 || runtime.now() >= this.#endsAt) this.#close();
    else this.#sweepIn(idleWaitMs);
  }

  #sweepIn(delayMs: number): void {
    this.#sweep = this.#parts.runtime.after(
      delayMs,
      () => {
        this.#parts.connections.closeIdle();
        if (this.state === "closing") this.#sweepIn(SWEEP_MS);
      },
      undefined,
    );
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
