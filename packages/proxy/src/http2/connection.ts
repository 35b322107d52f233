/**
 * A connection of HTTP/2 (RFC 9113), whichever side of it this is: frames become heads, bytes and ends of
 * streams, and the other way round. What differs between the sides is in `front.ts`, which serves, and
 * `session.ts`, which sends. Everything that a peer makes it hold or do has a bound; see `floods.ts`.
 */
import type { Socket } from "node:net";
import type { Runtime } from "@inmesh/core/spi";
import { Defects, onEvent } from "../defects.ts";
import type { Fields } from "../fields.ts";
import { Floods, type FloodKind, type FloodLimits } from "./floods.ts";
import type { Http2Clock } from "./clock.ts";
import type { Flushes } from "./flushes.ts";
import {
  closeHeaders,
  DEFAULT_WINDOW,
  ERROR,
  errorName,
  FLAG,
  FRAME,
  FRAME_HEADER_BYTES,
  FrameReader,
  MAX_FRAME_BYTES,
  MAX_WINDOW,
  readUInt32,
  SETTING,
  writeData,
  writeGoaway,
  writePing,
  writeReset,
  writeSettingsAck,
  writeWindowUpdate,
  type FrameTaker,
} from "./frames.ts";
import { HpackDecoder, type HeadLimits } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import type { HpackField } from "./hpack-fields.ts";
import { FieldWriter } from "./field-writer.ts";
import { Outgoing } from "./outgoing.ts";
import { StreamTable } from "./stream-table.ts";
import { ANY_LENGTH, type Http2Stream, type StreamOwner } from "./stream.ts";

export interface ConnectionLimits extends FloodLimits {
  /** Of one head, as RFC 9113 §6.5.2 counts. */
  readonly maxHeaderBytes: number;
  readonly maxHeaderCount: number;
  readonly writeStallTimeoutMs: number;
}

/** Of a stream: what a peer may send before it is taken. */
export const STREAM_WINDOW = 65_536;
/** Of all streams together. */
export const CONNECTION_WINDOW = 1_048_576;
/** Bodies wait while so much of a turn has not been written. */
const MAX_GATHERED_BYTES = 262_144;
/** Answers that the peer does not read: above it nothing is read from it either. */
const MAX_UNREAD_BYTES = 1_048_576;
const MAX_CONTINUATIONS = 8;
/** A compressed head that is longer than a legal one twice over is none. */
const BLOCK_RATIO = 2;
/** Streams that were reset lately: what is on its way for them is no fault. */
const REMEMBERED_RESETS = 256;
/** From an error to the end, so that the peer can read why (design rule S11). */
const LINGER_MS = 1_000;
const NO_BLOCK = 0;

/** Why a connection ended that this side has ended; undefined: its peer has. */
export interface ConnectionFault {
  readonly code: number;
  readonly why: string;
}

export abstract class Http2Connection implements FrameTaker, StreamOwner {
  readonly socket: Socket;
  /** Streams in progress, by number. */
  readonly open: StreamTable<Http2Stream> = new StreamTable();
  protected readonly runtime: Runtime;
  protected readonly limits: ConnectionLimits;
  protected readonly out: Outgoing = new Outgoing();
  protected readonly floods: Floods;
  readonly ownInitialWindow: number = STREAM_WINDOW;
  peerInitialWindow: number = DEFAULT_WINDOW;
  peerMaxFrame: number = MAX_FRAME_BYTES;
  peerMaxHeaderBytes: number = Infinity;
  /** How many streams the peer takes. */
  peerMaxStreams: number = Infinity;
  /** The peer's first SETTINGS have come. */
  settled = false;
  /** It has confirmed ours. */
  confirmed = false;
  /** Nothing more is read or written. */
  ended = false;
  /** This side has found a fault, and waits only for the peer to read of it. */
  fault: ConnectionFault | undefined = undefined;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #encoder = new HpackEncoder();
  readonly #writer: FieldWriter;
  readonly #flushes: Flushes;
  readonly #headLimits: HeadLimits;
  #sendWindow = DEFAULT_WINDOW;
  #receiveWindow = DEFAULT_WINDOW;
  #taken = 0;
  /** Those that have more to send than they may, each once. */
  readonly #waiting: Http2Stream[] = [];
  #flushing = false;
  /** The socket has not taken what it was given. */
  #blocked = false;
  #readPaused = false;
  /** A head that is not whole: its stream, what it is, and its bytes so far. */
  #block = NO_BLOCK;
  #blockEnds = false;
  #blockBytes: Buffer | undefined = undefined;
  #blockLength = 0;
  #continuations = 0;
  /** Undefined: there were none. */
  #resets: Int32Array | undefined = undefined;
  #resetAt = 0;
  #fields: HpackField[] = [];
  /** Looks in a row at which nothing went out although something waits. */
  #blockedTicks = 0;
  #ticks = 0;
  #blockTicks = 0;
  #wroteBefore = 0;

