/**
 * The head of a request over HTTP/1, read strictly (RFC 9112): what bare Node serves and two readers could
 * understand differently is refused here. A head that is well formed and may not be served comes with the
 * refusal; one that is not well formed ends its connection.
 */
import type { HttpServerLimits, Refusal, Trust } from "@inmesh/core/spi";
import {
  ABSOLUTE,
  IN_PATH,
  IN_QUERY,
  isHost,
  isTarget,
  REFUSALS,
  TARGET_BYTES,
} from "@inmesh/http/spi/codec";
import { isAt, KIND, type FieldKind } from "../fields.ts";
import { isAnyClient, UNKNOWN_LENGTH, type RequestHead } from "../message.ts";
import {
  codingOf,
  CR,
  FieldLexer,
  INCOMPLETE,
  isProtected,
  lengthIn,
  LF,
  MALFORMED,
  NAME_BYTES,
  NO_NAME,
  SPACE,
  tokensOf,
  TOO_LARGE,
} from "./lexer.ts";

const SLASH = 47;
const QUERY = 63;
const DOT = 46;
const PERCENT = 37;
const UNDERSCORE = 95;
const MAX_METHOD_BYTES = 32;
/** Empty lines in front of a request: RFC 9112 §2.2 asks to ignore one at least. */
const MAX_BLANK_LINES = 4;
const VERSION = "HTTP/1.";

const METHODS: readonly (readonly string[])[] = [
  [],
  [],
  [],
  ["GET", "PUT"],
  ["POST", "HEAD"],
  ["PATCH"],
  ["DELETE"],
  ["OPTIONS"],
];

export interface RequestRules {
  readonly limits: HttpServerLimits;
  /** The listener speaks TLS: an absolute target says https. */
  readonly secure: boolean;
  /** Names with a `_` are refused. */
  readonly refusesUnderscores: boolean;
  /** Names of claims that stay; undefined: none. */
  readonly kept: ReadonlySet<string> | undefined;
}

