/**
 * One stream of a connection: its two directions, their windows, and what waits for room. What its messages mean
 * is the business of the two classes that extend it, for requests that come and for requests that are sent.
 */
import { Fields } from "../fields.ts";
import { copyOf, free } from "../spent.ts";
import type { FieldWriter } from "./field-writer.ts";
import { MAX_WINDOW } from "./frames.ts";
import type { HeadFields } from "./hpack-decoder.ts";

/** Bodies whose length was not said. */
export const ANY_LENGTH = -1;

/** What a peer may send on one stream before it is taken. */
export const STREAM_WINDOW = 65_536;

/** How a connection sends what its streams have. */
export interface StreamSending {
  /** Begins a head; `closeHead` ends it. Fields go to the writer that it gives. */
  beginHead(): FieldWriter;
  closeHead(stream: Http2Stream, ends: boolean): void;
  /** Sends what the windows let through, and gives the place behind it. */
  data(stream: Http2Stream, bytes: Buffer, from: number, to: number): number;
  /** The same with one frame at most. */
  frame(stream: Http2Stream, bytes: Buffer, from: number, to: number): number;
  end(stream: Http2Stream, trailers: Fields | undefined): void;
  /** It has more than it may send: `flow` is called when it may. */
  waits(stream: Http2Stream): void;
}

/** The connection, as its streams need it. */
export interface StreamOwner {
  readonly sending: StreamSending;
  /** What its peer has said: `initialWindow`, what a stream may send at first. */
  readonly settings: { readonly initialWindow: number };
  /** Bytes that came have gone on: the peer may send as many more on this connection. */
  taken(bytes: number): void;
  /** The same of one stream. */
  openWindow(stream: Http2Stream, bytes: number): void;
  resetStream(stream: Http2Stream, code: number): void;
  /** The peer broke a rule of one stream. False: nothing more is read. */
  streamError(stream: Http2Stream, code: number, why: string): boolean;
  /** The head of a stream was its end as well. */
  headEnds(stream: Http2Stream): void;
}

export abstract class Http2Stream {
  readonly id: number;
  protected readonly owner: StreamOwner;
  /** What may be sent before the peer opens its window again; negative after it has made it smaller. */
  sendWindow: number;
  /** What the peer may send. */
  receiveWindow: number;
  /** END_STREAM was sent, or came. */
  localEnded = false;
  remoteEnded = false;
  /** Both directions have ended, or it was reset: no frame of it is sent or expected any more. */
  closed = false;
  /** What came of it is not wanted. */
  #dropped = false;
  /** A head has come that is no interim one. */
  headed = false;
  /** What the peer said the body has, or `ANY_LENGTH`. */
  expectedBytes: number = ANY_LENGTH;
  receivedBytes = 0;
  /** Of its head, for the limit of a connection. */
  headBytes = 0;
  /** What waits for a window, in order; undefined: nothing does. */
  #waiting: Buffer[] | undefined = undefined;
  #waitingFrom = 0;
  #endWaits = false;
  #trailers: Fields | undefined = undefined;
  /** Taken, and not announced to the peer. */
  #taken = 0;
  /** What came while nothing was wanted, at most a window; undefined: nothing did. */
  #held: Buffer[] | undefined = undefined;
  /** What comes before it, where it lies in what was read. */
  #lying: Buffer | undefined = undefined;
  #lyingFrom = 0;
  #lyingTo = 0;
  #heldEnd = false;
  #heldTrailers: Fields | undefined = undefined;
  #paused = false;
  #handing = false;
  /** It stands among those that wait for room. Writer: the connection. */
  queued = false;
  /** Writer: `StreamTable`. */
  nextStream: Http2Stream | undefined = undefined;
  /** What was sent, and what came, since the connection last looked. Writers: here; the connection. */
  went = 0;
  came = 0;
  /** Looks in a row at which it waited and nothing had moved. Writer: the connection. */
  stalledTicks = 0;
  /** The same of its body, which does not come although it is wanted. Writer: the connection. */
  silentTicks = 0;

  constructor(id: number, owner: StreamOwner) {
    this.id = id;
    this.owner = owner;
    this.sendWindow = owner.settings.initialWindow;
    this.receiveWindow = STREAM_WINDOW;
  }

  // ── what it delivers ─────────────────────────────────────────────────────────────────────────

  /** A head. `ends`: nothing follows. */
  abstract takeHead(fields: HeadFields, ends: boolean): void;
  /** Of the body, in order. False: no more before `resume`. */
  protected abstract deliver(bytes: Buffer, from: number, to: number): boolean;
  protected abstract delivered(trailers: Fields | undefined): void;
  /** What waited has been sent: there is room again. */
  protected abstract drained(): void;
  /** All of this side has been sent. */
  protected abstract sentAll(): void;
  /** It ended early: the peer reset it with that code, or the connection has ended (`undefined`). */
  abstract broken(code: number | undefined): void;
  /** The peer has done something that this stream does not survive: it was reset with that code. */
  abstract failed(code: number, why: string): void;
  /** For the clock of the connection: what it waits for did not happen. */
  abstract stalled(): void;

  /** Once a second; `age`: seconds of the connection; `went`: what was sent since the last look. */
  look(_age: number, _went: number): void {}

  // ── what is sent ─────────────────────────────────────────────────────────────────────────────

