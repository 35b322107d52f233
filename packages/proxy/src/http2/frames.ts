/** Frames of HTTP/2 (RFC 9113, §4 and §6): their numbers, and how they are read where they lie and written. */
import { HTTP2_ERRORS } from "@inmesh/http/spi/codec";
import type { Outgoing } from "./outgoing.ts";

export const FRAME_HEADER_BYTES = 9;
/** What we let peers send in one frame: the smallest limit there is (§4.2). */
export const MAX_FRAME_BYTES = 16_384;
export const MAX_STREAM_ID = 0x7fff_ffff;
export const MAX_WINDOW = 0x7fff_ffff;
export const DEFAULT_WINDOW = 65_535;
export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = {
  endStream: 0x1,
  ack: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const;

export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  noRfc7540Priorities: 9,
} as const;

/** §7. */
export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;

export function errorName(code: number): string {
  return HTTP2_ERRORS[code] ?? `error ${code}`;
}

/** Takes whole frames. The payload stands in `bytes[from..to)`, which is valid during the call. */
export interface FrameTaker {
  /** False: nothing more of this connection is read. */
  frame(
    type: number,
    flags: number,
    stream: number,
    bytes: Buffer,
    from: number,
    to: number,
  ): boolean;
  /** A frame is longer than `MAX_FRAME_BYTES`. Nothing more is read. */
  frameTooLong(stream: number): void;
}

/**
 * Cuts what comes into frames. A frame that lies whole in what was read is given as it lies there; only one that
 * was cut is put together in a buffer of its own.
 */
export class FrameReader {
  readonly #taker: FrameTaker;
  /** The beginning of a frame that is not whole yet. */
  #part: Buffer | undefined = undefined;
  #partBytes = 0;

  constructor(taker: FrameTaker) {
    this.#taker = taker;
  }

  /** Bytes of a frame that is not whole. */
  get partBytes(): number {
    return this.#partBytes;
  }

