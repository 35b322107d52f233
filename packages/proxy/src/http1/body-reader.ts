/**
 * The body of a message over HTTP/1: a length, chunks, or everything until the connection ends. Chunks are read
 * strictly (RFC 9112 §7.1): sizes are digits alone, lines end in CR LF, extensions are dropped and bounded.
 */
import { isAllowedTrailer } from "@inmesh/http/spi/codec";
import { Fields, KIND, type FieldKind } from "../fields.ts";
import { CR, FieldLexer, INCOMPLETE, LF, MALFORMED, SPACE, TAB, TOO_LARGE } from "./lexer.ts";

/** Takes the bytes of a body. */
export interface BodyTarget {
  /** Valid during the call. False: no more for now. */
  bodyData(bytes: Buffer, start: number, end: number): boolean;
}

export interface BodyLimits {
  readonly maxTrailerCount: number;
  readonly maxTrailerBytes: number;
}

/** Of all chunks of a message (CVE-2024-22019). */
const MAX_EXTENSION_BYTES = 16_384;
/** Sixteen digits and some leading zeros: a number of 2^53 has fourteen. */
const MAX_SIZE_DIGITS = 20;
const SEMICOLON = 59;
const HEX: Int8Array = Int8Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return /[0-9a-fA-F]/.test(char) ? Number.parseInt(char, 16) : -1;
});
/** Of an extension: tokens, quoted texts and white space between them, no controls. */
const EXTENSION: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  (byte >= SPACE && byte !== 127) || byte === TAB ? 1 : 0,
);

const STATE = {
  ended: 0,
  length: 1,
  untilClose: 2,
  size: 3,
  extension: 4,
  sizeLf: 5,
  data: 6,
  dataCr: 7,
  dataLf: 8,
  trailers: 9,
} as const;
type State = (typeof STATE)[keyof typeof STATE];

export class BodyReader extends FieldLexer {
  /** Allowed ones, if there were any. */
  trailers: Fields | undefined = undefined;
  /** Trailers were left out: too many, too long, or of a kind that must not come behind a body. */
  droppedTrailers = false;
  /** Why the body is none: for people. */
  problem = "";
  #state: State = STATE.ended;
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  readonly #limits: BodyLimits;
  #held: Buffer | undefined = undefined;
  readonly #fieldLimits: { maxCount: number; maxNameBytes: number; maxValueBytes: number };

  constructor(limits: BodyLimits) {
    super();
    this.#limits = limits;
    this.#fieldLimits = { maxCount: 0, maxNameBytes: 0, maxValueBytes: 0 };
  }

  /** The next message has this many bytes. 0: none. */
  startLength(length: number): void {
    this.#start(length === 0 ? STATE.ended : STATE.length);
    this.#left = length;
  }

  startChunked(): void {
    this.#start(STATE.size);
  }

  startUntilClose(): void {
    this.#start(STATE.untilClose);
  }

