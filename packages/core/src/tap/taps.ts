/**
 * The taps of a mesh. Each is an observer that is attached while it is open: without one, calls pay
 * nothing. An event is made at the end of a call that the filter lets through, and waits for the reader in a
 * bounded buffer, from which the oldest go first.
 */
import { ConfigError } from "../config/mistakes.ts";
import { MeshError } from "../errors.ts";
import type { Observers } from "../observe/observers.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { TAP_EVENTS, TAP_SUBSCRIBERS } from "../telemetry/instruments.ts";
import type { Counter, Telemetry } from "../telemetry/telemetry.ts";
import type { TapEvent, TapLost } from "./event.ts";
import { TapFilter } from "./filter.ts";
import { callEvent, requestEvent, type Shown } from "./make-event.ts";
import { tapMistakes, type TapOptions } from "./options.ts";

export const MAX_TAPS = 8;
const DEFAULT_PER_SECOND = 100;
const DEFAULT_BUFFER = 1_000;
/** Reads of one tap that wait at the same time. A loop has one. */
const MAX_READS = 1_000;
const SECOND_MS = 1_000;

interface TapCounts {
  readonly sent: Counter;
  readonly dropped: Counter;
  readonly filtered: Counter;
}

export class Taps {
  readonly #observers: Observers;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #all = new Set<Tap>();
  readonly #removeGauge: () => void;
  #counts: TapCounts | undefined = undefined;
  #closed = false;

  constructor(observers: Observers, runtime: Runtime, telemetry: Telemetry) {
    this.#observers = observers;
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#removeGauge = telemetry.gauge(TAP_SUBSCRIBERS, {}, () => this.#all.size);
  }

  /** Throws ConfigError with every mistake, and MeshError for one too many and for a mesh that is closed. */
  open(options: TapOptions): Tap {
    const mistakes = tapMistakes(options);
    if (mistakes.length > 0) throw new ConfigError(mistakes, "tap");
    if (this.#closed) {
      throw new MeshError({
        code: "closed",
        reason: "closing",
        message: "mesh.tap: the mesh is closed",
        progress: "not-sent",
      });
    }
    if (this.#all.size >= MAX_TAPS) {
      throw new MeshError({
        code: "overloaded",
        reason: "concurrency",
        message: `mesh.tap: a mesh has at most ${MAX_TAPS} taps at the same time; end one of them by leaving its loop or by return()`,
        progress: "not-sent",
      });
    }
    const ended = (): void => void this.#all.delete(tap);
    const tap: Tap = new Tap(options, this.#observers, this.#runtime, this.#counters(), ended);
    this.#all.add(tap);
    return tap;
  }

  #counters(): TapCounts {
    const counter = (result: string): Counter => this.#telemetry.counter(TAP_EVENTS, { result });
    return (this.#counts ??= {
      sent: counter("sent"),
      dropped: counter("dropped"),
      filtered: counter("filtered"),
    });
  }

  /** No further ones. */
  refuse(): void {
    this.#closed = true;
  }

  /** Each of them ends when its reader has what is there. */
  close(): void {
    this.#closed = true;
    for (const tap of this.#all) tap.end();
    this.#removeGauge();
  }
}

type Read = (result: IteratorResult<TapEvent, undefined>) => void;