  /** False: some of it waits for a window or for the socket; `drained` follows. */
  send(bytes: Buffer, from: number, to: number): boolean {
    if (this.closed || this.localEnded) return true;
    const at = this.waits ? from : this.owner.sending.data(this, bytes, from, to);
    if (at === to) return true;
    (this.#waiting ??= []).push(copyOf(bytes, at, to));
    this.owner.sending.waits(this);
    return false;
  }

  sendEnd(trailers: Fields | undefined): void {
    if (this.closed || this.localEnded || this.#endWaits) return;
    this.#trailers = trailers;
    if (this.waits) this.#endWaits = true;
    else this.#finish();
  }

  /** The connection has room: sends one frame at most. False: nothing of it could go. */
  flow(): boolean {
    const waiting = this.#waiting;
    if (waiting === undefined) return false;
    const first = waiting[0]!;
    const from = this.#waitingFrom;
    const at = this.owner.sending.frame(this, first, from, first.length);
    if (at === from) return false;
    if (at < first.length) {
      this.#waitingFrom = at;
      return true;
    }
    waiting.shift();
    free(first);
    this.#waitingFrom = 0;
    if (waiting.length === 0) {
      this.#waiting = undefined;
      if (this.#endWaits) this.#finish();
      else this.drained();
    }
    return true;
  }

  /** All bytes are here that were said, and only the end is not. */
  get isWhole(): boolean {
    return this.headed && !this.remoteEnded && this.receivedBytes === this.expectedBytes;
  }

  get waits(): boolean {
    return this.#waiting !== undefined;
  }

  /** It may send so much more, or less. False: more than there may be. */
  widen(bytes: number): boolean {
    this.sendWindow += bytes;
    return this.sendWindow <= MAX_WINDOW;
  }

  #finish(): void {
    this.owner.sending.end(this, this.#trailers);
    this.sentAll();
  }

  // ── what comes ───────────────────────────────────────────────────────────────────────────────

  /**
   * Payload of DATA, without padding. True: it is held where it lies, because it is mostly wanted in this turn; `keep` has
   * to be called before those bytes go. `stays`: they stay until then.
   */
  takeData(bytes: Buffer, from: number, to: number, stays: boolean): boolean {
    this.came += to - from;
    if (to === from) return false;
    if (!this.#paused && !this.#holds) {
      this.#hand(bytes, from, to);
      return false;
    }
    if (stays && !this.#holds) {
      this.#lying = bytes;
      this.#lyingFrom = from;
      this.#lyingTo = to;
      return true;
    }
    this.keep();
    (this.#held ??= []).push(copyOf(bytes, from, to));
    return false;
  }

  /** What it holds of the bytes of others is its own from now on. */
  keep(): void {
    if (this.#lying === undefined) return;
    this.#held = [copyOf(this.#lying, this.#lyingFrom, this.#lyingTo)];
    this.#lying = undefined;
  }

  get #holds(): boolean {
    return this.#lying !== undefined || this.#held !== undefined;
  }

  takeEnd(trailers: Fields | undefined): void {
    this.remoteEnded = true;
    if (this.#paused || this.#holds) {
      this.#heldEnd = true;
      this.#heldTrailers = trailers;
    } else this.delivered(trailers);
  }

  #hand(bytes: Buffer, from: number, to: number): void {
    this.#handing = true;
    this.#paused = true;
    const more = this.deliver(bytes, from, to);
    this.#handing = false;
    // `resume` may have been called inside.
    if (more) this.#paused = false;
    this.#take(to - from);
  }

  /** Nothing is delivered before `resume`. */
  pause(): void {
    this.#paused = true;
  }

  get paused(): boolean {
    return this.#paused;
  }

  resume(): void {
    this.#paused = false;
    if (this.#handing || this.#dropped) return;
    const lying = this.#lying;
    if (lying !== undefined) {
      this.#lying = undefined;
      this.#hand(lying, this.#lyingFrom, this.#lyingTo);
    }
    if (this.#held !== undefined) this.#handHeld(this.#held);
    if (this.#heldEnd && !this.#holds && !this.#paused && !this.#dropped) {
      this.#heldEnd = false;
      this.delivered(this.#heldTrailers);
    }
  }

  #handHeld(held: Buffer[]): void {
    while (held.length > 0 && !this.#paused && !this.#dropped) {
      const bytes = held.shift()!;
      this.#hand(bytes, 0, bytes.length);
      free(bytes);
    }
    if (held.length === 0 && this.#held === held) this.#held = undefined;
  }

  /** The other side has so many bytes: the peer may send as many again. */
  #take(bytes: number): void {
    this.owner.taken(bytes);
    if (this.remoteEnded || this.closed) return;
    this.#taken += bytes;
    if (this.#taken * 2 < STREAM_WINDOW) return;
    this.owner.openWindow(this, this.#taken);
    this.#taken = 0;
  }

  /** No frame follows. What it holds is still delivered, unless it was cut off (`drop`). Writer: the connection. */
  close(): void {
    this.closed = true;
    this.#waiting = undefined;
  }

  /** What it holds counts as taken by the window of the connection. */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    let bytes = this.#lying === undefined ? 0 : this.#lyingTo - this.#lyingFrom;
    if (this.#held !== undefined) for (const held of this.#held) bytes += held.length;
    this.#held = this.#lying = undefined;
    if (bytes > 0) this.owner.taken(bytes);
  }

  /** Ends it from this side. */
  reset(code: number): void {
    if (!this.closed) this.owner.resetStream(this, code);
  }
}

/** Trailers of a head's fields, without those that may not stand there. Undefined: one of them is malformed. */
export function trailerFields({ list, count }: HeadFields): Fields | undefined {
  const trailers = new Fields();
  for (let n = 0; n < count; n++) {
    const field = list[n]!;
    if (field.flags !== 0) return undefined;
    if (field.key.isTrailer) trailers.add(field);
  }
  return trailers;
}