  #start(state: State): void {
    this.#state = state;
    this.#left = this.#digits = this.#extensionBytes = 0;
    this.trailers = this.#held = undefined;
    this.droppedTrailers = false;
  }

  get ended(): boolean {
    return this.#state === STATE.ended;
  }

  get isUntilClose(): boolean {
    return this.#state === STATE.untilClose;
  }

  /** The connection has ended. True: that is where the body ends too. */
  close(): boolean {
    if (this.#state === STATE.untilClose) this.#state = STATE.ended;
    return this.#state === STATE.ended;
  }

  /**
   * Reads from `start`, until the body ends, its target wants no more, or the bytes are used up. Gives the position
   * behind what it has taken, or `MALFORMED`.
   */
  read(bytes: Buffer, start: number, end: number, target: BodyTarget): number {
    let at = start;
    for (;;) {
      switch (this.#state) {
        case STATE.ended:
          return at;
        case STATE.untilClose:
          if (at < end) target.bodyData(bytes, at, end);
          return end;
        case STATE.length:
        case STATE.data: {
          if (at >= end) return at;
          const taken = Math.min(this.#left, end - at);
          this.#left -= taken;
          if (this.#left === 0) {
            this.#state = this.#state === STATE.length ? STATE.ended : STATE.dataCr;
          }
          const more = target.bodyData(bytes, at, at + taken);
          at += taken;
          if (!more) return at;
          break;
        }
        case STATE.trailers: {
          if (at >= end) return at;
          return this.#readTrailers(bytes, at, end);
        }
        default:
          if (at >= end) return at;
          if (!this.#step(bytes[at++]!)) return MALFORMED;
      }
    }
  }

  /** One byte of what stands around chunks. False: it must not stand there. */
  #step(byte: number): boolean {
    switch (this.#state) {
      case STATE.size: {
        const digit = HEX[byte]!;
        if (digit >= 0) {
          if (++this.#digits > MAX_SIZE_DIGITS) return this.#is("a chunk's size is too long");
          this.#left = this.#left * 16 + digit;
          return (
            this.#left <= Number.MAX_SAFE_INTEGER ||
            this.#is("a chunk is larger than can be counted")
          );
        }
        if (this.#digits === 0) return this.#is("a chunk has no size");
        if (byte === CR) this.#state = STATE.sizeLf;
        else if (byte === SEMICOLON) this.#state = STATE.extension;
        else return this.#is("a chunk's size is no number");
        return true;
      }
      case STATE.extension:
        if (byte === CR) {
          this.#state = STATE.sizeLf;
          return true;
        }
        if (++this.#extensionBytes > MAX_EXTENSION_BYTES) {
          return this.#is("more than 16 KiB of chunk extensions");
        }
        return EXTENSION[byte] === 1 || this.#is("a control in a chunk's extension");
      case STATE.sizeLf:
        if (byte !== LF) return this.#is("a chunk's size does not end its line");
        this.#state = this.#left === 0 ? STATE.trailers : STATE.data;
        this.#digits = 0;
        return true;
      case STATE.dataCr:
        if (byte !== CR) return this.#is("a chunk is longer than its size");
        this.#state = STATE.dataLf;
        return true;
      default:
        if (byte !== LF) return this.#is("a chunk does not end its line");
        this.#state = STATE.size;
        return true;
    }
  }

  #is(problem: string): false {
    this.problem = problem;
    return false;
  }

  /** Trailers are read when all of them are here: nearly always there are none. */
  #readTrailers(bytes: Buffer, start: number, end: number): number {
    if (this.#held === undefined && bytes[start] === CR && start + 1 < end) {
      if (bytes[start + 1] !== LF) return MALFORMED;
      this.#state = STATE.ended;
      return start + 2;
    }
    const held = this.#held;
    const heldBytes = held?.length ?? 0;
    const { maxTrailerBytes, maxTrailerCount } = this.#limits;
    // Names, colons and the ends of lines come on top of what counts.
    const maxBytes = maxTrailerBytes + 4 * maxTrailerCount + 2;
    const taken = Math.min(end - start, maxBytes + 1 - heldBytes);
    const fresh = bytes.subarray(start, start + taken);
    // A copy: its bytes have to last until they are sent.
    const all = Buffer.concat(held === undefined ? [fresh] : [held, fresh]);
    const fields = new Fields();
    fields.clear(all);
    const limits = this.#fieldLimits;
    limits.maxCount = maxTrailerCount;
    limits.maxNameBytes = limits.maxValueBytes = maxTrailerBytes;
    const at = this.lex(all, 0, all.length, fields, limits);
    if (at === INCOMPLETE) {
      if (all.length > maxBytes) return this.#tooLarge();
      this.#held = all;
      return start + taken;
    }
    if (at === TOO_LARGE) return this.#tooLarge();
    if (at < 0) {
      this.problem = "a line of its trailers is none of HTTP/1, or says how long the body is";
      return MALFORMED;
    }
    this.#state = STATE.ended;
    this.#held = undefined;
    if (fields.count > 0) this.trailers = fields;
    return start + at - heldBytes;
  }

  #tooLarge(): number {
    this.problem = "more trailers than limits.maxTrailerCount or limits.maxTrailerBytes";
    return MALFORMED;
  }

  protected special(
    kind: FieldKind,
    _bytes: Buffer,
    _nameStart: number,
    _nameEnd: number,
    _valueStart: number,
    _valueEnd: number,
  ): number {
    if (kind === KIND.length || kind === KIND.coding) return MALFORMED;
    // What may not come in a head cannot come back behind a body, and what a head says once is not changed there.
    this.droppedTrailers = true;
    return 0;
  }
}

/** Trailers that may be passed on: not framing, routing or authentication. */
export function allowedOf(fields: Fields | undefined): Fields | undefined {
  if (fields === undefined) return undefined;
  const dropped = new Set<string>();
  for (let n = 0; n < fields.count; n++) {
    const name = fields.nameOf(n);
    if (!isAllowedTrailer(name)) dropped.add(name);
  }
  if (dropped.size > 0) fields.remove(dropped);
  return fields.count > 0 ? fields : undefined;
}