/** One of them, as an iterator: `for await (const event of mesh.tap())`. */
export class Tap implements AsyncIterableIterator<TapEvent>, AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #filter: TapFilter;
  readonly #shown: Shown;
  readonly #counts: TapCounts;
  readonly #ratio: number;
  readonly #maxPerSecond: number;
  readonly #maxBuffered: number;
  readonly #ended: () => void;
  readonly #buffer: TapEvent[] = [];
  readonly #reads: Read[] = [];
  readonly #detach: () => void;
  /** Calls that are still shown. */
  #left: number;
  /** Dropped from the buffer, and not yet announced. */
  #unread = 0;
  /** Calls above the rate in this second that no `lost` has counted yet. */
  #overRate = 0;
  #secondAt = -Infinity;
  #inSecond = 0;
  /** Armed while something was above the rate. */
  #secondEnd: Timer | undefined = undefined;
  #isOver = false;

  constructor(
    options: TapOptions,
    observers: Observers,
    runtime: Runtime,
    counts: TapCounts,
    ended: () => void,
  ) {
    const { headers = false, query = false, redact = [] } = options;
    this.#runtime = runtime;
    this.#counts = counts;
    this.#ended = ended;
    this.#filter = new TapFilter(options);
    this.#shown = {
      headers,
      query,
      redact: new Set(redact.map((name) => name.toLowerCase())),
    };
    this.#ratio = options.ratio ?? 1;
    this.#maxPerSecond = options.maxPerSecond ?? DEFAULT_PER_SECOND;
    this.#maxBuffered = options.buffer ?? DEFAULT_BUFFER;
    this.#left = options.limit ?? Infinity;
    this.#detach = observers.attach({
      callEnded: (call) => {
        if (!this.#filter.call(call) || this.#isSkipped()) this.#counts.filtered.add(1);
        else if (this.#hasRoom()) this.#shows(callEvent(call, this.#shown, this.#runtime));
      },
      servedEnded: (request) => {
        if (!this.#filter.request(request) || this.#isSkipped()) this.#counts.filtered.add(1);
        else if (this.#hasRoom()) this.#shows(requestEvent(request, this.#shown, this.#runtime));
      },
    });
  }

  // ── what is shown ──────────────────────────────────────────────────────────────────────────────

  #isSkipped(): boolean {
    return this.#ratio < 1 && this.#runtime.random() >= this.#ratio;
  }

  /** In this second. What is above costs no event, and is announced when the second is over. */
  #hasRoom(): boolean {
    const now = this.#runtime.now();
    if (now - this.#secondAt >= SECOND_MS) {
      this.#announceOverRate();
      this.#secondAt = now;
      this.#inSecond = 0;
    }
    if (this.#inSecond < this.#maxPerSecond) {
      this.#inSecond++;
      return true;
    }
    this.#overRate++;
    this.#counts.dropped.add(1);
    const leftMs = this.#secondAt + SECOND_MS - now;
    this.#secondEnd ??= this.#runtime.after(leftMs, () => this.#announceOverRate(), undefined);
    return false;
  }

  #shows(event: TapEvent): void {
    this.#push(event);
    if (--this.#left === 0) this.end();
  }

  #announceOverRate(): void {
    this.#secondEnd?.cancel();
    this.#secondEnd = undefined;
    if (this.#overRate === 0) return;
    const count = this.#overRate;
    this.#overRate = 0;
    this.#push(this.#lost(count, "rate"));
  }

  #push(event: TapEvent): void {
    const read = this.#reads.shift();
    if (read !== undefined) return read(this.#handed(event));
    if (this.#buffer.length === this.#maxBuffered) this.#dropOldest();
    this.#buffer.push(event);
  }

  /** An announcement that goes too is counted with what it announced. */
  #dropOldest(): void {
    const oldest = this.#buffer.shift()!;
    if (oldest.event === "lost") {
      this.#unread += oldest.count;
      return;
    }
    this.#unread++;
    this.#counts.dropped.add(1);
  }

  #lost(count: number, because: TapLost["because"]): TapLost {
    return { version: 1, event: "lost", at: this.#runtime.wallNow(), count, because };
  }

  #handed(value: TapEvent): IteratorResult<TapEvent, undefined> {
    if (value.event === "call") this.#counts.sent.add(1);
    return { done: false, value };
  }

  // ── its reader ─────────────────────────────────────────────────────────────────────────────────

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<TapEvent, undefined>> {
    if (this.#unread > 0) {
      const lost = this.#lost(this.#unread, "buffer");
      this.#unread = 0;
      return Promise.resolve({ done: false, value: lost });
    }
    const event = this.#buffer.shift();
    if (event !== undefined) return Promise.resolve(this.#handed(event));
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    if (this.#reads.length >= MAX_READS) {
      return Promise.reject(
        new RangeError(`mesh.tap: ${MAX_READS} reads wait already; await one before the next`),
      );
    }
    return new Promise((resolve) => this.#reads.push(resolve));
  }

  /** Ends the tap; what it still holds is dropped. */
  return(): Promise<IteratorResult<TapEvent, undefined>> {
    this.#overRate = 0;
    this.end();
    this.#buffer.length = 0;
    this.#unread = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Nothing more is shown; its reader gets what is there, and then the end. */
  end(): void {
    if (this.#isOver) return;
    this.#announceOverRate();
    this.#isOver = true;
    this.#detach();
    this.#ended();
    for (const read of this.#reads.splice(0)) read({ done: true, value: undefined });
  }
}
