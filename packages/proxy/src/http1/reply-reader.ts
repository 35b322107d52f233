/**
 * The head of a reply over HTTP/1, read strictly. What could be understood in two ways is no reply: the attempt
 * fails, and its connection ends.
 */
import { KIND, isAt, type FieldKind } from "../fields.ts";
import { UNKNOWN_LENGTH, type ReplyHead } from "../message.ts";
import {
  codingOf,
  CR,
  FieldLexer,
  INCOMPLETE,
  isProtected,
  lengthIn,
  LF,
  MALFORMED,
  SPACE,
  tokensOf,
  TOO_LARGE,
  VALUE_BYTES,
} from "./lexer.ts";

const MAX_FIELDS = 200;
const VERSION = "HTTP/1.";

export interface ReplyRules {
  readonly maxReplyHeaderBytes: number;
}

export class ReplyReader extends FieldLexer {
  /** Of the head read last: its server takes a further request on the connection. */
  keepAlive = true;
  chunked = false;
  /** The body ends with the connection. */
  untilClose = false;
  /** Milliseconds for which its server keeps the connection, as it says; Infinity: it does not. */
  idleHintMs: number = Infinity;
  /** Why the head is none: for people. */
  problem = "";
  readonly #maxBytes: number;
  readonly #limits: { maxCount: number; maxNameBytes: number; maxValueBytes: number };
  #head!: ReplyHead;
  #minor = 1;
  #length = -1;
  #hasLength = false;
  #hasCoding = false;
  #closes = false;
  #keeps = false;
  #upgrades = false;
  #upgrade: string | undefined = undefined;
  #named: string[] | undefined = undefined;

