/**
 * A request as it comes in: one object that is its entry in the list of requests in progress and
 * what its handler's calls inherit. Its head is read once, over the raw fields, because building
 * `request.headers` costs more than all of this; what the handler must not see is taken out there.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import {
  grantedPriority,
  hasTraceparentShape,
  isClaim,
  parseCount,
  ServedCall,
  type HeadField,
  type Trust,
  type Outcome,
  type Refusal,
  type ServerPeer,
} from "@inmesh/core/spi";
import { classify } from "../client/classify.ts";
import {
  ATTEMPT,
  BAGGAGE,
  CONTENT_LENGTH,
  HOPS,
  HOST,
  isNamed,
  PRIORITY,
  RETRY_AFTER,
  TIMEOUT_MS,
  TRACEPARENT,
  TRACESTATE,
  TRANSFER_ENCODING,
} from "../headers.ts";
import type { ConnectionState } from "./connection-state.ts";
import type { CutReason } from "./cuts.ts";
import { defineDistinct } from "./distinct.ts";
import { INBOUND } from "./in-context.ts";
import type { ServerLimits } from "./limits.ts";
import type { Http2ServerResponse } from "./listeners.ts";
import { setFields, type ServerMembers } from "../node-internals.ts";
import { isResetByPeer } from "./own-resets.ts";
import { peerOf } from "./peer.ts";
import { REFUSALS } from "./refusals.ts";
import type { ReplyProgress } from "./reply-progress.ts";

/** What a field counts besides its name and value (RFC 9113 §6.5.2). */
const FIELD_BYTES = 32;

/** A message that knows its request. */
export interface WithInbound {
  [INBOUND]?: Inbound;
}

/** Learns that the reply is out, or its connection gone. */
export interface InboundOwner {
  /** Of the server. */
  readonly name: string;
  ended(inbound: Inbound): void;
  /** The handler writes more than the reply's Content-Length. */
  misframed(inbound: Inbound): void;
  /** An anomaly in it was tolerated. */
  countGlitch(inbound: Inbound, what: CutReason): void;
  readonly members: ServerMembers;
  /** The listeners of the server are called by another instrumentation, which makes a span. */
  readonly tracedByOthers: boolean;
  /** What `Keep-Alive` says, where Node does not say it by itself. HTTP/1. */
  readonly keepAlive: string | undefined;
}

export function responseClosed(this: WithInbound): void {
  const inbound = this[INBOUND];
  if (inbound !== undefined) inbound.owner.ended(inbound); // or it was refused
}

interface Http2Request {
  readonly stream: { readonly endAfterHeaders: boolean };
}

/** The whole of HTTP: a server's routes are its handler's own. */
const ROUTE = "default";
/** Cuts that are the handler's fault; all others are its client's. */
const FAULTS: ReadonlySet<string> = new Set(["content_length_mismatch", "http1_application"]);

