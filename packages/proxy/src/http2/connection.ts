/**
 * A connection of HTTP/2 (RFC 9113), whichever side of it this is: what each frame that comes means for the streams
 * and for the connection, whose life and writing are in `connection-life.ts` and `sending.ts`. What differs between
 * the sides is in `front.ts`, which serves, and `session.ts`, which sends. Everything that a peer makes it hold or
 * do has a bound; see `floods.ts`.
 */
import type { Socket } from "node:net";
import type { Fields } from "../fields.ts";
import type { Flushed } from "../flushes.ts";
import { free } from "../spent.ts";
import type { Http2Clock } from "./clock.ts";
import { ConnectionLife, type ConnectionLimits } from "./connection-life.ts";
import {
  ERROR,
  FLAG,
  FRAME,
  FrameReader,
  MAX_WINDOW,
  readUInt32,
  writePing,
  writeReset,
  writeSettingsAck,
  type FrameTaker,
} from "./frames.ts";
import { HeadFields, HpackDecoder, type HeadLimits } from "./hpack-decoder.ts";
import { ANY_LENGTH, trailerFields, type Http2Stream } from "./stream.ts";

export abstract class Http2Connection extends ConnectionLife implements FrameTaker, Flushed {
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #headLimits: HeadLimits;
  readonly #fields = new HeadFields();
  /** What was read last, while streams hold parts of it. */
  #read: Buffer | undefined = undefined;
  #holders: Http2Stream[] = [];

  constructor(socket: Socket, clock: Http2Clock, limits: ConnectionLimits, tableBytes: number) {
    super(socket, clock, limits);
    this.#headLimits = { maxBytes: limits.maxHeaderBytes, maxCount: limits.maxHeaderCount };
    this.#reader = new FrameReader(this);
    this.#decoder = new HpackDecoder(tableBytes);
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
  /** There were too many of them. */
  protected trailersDropped(): void {}
  /** Its peer has reset it with NO_ERROR. True: all that it had to send is here, with its end or without. */
  protected isEndedByReset(_stream: Http2Stream): boolean {
    return false;
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────

  /** What came from the socket. It is freed, at the latest at the end of this turn. */
  read(bytes: Buffer, start = 0): void {
    if (!this.reads) return;
    this.flushNow();
    this.#read = bytes;
    this.#reader.read(bytes, start);
    if (this.#holders.length === 0) this.#forget(bytes);
    else this.flushes.add(this);
    this.sending.holdReading();
  }

  /** The turn in which something was read is over, or more of it was: streams keep what they still hold. Writer: `Flushes`. */
  flushNow(): void {
    const bytes = this.#read;
    if (bytes === undefined) return;
    for (const stream of this.#holders) stream.keep();
    this.#holders = [];
    this.#forget(bytes);
  }

  #forget(bytes: Buffer): void {
    this.#read = undefined;
    free(bytes);
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
    if (!this.settings.settled && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) {
      return this.fail(ERROR.protocol, "the first frame is not SETTINGS");
    }
    if (this.block.isOpen && (type !== FRAME.continuation || stream !== this.block.stream)) {
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
        return this.reads;
      case FRAME.windowUpdate:
        return this.#windowUpdate(stream, bytes, from, to);
      case FRAME.continuation:
        return this.#continuation(flags, bytes, from, to);
      default:
        return this.aside(); // §5.5: extensions
    }
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
    if (!this.window.came(length)) {
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
    else if (!ends && this.floods.empty()) return this.flood("frames");
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
    // What was put together of a frame that was cut is written over by the next one.
    if (stream.takeData(bytes, from, to, bytes === this.#read)) this.#holders.push(stream);
    if (ends && !stream.closed) this.#remoteEnd(stream, undefined);
    return this.reads;
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
    this.block.begin(id, ends);
    return this.block.add(bytes, from, to) || this.flood("head_too_large");
  }

  #continuation(flags: number, bytes: Buffer, from: number, to: number): boolean {
    const { block } = this;
    if (!block.isOpen) return this.fail(ERROR.protocol, "CONTINUATION without HEADERS");
    if (!block.goesOn() || !block.add(bytes, from, to)) return this.flood("head_too_large");
    if ((flags & FLAG.endHeaders) === 0) {
      if (to === from && this.floods.empty()) return this.flood("frames");
      return true;
    }
    const { stream, ends } = block;
    const whole = block.take();
    return this.#head(stream, ends, whole, 0, whole.length);
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
    const fault = this.#decoder.decode(bytes, from, to, fields, this.#headLimits);
    if (fault !== undefined) return this.fail(ERROR.compression, `a head cannot be read: ${fault}`);
    if (stream === undefined) return this.reads;
    if (stream.remoteEnded) {
      return this.streamError(stream, ERROR.streamClosed, "HEADERS behind the end of its stream");
    }
    if (fields.count === 0 && !ends && this.floods.empty()) return this.flood("frames");
    stream.came++;
    if (stream.headed) this.#trailers(stream, fields, ends);
    else stream.takeHead(fields, ends);
    return this.reads;
  }

  #trailers(stream: Http2Stream, fields: HeadFields, ends: boolean): void {
    if (!ends) {
      this.streamError(stream, ERROR.protocol, "trailers that do not end their stream");
      return;
    }
    const trailers = trailerFields(fields);
    if (trailers === undefined) {
      this.streamError(stream, ERROR.protocol, "trailers that are malformed");
      return;
    }
    const { maxTrailerCount, maxTrailerBytes } = this.limits;
    const { tooLarge, count, bytes } = fields;
    const tooMany = tooLarge || count > maxTrailerCount || bytes > maxTrailerBytes;
    if (tooMany) this.trailersDropped();
    this.#endOfHead(stream, tooMany ? undefined : trailers);
  }

  headEnds(stream: Http2Stream): void {
    this.#endOfHead(stream, undefined);
  }

  #endOfHead(stream: Http2Stream, trailers: Fields | undefined): void {
    const { expectedBytes, receivedBytes } = stream;
    if (expectedBytes !== ANY_LENGTH && receivedBytes !== expectedBytes) {
      this.streamError(stream, ERROR.protocol, "a body that is not as long as its content-length");
    } else this.#remoteEnd(stream, trailers);
  }

  #remoteEnd(stream: Http2Stream, trailers: Fields | undefined): void {
    stream.takeEnd(trailers);
    if (stream.localEnded) this.closeStream(stream);
  }

  #priority(id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id === 0) return this.fail(ERROR.protocol, "PRIORITY on no stream");
    if (to - from !== 5) return this.#streamFrameSize(id, "PRIORITY has not five bytes");
    if ((readUInt32(bytes, from) & MAX_WINDOW) === id) {
      const stream = this.open.get(id);
      if (stream === undefined) return this.fail(ERROR.protocol, "a stream depends on itself");
      return this.streamError(stream, ERROR.protocol, "a stream depends on itself");
    }
    return this.aside();
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
      this.resetStreams.byPeerToo(id);
      return this.aside();
    }
    const code = readUInt32(bytes, from);
    this.resetStreams.byPeer(id);
    if (code === ERROR.none && this.isEndedByReset(stream)) {
      // First, because a reset is not answered by another one (§5.4.2). What has not gone on yet still does.
      this.closeStream(stream);
      if (!stream.remoteEnded) stream.takeEnd(undefined);
      return this.reads;
    }
    this.forgetStream(stream);
    this.streamReset(stream, true);
    stream.broken(code);
    return this.reads;
  }

