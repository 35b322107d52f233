/**
 * How long this process has been held up: a blocked event loop, a starved core. A reply that waited
 * in the socket meanwhile was not slow, and Peak EWMA would remember our own pause as the latency
 * of every endpoint that had an attempt in flight, for ten seconds, until the slow one among them
 * no longer stands out.
 *
 * A beat of 20 ms runs only while attempts are in flight; what it comes late is the stall. A stall
 * in progress is read off the clock, because I/O of the same turn may be handled before the beat.
 */
export interface LoopClock {
  /** Before an attempt: milliseconds stalled so far, to be kept and compared with `leave`. */
  enter(now: number): number;
  /** After it: milliseconds stalled so far. Every `enter` has one `leave`. */
  leave(now: number): number;
}

const BEAT_MS = 20;
/** Timers are late by a millisecond or two in a process that has nothing to do. */
const GRAIN_MS = 5;

export class BeatingLoopClock implements LoopClock {
  readonly #now: () => number;
  readonly #later: (run: () => void, delayMs: number) => void;
  readonly #beat = (): void => this.#onBeat();
  #inFlight = 0;
  #beating = false;
  #dueAt = Infinity;
  #stalledMs = 0;

  /** `later` must not keep the process alive. */
  constructor(now: () => number, later: (run: () => void, delayMs: number) => void) {
    this.#now = now;
    this.#later = later;
  }

  enter(now: number): number {
    this.#inFlight++;
    if (!this.#beating) {
      this.#beating = true;
      this.#arm(now);
    }
    return this.#stalled(now);
  }

  leave(now: number): number {
    this.#inFlight--;
    return this.#stalled(now);
  }

  #stalled(now: number): number {
    const lateMs = now - this.#dueAt;
    return lateMs > GRAIN_MS ? this.#stalledMs + lateMs : this.#stalledMs;
  }

  #arm(now: number): void {
    this.#dueAt = now + BEAT_MS;
    this.#later(this.#beat, BEAT_MS);
  }

  #onBeat(): void {
    const now = this.#now();
    this.#stalledMs = this.#stalled(now);
    if (this.#inFlight > 0) return this.#arm(now);
    this.#beating = false;
    this.#dueAt = Infinity;
  }
}

/** In virtual time nothing is ever held up. */
export const NEVER_STALLED: LoopClock = { enter: () => 0, leave: () => 0 };