  constructor({ maxReplyHeaderBytes }: ReplyRules) {
    super();
    this.#maxBytes = maxReplyHeaderBytes;
    this.#limits = {
      maxCount: MAX_FIELDS,
      maxNameBytes: maxReplyHeaderBytes,
      maxValueBytes: maxReplyHeaderBytes,
    };
  }

  /**
   * Reads a head from `start` into `head`. `isHead`: the request was HEAD; `upgrade`: what it would have changed
   * to. Gives the position behind it, `INCOMPLETE`, `MALFORMED` or `TOO_LARGE`.
   */
  read(
    bytes: Buffer,
    start: number,
    end: number,
    head: ReplyHead,
    isHead: boolean,
    upgrade: string | undefined,
  ): number {
    head.clear(bytes);
    this.#head = head;
    this.#length = -1;
    this.#hasLength = this.#hasCoding = this.#closes = this.#keeps = this.#upgrades = false;
    this.chunked = this.untilClose = false;
    this.idleHintMs = Infinity;
    this.#upgrade = this.#named = undefined;
    let at = this.#statusLine(bytes, start, end);
    if (at >= 0) at = this.lex(bytes, at, end, head.fields, this.#limits);
    if (at === INCOMPLETE) return end - start > this.#maxBytes ? TOO_LARGE : INCOMPLETE;
    if (at < 0) {
      if (at === MALFORMED) this.problem = "a line of its head is none of HTTP/1";
      return at;
    }
    if (at - start > this.#maxBytes) return TOO_LARGE;
    return this.#judge(head, isHead, upgrade) ? at : MALFORMED;
  }

  #statusLine(bytes: Buffer, start: number, end: number): number {
    // `HTTP/1.1 200`, and what is behind it.
    if (end - start < 13) {
      const seen = Math.min(VERSION.length, end - start);
      return isAt(bytes, start, VERSION.slice(0, seen)) ? INCOMPLETE : MALFORMED;
    }
    const minor = bytes[start + 7]! - 48;
    if (!isAt(bytes, start, VERSION) || minor < 0 || minor > 1) return MALFORMED;
    if (bytes[start + 8] !== SPACE) return MALFORMED;
    const a = bytes[start + 9]! - 48;
    const b = bytes[start + 10]! - 48;
    const c = bytes[start + 11]! - 48;
    if (a < 1 || a > 5 || b < 0 || b > 9 || c < 0 || c > 9) return MALFORMED;
    this.#minor = minor;
    this.#head.status = a * 100 + b * 10 + c;
    let at = start + 12;
    // The phrase, which is dropped; some servers leave out even the space before it.
    if (bytes[at] !== SPACE && bytes[at] !== CR) return MALFORMED;
    while (at < end && VALUE_BYTES[bytes[at]!] === 1) at++;
    if (at + 1 >= end) return at < end && bytes[at] !== CR ? MALFORMED : INCOMPLETE;
    return bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : MALFORMED;
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
      case KIND.length:
        if (this.#hasLength) return MALFORMED;
        this.#hasLength = true;
        this.#length = lengthIn(bytes, valueStart, valueEnd);
        return this.#length < 0 ? MALFORMED : 0;
      case KIND.coding:
        if (this.#hasCoding) return MALFORMED;
        this.#hasCoding = true;
        // Another coding could only be passed on by a proxy that speaks it.
        return codingOf(bytes.toString("latin1", valueStart, valueEnd)) === "chunked"
          ? 0
          : MALFORMED;
      case KIND.connection: {
        const text = bytes.toString("latin1", valueStart, valueEnd);
        const tokens = text === "" ? [] : tokensOf(text);
        if (tokens === undefined) return MALFORMED;
        for (const token of tokens) {
          if (token === "close") this.#closes = true;
          else if (token === "keep-alive") this.#keeps = true;
          else if (token === "upgrade") this.#upgrades = true;
          else if (!isProtected(token) && token !== "te") (this.#named ??= []).push(token);
        }
        return 0;
      }
      case KIND.upgrade:
        this.#upgrade =
          this.#upgrade === undefined
            ? bytes.toString("latin1", valueStart, valueEnd).toLowerCase()
            : "";
        return 0;
      case KIND.dropped:
        if (isAt(bytes, nameStart, "keep-alive") && nameEnd - nameStart === 10) {
          const hint = /(?:^|[,\s])timeout=(\d{1,7})(?:$|[,\s])/i.exec(
            bytes.toString("latin1", valueStart, valueEnd),
          );
          if (hint !== null) this.idleHintMs = Number(hint[1]) * 1_000;
        }
        return 0;
      case KIND.host:
      case KIND.te:
      case KIND.expect:
        // A request's own: in a reply they say nothing.
        return 1;
      default:
        return this.#head.note(kind, bytes.toString("latin1", valueStart, valueEnd)) ? 1 : 0;
    }
  }

  /** False: it is none. */
  #judge(head: ReplyHead, isHead: boolean, upgrade: string | undefined): boolean {
    const { status } = head;
    const minor = this.#minor;
    if (this.#hasCoding && (this.#hasLength || minor === 0)) {
      return this.#is("it says in two ways where its body ends");
    }
    this.keepAlive = !this.#closes && (minor === 1 || this.#keeps);
    if (this.#named !== undefined) head.fields.remove(new Set(this.#named));
    if (status < 200) {
      if (status !== 101) return true;
      head.upgrade = this.#upgrade;
      if (upgrade === undefined)
        return this.#is("it changes the protocol, which was not asked for");
      if (!this.#upgrades || this.#upgrade !== upgrade || this.#hasCoding || this.#hasLength) {
        return this.#is("it changes to another protocol than the one that was asked for");
      }
      return true;
    }
    if (isHead || status === 204 || status === 304) {
      // A body that it has all the same is what stands behind it on the connection, and ends that.
      if (status !== 204) head.saidLength = this.#length;
      head.bodyLength = 0;
    } else if (this.#hasCoding) {
      this.chunked = true;
      head.bodyLength = UNKNOWN_LENGTH;
    } else if (this.#hasLength) head.bodyLength = this.#length;
    else {
      this.untilClose = true;
      this.keepAlive = false;
      head.bodyLength = UNKNOWN_LENGTH;
    }
    return true;
  }

  #is(problem: string): false {
    this.problem = problem;
    return false;
  }
}