  read(bytes: Buffer, start: number): void {
    const end = bytes.length;
    let at = start;
    if (this.#partBytes > 0) {
      at = this.#complete(bytes, at);
      if (at < 0) return;
    }
    while (end - at >= FRAME_HEADER_BYTES) {
      const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      if (length > MAX_FRAME_BYTES) return this.#taker.frameTooLong(streamAt(bytes, at));
      const to = at + FRAME_HEADER_BYTES + length;
      if (to > end) break;
      const from = at + FRAME_HEADER_BYTES;
      if (!this.#taker.frame(bytes[at + 3]!, bytes[at + 4]!, streamAt(bytes, at), bytes, from, to))
        return;
      at = to;
    }
    if (at < end) this.#keep(bytes, at, end);
  }

  #keep(bytes: Buffer, at: number, end: number): void {
    this.#part ??= Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + MAX_FRAME_BYTES);
    bytes.copy(this.#part, this.#partBytes, at, end);
    this.#partBytes += end - at;
  }

  /** Goes on with the frame that is not whole. Gives the place behind what it took; -1: read no more. */
  #complete(bytes: Buffer, start: number): number {
    let at = start;
    const needed = Math.min(FRAME_HEADER_BYTES - this.#partBytes, bytes.length - at);
    if (needed > 0) {
      this.#keep(bytes, at, at + needed);
      at += needed;
      if (this.#partBytes < FRAME_HEADER_BYTES) return -1;
    }
    const part = this.#part!;
    const length = (part[0]! << 16) | (part[1]! << 8) | part[2]!;
    if (length > MAX_FRAME_BYTES) {
      this.#taker.frameTooLong(streamAt(part, 0));
      return -1;
    }
    const whole = FRAME_HEADER_BYTES + length;
    const more = Math.min(whole - this.#partBytes, bytes.length - at);
    this.#keep(bytes, at, at + more);
    at += more;
    if (this.#partBytes < whole) return -1;
    this.#partBytes = 0;
    const went = this.#taker.frame(
      part[3]!,
      part[4]!,
      streamAt(part, 0),
      part,
      FRAME_HEADER_BYTES,
      whole,
    );
    return went ? at : -1;
  }
}

function streamAt(bytes: Buffer, at: number): number {
  return (
    (((bytes[at + 5]! & 0x7f) << 24) |
      (bytes[at + 6]! << 16) |
      (bytes[at + 7]! << 8) |
      bytes[at + 8]!) >>>
    0
  );
}

export function readUInt32(bytes: Buffer, at: number): number {
  return (
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  );
}

/** Writes nine bytes at `at`, where there is room for them. */
export function putFrameHeader(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  putUInt32(bytes, at + 5, stream);
}

function putUInt32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Gives the place of the payload; `out.buffer` may be another one from here on. */
function begin(out: Outgoing, length: number, type: number, flags: number, stream: number): number {
  out.reserve(FRAME_HEADER_BYTES + length);
  putFrameHeader(out.buffer, out.at, length, type, flags, stream);
  const at = out.at + FRAME_HEADER_BYTES;
  out.at = at + length;
  return at;
}

export function writeData(
  out: Outgoing,
  stream: number,
  bytes: Buffer,
  from: number,
  to: number,
  ends: boolean,
): void {
  const at = begin(out, to - from, FRAME.data, ends ? FLAG.endStream : 0, stream);
  bytes.copy(out.buffer, at, from, to);
}

export function writeSettings(
  out: Outgoing,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  let at = begin(out, settings.length * 6, FRAME.settings, 0, 0);
  for (const [id, value] of settings) {
    out.buffer[at] = id >>> 8;
    out.buffer[at + 1] = id;
    putUInt32(out.buffer, at + 2, value);
    at += 6;
  }
}

export function writeSettingsAck(out: Outgoing): void {
  begin(out, 0, FRAME.settings, FLAG.ack, 0);
}

export function writePing(out: Outgoing, ack: boolean, bytes: Buffer, from: number): void {
  const at = begin(out, 8, FRAME.ping, ack ? FLAG.ack : 0, 0);
  bytes.copy(out.buffer, at, from, from + 8);
}

export function writeReset(out: Outgoing, stream: number, code: number): void {
  const at = begin(out, 4, FRAME.rstStream, 0, stream);
  putUInt32(out.buffer, at, code);
}

export function writeWindowUpdate(out: Outgoing, stream: number, bytes: number): void {
  const at = begin(out, 4, FRAME.windowUpdate, 0, stream);
  putUInt32(out.buffer, at, bytes);
}

/** `why`: for people who debug the peer; ASCII. */
export function writeGoaway(out: Outgoing, lastStream: number, code: number, why: string): void {
  const at = begin(out, 8 + why.length, FRAME.goaway, 0, 0);
  putUInt32(out.buffer, at, lastStream);
  putUInt32(out.buffer, at + 4, code);
  out.buffer.write(why, at + 8, "latin1");
}

/**
 * Makes frames of a header block that was written behind `start`, where nine bytes were left for the first
 * header: one HEADERS frame, and CONTINUATION frames where the peer's limit asks for them.
 */
export function closeHeaders(
  out: Outgoing,
  start: number,
  stream: number,
  ends: boolean,
  maxFrameBytes: number,
): void {
  const first = ends ? FLAG.endStream : 0;
  let left = out.at - start - FRAME_HEADER_BYTES;
  if (left <= maxFrameBytes) {
    putFrameHeader(out.buffer, start, left, FRAME.headers, first | FLAG.endHeaders, stream);
    return;
  }
  const more = Math.ceil(left / maxFrameBytes) - 1;
  out.reserve(more * FRAME_HEADER_BYTES);
  out.at += more * FRAME_HEADER_BYTES;
  // From the last frame to the second, each piece goes behind its header.
  for (let n = more; n > 0; n--) {
    const from = start + FRAME_HEADER_BYTES + n * maxFrameBytes;
    const length = Math.min(maxFrameBytes, left - n * maxFrameBytes);
    const to = from + n * FRAME_HEADER_BYTES;
    out.buffer.copyWithin(to, from, from + length);
    const flags = n === more ? FLAG.endHeaders : 0;
    putFrameHeader(out.buffer, to - FRAME_HEADER_BYTES, length, FRAME.continuation, flags, stream);
    left -= length;
  }
  putFrameHeader(out.buffer, start, maxFrameBytes, FRAME.headers, first, stream);
}
