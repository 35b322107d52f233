/**
 * When the event loop has more requests than it can serve. A request that waits for this process waits
 * in the kernel, where it cannot be seen; but how late the loop comes to its timers is how long it took
 * to come round, and what arrived meanwhile waited about as long. A beat of 20 ms, which runs only while
 * requests come, measures that.
 *
 * A queue is standing, after CoDel (RFC 8289), if the *least* lateness of an interval is above a limit:
 * one stall is no queue, and neither is a burst that the loop has worked off. While one is standing, each
 * turn of the loop begins requests until they have taken the limit, and what is left of the turn is
 * refused: it has waited that long for certain. So the loop is never idle because of a refusal, the first
 * request of a turn is always begun, and a caller that comes back at once is refused once per turn
 * (docs/decisions/0021-standing-queues.md).
 */
import type { Runtime } from "../runtime/runtime.ts";

const BEAT_MS = 20;
const INTERVAL_MS = 500;
/**
 * Of the time that a caller still waits. Where r times as much comes as can be served, what a turn of
 * length T begins has waited for the rest of the turn before it and for what stands in front of it in its
 * own, together T · (2 − 1/r) at most; the handler itself and what is not foreseen have the rest.
 */
const DEADLINE_RATIO = 0.8;
/** Of that limit at the worst, T · 2: what is late by so much all the time is a standing queue. */
const STANDING_RATIO = 1 / 3;
/** Of the same: what is begun in a turn of handlers that wait first. They come round the loop twice. */
const WAITING_RATIO = 2 / 3;
/** Refusing goes on for so long after the last refusal, for who asks whether requests should come here. */
const REFUSING_MS = 1_000;

/** What is measured together; the last two intervals are kept. */
interface Interval {
  elapsedMs: number;
  leastMs: number;
  /** Requests that began in this interval. */
  begun: number;
  refused: number;
  ended: number;
}

export class LoopDelay {
  readonly #runtime: Runtime;
  readonly #inFlight: () => number;
  readonly #onBeat = (): void => this.#beat();
  #beating = false;
  #used = false;
  #beatAt = 0;
  #current: Interval = calm();
  #previous: Interval = calm();
  #leastMs = 0;
  /** How many requests per millisecond. */
  #throughput = 0;
  /** How many requests came for each one that was begun, at least 1. */
  #excess = 1;
  /** Requests begun since the last beat, the first of them at this time. */
  #begun = 0;
  #begunAt = 0;
  #refused = 0;
  #inFlightAtBeat = 0;
  #refusedAt = -Infinity;

  /** `inFlight`: requests in progress. */
  constructor(runtime: Runtime, inFlight: () => number) {
    this.#runtime = runtime;
    this.#inFlight = inFlight;
  }

  /** Milliseconds by which the loop was late at least, over the last 500 to 1,000 ms. 0 while no request comes. */
  get leastMs(): number {
    return this.#leastMs;
  }

  /** Requests have waited so long that those of a turn which may take `limitMs` are limited. */
  stands(limitMs: number): boolean {
    return this.#leastMs >= limitMs * STANDING_RATIO;
  }

  /** Something was refused within the last second. */
  get refusing(): boolean {
    return this.#runtime.now() - this.#refusedAt < REFUSING_MS;
  }

  /**
   * A request has come. True: it is begun. False: a queue is standing, and requests of this turn have
   * taken what a turn may take; or they have taken the `remainingMs` that it had. `maxMs` is the most that
   * a turn may take, whatever the caller says, and `share` this request's part of it.
   */
  begins(maxMs: number, remainingMs: number, share = 1): boolean {
    this.#used = true;
    if (!this.#beating) this.#wake();
    if (this.#begun === 0) {
      this.#begunAt = this.#runtime.now();
    } else {
      const limitMs = Math.min(maxMs, remainingMs / 2) * share;
      const standing = this.stands(limitMs);
      if (standing || remainingMs !== Infinity) {
        const now = this.#runtime.now();
        // A turn longer than a beat has no beat in it: what comes up in it was there when it began.
        const waitedMs = now - Math.max(this.#begunAt, this.#beatAt + BEAT_MS);
        const inTimeMs = (remainingMs * DEADLINE_RATIO) / (2 - 1 / this.#excess);
        const isFull = waitedMs >= Math.min(maxMs, inTimeMs) * share || this.#hasMost(limitMs);
        if (waitedMs >= remainingMs || (standing && isFull)) {
          this.#refusedAt = now;
          this.#refused++;
          return false;
        }
      }
    }
    this.#begun++;
    return true;
  }

  /**
   * Handlers that wait for something before they work take nothing of this turn, and fill a later one. Of
   * them no more are begun in a turn than lately ended in such a time.
   */
  #hasMost(limitMs: number): boolean {
    const most = this.#throughput * (limitMs * WAITING_RATIO + BEAT_MS);
    return most > 0 && Math.min(this.#begun, this.#inFlight()) >= most;
  }

  #wake(): void {
    this.#beating = true;
    this.#current = calm();
    this.#previous = calm();
    this.#arm(this.#runtime.now());
  }

  #arm(now: number): void {
    this.#beatAt = now;
    this.#begun = this.#refused = 0;
    this.#inFlightAtBeat = this.#inFlight();
    this.#runtime.beat(BEAT_MS, this.#onBeat);
  }

  #beat(): void {
    const now = this.#runtime.now();
    const elapsedMs = now - this.#beatAt;
    const lateMs = Math.max(0, elapsedMs - BEAT_MS);
    const current = this.#current;
    current.elapsedMs += elapsedMs;
    current.leastMs = Math.min(current.leastMs, lateMs);
    current.begun += this.#begun;
    current.refused += this.#refused;
    current.ended += this.#begun + this.#inFlightAtBeat - this.#inFlight();
    if (current.elapsedMs >= INTERVAL_MS) {
      this.#previous = current;
      this.#current = { ...calm(), leastMs: Infinity };
    }
    const latest = this.#current;
    const before = this.#previous;
    this.#leastMs = Math.min(latest.leastMs, before.leastMs);
    const begun = latest.begun + before.begun;
    if (begun > 0) this.#excess = 1 + (latest.refused + before.refused) / begun;
    this.#throughput = (latest.ended + before.ended) / (latest.elapsedMs + before.elapsedMs);
    // No request came since the last beat, and the loop is not held up: sleep until one does.
    if (!this.#used && lateMs < BEAT_MS) {
      this.#beating = false;
      this.#leastMs = 0;
      this.#begun = 0;
      this.#excess = 1;
      return;
    }
    this.#used = false;
    this.#arm(now);
  }
}

/** Nothing was seen, and nothing waited. */
function calm(): Interval {
  return { elapsedMs: 0, leastMs: 0, begun: 0, refused: 0, ended: 0 };
}
