/**
 * How full the heap of this process is. V8 ends a process whose old generation reaches its limit, and
 * all requests in progress with it; refusing some of them before that is cheaper. Garbage counts until it
 * is collected, but V8 collects more and more often as the limit comes near, so what is above 95 % is
 * nearly all in use. It is read while requests come.
 */
import type { Runtime } from "../runtime/runtime.ts";

/** The heap is read this often; each reading costs 10 µs, and more where requests take the caches of the core. */
const LOOK_MS = 20;
/** As long as less than half of the limit is in use: nothing fills the rest before the next look. */
const CALM_LOOK_MS = 100;
const CALM_SHARE = 0.5;
/** Recovered only when it is this far below the limit: no flapping around it. */
const RECOVERED_RATIO = 0.95;

export class HeapWatch {
  readonly #limitRatio: number;
  readonly #runtime: Runtime;
  readonly #usedRatio: () => number;
  readonly #onLook: (self: HeapWatch) => void = (self) => self.#look();
  #looking = false;
  #used = false;
  #over = false;
  /** At the last look; none was shortly before: infinite. */
  #lastRatio = Infinity;

  /** `usedRatio`: what is in use of what there may be, 0 to 1. */
  constructor(limitRatio: number, runtime: Runtime, usedRatio: () => number = oldHeapRatio()) {
    this.#limitRatio = limitRatio;
    this.#runtime = runtime;
    this.#usedRatio = usedRatio;
  }

  /** A request has come. True: the heap was too full at the last look. */
  exceeded(): boolean {
    this.#used = true;
    if (!this.#looking) this.#arm();
    return this.#over;
  }

  /** The same without a request. */
  get isOver(): boolean {
    return this.#looking && this.#over;
  }

  #arm(): void {
    this.#looking = true;
    const isCalm = this.#lastRatio < this.#limitRatio * CALM_SHARE;
    this.#runtime.after(isCalm ? CALM_LOOK_MS : LOOK_MS, this.#onLook, this);
  }

  #look(): void {
    const ratio = this.#usedRatio();
    this.#over = ratio > this.#limitRatio * (this.#over ? RECOVERED_RATIO : 1);
    this.#lastRatio = ratio;
    if (!this.#used) {
      this.#looking = false; // until the next request
      this.#lastRatio = Infinity;
      return;
    }
    this.#used = false;
    this.#arm();
  }
}

const MIB = 1_048_576;
/** Of the young generation at its largest, by version of Node; it has three. */
const SEMI_SPACE_MIB: Readonly<Record<string, number>> = { 22: 16, 24: 64 };
const OTHER_SEMI_SPACE_MIB = 32;
const SEMI_SPACE_FLAG = /--max[-_]semi[-_]space[-_]size[= ](\d+)/;

/**
 * Of the old generation alone. The limit that V8 reports includes the young one, which Node 24 gives
 * 192 MiB: with a small heap the process would end at 60 % of it. What is young is not counted, most of
 * it is garbage; heaps of less than about a gigabyte should make it small (`--max-semi-space-size=16`),
 * or what survives of it at once can be more than is left.
 */
function oldHeapRatio(): () => number {
  const v8 = process.getBuiltinModule("node:v8");
  const flags = [...process.execArgv, process.env["NODE_OPTIONS"]].join(" ");
  const [major = ""] = process.versions.node.split(".");
  const semiMib = SEMI_SPACE_FLAG.exec(flags)?.[1] ?? SEMI_SPACE_MIB[major] ?? OTHER_SEMI_SPACE_MIB;
  const totalBytes = v8.getHeapStatistics().heap_size_limit;
  const limitBytes = Math.max(totalBytes / 4, totalBytes - 3 * Number(semiMib) * MIB);
  return () => {
    let usedBytes = 0;
    for (const { space_name: name, space_used_size: bytes } of v8.getHeapSpaceStatistics()) {
      if (!name.startsWith("new_")) usedBytes += bytes;
    }
    return usedBytes / limitBytes;
  };
}
