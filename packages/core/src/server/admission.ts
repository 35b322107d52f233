/**
 * Whether a request is served at all, decided before its handler runs and before anything is
 * allocated for it: what has no time left is not begun, and what cannot be served in time is
 * refused while the caller can still go elsewhere. Under load the least important go first.
 */
import type { ServedRequest } from "../context.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { HeapWatch } from "./heap.ts";
import { LoopDelay } from "./loop-delay.ts";

export interface AdmissionOptions {
  /** Requests in progress; Infinity: no limit. */
  readonly maxInFlight: number;
  /** Smoothed delay of the event loop; Infinity: not watched. */
  readonly maxLoopDelayMs: number;
  /** Share of the heap in use, 0 to 1; Infinity: not watched, and the default. */
  readonly maxHeapRatio?: number;
}

/** Why a request was not begun. A closed set: it is a metric label. */
export type AdmissionRefusal = "expired_on_arrival" | "concurrency" | "loop_delay" | "heap";

/** Shares of `maxInFlight` that are left to the more important. */
const SHEDDABLE_RATIO = 0.8;
const CRITICAL_RATIO = 1.1;

export class Admission {
  /** Requests whose handlers run. Writers: whoever admits, and ends, a request. */
  inFlight = 0;
  readonly #loop: LoopDelay | undefined;
  readonly #heap: HeapWatch | undefined;
  readonly #maxInFlight: number;
  readonly #maxSheddable: number;
  readonly #maxCritical: number;

  constructor(options: AdmissionOptions, runtime: Runtime) {
    const { maxInFlight, maxLoopDelayMs, maxHeapRatio = Infinity } = options;
    this.#maxInFlight = maxInFlight;
    this.#maxSheddable = Math.max(1, Math.floor(maxInFlight * SHEDDABLE_RATIO));
    this.#maxCritical = Math.ceil(maxInFlight * CRITICAL_RATIO);
    this.#loop = maxLoopDelayMs === Infinity ? undefined : new LoopDelay(maxLoopDelayMs, runtime);
    this.#heap = maxHeapRatio === Infinity ? undefined : new HeapWatch(maxHeapRatio, runtime);
  }

  /** Further requests would be refused: not ready. */
  get overloaded(): boolean {
    if (this.inFlight >= this.#maxInFlight || this.#loop?.exceeded() === true) return true;
    return this.#heap?.exceeded() === true;
  }

  get loopDelayMs(): number {
    return this.#loop?.delayMs ?? 0;
  }

  /** `remainingMs` is what the caller said on arrival; Infinity if it did not. */
  refuses(served: ServedRequest, remainingMs: number): AdmissionRefusal | undefined {
    if (remainingMs <= 0) return "expired_on_arrival";
    const max =
      served.priority === "normal"
        ? this.#maxInFlight
        : served.priority === "critical"
          ? this.#maxCritical
          : this.#maxSheddable;
    if (this.inFlight >= max) return "concurrency";
    if (this.#loop?.exceeded() === true && served.priority !== "critical") return "loop_delay";
    // Nobody is important enough to end the process.
    return this.#heap?.exceeded() === true ? "heap" : undefined;
  }
}
