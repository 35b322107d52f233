/**
 * The Runtime of a real process. The functions are captured at import, so that a test framework
 * that fakes timers afterwards cannot stop our deadlines (faults.md L11).
 *
 * Timers of the same delay share one lane: expiry order is arrival order, so arming and cancelling
 * are two pointer writes and one Node timer serves them all. A call arms one deadline, and Node's
 * own setTimeout + clearTimeout would cost it more than the pick and the retry loop together.
 */
import { BeatingLoopClock, type LoopClock } from "./loop-clock.ts";
import { STALL_MS, type Runtime, type Timer } from "./runtime.ts";
import { assertSupported } from "./supported.ts";

const nodeNow = performance.now.bind(performance);
const nodeWallNow = Date.now;
const nodeRandom = Math.random;
const nodeSetTimeout = setTimeout;
const nodeClearTimeout = clearTimeout;
const nodeSetImmediate = setImmediate;
const MAX_DELAY_MS = 2 ** 31 - 1;
/** Lanes are kept for the delays in use; past this many distinct delays a plain timer serves. */
const MAX_LANES = 64;

class Entry<A> implements Timer {
  previous: Entry<unknown> | undefined = undefined;
  next: Entry<unknown> | undefined = undefined;
  lane: Lane | undefined;
  readonly at: number;
  readonly run: (arg: A) => void;
  readonly arg: A;

  constructor(lane: Lane, at: number, run: (arg: A) => void, arg: A) {
    this.lane = lane;
    this.at = at;
    this.run = run;
    this.arg = arg;
  }

  cancel(): void {
    this.lane?.remove(this as Entry<unknown>);
  }
}

/** All timers of one delay, oldest first, over one Node timer. */
class Lane {
  head: Entry<unknown> | undefined = undefined;
  tail: Entry<unknown> | undefined = undefined;
  readonly delayMs: number;
  #armed = false;
  readonly #fire = (): void => this.#expire();

  constructor(delayMs: number) {
    this.delayMs = delayMs;
  }

  add<A>(run: (arg: A) => void, arg: A): Timer {
    const entry = new Entry(this, nodeNow() + this.delayMs, run, arg) as Entry<unknown>;
    if (this.tail === undefined) this.head = entry;
    else {
      this.tail.next = entry;
      entry.previous = this.tail;
    }
    this.tail = entry;
    if (!this.#armed) this.#arm(this.delayMs);
    return entry;
  }

  remove(entry: Entry<unknown>): void {
    if (entry.previous === undefined) this.head = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === undefined) this.tail = entry.previous;
    else entry.next.previous = entry.previous;
    entry.previous = entry.next = entry.lane = undefined;
  }

  #arm(delayMs: number): void {
    this.#armed = true;
    nodeSetTimeout(this.#fire, Math.ceil(delayMs)).unref();
  }

  /** The lane counts as armed meanwhile: a timer added by a timer must not arm it a second time. */
  #expire(): void {
    const now = nodeNow();
    while (this.head !== undefined && this.head.at <= now) {
      const entry = this.head;
      if (now - entry.at > STALL_MS) {
        nodeSetImmediate(runIfPending, entry);
        // It stays in the lane until then, so that a reply read in this turn can still cancel it.
        if (entry.next === undefined) return this.#arm(this.delayMs);
        this.#stalled(entry.next, now);
        return;
      }
      this.remove(entry);
      entry.run(entry.arg);
    }
    if (this.head === undefined) this.#armed = false;
    else this.#arm(Math.max(1, this.head.at - now));
  }

  #stalled(from: Entry<unknown>, now: number): void {
    let entry: Entry<unknown> | undefined = from;
    for (; entry !== undefined && entry.at <= now; entry = entry.next) {
      nodeSetImmediate(runIfPending, entry);
    }
    this.#arm(entry === undefined ? this.delayMs : Math.max(1, entry.at - now));
  }
}

function runIfPending(entry: Entry<unknown>): void {
  if (entry.lane === undefined) return;
  entry.cancel();
  entry.run(entry.arg);
}

const NEVER: Timer = { cancel() {} };

class PlainTimer implements Timer {
  #timeout: NodeJS.Timeout | undefined;
  constructor(delayMs: number, run: () => void, hold: boolean) {
    this.#timeout = nodeSetTimeout(run, delayMs);
    if (!hold) this.#timeout.unref();
  }
  cancel(): void {
    if (this.#timeout !== undefined) nodeClearTimeout(this.#timeout);
    this.#timeout = undefined;
  }
}

export class NodeRuntime implements Runtime {
  readonly loop: LoopClock = new BeatingLoopClock(nodeNow, (run, delayMs) =>
    this.beat(delayMs, run),
  );
  readonly #lanes = new Map<number, Lane>();
  #last: Lane | undefined = undefined;
  #misses = 0;

  /** Throws an Error on a Node that is older than inmesh supports. */
  constructor() {
    assertSupported();
  }

  now(): number {
    return nodeNow();
  }

  wallNow(): number {
    return nodeWallNow();
  }

  random(): number {
    return nodeRandom();
  }

  after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold = false): Timer {
    if (!(delayMs <= MAX_DELAY_MS)) return NEVER;
    // Whole milliseconds, rounded up: a timer never fires early, and equal delays share a lane.
    const delay = delayMs < 1 ? 1 : Math.ceil(delayMs);
    if (hold) return new PlainTimer(delay, () => run(arg), true);
    const last = this.#last;
    if (last !== undefined && last.delayMs === delay) return last.add(run, arg);
    let lane = this.#lanes.get(delay);
    if (lane === undefined) {
      if (this.#lanes.size >= MAX_LANES && ++this.#misses % MAX_LANES === 0) this.#sweep();
      if (this.#lanes.size >= MAX_LANES) return new PlainTimer(delay, () => run(arg), false);
      lane = new Lane(delay);
      this.#lanes.set(delay, lane);
    }
    this.#last = lane;
    return lane.add(run, arg);
  }

  beat(delayMs: number, run: () => void): void {
    nodeSetTimeout(run, delayMs).unref();
  }

  afterIo(run: () => void): void {
    nodeSetImmediate(run);
  }

  #sweep(): void {
    for (const [delay, lane] of this.#lanes) {
      if (lane.head === undefined) this.#lanes.delete(delay);
    }
    this.#last = undefined;
  }
}