  constructor(
    socket: Socket,
    { runtime, flushes }: Http2Clock,
    limits: ConnectionLimits,
    tableBytes: number,
  ) {
    this.socket = socket;
    this.runtime = runtime;
    this.limits = limits;
    this.#flushes = flushes;
    this.#headLimits = { maxBytes: limits.maxHeaderBytes, maxCount: limits.maxHeaderCount };
    this.floods = new Floods(limits, () => runtime.now());
    this.#reader = new FrameReader(this);
    this.#decoder = new HpackDecoder(tableBytes);
    this.#writer = new FieldWriter(this.#encoder, this.out);
    onEvent(socket, "drain", runtime, this, () => this.#drained());
    socket.on("error", () => undefined); // `close` follows
    onEvent(socket, "close", runtime, this, () => this.#closed());
    socket.setNoDelay(true);
  }

  // ── what the sides add ───────────────────────────────────────────────────────────────────────

  /** HEADERS for a stream that is not open. Undefined: its head is read and dropped. False: the connection has failed. */
  protected abstract openStream(id: number, ends: boolean): Http2Stream | undefined | false;
  /** What comes for a stream that has ended. False: the connection has failed. */
  protected abstract unknownStream(id: number, type: number): boolean;
  /** No such stream has begun. */
  protected abstract isIdle(id: number): boolean;
  protected abstract settingsChanged(): void;
  protected abstract goawayReceived(lastStream: number, code: number): void;
  /** A stream is gone, and there is room for another. */
  protected abstract streamClosed(stream: Http2Stream): void;
  /** The peer reset it, or made this side do so. */
  protected abstract streamReset(stream: Http2Stream, byPeer: boolean): void;
  /** Its peer has reset it with NO_ERROR. True: only because the rest of what this side sends is not wanted (§8.1). */
  protected stopsUpload(_stream: Http2Stream): boolean {
    return false;
  }
  protected abstract flooded(kind: FloodKind | "head_too_large"): void;
  protected abstract connectionClosed(): void;
  /** The highest stream of the peer that was or will be looked at, for GOAWAY. */
  protected abstract readonly lastPeerStream: number;

  // ── reading ──────────────────────────────────────────────────────────────────────────────────

  /** What came from the socket. Keeps none of it. */
  read(bytes: Buffer, start = 0): void {
    if (this.ended || this.fault !== undefined) return;
    this.#reader.read(bytes, start);
    if (this.out.at > MAX_UNREAD_BYTES && !this.#readPaused) {
      // Who does not read its answers asks for no more of them.
      this.#readPaused = true;
      this.socket.pause();
    }
  }

  frameTooLong(): void {
    this.fail(ERROR.frameSize, "a frame is longer than SETTINGS_MAX_FRAME_SIZE");
  }

  frame(
    type: number,
    flags: number,
    stream: number,
    bytes: Buffer,
    from: number,
    to: number,
  ): boolean {
    if (!this.settled && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) {
      return this.fail(ERROR.protocol, "the first frame is not SETTINGS");
    }
    if (this.#block !== NO_BLOCK && (type !== FRAME.continuation || stream !== this.#block)) {
      return this.fail(ERROR.protocol, "a frame stands inside of a head");
    }
    switch (type) {
      case FRAME.data:
        return this.#data(flags, stream, bytes, from, to);
      case FRAME.headers:
        return this.#headers(flags, stream, bytes, from, to);
      case FRAME.priority:
        return this.#priority(stream, bytes, from, to);
      case FRAME.rstStream:
        return this.#rstStream(stream, bytes, from, to);
      case FRAME.settings:
        return this.#settings(flags, stream, bytes, from, to);
      case FRAME.pushPromise:
        // §8.4: we never let a server push, and a client never may.
        return this.fail(ERROR.protocol, "PUSH_PROMISE");
      case FRAME.ping:
        return this.#ping(flags, stream, bytes, from, to);
      case FRAME.goaway:
        if (stream !== 0) return this.fail(ERROR.protocol, "GOAWAY on a stream");
        if (to - from < 8) return this.fail(ERROR.frameSize, "GOAWAY is too short");
        this.goawayReceived(readUInt32(bytes, from) & MAX_WINDOW, readUInt32(bytes, from + 4));
        return this.#reads();
      case FRAME.windowUpdate:
        return this.#windowUpdate(stream, bytes, from, to);
      case FRAME.continuation:
        return this.#continuation(flags, stream, bytes, from, to);
      default:
        return this.#aside(); // §5.5: extensions
    }
  }

  #reads(): boolean {
    return !this.ended && this.fault === undefined;
  }

  #aside(): boolean {
    return this.floods.aside() ? this.#flood("frames") : true;
  }