  #settings(flags: number, id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id !== 0) return this.fail(ERROR.protocol, "SETTINGS on a stream");
    const { settings } = this;
    if ((flags & FLAG.ack) !== 0) {
      if (to !== from) return this.fail(ERROR.frameSize, "an acknowledgement with settings");
      if (settings.confirmed) return this.aside();
      settings.confirmed = true;
      return true;
    }
    if ((to - from) % 6 !== 0) return this.fail(ERROR.frameSize, "SETTINGS is cut off");
    if (settings.settled && this.floods.settings()) return this.flood("settings");
    // More of them than there are kinds say the same twice.
    if (to - from > 6 * 32 && !this.glitch()) return false;
    if (!settings.read(bytes, from, to)) return false;
    writeSettingsAck(this.out);
    this.flush();
    // Behind the acknowledgement: before it peers that enforce their settings by it, as nghttp2 does, would see too much.
    this.sending.pump();
    settings.settled = true;
    this.settingsChanged();
    return this.reads;
  }

  #ping(flags: number, id: number, bytes: Buffer, from: number, to: number): boolean {
    if (id !== 0) return this.fail(ERROR.protocol, "PING on a stream");
    if (to - from !== 8) return this.fail(ERROR.frameSize, "PING has not eight bytes");
    if ((flags & FLAG.ack) !== 0) return this.pingAnswered();
    if (this.floods.ping()) return this.flood("pings");
    writePing(this.out, true, bytes, from);
    this.flush();
    return true;
  }

  #windowUpdate(id: number, bytes: Buffer, from: number, to: number): boolean {
    if (to - from !== 4) return this.fail(ERROR.frameSize, "WINDOW_UPDATE has not four bytes");
    const more = readUInt32(bytes, from) & MAX_WINDOW;
    if (this.floods.windowUpdate()) return this.flood("frames");
    if (id === 0) {
      if (more === 0) return this.fail(ERROR.protocol, "WINDOW_UPDATE of 0");
      if (!this.sending.widen(more)) {
        return this.fail(ERROR.flowControl, "the window is larger than 2^31-1");
      }
      this.sending.pump();
      return true;
    }
    const stream = this.open.get(id);
    if (stream === undefined) {
      if (this.isIdle(id))
        return this.fail(ERROR.protocol, "WINDOW_UPDATE on a stream that is idle");
      if (more === 0) return this.fail(ERROR.protocol, "WINDOW_UPDATE of 0");
      return this.aside();
    }
    if (more === 0) return this.streamError(stream, ERROR.protocol, "WINDOW_UPDATE of 0");
    if (!stream.widen(more)) {
      return this.streamError(stream, ERROR.flowControl, "its window is larger than 2^31-1");
    }
    if (stream.waits) this.sending.pump();
    return this.reads;
  }

  /**
   * A frame of a stream that was reset lately. From this side: it was on its way, and is dropped. By the peer:
   * it must not come (§5.1). Undefined: it was not reset. False: nothing more is read.
   */
  #afterReset(id: number): boolean | undefined {
    const whose = this.resetStreams.whose(id);
    if (whose === undefined) return undefined;
    if (whose === "ours") return this.aside();
    writeReset(this.out, id, ERROR.streamClosed);
    this.flush();
    return this.glitch();
  }
}
