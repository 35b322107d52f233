/** The contract of time, chance and timers: nothing outside runtime/ reaches for the real ones. */
import type { LoopClock } from "./loop-clock.ts";

/**
 * A timer that is later than this was held up by a blocked event loop, and says nothing of what it waited for (faults.md B5).
 */
export const STALL_MS = 25;

/** The only door to time, chance and timers. Lint keeps Date, Math.random and setTimeout behind it. */
export interface Runtime {
  /** Monotonic milliseconds, with a fraction. Never compare it with wall-clock time. */
  now(): number;
  /** Milliseconds since 1970 by the wall clock, which jumps: for dates in certificates, nothing else. */
  wallNow(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** How long the process was held up; attempts are measured without it. */
  readonly loop: LoopClock;
  /**
   * Runs `run(arg)` once, `delayMs` from now. Delays above 2^31-1 ms never fire (Node would fire
   * them at once). The timer does not keep the process alive, unless `hold` says that a caller
   * awaits it: a pause between two attempts must not let the process end in the middle of a call.
   */
  after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer;
  /**
   * Runs `run` once, `delayMs` from now, before I/O that waits, while `after` lets that be read first if
   * the loop was held up: for those who measure how late it is. Does not keep the process alive.
   */
  beat(delayMs: number, run: () => void): void;
  /**
   * Runs `run` once, behind the I/O of this turn of the event loop. Called again by `run`, it runs when
   * all that the kernel held in between has been read. Keeps the process alive until then.
   */
  afterIo(run: () => void): void;
}

export interface Timer {
  /** Idempotent; without effect after the timer has fired. */
  cancel(): void;
}
