/**
 * A request head and a reply head between two codecs. A codec that reads fills one, a codec that writes makes
 * bytes of it: neither knows the other, and what one understood is exactly what the other says. Both are
 * objects that can be filled again.
 */
import {
  grantedPriority,
  isTraceparent,
  parseCount,
  sampledTraceId,
  type Priority,
  type Refusal,
  type Trust,
} from "@inmesh/core/spi";
import { REFUSALS } from "@inmesh/http/spi/codec";
import { type Field, Fields, KIND, type FieldKind } from "./fields.ts";

/** The length of a body that is not known before its end. */
export const UNKNOWN_LENGTH = -1;

/** Limits of what is said in fields of the mesh. */
export interface ClaimLimits {
  readonly maxTimeoutMs: number;
  readonly maxTracestateBytes: number;
  readonly maxBaggageBytes: number;
}

/** What in a head was tolerated, and not passed on or not believed. A reason of `snapshot().refused`. */
export type Glitch =
  | "repeated_claim"
  | "traceparent"
  | "tracestate"
  | "baggage"
  | "connection_option";

const TRACE: ReadonlySet<string> = new Set(["traceparent", "tracestate"]);

/** RFC 9110 §8.6: of these a length is expected, even where there is no body. */
export function hasBodyByMethod(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

/** Nothing is known about who connects: what such a client says of where it comes from is not believed. */
export function isAnyClient(trust: Trust): boolean {
  return !trust.baggage;
}

const GRPC_TYPE = /^application\/grpc(?:[+; ]|$)/i;

export class RequestHead {
  readonly fields: Fields = new Fields();
  /** As sent: `GET`. */
  method = "";
  scheme: "http" | "https" = "http";
  /** Host and maybe port, checked; empty: the client said none (HTTP/1.0). */
  authority = "";
  /** Bytes of its body; `UNKNOWN_LENGTH` where only the end shows it, 0: it has none. */
  bodyLength = 0;
  /** The client waits for a 100 before it sends the body; the codec that writes says it anew. */
  expectsContinue = false;
  /** The one protocol it would change to, in lower case, such as `websocket`; undefined: it would not. */
  upgrade: string | undefined = undefined;
  /** The client reads trailers. */
  takesTrailers = false;
  /** Of target and all fields, as counted by limits. */
  headBytes = 0;
  /** What `note` has read. */
  remainingMs: number = Infinity;
  attempt: number = 1;
  hops = 0;
  priority: Priority = "normal";
  rawTraceparent: string | undefined = undefined;
  rawTracestate: string | undefined = undefined;
  /** Of the trace, if it is sampled. */
  traceId: string | undefined = undefined;
  hasIdempotencyKey = false;
  /** Its `grpc-timeout` says nothing that could be read. */
  hasBadGrpcTimeout = false;
  glitch: Glitch | undefined = undefined;
  #seen = 0;
  #targetStart = 0;
  #pathEnd = 0;
  #targetEnd = 0;
  #target: string | undefined = undefined;
  #path: string | undefined = undefined;
  /** The target as a codec that reads has it, if its own writing half can take it. Writer: the codec, behind `target`. */
  targetField: Field | undefined = undefined;

  clear(bytes?: Buffer): void {
    this.fields.clear(bytes);
    this.method = this.authority = "";
    this.scheme = "http";
    this.bodyLength = this.headBytes = this.hops = this.#seen = 0;
    this.expectsContinue = this.takesTrailers = false;
    this.hasIdempotencyKey = this.hasBadGrpcTimeout = false;
    this.upgrade = this.glitch = undefined;
    this.rawTraceparent = this.rawTracestate = this.traceId = undefined;
    this.#target = this.#path = this.targetField = undefined;
    this.remainingMs = Infinity;
    this.attempt = 1;
    this.priority = "normal";
  }

  /** Path and query, `/` first, or `*`. */
  get target(): string {
    return (this.#target ??= this.fields.bytes.toString(
      "latin1",
      this.#targetStart,
      this.#targetEnd,
    ));
  }

  set target(text: string) {
    this.#target = text;
    this.#path = undefined;
    this.targetField = undefined;
    this.#targetStart = this.#targetEnd = -1;
  }

  /** The target is a piece of `fields.bytes`, of which the path ends first: no text is made before one is asked for. */
  setTargetPiece(start: number, pathEnd: number, end: number): void {
    this.#targetStart = start;
    this.#pathEnd = pathEnd;
    this.#targetEnd = end;
    this.#target = this.#path = undefined;
  }

  /** The target without its query: each route that it is compared with asks. */
  get path(): string {
    const start = this.#targetStart;
    return (this.#path ??=
      start < 0 ? pathOf(this.target) : this.fields.bytes.toString("latin1", start, this.#pathEnd));
  }

  /** Where it stands in `fields.bytes`; -1: it is a text. */
  get targetStart(): number {
    return this.#targetStart;
  }

  /** Where the method stands there, and behind it, after one space, the target; -1: the target is a text. */
  get lineStart(): number {
    const start = this.#targetStart;
    return start < 0 ? -1 : start - 1 - this.method.length;
  }

  get targetEnd(): number {
    return this.#targetEnd;
  }

  /** Its type says so. That of gRPC-Web does not: its status stands in its body, so it is HTTP like any other. */
  get isGrpc(): boolean {
    return this.method === "POST" && GRPC_TYPE.test(this.fields.get("content-type") ?? "");
  }

  /**
   * Reads a field that is more than passed on, of the kinds from `expect` on; codecs see to the ones before
   * themselves. True: it stays in the message. A refusal: the request is refused.
   */
  note(kind: FieldKind, value: string, trust: Trust, limits: ClaimLimits): boolean | Refusal {
    switch (kind) {
      case KIND.expect:
        if (value.length !== 12 || value.toLowerCase() !== "100-continue")
          return REFUSALS.expectation;
        this.expectsContinue = true;
        return false;
      case KIND.timeout: {
        const ms = this.#once(1) ? parseCount(value, 10) : -1;
        this.remainingMs = ms < 0 ? Infinity : Math.min(ms, limits.maxTimeoutMs);
        return false;
      }
      case KIND.grpcTimeout: {
        const ms = grpcTimeoutMs(value);
        if (ms === undefined) this.hasBadGrpcTimeout = true;
        else this.remainingMs = Math.min(this.remainingMs, ms, limits.maxTimeoutMs);
        return true;
      }
      case KIND.attempt:
        if (trust.attempt) this.attempt = this.#once(2) ? Math.max(1, parseCount(value, 3)) : 1;
        return false;
      case KIND.grpcAttempts:
        if (trust.attempt) this.attempt = Math.max(this.attempt, parseCount(value, 3) + 1);
        return false;
      case KIND.hops:
        this.hops = this.#once(4) ? Math.max(0, parseCount(value, 3)) : 0;
        return false;
      case KIND.priority:
        this.priority = this.#once(8) ? grantedPriority(value, trust) : "normal";
        return false;
      case KIND.traceparent:
        this.rawTraceparent = this.rawTraceparent === undefined ? value : "";
        return true;
      case KIND.tracestate:
        if (value.length > limits.maxTracestateBytes) {
          this.glitch = "tracestate";
          return false;
        }
        this.rawTracestate =
          this.rawTracestate === undefined ? value : `${this.rawTracestate},${value}`;
        return true;
      case KIND.baggage:
        if (value.length > limits.maxBaggageBytes) {
          this.glitch = "baggage";
          return false;
        }
        return trust.baggage;
      case KIND.forwarded:
        return !isAnyClient(trust);
      case KIND.idempotencyKey:
        this.hasIdempotencyKey = true;
        return true;
      default:
        return false;
    }
  }

  /** For codecs, behind the last field: a trace that cannot be right is not passed on. */
  checkTrace(): void {
    const trace = this.rawTraceparent;
    if (trace === undefined) return;
    this.traceId = sampledTraceId(trace);
    if (this.traceId !== undefined || isTraceparent(trace)) return;
    this.glitch = "traceparent";
    this.rawTraceparent = this.rawTracestate = undefined;
    this.fields.remove(TRACE);
  }

  /** False from the second time on: fields that contradict each other count as absent. */
  #once(field: number): boolean {
    const first = (this.#seen & field) === 0;
    this.#seen |= field;
    if (!first) this.glitch = "repeated_claim";
    return first;
  }
}

export class ReplyHead {
  readonly fields: Fields = new Fields();
  status = 0;
  /** Bytes of its body; `UNKNOWN_LENGTH` where only the end shows it. What HEAD, 204 and 304 say is in `saidLength`. */
  bodyLength = 0;
  /** The length that it says without having such a body (HEAD, 304), or 0 where what follows is only its end; -1: none. */
  saidLength = -1;
  /** Of a 101: the protocol that is spoken from now on, in lower case. */
  upgrade: string | undefined = undefined;
  /** What a server of the mesh says of it, for this hop alone. */
  nacked = false;
  final = false;
  reason: string | undefined = undefined;
  leaving = false;
  #hasNack = false;

  clear(bytes?: Buffer): void {
    this.fields.clear(bytes);
    this.status = this.bodyLength = 0;
    this.saidLength = -1;
    this.upgrade = this.reason = undefined;
    this.nacked = this.final = this.leaving = this.#hasNack = false;
  }

  /** Reads what a server of the mesh says. True: the field stays in the message. */
  note(kind: FieldKind, value: string): boolean {
    switch (kind) {
      case KIND.nack:
        // Twice is a contradiction, of which the cautious reading is that the request may have been processed.
        this.nacked = !this.#hasNack;
        this.#hasNack = true;
        return false;
      case KIND.final:
        this.final = true;
        return false;
      case KIND.leaving:
        this.leaving = true;
        return false;
      case KIND.reason:
        this.reason = value;
        return false;
      case KIND.traceparent:
      case KIND.tracestate:
      case KIND.baggage:
      case KIND.forwarded:
      case KIND.idempotencyKey:
      case KIND.grpcTimeout:
      case KIND.grpcAttempts:
        return true;
      default:
        return false;
    }
  }
}

function pathOf(target: string): string {
  const at = target.indexOf("?");
  return at < 0 ? target : target.slice(0, at);
}

/** Milliseconds of each unit of `grpc-timeout`. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** At most eight digits and a unit; undefined: it says nothing. */
export function grpcTimeoutMs(text: string): number | undefined {
  const unit = UNITS[text.slice(-1)];
  const count = parseCount(text.slice(0, -1), 8);
  return unit === undefined || count < 0 ? undefined : count * unit;
}
