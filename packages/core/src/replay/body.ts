/**
 * A body of bytes that comes from a source once and goes out as often as attempts need it, from its start,
 * also while the source still writes. The source is asked for a chunk when a reader has no other one, so it
 * is never further than the fastest reader, and not begun before anything is read.
 *
 * Readers share the chunks: who changes one changes it for all.
 */
import { type MeshError, stacklessError } from "../errors.ts";
import {
  ReplayBuffer,
  type ReplayConsumer,
  type ReplayOwner,
  type ReplayReader,
} from "./buffer.ts";
import type { ReplayMemory } from "./memory.ts";

export interface ReplayedBodyOptions {
  /** Bytes that may be kept. Default: 64 KiB. */
  readonly maxBytes?: number;
  /**
   * The body is longer than may be kept: there can be no further reader, and of those that were open `last`
   * alone goes on; undefined: none was. Must not throw. Default: nothing.
   */
  readonly onOverflow?: (last: BodyReader | undefined) => void;
}

type Result = IteratorResult<Uint8Array, undefined>;
const DONE: Result = { done: true, value: undefined };

export class ReplayedBody implements ReplayOwner<Uint8Array, BodyReader> {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #buffer: ReplayBuffer<Uint8Array, BodyReader>;
  readonly #onOverflow: ReplayedBodyOptions["onOverflow"];
  #iterator: AsyncIterator<Uint8Array> | undefined = undefined;
  /** The source has been asked for a chunk. */
  #asked = false;

  constructor(
    source: AsyncIterable<Uint8Array>,
    memory: ReplayMemory,
    { maxBytes, onOverflow }: ReplayedBodyOptions = {},
  ) {
    this.#source = source;
    this.#buffer = new ReplayBuffer(this, memory, maxBytes);
    this.#onOverflow = onOverflow;
  }

  /** A further attempt may send it. */
  get replayable(): boolean {
    return this.#buffer.replayable;
  }

  /** The body from its start. Ends with the source's error where that has failed. */
  read(): BodyReader {
    return new BodyReader(this.#buffer, this);
  }

  /** There will be no further attempt: what has been sent is let go. `last`: whose it is now; default: the farthest. */
  commit(last?: BodyReader): void {
    this.#buffer.commit(last?.place);
  }

  /** The call is over. The source learns that no more is wanted. Idempotent. */
  close(): void {
    const ended = this.#buffer.ended;
    this.#buffer.close();
    if (!ended) void this.#leave();
  }

  /** Called by a reader that has taken everything: asks the source for more. */
  ask(): void {
    if (this.#asked || this.#buffer.ended) return;
    this.#asked = true;
    void this.#next();
  }

  /** Never rejects. */
  async #next(): Promise<void> {
    try {
      this.#iterator ??= this.#source[Symbol.asyncIterator]();
      const { done, value } = await this.#iterator.next();
      this.#asked = false;
      if (done === true) this.#buffer.end();
      else if (ArrayBuffer.isView(value)) this.#buffer.write(value);
      else {
        this.#buffer.fail(new TypeError(`a chunk of the body is a ${typeof value}, not bytes`));
        void this.#leave();
      }
    } catch (error) {
      this.#buffer.fail(error);
    }
  }

  /** Never rejects. A source that was not begun is left as it is. */
  async #leave(): Promise<void> {
    try {
      await this.#iterator?.return?.();
    } catch {
      // No reader is there any more that could be given it.
    }
  }

  bytesOf(chunk: Uint8Array): number {
    return chunk.byteLength;
  }

  taken(): void {}

  overflowed(last: ReplayReader<Uint8Array, BodyReader> | undefined): void {
    this.#onOverflow?.(last?.consumer);
  }
}

/** One attempt's way through a body. Leaving it (`return`) takes effect at once. */
export class BodyReader implements AsyncIterator<Uint8Array, undefined>, ReplayConsumer {
  /** Its place in the buffer; the body uses it. */
  readonly place: ReplayReader<Uint8Array, BodyReader>;
  readonly #buffer: ReplayBuffer<Uint8Array, BodyReader>;
  readonly #body: ReplayedBody;
  readonly #waiting: PromiseWithResolvers<Result>[] = [];

  constructor(buffer: ReplayBuffer<Uint8Array, BodyReader>, body: ReplayedBody) {
    this.#buffer = buffer;
    this.#body = body;
    this.place = buffer.read(this);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Rejects with the source's error, and with `cancelled: hedge_lost` where another reader alone goes on. */
  next(): Promise<Result> {
    const waiting = Promise.withResolvers<Result>();
    // It may be left alone by an attempt that was cancelled.
    waiting.promise.catch(() => {});
    this.#waiting.push(waiting);
    this.readable();
    return waiting.promise;
  }

  return(): Promise<Result> {
    this.place.close();
    this.readable();
    return Promise.resolve(DONE);
  }

  readable(): void {
    const { place } = this;
    while (this.#waiting.length > 0) {
      const chunk = place.next;
      if (chunk !== undefined) {
        place.take();
        this.#waiting.shift()!.resolve({ done: false, value: chunk });
      } else if (place.state === "open" && !place.ended) return this.#body.ask();
      else {
        const error =
          place.state === "lost" ? lost() : place.ended ? this.#buffer.error : undefined;
        const waiting = this.#waiting.shift()!;
        if (error === undefined) waiting.resolve(DONE);
        else waiting.reject(error);
      }
    }
  }
}

function lost(): MeshError {
  const message =
    "the request body is longer than may be kept, and another attempt sends the rest of it";
  return stacklessError("cancelled", "hedge_lost", "maybe-processed", message);
}
