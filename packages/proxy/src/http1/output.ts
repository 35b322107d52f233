/**
 * What goes out on a connection of HTTP/1. Heads, pieces of bodies and the ends of chunks that are made in one turn
 * are gathered in a buffer that all connections share, and go out in one write: a second small write costs more
 * than all the work on a request. The buffer is used again as soon as the kernel has taken everything; where it
 * has not, another one takes its place until then.
 */
import type { Socket } from "node:net";
import type { Field, Fields, LineVisitor } from "../fields.ts";
import { afterSent, copyOf, free, writeAndFree } from "../spent.ts";
import { COLON, CR, LF, SPACE } from "./lexer.ts";

const SLAB_BYTES = 65_536;
/** A piece of a body from here on goes out by itself, where its bytes stay: copying costs more than a write. */
const DIRECT_BYTES = 32_768;
/** More waits in the stream for a client that does not read: who writes should pause. */
const HIGH_WATER_BYTES = 65_536;
/** Of what is shorter a loop is quicker than the way to C++. */
const SHORT_TEXT = 24;
const SHORT_PIECE = 64;
const HEX = Buffer.from("0123456789abcdef");

/** Buffers that the kernel has taken after all, for the next time that one is not taken at once. */
const MAX_SPARE = 8;
const spare: Buffer<ArrayBuffer>[] = [];

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let length = 0;
/** Whose bytes are in the slab. */
let holder: Output | undefined;

export class Output implements LineVisitor {
  readonly #socket: Socket;
  #canTakeBack = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** What was written has not all been taken by the kernel, and is much. */
  get isFull(): boolean {
    return this.#socket.writableLength > HIGH_WATER_BYTES;
  }

  /** Nothing waits. */
  get isEmpty(): boolean {
    return this.#socket.writableLength === 0;
  }

  /** What is gathered from now on can be taken back until some of it is written. */
  begin(): void {
    this.#canTakeBack = true;
  }

  /** True: nothing was written since `begin`, and what was gathered is forgotten. */
  takeBack(): boolean {
    const can = this.#canTakeBack;
    if (can) this.drop();
    return can;
  }

  #reserve(bytes: number): void {
    if (holder !== this) {
      holder?.flush();
      hold(this);
    }
    if (length + bytes > slab.length) {
      this.flush();
      hold(this);
      if (bytes > slab.length) slab = Buffer.allocUnsafeSlow(bytes);
    }
  }

  fields(fields: Fields): void {
    fields.visitLines(this);
  }

  /** ASCII, or Latin-1. */
  text(name: string, value: string): void {
    this.#reserve(name.length + value.length + 4);
    put(name);
    slab[length++] = COLON;
    slab[length++] = SPACE;
    put(value);
    slab[length++] = CR;
    slab[length++] = LF;
  }

  field({ name, value }: Field): void {
    this.text(name, value);
  }

  piece(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void {
    this.#reserve(valueEnd - nameStart + 4);
    putPiece(bytes, nameStart, nameEnd);
    slab[length++] = COLON;
    slab[length++] = SPACE;
    putPiece(bytes, valueStart, valueEnd);
    slab[length++] = CR;
    slab[length++] = LF;
  }

  lines(bytes: Buffer, start: number, end: number): void {
    this.#reserve(end - start + 2);
    putPiece(bytes, start, end);
    slab[length++] = CR;
    slab[length++] = LF;
  }

  /** A line of a head, or what ends it. ASCII, or Latin-1. */
  line(text: string): void {
    this.#reserve(text.length);
    put(text);
  }

  /** A piece of text that stands in `bytes`. */
  copy(bytes: Buffer, start: number, end: number): void {
    this.#reserve(end - start);
    putPiece(bytes, start, end);
  }

  /**
   * A piece of a body, whose bytes do not change. True: they have been copied. False: the socket has them; `spent`:
   * nothing reads them afterwards, and they are freed, in a later turn, when they have been sent.
   */
  whole(bytes: Buffer, spent: boolean): boolean {
    if (bytes.length < DIRECT_BYTES) {
      this.copy(bytes, 0, bytes.length);
      return true;
    }
    this.#reserve(0);
    this.flush();
    if (spent) writeAndFree(this.#socket, bytes);
    else this.#socket.write(bytes);
    return false;
  }

  /** A piece of a body, whose bytes are good for this call alone. */
  data(bytes: Buffer, start: number, end: number): void {
    if (end - start < DIRECT_BYTES) return this.copy(bytes, start, end);
    let at = start;
    while (at < end) {
      if (holder !== this || length === slab.length) this.#reserve(1);
      const taken = Math.min(end - at, slab.length - length);
      this.copy(bytes, at, at + taken);
      at += taken;
    }
  }

  /** The line in front of a chunk. */
  chunkSize(size: number): void {
    this.#reserve(18);
    let digits = 1;
    for (let rest = size; rest >= 16; rest = Math.floor(rest / 16)) digits++;
    for (let at = length + digits - 1, rest = size; at >= length; at--) {
      slab[at] = HEX[rest % 16]!;
      rest = Math.floor(rest / 16);
    }
    length += digits;
    slab[length++] = CR;
    slab[length++] = LF;
  }

  chunk(bytes: Buffer, start: number, end: number): void {
    this.chunkSize(end - start);
    this.data(bytes, start, end);
    this.line("\r\n");
  }

  lastChunk(trailers: Fields | undefined): void {
    if (trailers === undefined) return this.line("0\r\n\r\n");
    this.line("0\r\n");
    this.fields(trailers);
    this.line("\r\n");
  }

  /** False: much waits, and who writes should pause. */
  flush(): boolean {
    if (holder === this) {
      holder = undefined;
      this.#canTakeBack = false;
      if (length > 0) {
        const bytes = slab.subarray(0, length);
        length = 0;
        const socket = this.#socket;
        if (!socket.destroyed && socket.writable) {
          // Where something waits already, this waits too, and must not keep a whole buffer for it.
          if (socket.writableLength > 0) writeAndFree(socket, copyOf(bytes, 0, bytes.length));
          else {
            socket.write(bytes);
            if (socket.writableLength > 0) this.#replaceSlab();
          }
        }
      }
    }
    return !this.isFull;
  }

  /** The kernel has not taken all of the slab yet. */
  #replaceSlab(): void {
    const kept = slab;
    slab = spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
    afterSent(this.#socket, () => {
      if (kept.length === SLAB_BYTES && spare.length < MAX_SPARE) spare.push(kept);
      else free(kept);
    });
  }

  /** Bytes that were gathered are forgotten: the connection ends. */
  drop(): void {
    if (holder !== this) return;
    holder = undefined;
    length = 0;
  }
}

function hold(output: Output): void {
  holder = output;
}

/** Appends ASCII, or Latin-1, for which there is room. */
function put(text: string): void {
  if (text.length > SHORT_TEXT) {
    length += slab.write(text, length, "latin1");
    return;
  }
  const bytes = slab;
  const start = length;
  for (let i = 0; i < text.length; i++) bytes[start + i] = text.charCodeAt(i);
  length = start + text.length;
}

/** Appends a piece for which there is room. */
function putPiece(from: Buffer, start: number, end: number): void {
  if (end - start > SHORT_PIECE) {
    length += from.copy(slab, length, start, end);
    return;
  }
  const bytes = slab;
  let to = length;
  for (let at = start; at < end; at++) bytes[to++] = from[at]!;
  length = to;
}
