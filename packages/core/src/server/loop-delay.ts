/**
 * When the event loop has more requests than it can serve. A request that waits for this process waits
 * in the kernel, where nobody can see it; but how late the loop comes to its timers is how long it took
 * to come round, and what arrived meanwhile waited about as long. A beat of 20 ms, which runs only while
 * requests come, measures that.
 *
 * A queue is standing, after CoDel (RFC 8289), if the *least* lateness of an interval is above a limit:
 * one stall is no queue, and neither is a burst that the loop has worked off. While one is standing, each
 * turn of the loop begins requests until they have taken the limit, and what is left of the turn is
 * refused: it has waited that long for certain. So the loop is never idle because of a refusal, the first
 * request of a turn is always begun, and a caller that comes back at once is refused once per turn
 * (docs/decisions/0018).
 */
import type { Runtime } from "../runtime/runtime.ts";

const BEAT_MS = 20;
const INTERVAL_MS = 500;
/** Of the limit: what is late by so much all the time is a standing queue. */
const STANDING_RATIO = 1 / 3;
/** Of the limit: what is begun in a turn of handlers that wait first. They come round the loop twice. */
const WAITING_RATIO = 2 / 3;
/** Refusing goes on for so long after the last refusal, for who asks whether requests should come here. */
const REFUSING_MS = 1_000;

/** What is measured together; the last two intervals are kept. */
interface Interval {
  elapsedMs: number;
  leastMs: number;
  /** Requests that ended in it. */
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
  /** Of requests, per millisecond. */
  #throughput = 0;
  /** Requests begun since the last beat, the first of them at this time. */
  #begun = 0;
  #begunAt = 0;
  #inFlightAtBeat = 0;
  #refusedAt = -Infinity;

  /** `inFlight`: requests in progress. */
  constructor(runtime: Runtime, inFlight: () => number) {
    this.#runtime = runtime;
    this.#inFlight = inFlight;
  }

  /** Milliseconds by which the loop was late at least, over the last 500 to 1,000 ms. 0 while nobody comes. */
  get leastMs(): number {
    return this.#leastMs;
  }

  /** Something was refused within the last second. */
  get refusing(): boolean {
    return this.#runtime.now() - this.#refusedAt < REFUSING_MS;
  }

  /**
   * A request has come. True: it is begun. False: requests of this turn have taken `limitMs` before it,
   * and a queue is standing; or they have taken the `remainingMs` that it had.
   */
  begins(limitMs: number, remainingMs: number): boolean {
    this.#used = true;
    if (!this.#beating) this.#wake();
    if (this.#begun === 0) {
      this.#begunAt = this.#runtime.now();
    } else if (remainingMs !== Infinity || this.#leastMs >= limitMs * STANDING_RATIO) {
      const now = this.#runtime.now();
      // A turn longer than a beat has no beat in it: what comes up in it was there when it began.
      const waitedMs = now - Math.max(this.#begunAt, this.#beatAt + BEAT_MS);
      if (waitedMs >= remainingMs || this.#isFull(limitMs, waitedMs)) {
        this.#refusedAt = now;
        return false;
      }
    }
    this.#begun++;
    return true;
  }

  /**
   * Handlers that wait for something before they work take nothing of this turn, and fill a later one. Of
   * them no more are begun in a turn than lately ended in such a time.
   */
  #isFull(limitMs: number, waitedMs: number): boolean {
    if (this.#leastMs < limitMs * STANDING_RATIO) return false;
    if (waitedMs >= limitMs) return true;
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
    this.#begun = 0;
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
    current.ended += this.#begun + this.#inFlightAtBeat - this.#inFlight();
    if (current.elapsedMs >= INTERVAL_MS) {
      this.#previous = current;
      this.#current = { elapsedMs: 0, leastMs: Infinity, ended: 0 };
    }
    const latest = this.#current;
    const before = this.#previous;
    this.#leastMs = Math.min(latest.leastMs, before.leastMs);
    this.#throughput = (latest.ended + before.ended) / (latest.elapsedMs + before.elapsedMs);
    // Nobody came since the last beat, and the loop is not held up: sleep until somebody does.
    if (!this.#used && lateMs < BEAT_MS) {
      this.#beating = false;
      this.#leastMs = 0;
      this.#begun = 0;
      return;
    }
    this.#used = false;
    this.#arm(now);
  }
}

/** Nothing was seen, and nothing waited. */
function calm(): Interval {
  return { elapsedMs: 0, leastMs: 0, ended: 0 };
}
