/**
 * Whether a request is served at all, decided before its handler runs and before anything is
 * allocated for it: what has no time left is not begun, and what cannot be served in time is
 * refused while the caller can still go elsewhere. Under load the least important go first.
 */
import type { Priority, ServedRequest } from "../context.ts";
import type { Log } from "../log.ts";
import { RefusalLog } from "../refusal-log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { HeapWatch } from "./heap.ts";
import { LoopDelay } from "./loop-delay.ts";

export interface AdmissionOptions {
  /** Requests in progress; Infinity: no limit. */
  readonly maxInFlight: number;
  /** What requests of one turn of the event loop may take while a queue is standing; Infinity: not watched. */
  readonly maxLoopDelayMs: number;
  /** Share of the heap in use, 0 to 1; Infinity: not watched, and the default. */
  readonly maxHeapRatio?: number;
}

/** Why a request was not begun. A closed set: it is a metric label. */
export type AdmissionRefusal = "expired_on_arrival" | "concurrency" | "loop_delay" | "heap";
type OverloadRefusal = Exclude<AdmissionRefusal, "expired_on_arrival">;

/** What is watched for overload; a closed set, and a metric label. */
export const MONITORS = ["in_flight", "loop", "heap"] as const;
type Monitor = (typeof MONITORS)[number];

/** Shares of `maxInFlight` that are left to the more important. */
const SHEDDABLE_RATIO = 0.8;
const CRITICAL_RATIO = 1.1;
/** Of the time that a turn of the event loop may take. */
const SHARES: Readonly<Record<Priority, number>> = {
  critical: Infinity,
  normal: 1,
  sheddable: 0.5,
};

export class Admission {
  /** Requests whose handlers run. Writers: what admits, and what ends, a request. */
  inFlight = 0;
  /** Those of a server change while it runs, see `configure`. */
  readonly #options: AdmissionOptions;
  readonly #runtime: Runtime;
  readonly #log: RefusalLog;
  #loop: LoopDelay | undefined;
  #heap: HeapWatch | undefined;
  #maxHeapRatio = Infinity;
  #maxInFlight = 0;
  #maxSheddable = 0;
  #maxCritical = 0;

  /** `name`: of the server, in lines of the log. */
  constructor(options: AdmissionOptions, runtime: Runtime, name = "server", log?: Log) {
    this.#options = options;
    this.#runtime = runtime;
    this.#log = new RefusalLog({ name, side: "server", noun: "request" }, runtime, log);
    this.configure();
  }

  /** The options have changed. What has been measured so far stays, unless it is not looked at any more. */
  configure(): void {
    const { maxInFlight, maxLoopDelayMs, maxHeapRatio = Infinity } = this.#options;
    this.#maxInFlight = maxInFlight;
    this.#maxSheddable = Math.max(1, Math.floor(maxInFlight * SHEDDABLE_RATIO));
    this.#maxCritical = Math.ceil(maxInFlight * CRITICAL_RATIO);
    if (maxLoopDelayMs === Infinity) this.#loop = undefined;
    else this.#loop ??= new LoopDelay(this.#runtime, () => this.inFlight);
    if (maxHeapRatio === this.#maxHeapRatio) return;
    this.#maxHeapRatio = maxHeapRatio;
    const watched = maxHeapRatio !== Infinity;
    this.#heap = watched ? new HeapWatch(maxHeapRatio, this.#runtime) : undefined;
  }

  /** Requests are refused: not ready. */
  get overloaded(): boolean {
    if (this.inFlight >= this.#maxInFlight || this.#loop?.refusing === true) return true;
    return this.#heap?.exceeded() === true;
  }

  /** Which requests are refused because of it: 0 none, 1 sheddable ones, 2 normal ones too, 3 critical ones too. */
  level(monitor: Monitor): number {
    const { inFlight } = this;
    switch (monitor) {
      case "in_flight":
        if (inFlight >= this.#maxCritical) return 3;
        if (inFlight >= this.#maxInFlight) return 2;
        return inFlight >= this.#maxSheddable ? 1 : 0;
      case "loop":
        if (this.#loop?.refusing !== true) return 0;
        return this.#loop.stands(this.#options.maxLoopDelayMs) ? 2 : 1;
      case "heap":
        return this.#heap?.isOver === true ? 3 : 0;
    }
  }

  /** Milliseconds, see `LoopDelay`. */
  get loopDelayMs(): number {
    return this.#loop?.leastMs ?? 0;
  }

  /**
   * Undefined: the request is begun; the caller counts it in `inFlight`. `remainingMs` is what the
   * sender said on arrival; Infinity if it did not.
   */
  refuses(served: ServedRequest, remainingMs: number): AdmissionRefusal | undefined {
    if (remainingMs <= 0) return "expired_on_arrival";
    const { priority } = served;
    const max =
      priority === "normal"
        ? this.#maxInFlight
        : priority === "critical"
          ? this.#maxCritical
          : this.#maxSheddable;
    if (this.inFlight >= max) return this.#refused("concurrency");
    // No request is important enough to end the process.
    if (this.#heap?.exceeded() === true) return this.#refused("heap");
    if (this.#loop === undefined) return undefined;
    const { maxLoopDelayMs } = this.#options;
    const begins = this.#loop.begins(maxLoopDelayMs, remainingMs, SHARES[priority]);
    return begins ? undefined : this.#refused("loop_delay");
  }

  #refused(reason: OverloadRefusal): OverloadRefusal {
    this.#log.refused(() => `(${reason}): ${this.#advice(reason)}`);
    return reason;
  }

  /** The server has closed. */
  close(): void {
    this.#log.close();
  }

  #advice(reason: OverloadRefusal): string {
    const { maxInFlight, maxLoopDelayMs, maxHeapRatio = 1 } = this.#options;
    switch (reason) {
      case "concurrency":
        return `${this.inFlight} are in progress, limits.maxInFlight is ${maxInFlight}. Find out what they wait for, add instances, or raise the limit.`;
      case "heap":
        return `more than ${maxHeapRatio * 100} % of the heap is in use, limits.maxHeapRatio. Look for a leak, or give the process more with --max-old-space-size.`;
      case "loop_delay":
        return `the event loop is late by ${Math.round(this.loopDelayMs)} ms or more, limits.maxLoopDelayMs is ${maxLoopDelayMs}, less for a caller with a deadline. Handlers need more CPU than there is: add instances, move work to worker threads, or raise the limit.`;
    }
  }
}
