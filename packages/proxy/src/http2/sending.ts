/**
 * What a connection sends: heads and bodies of its streams, as far as the windows of the peer and the socket let
 * them through, in turn. All that is written in one turn of the event loop leaves at its end.
 */
import type { Socket } from "node:net";
import { FieldWriter } from "./field-writer.ts";
import type { Fields } from "../fields.ts";
import { afterSent } from "../spent.ts";
import type { Floods } from "./floods.ts";
import type { Flushes } from "../flushes.ts";
import {
  closeHeaders,
  DEFAULT_WINDOW,
  FRAME_HEADER_BYTES,
  MAX_FRAME_BYTES,
  MAX_WINDOW,
  writeData,
} from "./frames.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { giveBack, Outgoing } from "./outgoing.ts";
import type { Http2Stream, StreamSending } from "./stream.ts";

/** Bodies wait while so much of a turn has not been written. */
const MAX_GATHERED_BYTES = 262_144;
/** Answers that the peer does not read: above it nothing is read from it either. */
const MAX_UNREAD_BYTES = 1_048_576;
const NO_BYTES = Buffer.alloc(0);

export interface SendingOwner {
  readonly socket: Socket;
  /** Nothing more is written. */
  readonly ended: boolean;
  /** This side of a stream has ended. */
  sentEnd(stream: Http2Stream): void;
  destroy(): void;
}

export class Sending implements StreamSending {
  readonly out: Outgoing = new Outgoing();
  readonly #owner: SendingOwner;
  readonly #socket: Socket;
  readonly #flushes: Flushes;
  readonly #floods: Floods;
  readonly #encoder = new HpackEncoder();
  readonly #writer: FieldWriter;
  /** Of all streams together. */
  #window = DEFAULT_WINDOW;
  /** Those that have more to send than they may, each once. */
  readonly #waiting: Http2Stream[] = [];
  #headAt = 0;
  #flushing = false;
  /** The socket has not taken what it was given. */
  #blocked = false;
  #readPaused = false;
  /** Looks in a row at which nothing went out although something waits. */
  #blockedTicks = 0;
  #wroteBefore = 0;

  constructor(owner: SendingOwner, flushes: Flushes, floods: Floods) {
    this.#owner = owner;
    this.#socket = owner.socket;
    this.#flushes = flushes;
    this.#floods = floods;
    this.#writer = new FieldWriter(this.#encoder, this.out);
  }

  // ── heads ────────────────────────────────────────────────────────────────────────────────────

  resizeTable(bytes: number): void {
    this.#encoder.resize(bytes);
  }

  /** Begins a head; `closeHead` ends it. Fields go to the writer that it gives. */
  beginHead(): FieldWriter {
    const { out } = this;
    out.reserve(FRAME_HEADER_BYTES);
    this.#headAt = out.at;
    out.at += FRAME_HEADER_BYTES;
    this.#encoder.begin(out);
    return this.#writer;
  }

  closeHead(stream: Http2Stream, ends: boolean): void {
    closeHeaders(this.out, this.#headAt, stream.id, ends, MAX_FRAME_BYTES);
    this.#floods.sent++;
    stream.went++;
    this.flush();
    if (ends) this.#owner.sentEnd(stream);
  }

  // ── bodies ───────────────────────────────────────────────────────────────────────────────────

  data(stream: Http2Stream, bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      const sent = this.frame(stream, bytes, at, to);
      if (sent === at) break;
      at = sent;
    }
    return at;
  }

  frame(stream: Http2Stream, bytes: Buffer, from: number, to: number): number {
    if (this.#blocked || this.out.at > MAX_GATHERED_BYTES) return from;
    const length = Math.min(to - from, MAX_FRAME_BYTES, stream.sendWindow, this.#window);
    if (length <= 0) return from;
    writeData(this.out, stream.id, bytes, from, from + length, false);
    stream.sendWindow -= length;
    this.#window -= length;
    stream.went += length;
    this.#floods.sent++;
    this.flush();
    return from + length;
  }

  /** END_STREAM, by a frame of its own or by trailers. */
  end(stream: Http2Stream, trailers: Fields | undefined): void {
    if (trailers !== undefined && trailers.count > 0) {
      trailers.visit(this.beginHead());
      this.closeHead(stream, true);
      return;
    }
    writeData(this.out, stream.id, NO_BYTES, 0, 0, true);
    this.#floods.sent++;
    this.flush();
    this.#owner.sentEnd(stream);
  }

  waits(stream: Http2Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    this.#waiting.push(stream);
  }

  /** The peer takes so much more on all streams together. False: more than there may be. */
  widen(bytes: number): boolean {
    this.#window += bytes;
    return this.#window <= MAX_WINDOW;
  }

  /** In turn, a frame of each stream that waits, for as long as there is room. */
  pump(): void {
    const waiting = this.#waiting;
    let moved = true;
    while (moved && waiting.length > 0 && this.#window > 0 && !this.#blocked) {
      moved = false;
      let kept = 0;
      // What is sent may make others wait: they come behind those of this round.
      for (let at = 0; at < waiting.length; at++) {
        const stream = waiting[at]!;
        if (stream.flow()) moved = true;
        if (!stream.closed && stream.waits) waiting[kept++] = stream;
        else stream.queued = false;
      }
      waiting.length = kept;
      if (this.out.at > MAX_GATHERED_BYTES) return;
    }
  }

  // ── the socket ───────────────────────────────────────────────────────────────────────────────

  /** What has been written goes out at the end of this turn. */
  flush(): void {
    if (this.#flushing || this.#blocked) return;
    this.#flushing = true;
    this.#flushes.add(this);
  }

  /** Writer: `Flushes`. */
  flushNow(): void {
    this.#flushing = false;
    const { out } = this;
    const socket = this.#socket;
    if (out.at === 0 || this.#blocked || this.#owner.ended) return;
    this.#blocked = !socket.write(out.taken());
    if (socket.writableLength === 0) out.written();
    else {
      const kept = out.keep();
      afterSent(socket, () => giveBack(kept));
    }
    if (!this.#blocked && this.#waiting.length > 0) this.pump();
  }

  /** After an error of the proxy's own. Writer: `Flushes`. */
  destroy(): void {
    this.#owner.destroy();
  }

  /** The socket takes more. */
  drained(): void {
    this.#blocked = false;
    if (this.#readPaused && this.out.at <= MAX_UNREAD_BYTES) {
      this.#readPaused = false;
      this.#socket.resume();
    }
    this.pump();
    if (this.out.at > 0) this.flush();
  }

  /** Something was read: a peer that does not read its answers asks for no more of them. */
  holdReading(): void {
    if (this.out.at <= MAX_UNREAD_BYTES || this.#readPaused) return;
    this.#readPaused = true;
    this.#socket.pause();
  }

  /** What was written goes out, and nothing after it. */
  last(): void {
    const socket = this.#socket;
    if (this.out.at > 0) {
      socket.write(this.out.taken());
      this.out.keep();
    }
    socket.end();
  }

  /** Once a second: has the socket taken nothing of what it was given for `stallTicks` of them? */
  isStalled(stallTicks: number): boolean {
    if (!this.#blocked) {
      this.#blockedTicks = 0;
      return false;
    }
    const wrote = this.#socket.bytesWritten - this.#socket.writableLength;
    this.#blockedTicks = wrote === this.#wroteBefore ? this.#blockedTicks + 1 : 0;
    this.#wroteBefore = wrote;
    return this.#blockedTicks >= stallTicks;
  }
}