  #flood(kind: FloodKind | "head_too_large"): boolean {
    this.flooded(kind);
    return this.fail(ERROR.enhanceYourCalm, `too many: ${kind}`);
  }

  /** Something irregular that is let through. False: once too often. */
  protected glitch(): boolean {
    return this.floods.glitch() ? this.#flood("glitches") : true;
  }

  #data(flags: number, id: number, bytes: Buffer, start: number, end: number): boolean {
    if (id === 0) return this.fail(ERROR.protocol, "DATA on no stream");
    let from = start;
    let to = end;
    if ((flags & FLAG.padded) !== 0) {
      const padding = from < to ? bytes[from++]! : 256;
      if (padding > to - from) return this.fail(ERROR.protocol, "padding is longer than DATA");
      to -= padding;
    }
    const length = end - start;
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      return this.fail(ERROR.flowControl, "DATA beyond the window of the connection");
    }
    const stream = this.open.get(id);
    if (stream === undefined) {
      this.taken(length);
      if (this.isIdle(id)) return this.fail(ERROR.protocol, "DATA on a stream that is not open");
      return this.#afterReset(id) ?? this.unknownStream(id, FRAME.data);
    }
    const ends = (flags & FLAG.endStream) !== 0;
    if (to > from) this.floods.filled();
    else if (!ends && this.floods.empty()) return this.#flood("frames");
    stream.receiveWindow -= length;
    // Padding goes to no reader, so its room is given back at once.
    if (length > to - from) this.taken(length - (to - from));
    if (stream.remoteEnded) {
      this.taken(to - from);
      return this.streamError(stream, ERROR.streamClosed, "DATA behind the end of its stream");
    }
    if (stream.receiveWindow < 0) {
      this.taken(to - from);
      return this.streamError(stream, ERROR.flowControl, "DATA beyond the window of its stream");
    }
    if (length > to - from) this.openWindow(stream, length - (to - from));
    if (!stream.headed) {
      this.taken(to - from);
      return this.streamError(stream, ERROR.protocol, "DATA before a head");
    }
    stream.receivedBytes += to - from;
    const { expectedBytes, receivedBytes } = stream;
    if (
      expectedBytes !== ANY_LENGTH &&
      (receivedBytes > expectedBytes || (ends && receivedBytes < expectedBytes))
    ) {
      this.taken(to - from);
      return this.streamError(
        stream,
        ERROR.protocol,
        "a body that is not as long as its content-length",
      );
    }
    stream.takeData(bytes, from, to);
    if (ends && !stream.closed) this.#remoteEnd(stream, undefined);
    return this.#reads();
  }

  #headers(flags: number, id: number, bytes: Buffer, start: number, end: number): boolean {
    if (id === 0) return this.fail(ERROR.protocol, "HEADERS on no stream");
    let from = start;
    let to = end;
    if ((flags & FLAG.padded) !== 0) {
      const padding = from < to ? bytes[from++]! : 256;
      if (padding > to - from) return this.fail(ERROR.protocol, "padding is longer than HEADERS");
      to -= padding;
    }
    if ((flags & FLAG.priority) !== 0) {
      if (to - from < 5) return this.fail(ERROR.frameSize, "HEADERS is too short");
      const parent = readUInt32(bytes, from) & MAX_WINDOW;
      from += 5;
      if (parent === id) return this.fail(ERROR.protocol, "a stream depends on itself");
    }
    const ends = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) !== 0) return this.#head(id, ends, bytes, from, to);
    this.#block = id;
    this.#blockEnds = ends;
    this.#blockLength = 0;
    this.#continuations = 0;
    return this.#keepBlock(bytes, from, to);
  }

  #continuation(flags: number, id: number, bytes: Buffer, from: number, to: number): boolean {
    if (this.#block === NO_BLOCK) return this.fail(ERROR.protocol, "CONTINUATION without HEADERS");
    if (++this.#continuations > MAX_CONTINUATIONS) return this.#flood("head_too_large");
    if (!this.#keepBlock(bytes, from, to)) return false;
    if ((flags & FLAG.endHeaders) === 0) {
      if (to === from && this.floods.empty()) return this.#flood("frames");
      return true;
    }
    this.#block = NO_BLOCK;
    this.#blockTicks = 0;
    const block = this.#blockBytes!;
    this.#blockBytes = undefined;
    return this.#head(id, this.#blockEnds, block, 0, this.#blockLength);
  }

  #keepBlock(bytes: Buffer, from: number, to: number): boolean {
    const length = this.#blockLength + to - from;
    if (length > BLOCK_RATIO * this.limits.maxHeaderBytes) return this.#flood("head_too_large");
    let block = this.#blockBytes;
    if (block === undefined || block.length < length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * (block?.length ?? 0)));
      block?.copy(larger, 0, 0, this.#blockLength);
      this.#blockBytes = block = larger;
    }
    bytes.copy(block, this.#blockLength, from, to);
    this.#blockLength = length;
    return true;
  }

  #head(id: number, ends: boolean, bytes: Buffer, from: number, to: number): boolean {
    let stream = this.open.get(id);
    if (stream === undefined) {
      const after = this.isIdle(id) ? undefined : this.#afterReset(id);
      if (after === false) return false;
      if (after === undefined) {
        const opened = this.openStream(id, ends);
        if (opened === false) return false;
        stream = opened;
      }
    }
    const fields = this.#fields;
    fields.length = 0;
    const fault = this.#decoder.decode(bytes, from, to, fields, this.#headLimits);
    if (fault !== undefined) return this.fail(ERROR.compression, `a head cannot be read: ${fault}`);
    if (stream === undefined) return this.#reads();
    if (stream.remoteEnded) {
      return this.streamError(stream, ERROR.streamClosed, "HEADERS behind the end of its stream");
    }
    if (stream.headed && !ends) {
      return this.streamError(stream, ERROR.protocol, "trailers that do not end their stream");
    }
    if (fields.length === 0 && !ends && this.floods.empty()) return this.#flood("frames");
    stream.came++;
    stream.takeHead(fields, this.#decoder.bytes, this.#decoder.tooLarge, ends);
    return this.#reads();
  }

  /** The head of a stream was its end as well, or trailers have come. */
  endOfHead(stream: Http2Stream, trailers: Fields | undefined): void {
    const { expectedBytes, receivedBytes } = stream;
    if (expectedBytes !== ANY_LENGTH && receivedBytes !== expectedBytes) {
      this.streamError(stream, ERROR.protocol, "a body that is not as long as its content-length");
    } else this.#remoteEnd(stream, trailers);
  }

  #remoteEnd(stream: Http2Stream, trailers: Fields | undefined): void {
    stream.takeEnd(trailers);
    if (stream.localEnded) this.#closeStream(stream);
  }

  #priority(id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id === 0) return this.fail(ERROR.protocol, "PRIORITY on no stream");
    if (to - from !== 5) return this.#streamFrameSize(id, "PRIORITY has not five bytes");
    if ((readUInt32(bytes, from) & MAX_WINDOW) === id) {
      const stream = this.open.get(id);
      if (stream === undefined) return this.fail(ERROR.protocol, "a stream depends on itself");
      return this.streamError(stream, ERROR.protocol, "a stream depends on itself");
    }
    return this.#aside();
  }

  #streamFrameSize(id: number, why: string): boolean {
    const stream = this.open.get(id);
    if (stream === undefined) return this.fail(ERROR.frameSize, why);
    return this.streamError(stream, ERROR.frameSize, why);
  }

  #rstStream(id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id === 0) return this.fail(ERROR.protocol, "RST_STREAM on no stream");
    if (to - from !== 4) return this.fail(ERROR.frameSize, "RST_STREAM has not four bytes");
    const stream = this.open.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) return this.fail(ERROR.protocol, "RST_STREAM on a stream that is idle");
      // Both sides have reset it: nothing more of it is on its way.
      const at = this.#resets?.indexOf(id) ?? -1;
      if (at >= 0) this.#resets![at] = -id;
      return this.#aside();
    }
    const code = readUInt32(bytes, from);
    this.#remember(-id);
    if (code === ERROR.none && stream.isWhole) {
      // Node's server may say so in the place of the end (nodejs/node: a stream that its handler does not read).
      stream.takeEnd(undefined);
      this.#closeStream(stream);
      return this.#reads();
    }
    if (code === ERROR.none && this.stopsUpload(stream)) {
      // All of the reply is here; what has not gone on yet still does.
      this.#closeStream(stream);
      return this.#reads();
    }
    this.forgetStream(stream);
    this.streamReset(stream, true);
    stream.broken(code);
    return this.#reads();
  }

  #settings(flags: number, id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id !== 0) return this.fail(ERROR.protocol, "SETTINGS on a stream");
    if ((flags & FLAG.ack) !== 0) {
      if (to !== from) return this.fail(ERROR.frameSize, "an acknowledgement with settings");
      if (this.confirmed) return this.#aside();
      this.confirmed = true;
      return true;
    }
    if ((to - from) % 6 !== 0) return this.fail(ERROR.frameSize, "SETTINGS is cut off");
    if (this.settled && this.floods.settings()) return this.#flood("settings");
    // More of them than there are kinds say the same twice.
    if (to - from > 6 * 32 && !this.glitch()) return false;
    for (let at = from; at < to; at += 6) {
      if (!this.#setting((bytes[at]! << 8) | bytes[at + 1]!, readUInt32(bytes, at + 2)))
        return false;
    }
    writeSettingsAck(this.out);
    this.flush();
    this.settled = true;
    this.settingsChanged();
    return this.#reads();
  }

  #setting(id: number, value: number): boolean {
    switch (id) {
      case SETTING.headerTableSize:
        this.#encoder.resize(value);
        return true;
      case SETTING.enablePush:
        return value <= 1 || this.fail(ERROR.protocol, "SETTINGS_ENABLE_PUSH is neither 0 nor 1");
      case SETTING.maxConcurrentStreams:
        this.peerMaxStreams = value;
        return true;
      case SETTING.initialWindowSize: {
        if (value > MAX_WINDOW) {
          return this.fail(ERROR.flowControl, "SETTINGS_INITIAL_WINDOW_SIZE is too large");
        }
        const change = value - this.peerInitialWindow;
        this.peerInitialWindow = value;
        for (const stream of this.open.all()) {
          stream.sendWindow += change;
          if (stream.sendWindow > MAX_WINDOW) {
            return this.fail(ERROR.flowControl, "a window is larger than 2^31-1");
          }
        }
        if (change > 0) this.#pump();
        return true;
      }
      case SETTING.maxFrameSize:
        if (value < MAX_FRAME_BYTES || value > 16_777_215) {
          return this.fail(ERROR.protocol, "SETTINGS_MAX_FRAME_SIZE is out of range");
        }
        return true; // larger frames would gain nothing
      case SETTING.maxHeaderListSize:
        this.peerMaxHeaderBytes = value;
        return true;
      default:
        return true; // §6.5.2
    }
  }

  #ping(flags: number, id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id !== 0) return this.fail(ERROR.protocol, "PING on a stream");
    if (to - from !== 8) return this.fail(ERROR.frameSize, "PING has not eight bytes");
    if ((flags & FLAG.ack) !== 0) return this.pingAnswered();
    if (this.floods.ping()) return this.#flood("pings");
    writePing(this.out, true, bytes, from);
    this.flush();
    return true;
  }

  /** False: nothing more is read. */
  protected pingAnswered(): boolean {
    return this.#aside();
  }

  #windowUpdate(id: number, bytes: Buffer, from: number, to: number): boolean {
    if (to - from !== 4) return this.fail(ERROR.frameSize, "WINDOW_UPDATE has not four bytes");
    const more = readUInt32(bytes, from) & MAX_WINDOW;
    if (this.floods.windowUpdate()) return this.#flood("frames");
    if (id === 0) {
      if (more === 0) return this.fail(ERROR.protocol, "WINDOW_UPDATE of 0");
      this.#sendWindow += more;
      if (this.#sendWindow > MAX_WINDOW) {
        return this.fail(ERROR.flowControl, "the window is larger than 2^31-1");
      }
      this.#pump();
      return true;
    }
    const stream = this.open.get(id);
    if (stream === undefined) {
      if (this.isIdle(id))
        return this.fail(ERROR.protocol, "WINDOW_UPDATE on a stream that is idle");
      if (more === 0) return this.fail(ERROR.protocol, "WINDOW_UPDATE of 0");
      return this.#aside();
    }
    if (more === 0) return this.streamError(stream, ERROR.protocol, "WINDOW_UPDATE of 0");
    stream.sendWindow += more;
    if (stream.sendWindow > MAX_WINDOW) {
      return this.streamError(stream, ERROR.flowControl, "its window is larger than 2^31-1");
    }
    if (stream.waits) this.#pump();
    return this.#reads();
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────

  /** Begins a head; `closeHead` ends it. Fields go to the writer that it gives. */
  beginHead(): FieldWriter {
    const { out } = this;
    out.reserve(FRAME_HEADER_BYTES);
    this.#headAt = out.at;
    out.at += FRAME_HEADER_BYTES;
    this.#encoder.begin(out);
    return this.#writer;
  }

  #headAt = 0;

  closeHead(stream: Http2Stream, ends: boolean): void {
    closeHeaders(this.out, this.#headAt, stream.id, ends, this.peerMaxFrame);
    this.floods.sent++;
    stream.went++;
    this.flush();
    if (ends) this.#localEnd(stream);
  }

  /** Sends what the windows let through, and gives the place behind it. */
  sendData(stream: Http2Stream, bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      const sent = this.sendFrame(stream, bytes, at, to);
      if (sent === at) break;
      at = sent;
    }
    return at;
  }

  /** The same with one frame at most. */
  sendFrame(stream: Http2Stream, bytes: Buffer, from: number, to: number): number {
    if (this.#blocked || this.out.at > MAX_GATHERED_BYTES) return from;
    const length = Math.min(to - from, this.peerMaxFrame, stream.sendWindow, this.#sendWindow);
    if (length <= 0) return from;
    writeData(this.out, stream.id, bytes, from, from + length, false);
    stream.sendWindow -= length;
    this.#sendWindow -= length;
    stream.went += length;
    this.floods.sent++;
    this.flush();
    return from + length;
  }

  /** END_STREAM, by a frame of its own or by trailers. */
  sendEnd(stream: Http2Stream, trailers: Fields | undefined): void {
    if (trailers !== undefined && trailers.count > 0) {
      trailers.visit(this.beginHead());
      this.closeHead(stream, true);
      return;
    }
    writeData(this.out, stream.id, NO_BYTES, 0, 0, true);
    this.floods.sent++;
    this.flush();
    this.#localEnd(stream);
  }

  #localEnd(stream: Http2Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#closeStream(stream);
  }

  /** It has more than it may send. */
  waits(stream: Http2Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    this.#waiting.push(stream);
  }

  /** In turn, a frame of each stream that waits, for as long as there is room. */
  #pump(): void {
    const waiting = this.#waiting;
    let moved = true;
    while (moved && waiting.length > 0 && this.#sendWindow > 0 && !this.#blocked) {
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

  /** Bytes that came have gone on: the peer may send as many more on this connection. */
  taken(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken * 2 < CONNECTION_WINDOW || this.ended || this.fault !== undefined) return;
    this.#receiveWindow += this.#taken;
    writeWindowUpdate(this.out, 0, this.#taken);
    this.#taken = 0;
    this.flush();
  }

  /** The same of one stream. */
  openWindow(stream: Http2Stream, bytes: number): void {
    if (stream.closed || stream.remoteEnded) return;
    stream.receiveWindow += bytes;
    writeWindowUpdate(this.out, stream.id, bytes);
    this.flush();
  }

  /** What this side lets the peer send at first, beyond what every connection begins with. */
  protected openConnectionWindow(): void {
    writeWindowUpdate(this.out, 0, CONNECTION_WINDOW - DEFAULT_WINDOW);
    this.#receiveWindow = CONNECTION_WINDOW;
  }

  /** What has been written goes out at the end of this turn. */
  flush(): void {
    if (this.#flushing || this.#blocked) return;
    this.#flushing = true;
    this.#flushes.add(this);
  }

  /** Writer: `Flushes`. */
  flushNow(): void {
    this.#flushing = false;
    const { out, socket } = this;
    if (out.at === 0 || this.#blocked || this.ended) return;
    this.#blocked = !socket.write(out.taken());
    if (socket.writableLength === 0) out.written();
    else out.keep();
    if (!this.#blocked && this.#waiting.length > 0) this.#pump();
  }

  #drained(): void {
    this.#blocked = false;
    if (this.#readPaused && this.out.at <= MAX_UNREAD_BYTES) {
      this.#readPaused = false;
      this.socket.resume();
    }
    this.#pump();
    if (this.out.at > 0) this.flush();
  }

  // ── ends ─────────────────────────────────────────────────────────────────────────────────────

  /** RST_STREAM from this side. */
  resetStream(stream: Http2Stream, code: number): void {
    if (stream.closed) return;
    writeReset(this.out, stream.id, code);
    this.#remember(stream.id);
    this.flush();
    this.forgetStream(stream);
  }

  /** The peer broke a rule of one stream. False: nothing more is read. */
  streamError(stream: Http2Stream, code: number, why: string): boolean {
    this.resetStream(stream, code);
    this.streamReset(stream, false);
    stream.failed(code, why);
    return this.#reads();
  }

  /** A stream is refused that has no object. */
  protected refuseStream(id: number, code: number): void {
    writeReset(this.out, id, code);
    this.#remember(id);
    this.flush();
  }

  /** As if it had been reset, without a frame that says so. */
  protected forgetStream(stream: Http2Stream): void {
    this.#closeStream(stream);
    stream.drop();
  }

  #closeStream(stream: Http2Stream): void {
    if (stream.closed) return;
    stream.close();
    this.open.remove(stream);
    this.streamClosed(stream);
  }

  /** `id` negative: its peer has reset it. */
  #remember(id: number): void {
    this.#resets ??= new Int32Array(REMEMBERED_RESETS);
    this.#resets[this.#resetAt] = id;
    this.#resetAt = (this.#resetAt + 1) % REMEMBERED_RESETS;
  }

  /**
   * A frame of a stream that was reset lately. From this side: it was on its way, and is dropped. By the peer:
   * it must not come (§5.1). Undefined: it was not reset. False: nothing more is read.
   */
  #afterReset(id: number): boolean | undefined {
    const resets = this.#resets;
    if (resets === undefined) return undefined;
    if (resets.includes(id)) return this.#aside();
    if (!resets.includes(-id)) return undefined;
    writeReset(this.out, id, ERROR.streamClosed);
    this.flush();
    return this.glitch();
  }

  /** GOAWAY with NO_ERROR: the peer opens no streams above `lastStream`. */
  protected goaway(lastStream: number): void {
    writeGoaway(this.out, lastStream, ERROR.none, "");
    this.flush();
  }

  /** The peer broke a rule of the connection: GOAWAY says which, and the connection ends. Always false. */
  fail(code: number, why: string): false {
    if (this.ended || this.fault !== undefined) return false;
    this.fault = { code, why: `${errorName(code)}: ${why}` };
    this.faulted();
    writeGoaway(this.out, this.lastPeerStream, code, why);
    this.#endAll();
    this.#sendLast();
    return false;
  }

  /** `fault` was set; streams end next. */
  protected faulted(): void {}

  /** Nothing is in progress any more, and nothing is to come. */
  protected finish(): void {
    if (this.ended) return;
    this.#sendLast();
  }

  #sendLast(): void {
    const { socket } = this;
    if (socket.destroyed) return;
    if (this.out.at > 0) {
      socket.write(this.out.taken());
      this.out.keep();
    }
    socket.end();
    this.runtime.after(LINGER_MS, destroy, socket);
  }

  destroy(): void {
    this.socket.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.ended) return;
    this.ended = true;
    try {
      this.#endAll();
    } finally {
      // Whatever else goes wrong, its owner must not wait for it.
      this.connectionClosed();
    }
  }

  #endAll(): void {
    for (const stream of this.open.all()) {
      // Where one of them is what went wrong, the others still have to hear of it.
      try {
        this.forgetStream(stream);
        stream.broken(undefined);
      } catch (error) {
        Defects.of(this.runtime).note(error);
      }
    }
  }

  // ── time ─────────────────────────────────────────────────────────────────────────────────────

  /** Once a second. Clocks are counted here, so that no frame reads one. */
  tick(): void {
    if (this.ended) return;
    this.#ticks++;
    const stallTicks = this.limits.writeStallTimeoutMs / 1_000;
    if (this.#blocked) {
      const wrote = this.socket.bytesWritten - this.socket.writableLength;
      this.#blockedTicks = wrote === this.#wroteBefore ? this.#blockedTicks + 1 : 0;
      this.#wroteBefore = wrote;
      if (this.#blockedTicks >= stallTicks) return this.stalled();
    } else this.#blockedTicks = 0;
    if (this.#block !== NO_BLOCK) this.#blockTicks++;
    else this.#blockTicks = 0;
    for (const stream of this.open.all()) {
      stream.stalledTicks = stream.waits && stream.went === 0 ? stream.stalledTicks + 1 : 0;
      const owes = !stream.remoteEnded && !stream.paused && stream.came === 0;
      stream.silentTicks = owes ? stream.silentTicks + 1 : 0;
      const { went } = stream;
      stream.went = stream.came = 0;
      if (stream.stalledTicks >= stallTicks) stream.stalled();
      else stream.look(this.#ticks, went);
    }
    this.ticked(this.#ticks, this.#blockTicks);
  }

  /** The peer takes nothing of what was written. */
  protected abstract stalled(): void;
  /** `age`: seconds of this connection; `headAge`: of a head that is not whole. */
  protected abstract ticked(age: number, headAge: number): void;
}

const NO_BYTES = Buffer.alloc(0);

function destroy(socket: Socket): void {
  socket.destroy();
}
