/**
 * The body of a request on its way from the client to an attempt. What came whole with its head is one piece.
 * Of everything else, what is sent is kept for further attempts as long as there is room (core's replay), and
 * the client waits while more than `HIGH_WATER_BYTES` have not been sent.
 */
import {
  ReplayBuffer,
  type ReplayConsumer,
  type ReplayMemory,
  type ReplayOwner,
  type ReplayReader,
} from "@inmesh/core/spi";
import type { Fields } from "./fields.ts";

const HIGH_WATER_BYTES = 65_536;
const LOW_WATER_BYTES = 32_768;

/** Where the body comes from: the client's connection or stream. */
export interface BodySource {
  /** There is room again, after `write` gave false. Must not throw. */
  resume(): void;
}

/** An attempt's way through the body: `next`, then `take` once it has been written. */
export type BodyReader = ReplayReader<Buffer>;

export class RequestBody implements ReplayOwner<Buffer, ReplayConsumer> {
  /** All of it, where it came whole: nothing else is asked then. */
  whole: Buffer | undefined = undefined;
  /** Behind the body; undefined: none, or not yet. */
  trailers: Fields | undefined = undefined;
  /** An item found no room: the call cannot be sent again. Writer: who makes the call. Must not throw. */
  onOverflow: (() => void) | undefined = undefined;
  /** What has come of it in pieces. */
  writtenBytes = 0;
  readonly #buffer: ReplayBuffer<Buffer>;
  readonly #source: BodySource;
  /** What has come and no attempt has taken. Writer: here. */
  unsentBytes = 0;
  #isFull = false;
  #isClosed = false;
  #readers = 0;

  constructor(source: BodySource, memory: ReplayMemory, maxBytes?: number) {
    this.#source = source;
    this.#buffer = new ReplayBuffer<Buffer>(this, memory, maxBytes);
  }

  // ── the client's side ────────────────────────────────────────────────────────────────────────

  /** `chunk` is kept as it is: its bytes must not change. False: wait for `BodySource.resume`. */
  write(chunk: Buffer): boolean {
    this.writtenBytes += chunk.length;
    this.unsentBytes += chunk.length;
    this.#buffer.write(chunk);
    // Of what is dropped there is never too much: who waited would wait for ever.
    if (this.#isClosed || this.unsentBytes < HIGH_WATER_BYTES) return true;
    this.#isFull = true;
    return false;
  }

  end(trailers?: Fields): void {
    this.trailers = trailers;
    this.#buffer.end();
  }

  /** The client's part of it ended early. */
  fail(error: Error): void {
    this.#buffer.fail(error);
  }

  // ── the attempts' side ───────────────────────────────────────────────────────────────────────

  /** From the start. `consumer.readable` is called when there is more, or the end; not before `read` returns. */
  read(consumer: ReplayConsumer): BodyReader {
    this.#readers++;
    return this.#buffer.read(consumer);
  }

  /**
   * Who takes a piece now is the last that reads it, and may free it once it has been sent. Not where an attempt came
   * before this one: its connection may still be sending the same piece.
   */
  get spends(): boolean {
    return this.#readers === 1 && !this.#buffer.replayable;
  }

  /** A further attempt may send it. */
  get replayable(): boolean {
    return this.whole !== undefined || this.#buffer.replayable;
  }

  /** An attempt has not come to its end yet. */
  get isRead(): boolean {
    return this.#buffer.readers.length > 0;
  }

  /** Nothing more comes. */
  get ended(): boolean {
    return this.#buffer.ended;
  }

  /** What it ended with; undefined: it is whole, or has not ended. */
  get error(): unknown {
    return this.#buffer.error;
  }

  /** There will be no further attempt: what has been sent is let go. */
  commit(last?: BodyReader): void {
    this.#buffer.commit(last);
  }

  /** The call is over: nothing is kept, and what the client goes on to send is dropped. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#buffer.close();
    if (this.#isFull) this.#makeRoom();
  }

  // ── the buffer's side ────────────────────────────────────────────────────────────────────────

  bytesOf(chunk: Buffer): number {
    return chunk.length;
  }

  taken(chunk: Buffer): void {
    this.unsentBytes -= chunk.length;
    if (this.#isFull && this.unsentBytes <= LOW_WATER_BYTES) this.#makeRoom();
  }

  overflowed(): void {
    this.onOverflow?.();
  }

  #makeRoom(): void {
    this.#isFull = false;
    this.#source.resume();
  }
}
