/**
 * The header fields of a message between two codecs. A codec of HTTP/1 leaves them where it has read them and
 * gives positions, one of HTTP/2 gives texts of its tables: neither makes an object or a text for a field that
 * is only passed on. Names are in lower case, values have no white space around them. What belongs to a
 * connection, to framing or to the mesh is not here: see `FieldKind`.
 */
import { isClaim } from "@inmesh/core/spi";
import {
  ATTEMPT,
  FINAL,
  HOPS,
  LEAVING,
  NACK,
  PRIORITY,
  REASON,
  TIMEOUT_MS,
} from "@inmesh/http/spi/codec";

/** A field as text, which may stand in many messages: a codec may extend it with its own form of it. Latin-1. */
export class Field {
  /** In lower case. */
  readonly name: string;
  readonly value: string;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
  }
}

/** Takes fields that are sent. Must not throw. */
export interface FieldVisitor {
  /** Those of a message, in their order: by `visit`, or as its codec can do better. */
  fields(fields: Fields): void;
  /** Pieces of `bytes`, which are valid during the call. */
  piece(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void;
  /** One that stands for itself. */
  field(field: Field): void;
  /** One that was made for this message alone. */
  text(name: string, value: string): void;
}

/** A visitor that sends lines as HTTP/1 has them. */
export interface LineVisitor extends FieldVisitor {
  /** Lines that lie one behind the other in `bytes` as they will be sent, without the end of the last. */
  lines(bytes: Buffer, start: number, end: number): void;
}

/** Numbers of a piece: where name and value begin and end. */
const NUMBERS = 4;
const NO_BYTES = Buffer.alloc(0);

export class Fields {
  /** What the positions are positions in. Writer: the codec, before it adds. */
  bytes: Buffer = NO_BYTES;
  count = 0;
  /** By number, those that stand for themselves; undefined: a piece. */
  readonly #own: (Field | undefined)[] = [];
  /** By number, positions of pieces. */
  readonly #at: number[] = [];

  /** Forgets all, so that it can be filled again. */
  clear(bytes: Buffer = NO_BYTES): void {
    this.bytes = bytes;
    this.count = 0;
  }

  /** Adds pieces of `bytes`. */
  addPiece(nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    this.#own[this.count] = undefined;
    const at = this.#at;
    const i = this.count++ * NUMBERS;
    at[i] = nameStart;
    at[i + 1] = nameEnd;
    at[i + 2] = valueStart;
    at[i + 3] = valueEnd;
  }

  add(field: Field): void {
    this.#own[this.count++] = field;
  }

  visit(visitor: FieldVisitor): void {
    for (let n = 0; n < this.count; n++) this.#visit(n, visitor);
  }

  #visit(n: number, visitor: FieldVisitor): void {
    const own = this.#own[n];
    if (own !== undefined) {
      visitor.field(own);
      return;
    }
    const at = this.#at;
    const i = n * NUMBERS;
    visitor.piece(this.bytes, at[i]!, at[i + 1]!, at[i + 2]!, at[i + 3]!);
  }

  /** As `visit`, for who writes HTTP/1: what was read from it is nearly always one piece of lines. */
  visitLines(visitor: LineVisitor): void {
    const at = this.#at;
    const { bytes } = this;
    // Of the lines that are gathered; -1: there are none.
    let linesStart = -1;
    let linesEnd = -1;
    for (let n = 0; n < this.count; n++) {
      const i = n * NUMBERS;
      // `name: value`, which is how it will be sent.
      const isLine = this.#own[n] === undefined && at[i + 2] === at[i + 1]! + 2;
      if (!isLine || linesStart < 0 || at[i] !== linesEnd + 2) {
        if (linesStart >= 0) visitor.lines(bytes, linesStart, linesEnd);
        linesStart = isLine ? at[i]! : -1;
      }
      if (isLine) linesEnd = at[i + 3]!;
      else this.#visit(n, visitor);
    }
    if (linesStart >= 0) visitor.lines(bytes, linesStart, linesEnd);
  }

