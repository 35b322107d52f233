/**
 * A Runtime in virtual time. The same seed gives the same numbers, the same order of timers and
 * therefore the same transcript, on every machine and Node version.
 */
import { NEVER_STALLED, type LoopClock } from "../runtime/loop-clock.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

interface Pending {
  at: number;
  order: number;
  run: () => void;
}

const nextTurn = setImmediate;

export class SimRuntime implements Runtime {
  readonly seed: number;
  readonly loop: LoopClock = NEVER_STALLED;
  #now = 0;
  #order = 0;
  #state: number;
  #heap: Pending[] = [];

  constructor(seed = 1) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  now(): number {
    return this.#now;
  }

  /** Virtual too: 2030-01-01 and the time that has passed. */
  wallNow(): number {
    return 1_893_456_000_000 + this.#now;
  }

  /** mulberry32: small, fast, and good enough for schedules. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  after<A>(delayMs: number, run: (arg: A) => void, arg: A): Timer {
    if (!(delayMs <= 2 ** 31 - 1)) return { cancel() {} };
    const pending: Pending = {
      at: this.#now + Math.max(0, delayMs),
      order: this.#order++,
      run: () => run(arg),
    };
    push(this.#heap, pending);
    return {
      cancel() {
        pending.run = () => {};
      },
    };
  }

  beat(delayMs: number, run: () => void): void {
    this.after(delayMs, run, undefined);
  }

  afterIo(run: () => void): void {
    this.after(0, run, undefined);
  }

  /** The event loop is held up for `ms`: time passes, and no timer runs meanwhile. */
  stall(ms: number): void {
    this.#now += ms;
  }

  /** Resolves after `delayMs` of virtual time. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve, undefined));
  }

  /** Runs timers up to `until`, in (time, order); promises settle between two of them. */
  async runUntil(until: number): Promise<void> {
    await settle();
    for (let top = this.#heap[0]; top !== undefined && top.at <= until; top = this.#heap[0]) {
      pop(this.#heap);
      this.#now = Math.max(this.#now, top.at);
      top.run();
      await settle();
    }
    this.#now = Math.max(this.#now, until);
  }

  /** Advances virtual time by `ms`. */
  advance(ms: number): Promise<void> {
    return this.runUntil(this.#now + ms);
  }
}

/** Every promise that can settle without a timer has settled after one turn of the event loop. */
function settle(): Promise<void> {
  return new Promise((resolve) => nextTurn(resolve));
}

function before(a: Pending, b: Pending): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Pending[], item: Pending): void {
  let i = heap.push(item) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!before(item, heap[parent]!)) break;
    heap[i] = heap[parent]!;
    i = parent;
  }
  heap[i] = item;
}

function pop(heap: Pending[]): void {
  const item = heap.pop()!;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, item)) break;
    heap[i] = heap[child]!;
    i = child;
  }
  heap[i] = item;
}
