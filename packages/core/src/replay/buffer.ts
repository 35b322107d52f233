/**
 * What a call sends, while it is still being written, for every attempt of the call: each has a reader that
 * begins with the first item, at any time. Items are messages or chunks of bytes.
 *
 * Everything is kept until the call is committed to one of its readers, because no further attempt can
 * come, or because there was no room for an item (gRFC A6, "Limits on buffer space"). From then on there is
 * one reader, the one that is farthest, and an item is let go once it has taken it. Where none is open at that
 * moment, as in the pause before a retry, the next one is the last. Readers that cannot go on know it
 * (`lost`): none ever misses an item in silence.
 */
import type { ReplayMemory } from "./memory.ts";

/** What an item costs beside its bytes, so that empty ones are not free. */
const OVERHEAD_BYTES = 64;

/** How much a call keeps where its protocol does not say: 64 KiB. */
export const DEFAULT_REPLAY_BYTES = 65_536;

const NONE: readonly never[] = [];

/** Whose buffer it is. Its methods must not throw. */
export interface ReplayOwner<T extends object, C extends ReplayConsumer> {
  bytesOf(item: T): number;
  /** A reader has taken it, as the first of all: what wrote it may go on. Once for each item. */
  taken(item: T): void;
  /** An item found no room: the call cannot be sent again. `last`: the reader that goes on, if one was open. */
  overflowed(last: ReplayReader<T, C> | undefined): void;
}

/** What reads. Its methods must not throw. */
export interface ReplayConsumer {
  /** There is another item, the end, an error, or nothing more for it: it looks at its reader. */
  readable(): void;
}

export class ReplayBuffer<T extends object, C extends ReplayConsumer = ReplayConsumer> {
  readonly #owner: ReplayOwner<T, C>;
  readonly #memory: ReplayMemory;
  readonly #maxBytes: number;
  /** Those that are open. Replaced as a whole, so that it can be walked while it changes. */
  #readers: readonly ReplayReader<T, C>[] = NONE;
  /** What may still be read; the first of them has the number `#first`. */
  readonly #items: T[] = [];
  #first = 0;
  /** Bytes taken from the memory, by the items below `#accounted` that are here. */
  #bytes = 0;
  #accounted = 0;
  /** Items that a reader has taken. */
  #taken = 0;
  #state: "replayable" | "committed" | "closed" = "replayable";
  #ended = false;
  #error: unknown = undefined;

  constructor(
    owner: ReplayOwner<T, C>,
    memory: ReplayMemory,
    maxBytes: number = DEFAULT_REPLAY_BYTES,
  ) {
    this.#owner = owner;
    this.#memory = memory;
    this.#maxBytes = maxBytes;
  }

  /** A further reader may begin. */
  get replayable(): boolean {
    return this.#state === "replayable";
  }

  /** Items written so far. */
  get count(): number {
    return this.#first + this.#items.length;
  }

  /** Nothing is written any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** What its source ended with; undefined: nothing, or not yet. */
  get error(): unknown {
    return this.#error;
  }

  /** Those that are open. */
  get readers(): readonly ReplayReader<T, C>[] {
    return this.#readers;
  }