  /** As `visit`, without those whose names are in `taken`. */
  visitWithout(taken: ReadonlySet<string>, visitor: FieldVisitor): void {
    for (let n = 0; n < this.count; n++) {
      if (!taken.has(this.nameOf(n))) this.#visit(n, visitor);
    }
  }

  nameOf(n: number): string {
    const own = this.#own[n];
    if (own !== undefined) return own.name;
    const i = n * NUMBERS;
    return this.bytes.toString("latin1", this.#at[i], this.#at[i + 1]);
  }

  valueOf(n: number): string {
    const own = this.#own[n];
    if (own !== undefined) return own.value;
    const i = n * NUMBERS;
    return this.bytes.toString("latin1", this.#at[i + 2], this.#at[i + 3]);
  }

  /** Number of the first field of that lower-case name, from number `from` on; -1: there is none. */
  indexOf(name: string, from = 0): number {
    const at = this.#at;
    const { length } = name;
    for (let n = from; n < this.count; n++) {
      const own = this.#own[n];
      if (own !== undefined) {
        if (own.name === name) return n;
        continue;
      }
      const i = n * NUMBERS;
      const start = at[i]!;
      if (at[i + 1]! - start === length && isAt(this.bytes, start, name)) return n;
    }
    return -1;
  }

  /** First value of a lower-case name; undefined: there is none. */
  get(name: string): string | undefined {
    const n = this.indexOf(name);
    return n < 0 ? undefined : this.valueOf(n);
  }

  /** The one value of a lower-case name; undefined: there is none, or several, which contradict each other. */
  single(name: string): string | undefined {
    const n = this.indexOf(name);
    return n < 0 || this.indexOf(name, n + 1) >= 0 ? undefined : this.valueOf(n);
  }

  /** Takes out every field whose name is in `names`. */
  remove(names: ReadonlySet<string>): void {
    const at = this.#at;
    let kept = 0;
    for (let n = 0; n < this.count; n++) {
      if (names.has(this.nameOf(n))) continue;
      if (kept < n) {
        const own = this.#own[n];
        this.#own[kept] = own;
        if (own === undefined) at.copyWithin(kept * NUMBERS, n * NUMBERS, (n + 1) * NUMBERS);
      }
      kept++;
    }
    this.count = kept;
  }
}

/** `bytes` has `text` at `start`. */
export function isAt(bytes: Uint8Array, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/**
 * What a field is to who forwards it. Everything but `plain` and the kinds that say so is taken out of what is
 * passed on, and what follows is said anew by the codec that writes.
 */
export const KIND = {
  plain: 0,
  /** Of the connection, or a claim that is never read. */
  dropped: 1,
  host: 2,
  length: 3,
  coding: 4,
  connection: 5,
  upgrade: 6,
  te: 7,
  expect: 8,
  timeout: 9,
  attempt: 10,
  hops: 11,
  priority: 12,
  /** Stays in the message, and is read. */
  traceparent: 13,
  /** Stays, and is read. */
  tracestate: 14,
  /** Stays where the posture lets it. */
  baggage: 15,
  /** `grpc-timeout`: read, and written anew. */
  grpcTimeout: 16,
  /** `forwarded` and its family: stays unless any client may connect. */
  forwarded: 17,
  /** Stays, and makes the request idempotent. */
  idempotencyKey: 18,
  nack: 19,
  final: 20,
  leaving: 21,
  reason: 22,
  /** `grpc-previous-rpc-attempts`: read, and written anew. */
  grpcAttempts: 23,
} as const;
export type FieldKind = (typeof KIND)[keyof typeof KIND];

const NAMED: Readonly<Record<string, FieldKind>> = {
  host: KIND.host,
  "content-length": KIND.length,
  "transfer-encoding": KIND.coding,
  connection: KIND.connection,
  upgrade: KIND.upgrade,
  te: KIND.te,
  expect: KIND.expect,
  [TIMEOUT_MS]: KIND.timeout,
  [ATTEMPT]: KIND.attempt,
  [HOPS]: KIND.hops,
  [PRIORITY]: KIND.priority,
  traceparent: KIND.traceparent,
  tracestate: KIND.tracestate,
  baggage: KIND.baggage,
  "grpc-timeout": KIND.grpcTimeout,
  "grpc-previous-rpc-attempts": KIND.grpcAttempts,
  forwarded: KIND.forwarded,
  "x-forwarded-for": KIND.forwarded,
  "x-forwarded-host": KIND.forwarded,
  "x-forwarded-port": KIND.forwarded,
  "x-forwarded-proto": KIND.forwarded,
  "x-real-ip": KIND.forwarded,
  "idempotency-key": KIND.idempotencyKey,
  [NACK]: KIND.nack,
  [FINAL]: KIND.final,
  [LEAVING]: KIND.leaving,
  [REASON]: KIND.reason,
  "keep-alive": KIND.dropped,
  "proxy-connection": KIND.dropped,
  "proxy-authenticate": KIND.dropped,
  "proxy-authorization": KIND.dropped,
  "http2-settings": KIND.dropped,
  trailer: KIND.dropped,
};

interface Named {
  readonly name: string;
  readonly kind: FieldKind;
}
const NONE: readonly Named[] = [];
const LENGTHS = 1 + Math.max(...Object.keys(NAMED).map(({ length }) => length));
/** By length and first byte: of most names there is none to compare with. */
const BY_START: (readonly Named[])[] = Array.from({ length: LENGTHS * 128 }, () => NONE);
for (const [name, kind] of Object.entries(NAMED)) {
  const start = startOf(name.length, name.charCodeAt(0));
  BY_START[start] = [...BY_START[start]!, { name, kind }];
}

function startOf(length: number, first: number): number {
  return length * 128 + (first & 0x7f);
}

/** `name` is in lower case. For codecs that keep names: once for each. */
export function kindOf(name: string): FieldKind {
  if (Object.hasOwn(NAMED, name)) return NAMED[name]!;
  return isClaim(name) ? KIND.dropped : KIND.plain;
}

/** The same of bytes, without a text for most names. */
export function kindOfPiece(bytes: Buffer, start: number, end: number): FieldKind {
  const length = end - start;
  const first = bytes[start]!;
  const known = length < LENGTHS ? BY_START[startOf(length, first)]! : NONE;
  for (let n = 0; n < known.length; n++) {
    if (isAt(bytes, start, known[n]!.name)) return known[n]!.kind;
  }
  if (!mayBeClaim(bytes, start, first)) return KIND.plain;
  return isClaim(bytes.toString("latin1", start, end)) ? KIND.dropped : KIND.plain;
}

/** False for nearly every name that is none. */
function mayBeClaim(bytes: Buffer, start: number, first: number): boolean {
  switch (first) {
    case 0x6c: // l5d-
      return bytes[start + 1] === 0x35;
    case 0x73: // ssl-client-
      return bytes[start + 1] === 0x73;
    case 0x78: // x-
      switch (bytes[start + 2]) {
        case 0x63: // x-client-cert
        case 0x65: // x-envoy-
        case 0x66: // x-forwarded-client-cert
        case 0x6d: // x-mesh-
        case 0x73: // x-ssl-
          return true;
      }
      return false;
    default:
      return false;
  }
}

/**
 * Names of claims that stay, because something in front vouches for them (`servers.<name>.keepHeaders`), in lower
 * case; undefined: none. What belongs to a connection never stays.
 */
export function keptNames(names: readonly string[] | undefined): ReadonlySet<string> | undefined {
  const kept = names?.map((name) => name.toLowerCase()).filter(isClaim);
  return kept === undefined || kept.length === 0 ? undefined : new Set(kept);
}
