/**
 * The taps of all workers as one. Of each worker one question is open at a time, and it is asked again when what it
 * answered has been read: what a slow reader misses is counted by the tap of the worker itself.
 */
import type { TapEvent, TapOptions } from "@inmesh/core";
import type { OpenTap } from "@inmesh/http/spi/admin";
import type { Worker } from "./worker.ts";

/** What `mesh.tap` has where nothing is said. */
const DEFAULT_PER_SECOND = 100;
/** For a worker to open a tap, or to close it. */
const JOIN_MS = 2_000;

type Result = IteratorResult<TapEvent, undefined>;

const END: Result = { done: true, value: undefined };

export class MergedTap implements OpenTap {
  readonly #options: TapOptions;
  readonly #closed: (tap: MergedTap) => void;
  readonly #events: TapEvent[] = [];
  /** Sources whose events have to be read before they are asked for more. */
  readonly #full: (() => void)[] = [];
  readonly #ends = new Set<() => void>();
  #left: number;
  #isOver = false;
  #wake: () => void = () => {};

  /** `workers`: how many share what may be shown in a second. `closed`: called when it has ended. */
  constructor(options: TapOptions, workers: number, closed: (tap: MergedTap) => void) {
    const perSecond = Math.ceil((options.maxPerSecond ?? DEFAULT_PER_SECOND) / workers);
    this.#options = { ...options, maxPerSecond: perSecond };
    this.#left = options.limit ?? Infinity;
    this.#closed = closed;
  }

  /** Rejects with what the worker says against it. The worker may be one that has just begun to serve. */
  async join(worker: Worker): Promise<void> {
    const number = await worker.ask("tap", this.#options, JOIN_MS);
    const end = (): void => {
      this.#ends.delete(end);
      worker.ask("endTap", number, JOIN_MS).catch(() => {});
    };
    this.#ends.add(end);
    if (this.#isOver) end();
    else void this.#follow(worker, number).finally(() => this.#ends.delete(end));
  }

  /** Until the tap of the worker has ended, or the worker. Does not reject. */
  async #follow(worker: Worker, number: number): Promise<void> {
    try {
      while (!this.#isOver) {
        const events = await worker.ask("events", number);
        if (events.length === 0) return;
        for (const event of events) this.#events.push({ ...event, worker: worker.number });
        this.#wake();
        await new Promise<void>((resolve) => this.#full.push(resolve));
      }
    } catch {
      // The worker has ended. The one in its place joins by itself.
    }
  }

  async next(): Promise<Result> {
    for (;;) {
      if (this.#isOver) return END;
      const event = this.#events.shift();
      if (event !== undefined) {
        if (event.event === "call" && --this.#left <= 0) await this.return();
        return { done: false, value: event };
      }
      for (const more of this.#full.splice(0)) more();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  return(): Promise<Result> {
    if (!this.#isOver) {
      this.#isOver = true;
      for (const end of this.#ends) end();
      for (const more of this.#full.splice(0)) more();
      this.#wake();
      this.#closed(this);
    }
    return Promise.resolve(END);
  }
}
