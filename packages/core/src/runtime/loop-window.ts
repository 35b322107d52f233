/**
 * How late the event loop of this process is and how much of its time it works, over the last ten seconds.
 * Node measures the delay by a timer of its own every 20 ms, which would keep an idle process from resting: it
 * runs from the first question on, and ends when it has not been read for two minutes.
 */
import type { Runtime, Timer } from "./runtime.ts";

const RESOLUTION_MS = 20;
const WINDOW_MS = 10_000;
const UNASKED_MS = 120_000;
const MS_PER_NS = 1e-6;

/** What Node's `perf_hooks` has for it. */
interface DelayHistogram {
  readonly count: number;
  percentile(share: number): number;
  enable(): void;
  disable(): void;
  reset(): void;
}

export interface LoopFacts {
  /** Milliseconds by which half of the looks were late. */
  readonly medianMs: number;
  readonly p99Ms: number;
  /** 0 to 1. */
  readonly utilization: number;
}

export class LoopWindow {
  readonly #runtime: Runtime;
  #histogram: DelayHistogram | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #utilization: ReturnType<typeof performance.eventLoopUtilization> | undefined = undefined;
  #facts: LoopFacts | undefined = undefined;
  #askedAt = 0;

  private constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Undefined where Node's way to measure it is not there. */
  static of(runtime: Runtime): LoopWindow | undefined {
    const hooks = process.getBuiltinModule("node:perf_hooks") as {
      monitorEventLoopDelay?: unknown;
    };
    const measures =
      typeof hooks.monitorEventLoopDelay === "function" &&
      typeof performance.eventLoopUtilization === "function";
    return measures ? new LoopWindow(runtime) : undefined;
  }

  /** Of the last whole window; before there is one, of what has passed of the first. */
  get facts(): LoopFacts {
    this.#askedAt = this.#runtime.now();
    if (this.#histogram === undefined) this.#begin();
    return this.#facts ?? this.#look();
  }

  #begin(): void {
    const { monitorEventLoopDelay } = process.getBuiltinModule("node:perf_hooks");
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS }) as DelayHistogram;
    histogram.enable();
    this.#histogram = histogram;
    this.#utilization = performance.eventLoopUtilization();
    this.#arm();
  }

  #look(): LoopFacts {
    const histogram = this.#histogram!;
    // What it records is the time between two looks, of which its own pause is a part.
    const late = (share: number): number =>
      histogram.count === 0
        ? 0
        : Math.max(0, histogram.percentile(share) * MS_PER_NS - RESOLUTION_MS);
    const { utilization } = performance.eventLoopUtilization(this.#utilization);
    return { medianMs: late(50), p99Ms: late(99), utilization };
  }

  #arm(): void {
    this.#timer = this.#runtime.after(WINDOW_MS, () => this.#turn(), undefined);
  }

  #turn(): void {
    this.#facts = this.#look();
    if (this.#runtime.now() - this.#askedAt >= UNASKED_MS) return this.end();
    this.#histogram!.reset();
    this.#utilization = performance.eventLoopUtilization();
    this.#arm();
  }

  /** Until it is asked again. */
  end(): void {
    this.#timer?.cancel();
    this.#histogram?.disable();
    this.#timer = this.#histogram = this.#facts = undefined;
  }
}