  /** From the first item on. It is `lost` from the start if what it would need is gone, or another one has it. */
  read(consumer: C): ReplayReader<T, C> {
    const reader = new ReplayReader<T, C>(this, consumer);
    const begins =
      this.#state === "replayable" ||
      (this.#state === "committed" && this.#first === 0 && this.#readers.length === 0);
    if (begins) this.#readers = [...this.#readers, reader];
    else reader.state = "lost";
    return reader;
  }

  /** The item of that number, from 0; undefined: it is not written yet, or not kept any more. */
  item(number: number): T | undefined {
    return this.#items[number - this.#first];
  }

  /** Without effect after the end. An item that finds no room is sent all the same, once. */
  write(item: T): void {
    if (this.#ended || this.#state === "closed") return;
    this.#items.push(item);
    if (this.#state === "replayable") {
      const bytes = this.#owner.bytesOf(item) + OVERHEAD_BYTES;
      if (this.#bytes + bytes <= this.#maxBytes && this.#memory.take(bytes)) {
        this.#bytes += bytes;
        this.#accounted++;
      } else this.#commit(this.#farthest(), true);
    }
    this.wake();
  }

  /** What was written is all there is. */
  end(): void {
    this.#ended = true;
    this.wake();
  }

  /** The source has failed: each reader gets the error once it has taken what came before. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error ?? new Error("the body ended early, without an error");
    this.end();
  }

  /** Makes every reader check for items. */
  wake(): void {
    for (const { consumer } of this.#readers) consumer.readable();
  }

  /** No further reader will come. `last`: the one that goes on; default: the one that is farthest. */
  commit(last: ReplayReader<T, C> | undefined = this.#farthest()): void {
    if (this.#state === "replayable") this.#commit(last, false);
  }

  #commit(last: ReplayReader<T, C> | undefined, overflowed: boolean): void {
    this.#state = "committed";
    const others = without(this.#readers, last);
    this.#readers = last?.state === "open" ? [last] : NONE;
    for (const other of others) other.state = "lost";
    if (last !== undefined) this.#letGo(last.position);
    if (overflowed) this.#owner.overflowed(last);
    for (const { consumer } of others) consumer.readable();
  }

  #farthest(): ReplayReader<T, C> | undefined {
    let farthest: ReplayReader<T, C> | undefined;
    for (const reader of this.#readers) {
      if (farthest === undefined || reader.position > farthest.position) farthest = reader;
    }
    return farthest;
  }

  /** The call is over: nothing is kept, and nothing more is read or written. Idempotent. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#ended = true;
    const readers = this.#readers;
    this.#readers = NONE;
    for (const reader of readers) reader.state = "closed";
    this.#letGo(this.count);
    for (const { consumer } of readers) consumer.readable();
  }

  /** Called by `reader` when it has taken the item at its position. */
  passed(reader: ReplayReader<T, C>, item: T): void {
    const end = ++reader.position;
    const first = end > this.#taken;
    if (first) this.#taken = end;
    if (this.#state !== "replayable") this.#letGo(end);
    if (first) this.#owner.taken(item);
  }

  /** Called by a reader that will take nothing more. */
  left(reader: ReplayReader<T, C>): void {
    this.#readers = without(this.#readers, reader);
  }

  /** Forgets the items below `end`. */
  #letGo(end: number): void {
    const gone = end - this.#first;
    if (gone <= 0) return;
    const bytes = this.#bytesBelow(end);
    if (bytes > 0) {
      this.#bytes -= bytes;
      this.#memory.give(bytes);
    }
    if (gone === 1) this.#items.shift();
    else this.#items.splice(0, gone);
    this.#first = end;
  }

  #bytesBelow(end: number): number {
    if (end >= this.#accounted) return this.#bytes;
    let bytes = 0;
    for (let number = this.#first; number < end; number++) {
      bytes += this.#owner.bytesOf(this.item(number)!) + OVERHEAD_BYTES;
    }
    return bytes;
  }
}

/** One attempt's way through what is sent. */
export class ReplayReader<T extends object, C extends ReplayConsumer = ReplayConsumer> {
  readonly consumer: C;
  readonly #buffer: ReplayBuffer<T, C>;
  /** Items it has taken. Writer: the buffer. */
  position = 0;
  /** `lost`: what it would read next is another reader's alone. Writer: the buffer. */
  state: "open" | "lost" | "closed" = "open";

  constructor(buffer: ReplayBuffer<T, C>, consumer: C) {
    this.#buffer = buffer;
    this.consumer = consumer;
  }

  /** The next item; undefined: there is none now. */
  get next(): T | undefined {
    return this.state === "open" ? this.#buffer.item(this.position) : undefined;
  }

  /** The next item has been sent. Without effect where there is none. */
  take(): void {
    const item = this.next;
    if (item !== undefined) this.#buffer.passed(this, item);
  }

  /** It has taken everything, and nothing follows but, maybe, the error of the source. */
  get ended(): boolean {
    return this.state === "open" && this.#buffer.ended && this.position === this.#buffer.count;
  }

  /** It reads no further. Idempotent. */
  close(): void {
    if (this.state !== "open") return;
    this.state = "closed";
    this.#buffer.left(this);
  }
}

/** Calls with one attempt are the rule, and pay for no list. */
function without<R>(readers: readonly R[], one: R | undefined): readonly R[] {
  if (readers.length === 1 && readers[0] === one) return NONE;
  return readers.filter((reader) => reader !== one);
}