export class RequestReader extends FieldLexer {
  /** Of the head read last: the client takes a further reply on its connection. */
  keepAlive = true;
  chunked = false;
  /** The minor version, 0 or 1. */
  minor = 1;
  /** Well formed, and not to be served. */
  refusal: Refusal | undefined = undefined;
  readonly #rules: RequestRules;
  readonly #fieldLimits: {
    maxCount: number;
    maxNameBytes: number;
    maxValueBytes: number;
  };
  #head!: RequestHead;
  #trust!: Trust;
  /** The last one that was found good: nearly every request of a connection has the same. */
  #knownHost = "";
  #hosts = 0;
  #length = -1;
  #hasLength = false;
  #hasCoding = false;
  #isSuspicious = false;
  /** Tokens of `Connection`. */
  #closes = false;
  #keeps = false;
  #upgrades = false;
  #named: string[] | undefined = undefined;
  #upgrade: string | undefined = undefined;

  constructor(rules: RequestRules) {
    super();
    this.#rules = rules;
    this.#fieldLimits = { maxCount: 0, maxNameBytes: 0, maxValueBytes: 0 };
  }

  /**
   * Reads a head from `start` into `head`, of whose fields the bytes are `bytes`. Gives the position behind it,
   * `INCOMPLETE` or `MALFORMED`; with `refusal` where it must not be served.
   */
  read(bytes: Buffer, start: number, end: number, head: RequestHead, trust: Trust): number {
    const { limits } = this.#rules;
    head.clear(bytes);
    this.#head = head;
    this.#trust = trust;
    this.refusal = this.#named = this.#upgrade = undefined;
    this.#hosts = 0;
    this.#length = -1;
    this.#hasLength = this.#hasCoding = this.#isSuspicious = false;
    this.#closes = this.#keeps = this.#upgrades = this.chunked = false;
    let at = this.#requestLine(bytes, start, end);
    if (at < 0) return this.#unfinished(at, start, end);
    const fieldLimits = this.#fieldLimits;
    fieldLimits.maxCount = limits.maxHeaderCount;
    fieldLimits.maxNameBytes = limits.maxHeaderNameBytes;
    fieldLimits.maxValueBytes = limits.maxHeaderValueBytes;
    at = this.lex(bytes, at, end, head.fields, fieldLimits);
    if (at < 0) return this.#unfinished(at, start, end);
    head.headBytes = this.readBytes;
    if (at - start > limits.maxHeaderBytes) this.refusal ??= REFUSALS.header_too_large;
    return this.#judge(head) ? at : MALFORMED;
  }

  /** A head that is not all here may be too long already; one that is too long need not be read to its end. */
  #unfinished(why: number, start: number, end: number): number {
    if (why === TOO_LARGE) {
      this.refusal ??= this.hasTooMany ? REFUSALS.too_many_headers : REFUSALS.header_too_large;
    } else if (why === INCOMPLETE) {
      if (end - start <= this.#rules.limits.maxHeaderBytes) return INCOMPLETE;
      this.refusal ??= REFUSALS.header_too_large;
    }
    return MALFORMED;
  }

  #requestLine(bytes: Buffer, start: number, end: number): number {
    const head = this.#head;
    let at = start;
    for (let blank = 0; at < end && bytes[at] === CR; blank++) {
      if (at + 1 >= end) return INCOMPLETE;
      if (bytes[at + 1] !== LF || blank === MAX_BLANK_LINES) return MALFORMED;
      at += 2;
    }
    const methodStart = at;
    while (at < end && NAME_BYTES[bytes[at]!] !== NO_NAME) {
      if (++at - methodStart > MAX_METHOD_BYTES) return MALFORMED;
    }
    if (at >= end) return INCOMPLETE;
    if (bytes[at] !== SPACE || at === methodStart) return MALFORMED;
    head.method = methodOf(bytes, methodStart, at);
    const targetStart = ++at;
    if (at >= end) return INCOMPLETE;
    if (bytes[at] === SLASH) {
      let allowed = IN_PATH;
      let before = SLASH;
      let pathEnd = -1;
      at++;
      for (; at < end; at++) {
        const byte = bytes[at]!;
        if (byte < 128 && (TARGET_BYTES[byte]! & allowed) !== 0) {
          // What a server may take for another path than the one that it was routed by.
          if (byte === PERCENT || ((byte === DOT || byte === SLASH) && before === SLASH)) {
            this.#isSuspicious = true;
          }
          before = byte;
        } else if (byte === QUERY && allowed === IN_PATH) {
          allowed = IN_QUERY;
          before = QUERY;
          pathEnd = at;
        } else break;
      }
      if (at >= end) return this.#longTarget(at - targetStart);
      if (bytes[at] !== SPACE) return this.#badTarget(bytes, at, end);
      head.setTargetPiece(targetStart, pathEnd < 0 ? at : pathEnd, at);
      if (at - targetStart > this.#rules.limits.maxTargetBytes) {
        this.refusal = REFUSALS.target_too_long;
      }
    } else {
      while (at < end && bytes[at]! > SPACE && bytes[at]! < 127) at++;
      if (at >= end) return this.#longTarget(at - targetStart);
      if (bytes[at] !== SPACE) return this.#badTarget(bytes, at, end);
      head.target = bytes.toString("latin1", targetStart, at);
    }
    at++;
    // `HTTP/1.1` and the end of the line.
    if (at + 10 > end) {
      // Whatever it will be, a line that has ended already is of another length.
      const lf = bytes.indexOf(LF, at);
      return lf >= 0 && lf < end ? MALFORMED : INCOMPLETE;
    }
    const minor = bytes[at + 7]! - 48;
    if (!isAt(bytes, at, VERSION) || minor < 0 || minor > 1) return this.#badVersion(bytes, at);
    if (bytes[at + 8] !== CR || bytes[at + 9] !== LF) return MALFORMED;
    this.minor = minor;
    return at + 10;
  }

  #longTarget(length: number): number {
    if (length <= this.#rules.limits.maxTargetBytes) return INCOMPLETE;
    this.refusal = REFUSALS.target_too_long;
    return MALFORMED;
  }

  #badTarget(bytes: Buffer, at: number, end: number): number {
    // Without a version it is HTTP/0.9; the line may also just be no request at all.
    if (bytes[at] === CR && at + 1 >= end) return INCOMPLETE;
    this.refusal = REFUSALS.bad_target;
    return MALFORMED;
  }

  #badVersion(bytes: Buffer, at: number): number {
    const text = bytes.toString("latin1", at, at + 8);
    if (/^HTTP\/\d\.\d$/.test(text)) this.refusal = REFUSALS.bad_version;
    return MALFORMED;
  }

  protected special(
    kind: FieldKind,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    switch (kind) {
      case KIND.dropped: {
        const { kept } = this.#rules;
        if (kept === undefined) return 0;
        return kept.has(bytes.toString("latin1", nameStart, nameEnd)) ? 1 : 0;
      }
      case KIND.host: {
        const known = this.#knownHost;
        if (++this.#hosts > 1) {
          this.refusal ??= REFUSALS.bad_host;
          return 0;
        }
        const { length } = known;
        if (length === valueEnd - valueStart && length > 0 && isAt(bytes, valueStart, known)) {
          this.#head.authority = known;
          return 0;
        }
        const host = bytes.toString("latin1", valueStart, valueEnd);
        if (isHost(host)) this.#head.authority = this.#knownHost = host;
        else this.refusal ??= REFUSALS.bad_host;
        return 0;
      }
      case KIND.length: {
        if (this.#hasLength) return MALFORMED;
        this.#hasLength = true;
        this.#length = lengthIn(bytes, valueStart, valueEnd);
        return this.#length < 0 ? MALFORMED : 0;
      }
      case KIND.coding: {
        if (this.#hasCoding) return MALFORMED;
        this.#hasCoding = true;
        const coding = codingOf(bytes.toString("latin1", valueStart, valueEnd));
        if (coding === "malformed") return MALFORMED;
        if (coding === "unsupported") this.refusal ??= REFUSALS.unknown_coding;
        return 0;
      }
      case KIND.connection:
        return this.#connection(bytes.toString("latin1", valueStart, valueEnd)) ? 0 : MALFORMED;
      case KIND.upgrade: {
        const protocol = bytes.toString("latin1", valueStart, valueEnd).toLowerCase();
        // Several are none that could be understood in one way.
        this.#upgrade = this.#upgrade === undefined ? protocol : "";
        return 0;
      }
      case KIND.te: {
        const tokens = tokensOf(bytes.toString("latin1", valueStart, valueEnd));
        if (tokens?.includes("trailers") === true) this.#head.takesTrailers = true;
        return 0;
      }
      default: {
        // RFC 9110 §10.1.1: of HTTP/1.0 it is ignored.
        if (kind === KIND.expect && this.minor === 0) return 0;
        // Bytes beyond ASCII in what is interpreted are understood in as many ways as there are readers.
        const value = bytes.toString("latin1", valueStart, valueEnd);
        const stays = this.#head.note(kind, value, this.#trust, this.#rules.limits);
        if (typeof stays === "boolean") return stays ? 1 : 0;
        this.refusal ??= stays;
        return 0;
      }
    }
  }

  protected override plain(bytes: Buffer, start: number, end: number): boolean {
    if (!this.#rules.refusesUnderscores) return true;
    for (let at = start; at < end; at++) {
      if (bytes[at] === UNDERSCORE) {
        this.refusal ??= REFUSALS.bad_header_name;
        break;
      }
    }
    return true;
  }

  #connection(text: string): boolean {
    // An empty list says nothing (RFC 9110 §5.6.1).
    if (text === "") return true;
    const tokens = tokensOf(text);
    if (tokens === undefined) return false;
    for (const token of tokens) {
      switch (token) {
        case "close":
          this.#closes = true;
          break;
        case "keep-alive":
          this.#keeps = true;
          break;
        case "upgrade":
          this.#upgrades = true;
          break;
        case "te":
          break;
        default:
          if (isProtected(token)) this.#head.glitch ??= "connection_option";
          else (this.#named ??= []).push(token);
      }
    }
    return true;
  }

  /** What can be said only of the head as a whole. False: its framing is ambiguous. */
  #judge(head: RequestHead): boolean {
    const { minor } = this;
    this.keepAlive = minor === 1 ? !this.#closes : this.#keeps && !this.#closes;
    if (this.#hasCoding) {
      // Framing that two may read differently: RFC 9112 §6.1.
      if (this.#hasLength || minor === 0) return false;
      this.chunked = true;
      head.bodyLength = UNKNOWN_LENGTH;
    } else head.bodyLength = this.#hasLength ? this.#length : 0;
    if (head.scheme !== "http" || this.#rules.secure)
      head.scheme = this.#rules.secure ? "https" : "http";
    if (this.#hosts === 0 && minor === 1) this.refusal ??= REFUSALS.bad_host;
    if (head.targetStart < 0) this.#otherForm(head);
    if (head.method === "TRACE" || head.method === "CONNECT") {
      this.refusal = REFUSALS.method_not_allowed;
    }
    if (this.#isSuspicious && isAmbiguous(head.target, isAnyClient(this.#trust))) {
      this.refusal ??= REFUSALS.bad_target;
    }
    head.checkTrace();
    if (this.#named !== undefined) head.fields.remove(new Set(this.#named));
    const upgrade = this.#upgrade;
    // RFC 9110 §7.8: of HTTP/1.0 it is ignored; h2c is obsolete, and never accepted.
    const would = upgrade !== undefined && this.#upgrades && minor === 1;
    if (
      would &&
      /^[!#$%&'*+\-.^_`|~0-9a-z]+(?:\/[0-9a-z.]+)?$/.test(upgrade) &&
      upgrade !== "h2c"
    ) {
      if (head.bodyLength !== 0) this.refusal ??= REFUSALS.bad_upgrade;
      head.upgrade = upgrade;
    }
    return true;
  }

  /** `*`, or the absolute form, whose authority wins over Host (RFC 9112 §3.2.2). */
  #otherForm(head: RequestHead): void {
    const { target, method } = head;
    if (method === "CONNECT") return;
    if (target.length > this.#rules.limits.maxTargetBytes) {
      this.refusal = REFUSALS.target_too_long;
      return;
    }
    if (target === "*") {
      if (method !== "OPTIONS") this.refusal ??= REFUSALS.bad_target;
      return;
    }
    const [, scheme = "", authority = "", rest = ""] = ABSOLUTE.exec(target) ?? [];
    const path = rest.startsWith("/") ? rest : `/${rest}`;
    const isOurs = scheme.toLowerCase() === (this.#rules.secure ? "https" : "http");
    if (
      !isOurs ||
      !isHost(authority) ||
      !isTarget(path) ||
      isAmbiguous(path, isAnyClient(this.#trust))
    ) {
      this.refusal ??= REFUSALS.bad_target;
      return;
    }
    head.target = path;
    head.authority = authority;
  }
}

function methodOf(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length < METHODS.length) {
    for (const method of METHODS[length]!) if (isAt(bytes, start, method)) return method;
  }
  return bytes.toString("latin1", start, end);
}

/** Nearly no target has a `%`, `/.` or `//`, which a loop finds out faster than expressions. */
function mayBeAmbiguous(target: string): boolean {
  let previous = 0;
  for (let i = 0; i < target.length; i++) {
    const char = target.charCodeAt(i);
    if (char === 0x25 || (previous === 0x2f && (char === 0x2e || char === 0x2f))) return true;
    previous = char;
  }
  return false;
}

const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?=[/;]|$)/i;
const HIDDEN_BYTE = /%(?:00|2f|5c)|\/\//i;

/**
 * A path that servers understand in different ways. Segments of dots are taken out by every client itself, so
 * none comes by chance; hidden separators are a habit of some applications, and refused where any client
 * may connect (`strict`).
 */
export function isAmbiguous(target: string, strict: boolean): boolean {
  if (!mayBeAmbiguous(target)) return false;
  const query = target.indexOf("?");
  const path = query < 0 ? target : target.slice(0, query);
  return DOT_SEGMENT.test(path) || (strict && HIDDEN_BYTE.test(path));
}
