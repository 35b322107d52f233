/**
 * How late this process is for its own timers, as what requests that arrive now have to expect. A
 * beat of 20 ms runs only while requests come; each lateness counts by the time it took, and is
 * forgotten with a time constant of a second, so one pause of the garbage collector is no overload
 * and ten in a row are.
 */
import type { Runtime } from "../runtime/runtime.ts";

const BEAT_MS = 20;
const MEMORY_MS = 1000;
/** Recovered only when it is this far below the limit: no flapping around it. */
const RECOVERED_RATIO = 0.9;

export class LoopDelay {
  readonly #runtime: Runtime;
  readonly #limitMs: number;
  readonly #onBeat: (self: LoopDelay) => void = (self) => self.#beat();
  #beating = false;
  #used = false;
  #startedAt = 0;
  #delayMs = 0;
  #over = false;

  constructor(limitMs: number, runtime: Runtime) {
    this.#limitMs = limitMs;
    this.#runtime = runtime;
  }

  /** Milliseconds, smoothed. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /** A request has come. True: the delay is above the limit, and has not come down yet. */
  exceeded(): boolean {
    this.#used = true;
    if (!this.#beating) this.#arm();
    return this.#over;
  }

  #arm(): void {
    this.#beating = true;
    this.#startedAt = this.#runtime.now();
    this.#runtime.after(BEAT_MS, this.#onBeat, this);
  }

  #beat(): void {
    const elapsedMs = this.#runtime.now() - this.#startedAt;
    this.observe(elapsedMs - BEAT_MS, elapsedMs);
    // Nobody came since the last beat and nothing is left to forget: sleep until somebody does.
    if (!this.#used && this.#delayMs < 1) {
      this.#beating = false;
      return;
    }
    this.#used = false;
    this.#arm();
  }

  /** A beat was `lateMs` late, `elapsedMs` after the one before. */
  observe(lateMs: number, elapsedMs: number): void {
    const weight = 1 - Math.exp(-elapsedMs / MEMORY_MS);
    this.#delayMs += (Math.max(0, lateMs) - this.#delayMs) * weight;
    this.#over = this.#delayMs > this.#limitMs * (this.#over ? RECOVERED_RATIO : 1);
  }
}
