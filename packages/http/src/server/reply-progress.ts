/**
 * How much of a reply over HTTP/2 its client has taken, for replies that have been on their way for long.
 * A client that opens its window byte by byte is never silent: only a rate distinguishes it from one that reads.
 * Over HTTP/1 the kernel opens no window for so little, and Node does not say how much of a piece is out.
 */
import type { Http2ServerResponse } from "./listeners.ts";

type Stream = Http2ServerResponse["stream"];

/** What is read of the request that a reply answers. */
export interface RepliedRequest {
  /** Node's, or ours over HTTP/2. */
  readonly request: unknown;
  readonly connection: {
    /** Replies that wait for their client to read. */
    readonly waiting: number;
  };
}

export class ReplyProgress {
  readonly #inbound: RepliedRequest;
  readonly #stream: Stream;
  /** What the stream has been given. What it has passed on is that, less what it still has. */
  #given: number;
  #markAt: number;
  #markTaken = 0;
  #markSent = 0;

  constructor(inbound: RepliedRequest, now: number) {
    this.#inbound = inbound;
    const { stream } = inbound.request as { stream: Stream };
    this.#stream = stream;
    this.#given = stream.writableLength;
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      this.#given += chunk.length; // as the stream counts: a string's characters
      return write(chunk, ...rest);
    };
    this.#markAt = now;
    this.#mark(now);
  }

  /** Something of it waits for its client. */
  get waits(): boolean {
    return this.#stream.writableLength > 0;
  }

  /** Bytes per second since it was last asked, once that is `windowMs` ago; Infinity before, and if nothing waits. */
  rate(now: number, windowMs: number): number {
    if (!this.waits) this.#mark(now);
    const elapsedMs = now - this.#markAt;
    if (elapsedMs < windowMs) return Infinity;
    const { waiting } = this.#inbound.connection;
    // A piece counts as taken when all of it is. Of a large one the connection shows how much, as if all replies
    // that wait on it had taken as much.
    const taken = this.#given - this.#stream.writableLength - this.#markTaken;
    const sent = (sentBytes(this.#stream) - this.#markSent) / waiting;
    this.#mark(now);
    return (Math.max(taken, sent) * 1_000) / elapsedMs;
  }

  #mark(now: number): void {
    this.#markAt = now;
    this.#markTaken = this.#given - this.#stream.writableLength;
    this.#markSent = sentBytes(this.#stream);
  }
}

/** On its connection, frames included. */
function sentBytes({ session }: Stream): number {
  return session === undefined || session.destroyed ? 0 : session.socket.bytesWritten;
}
