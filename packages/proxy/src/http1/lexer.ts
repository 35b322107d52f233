/**
 * The field lines of HTTP/1, read where they lie, byte by byte, and nothing but what RFC 9112 §5 says: no folded
 * lines, no bare CR or LF, no white space before the colon, no controls. What two readers could understand
 * differently is refused, never repaired. Names are put into lower case where they stand, and a line whose one
 * white space behind the colon is a tab gets a space, so that the writer can take whole lines.
 */
import { KIND, kindOfPiece, type FieldKind, type Fields } from "../fields.ts";

/** Not all of it is here. */
export const INCOMPLETE = -1;
/** It is no HTTP, or could be understood in two ways. */
export const MALFORMED = -2;
/** More fields, or longer ones, than allowed. */
export const TOO_LARGE = -3;

export const CR = 13;
export const LF = 10;
export const SPACE = 32;
export const TAB = 9;
const DELETE = 127;
export const COLON = 58;

/** In `NAME_BYTES`: no byte of a name. It is none of a byte's values, so it is equal to none. */
export const NO_NAME = 256;
/** Of a name: the byte in lower case, or `NO_NAME`. */
export const NAME_BYTES: Uint16Array = Uint16Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return byte < 128 && /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(char)
    ? char.toLowerCase().charCodeAt(0)
    : NO_NAME;
});
/** Of a value: everything but controls; tab is none. */
export const VALUE_BYTES: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  (byte >= SPACE && byte !== 127) || byte === TAB ? 1 : 0,
);

export interface FieldLimits {
  readonly maxCount: number;
  readonly maxNameBytes: number;
  readonly maxValueBytes: number;
}

export abstract class FieldLexer {
  /** Bytes of names and values read. */
  protected readBytes = 0;
  /** Behind `TOO_LARGE`: there are too many fields, and not one that is too long. */
  protected hasTooMany = false;

  /**
   * Reads field lines from `start` to the empty line. Gives the position behind it, or why not. What is
   * `plain` is added to `fields`, the rest is given to `special`.
   */
  protected lex(
    bytes: Buffer,
    start: number,
    end: number,
    fields: Fields,
    { maxCount, maxNameBytes, maxValueBytes }: FieldLimits,
  ): number {
    let at = start;
    let count = 0;
    let read = 0;
    for (;;) {
      if (at >= end) return INCOMPLETE;
      let byte = bytes[at]!;
      if (byte === CR) {
        if (at + 1 >= end) return INCOMPLETE;
        if (bytes[at + 1] !== LF) return MALFORMED;
        this.readBytes = read;
        return at + 2;
      }
      const nameStart = at;
      for (;;) {
        const lower = NAME_BYTES[byte]!;
        if (lower !== byte) {
          if (lower === NO_NAME) break;
          bytes[at] = lower;
        }
        if (++at >= end) return INCOMPLETE;
        byte = bytes[at]!;
      }
      if (byte !== COLON || at === nameStart) return MALFORMED;
      const nameEnd = at++;
      for (;;) {
        if (at >= end) return INCOMPLETE;
        byte = bytes[at]!;
        if (byte !== SPACE && byte !== TAB) break;
        at++;
      }
      const valueStart = at;
      while (byte >= SPACE ? byte !== DELETE : byte === TAB) {
        if (++at >= end) return INCOMPLETE;
        byte = bytes[at]!;
      }
      if (byte !== CR) return MALFORMED;
      let valueEnd = at;
      for (; valueEnd > valueStart; valueEnd--) {
        const last = bytes[valueEnd - 1]!;
        if (last !== SPACE && last !== TAB) break;
      }
      if (++at >= end) return INCOMPLETE;
      if (bytes[at++] !== LF) return MALFORMED;
      const nameBytes = nameEnd - nameStart;
      const valueBytes = valueEnd - valueStart;
      read += nameBytes + valueBytes;
      if (++count > maxCount || nameBytes > maxNameBytes || valueBytes > maxValueBytes) {
        this.hasTooMany = count > maxCount;
        return TOO_LARGE;
      }
      if (valueStart === nameEnd + 2 && bytes[nameEnd + 1] === TAB) bytes[nameEnd + 1] = SPACE;
      const kind = kindOfPiece(bytes, nameStart, nameEnd);
      if (kind !== KIND.plain) {
        const stays = this.special(kind, bytes, nameStart, nameEnd, valueStart, valueEnd);
        if (stays < 0) return stays;
        if (stays === 0) continue;
      } else if (!this.plain(bytes, nameStart, nameEnd)) return MALFORMED;
      fields.addPiece(nameStart, nameEnd, valueStart, valueEnd);
    }
  }

  /** A field that is more than passed on. 1: it stays, 0: it does not; `MALFORMED`. */
  protected abstract special(
    kind: FieldKind,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number;

  /** False: such a name is refused. */
  protected plain(_bytes: Buffer, _nameStart: number, _nameEnd: number): boolean {
    return true;
  }
}

/** A whole number in digits; -1 for anything else, and for what doubles do not count exactly. */
export function lengthIn(bytes: Buffer, start: number, end: number): number {
  if (start >= end) return -1;
  let length = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

const LIST = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*$/;

/** Tokens of a list such as `Connection`, in lower case; undefined: it is none. */
export function tokensOf(text: string): string[] | undefined {
  if (!LIST.test(text)) return undefined;
  return text.toLowerCase().split(/[ \t]*,[ \t]*/);
}

/**
 * What `Transfer-Encoding` says. `chunked` alone is the only one that is read; another coding in front of it is
 * understood, and not supported; everything else says in no way that is safe where the body ends.
 */
export function codingOf(text: string): "chunked" | "unsupported" | "malformed" {
  if (text === "chunked") return "chunked";
  const tokens = tokensOf(text);
  if (tokens === undefined || tokens.indexOf("chunked") !== tokens.length - 1) return "malformed";
  return tokens.length === 1 ? "chunked" : "unsupported";
}

/** Of a message these are not a client's to take away: a `Connection` that names one is ignored for that name. */
const PROTECTED =
  /^(?:host|authorization|cookie|content-.*|forwarded|x-forwarded-.*|x-real-ip|x-request-id|traceparent|tracestate|baggage|grpc-.*|x-mesh-.*)$/;

export function isProtected(name: string): boolean {
  return PROTECTED.test(name);
}