export class Inbound extends ServedCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly connection: ConnectionState;
  readonly owner: InboundOwner;
  readonly handler: RequestListener;
  /** It waits for a 100, and no listener sends one. */
  asksToContinue = false;
  /** Written past its response; 0: nothing was. */
  answeredStatus = 0;
  /** Neighbours in the list of requests in progress. */
  previous: Inbound | undefined = undefined;
  next: Inbound | undefined = undefined;
  /** What the request line says is not to be believed here: `HTTP/2.0` can be written on any socket. */
  readonly http2: boolean;
  /** `request.headers` is an object of its own, and not built from the raw fields. */
  ownHeaders: boolean;
  /** A body follows the head. */
  hasBody: boolean;
  /** … in chunks. */
  chunked = false;
  /** Values that head fields had; the empty string for one that came twice. */
  host: string | undefined = undefined;
  expect: string | undefined = undefined;
  /** It has an `Upgrade` field, and is served all the same. */
  asksUpgrade = false;
  /** What of its head was dropped because it cannot be right. */
  glitch: CutReason | undefined = undefined;
  /** Its reply says that the connection ends with it. */
  last = false;
  /** Of the reply's body, while its length is said in its head. HTTP/1. */
  sentBytes = 0;
  /** By how much its client reads that body, where Node's own count is not read; null: it is not said. */
  declaredBytes: number | null = null;
  /** For the watch over slow peers: looked at before, and how much had been read then. */
  watched = false;
  timed = false;
  markAt = 0;
  markBytes = 0;
  progress: ReplyProgress | undefined = undefined;
  #seen = 0;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    connection: ConnectionState,
    owner: InboundOwner,
    http2: boolean,
    handler: RequestListener,
  ) {
    super();
    this.handler = handler;
    this.request = request;
    this.http2 = this.ownHeaders = http2;
    this.hasBody = http2 && !(request as unknown as Http2Request).stream.endAfterHeaders;
    this.response = response;
    this.connection = connection;
    this.owner = owner;
  }

  /** From `end` on: the last bytes may still wait for the client. */
  override get replied(): boolean {
    return this.response.writableEnded;
  }

  // ── what layers of the application see ───────────────────────────────────────────────────────

  get service(): string {
    return this.owner.name;
  }

  get protocol(): string {
    return "http";
  }

  get route(): string {
    return ROUTE;
  }

  get method(): string {
    return this.request.method!;
  }

  get path(): string {
    const target = this.request.url!;
    const at = target.indexOf("?");
    return at < 0 ? target : target.slice(0, at);
  }

  get query(): string {
    const target = this.request.url!;
    const at = target.indexOf("?");
    return at < 0 ? "" : target.slice(at + 1);
  }

  get tracedByOthers(): boolean {
    return this.owner.tracedByOthers;
  }

  get peer(): ServerPeer {
    return peerOf(this.connection, this.request);
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  get httpVersion(): string {
    return this.http2 ? "2" : this.request.httpVersion;
  }

  fields(): HeadField[] {
    const all: HeadField[] = [];
    for (const [name, value] of Object.entries(this.request.headers)) {
      if (value === undefined || name.startsWith(":")) continue;
      all.push([name, Array.isArray(value) ? value.join(", ") : value]);
    }
    return all;
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  get endStatus(): number {
    const { response, answeredStatus } = this;
    // What no connection brought may not say whether its head is out.
    const isOut: boolean | undefined = response.headersSent;
    return answeredStatus === 0 && (isOut ?? true) ? response.statusCode : answeredStatus;
  }

  get endHttpStatus(): number {
    return this.endStatus;
  }

  get endOutcome(): Outcome {
    if (this.cut !== undefined) return FAULTS.has(this.cut) ? "failure" : "abandoned";
    const { response } = this;
    if (!response.writableEnded || !this.#isOut) return "abandoned";
    const { statusCode } = response;
    return classify(statusCode, statusCode === 503 && response.hasHeader(RETRY_AFTER));
  }

  /** All of a reply that has ended has gone to its client. */
  get #isOut(): boolean {
    if (this.http2) return !this.isReset;
    // Where no connection brought it, none can go with a part of it.
    return this.ownHeaders || this.response.writableFinished;
  }

  /** HTTP/2: its client, or a server that cut it short, has reset it. */
  get isReset(): boolean {
    return isResetByPeer(this.response as unknown as Http2ServerResponse);
  }

  /** False from the second time on, for each of four control fields. */
  once(field: number): boolean {
    const first = (this.#seen & field) === 0;
    this.#seen |= field;
    if (!first) this.glitch = "repeated_claim";
    return first;
  }
}

/** What is read of a head, and what is left of it for the handler. */
export class HeadReader {
  readonly #limits: ServerLimits;
  /** Of the connection whose request is being read. */
  #trust!: Trust;
  readonly #keep: ReadonlySet<string>;

  /** `keep`: lower-case names of claims that stay, because something in front vouches for them. */
  constructor(limits: ServerLimits, keep: ReadonlySet<string>) {
    this.#limits = limits;
    this.#keep = keep;
  }

  read(inbound: Inbound): Refusal | undefined {
    this.#trust = inbound.connection.trust!;
    // Node builds its `headers` once; without its own way to set them they are built before anything
    // is taken out of the raw ones, and what is taken out there is taken out here.
    const drops = inbound.ownHeaders || !inbound.owner.members.setsFields;
    const headers = drops ? inbound.request.headers : undefined;
    const raw = inbound.request.rawHeaders;
    const { maxHeaderCount, maxHeaderNameBytes, maxHeaderValueBytes } = this.#limits;
    if (raw.length > 2 * maxHeaderCount) return REFUSALS.too_many_headers;
    let bytes = 0;
    let kept = 0;
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!;
      const value = raw[i + 1]!;
      bytes += name.length + value.length;
      if (name.length > maxHeaderNameBytes || value.length > maxHeaderValueBytes) {
        // A target has a limit, and an answer, of its own.
        if (name !== ":path") return REFUSALS.header_too_large;
      }
      // The first letter excludes nearly all fields that do not concern us, in any case.
      switch (name.charCodeAt(0) | 32) {
        case 98: // b
          if (name.length === 7 && isNamed(name, BAGGAGE) && this.#dropsBaggage(inbound, value)) {
            if (headers !== undefined) delete headers[BAGGAGE];
            continue;
          }
          break;
        case 99: // c
          if (name.length === 14 && value !== "0" && isNamed(name, CONTENT_LENGTH)) {
            // Readers that count in doubles would take another number for it than those that do not.
            if (value.length > 15 && !Number.isSafeInteger(Number(value))) {
              return REFUSALS.bad_framing;
            }
            inbound.hasBody = true;
          }
          break;
        case 101: // e
          if (name.length === 6 && isNamed(name, "expect")) {
            inbound.expect = inbound.expect === undefined ? value : "";
          }
          break;
        case 104: // h
          if (name.length === 4 && isNamed(name, HOST)) {
            if (inbound.host !== undefined) return REFUSALS.bad_host;
            inbound.host = value;
          }
          break;
        case 116: // t
          if (name.length === 17) {
            if (!isNamed(name, TRANSFER_ENCODING)) break;
            // Node hands other codings over undecoded; a reader that takes them as framing is desynchronised.
            if (value !== "chunked" && value.toLowerCase() !== "chunked") {
              return REFUSALS.unknown_coding;
            }
            inbound.hasBody = inbound.chunked = true;
          } else if (name.length === 11) {
            if (!isNamed(name, TRACEPARENT)) break;
            inbound.rawTraceparent = inbound.rawTraceparent === undefined ? value : "";
          } else if (name.length === 10 && isNamed(name, TRACESTATE)) {
            const before = inbound.rawTracestate;
            inbound.rawTracestate = before === undefined ? value : `${before},${value}`;
          }
          break;
        case 117: // u
          if (name.length === 7 && isNamed(name, "upgrade")) inbound.asksUpgrade = true;
          break;
        case 108: // l
        case 115: // s
        case 120: {
          // x
          const lower = name === TIMEOUT_MS ? TIMEOUT_MS : name.toLowerCase();
          if (lower !== TIMEOUT_MS && (!isClaim(lower) || this.#keep.has(lower))) break;
          this.#control(inbound, lower, value);
          if (headers !== undefined) delete headers[lower];
          continue;
        }
        default:
      }
      if (kept < i) {
        raw[kept] = name;
        raw[kept + 1] = value;
      }
      kept += 2;
    }
    inbound.headBytes = bytes;
    // Over HTTP/2 Node keeps the limit that was announced only with clients that have acknowledged it.
    if (
      inbound.ownHeaders &&
      bytes + FIELD_BYTES * (raw.length / 2) > this.#limits.maxHeaderBytes
    ) {
      return REFUSALS.header_too_large;
    }
    if (kept < raw.length) shorten(inbound, kept);
    this.#trace(inbound);
    return this.#limits.maxHops < inbound.hops ? REFUSALS.loop : undefined;
  }

  #dropsBaggage(inbound: Inbound, value: string): boolean {
    if (value.length > this.#limits.maxBaggageBytes) {
      inbound.glitch = "baggage";
      return true;
    }
    return !this.#trust.baggage && !this.#keep.has(BAGGAGE);
  }

  /** Fields that came twice contradict each other, and count as absent. */
  #control(inbound: Inbound, name: string, value: string): void {
    switch (name) {
      case TIMEOUT_MS: {
        const ms = inbound.once(1) ? parseCount(value, 10) : -1;
        inbound.remainingMs = ms < 0 ? Infinity : Math.min(ms, this.#limits.maxTimeoutMs);
        inbound.untrustedDeadline = !this.#trust.deadlineIsOurs;
        break;
      }
      case ATTEMPT:
        if (!this.#trust.attempt) break;
        inbound.attempt = inbound.once(2) ? Math.max(1, parseCount(value, 3)) : 1;
        break;
      case HOPS:
        inbound.hops = inbound.once(4) ? Math.max(0, parseCount(value, 3)) : 0;
        break;
      case PRIORITY:
        inbound.priority = inbound.once(8) ? grantedPriority(value, this.#trust) : "normal";
        break;
      default:
    }
  }

  /** What looks right is looked at again when a call made for it asks. */
  #trace(inbound: Inbound): void {
    const { rawTraceparent, rawTracestate } = inbound;
    if (rawTraceparent === undefined) return;
    if (!hasTraceparentShape(rawTraceparent) && inbound.traceparent === undefined) {
      inbound.glitch = "traceparent";
    } else if ((rawTracestate?.length ?? 0) > this.#limits.maxTracestateBytes) {
      inbound.rawTracestate = undefined;
      inbound.glitch = "tracestate";
    }
  }
}

/** Fields have been taken out of the raw ones, of which `kept` entries are left. */
function shorten({ request, ownHeaders, owner }: Inbound, kept: number): void {
  const raw = request.rawHeaders;
  while (raw.length > kept) raw.pop(); // to set the length is a call out of compiled code
  if (ownHeaders) return; // over HTTP/2 there is no `headersDistinct`
  if (owner.members.setsFields) setFields(request, raw, kept);
  else defineDistinct(request, "headersDistinct");
}
