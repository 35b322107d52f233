/**
 * When an endpoint is dialled again whose connections end without having served a call, such as one
 * that says GOAWAY to all clients (faults.md G2): once at once, then after a pause that doubles, with
 * jitter. Calls meanwhile wait, or go elsewhere. A breaker does not see this: it learns of failed
 * calls and refused connections, and these are neither.
 */
import type { Runtime } from "./runtime/runtime.ts";

const MIN_MS = 100;
const MAX_MS = 10_000;
/** Doublings until the longest pause, and some more. */
const MAX_STEPS = 10;

export class Redial {
  readonly #runtime: Runtime;
  /** Connections in a row that ended without a reply. */
  #failedInARow = 0;
  #dialAt = 0;
  /** Until then no further connection is replaced. */
  #replaceAt = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Milliseconds until the next dial may be made; 0: now. */
  pauseMs(now: number): number {
    return now >= this.#dialAt ? 0 : this.#dialAt - now;
  }

  /** A connection has ended. `served`: it brought a reply, to whatever call. */
  ended(served: boolean): void {
    this.#failedInARow = served ? 0 : this.#failedInARow + 1;
    if (this.#failedInARow < 2) return;
    const ceilingMs = Math.min(MAX_MS, MIN_MS * 2 ** Math.min(this.#failedInARow, MAX_STEPS));
    this.#pause(Math.max(MIN_MS, ceilingMs * this.#runtime.random()));
  }

  /**
   * A connection stands, and is of no use: the peer refuses its streams. True: it is to be left for
   * another, and has ended as far as the pauses go. False: one was left just now, so refusals belong to
   * this peer, and another connection for each few of them would be a flood.
   */
  replaces(served: boolean): boolean {
    const now = this.#runtime.now();
    if (now < this.#replaceAt) return false;
    this.#replaceAt = now + MIN_MS;
    this.ended(served);
    return true;
  }

  /** A connection could not be made. */
  failed(): void {
    this.#pause(MIN_MS);
  }

  #pause(ms: number): void {
    this.#dialAt = this.#runtime.now() + ms;
  }
}
