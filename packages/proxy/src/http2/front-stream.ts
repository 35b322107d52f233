/**
 * A stream that a client has opened: one request of the listener, and the sink of its reply. Its body may come in
 * pieces, its reply may be taken slowly, and either may break off.
 */
import { REFUSALS, type CutReason } from "@inmesh/http/spi/codec";
import { RequestBody, type BodySource } from "../body.ts";
import { Field, Fields } from "../fields.ts";
import type { ReplySink } from "../halves.ts";
import type { FrontParts } from "../listener.ts";
import { RequestHead, type ReplyHead } from "../message.ts";
import { OwnHead } from "../own-reply.ts";
import { ProxyRequest, type ClientConnection } from "../request.ts";
import { copyOf } from "../spent.ts";
import { ERROR } from "./frames.ts";
import type { HeadFields } from "./hpack-decoder.ts";
import { lengthField, statusField } from "./own-fields.ts";
import { MALFORMED, readRequestHead, type ListenerRules } from "./request-fields.ts";
import { Http2Stream, type StreamOwner } from "./stream.ts";

/** `grpc-status` of a reply whose server was lost. */
const UNAVAILABLE = "14";
const CONTINUE = 100;
/** As in packages/http: a client may pause for `writeStallTimeoutMs`, and has as long to make up for it. */
const REPLY_WINDOW_STALLS = 2;

/** The client's connection, as its streams need it. */
export interface FrontStreamOwner extends StreamOwner, ClientConnection, ListenerRules {
  readonly parts: FrontParts;
  /** When what is being read was read: that is when its requests begin. */
  readonly readAt: number;
  /** Something irregular was let through. False: once too often, and the connection has ended. */
  tolerate(): boolean;
  /** Counts the head of a request, until its stream is closed. False: these are too many bytes at once. */
  holds(headBytes: number): boolean;
  /** `stream.serve` is called when all has been handled that is being read: its body may be among it. */
  serveLater(stream: FrontStream): void;
}

export class FrontStream extends Http2Stream implements ReplySink, BodySource {
  readonly #connection: FrontStreamOwner;
  request: ProxyRequest | undefined = undefined;
  #isGrpc = false;
  #replied = false;
  #isServed = false;
  /** What has come of a body that may turn out to be whole with its head; less than a window. */
  #pieces: Buffer[] | undefined = undefined;
  #rateSince = 0;
  #rateBytes = 0;
  /** Looks in a row at which some of the reply waited, and what went meanwhile. */
  #waitedTicks = 0;
  #wentBytes = 0;

  constructor(id: number, connection: FrontStreamOwner) {
    super(id, connection);
    this.#connection = connection;
  }

  // ── what the client sends ────────────────────────────────────────────────────────────────────

  takeHead(fields: HeadFields, ends: boolean): void {
    const connection = this.#connection;
    const { parts } = connection;
    this.headed = true;
    const head = new RequestHead();
    let refusal = readRequestHead(fields, head, connection.trust, parts.limits, connection, ends);
    if (refusal === MALFORMED) {
      if (!fields.tooLarge) {
        parts.count("malformed");
        connection.streamError(this, ERROR.protocol, "a head that is malformed");
        return;
      }
      refusal = undefined;
    }
    // Of a head that was cut off nothing is known for sure.
    if (fields.tooLarge) {
      const { maxHeaderCount } = parts.limits;
      refusal =
        fields.count >= maxHeaderCount ? REFUSALS.too_many_headers : REFUSALS.header_too_large;
    }
    if (head.glitch !== undefined) {
      parts.count(head.glitch);
      if (!connection.tolerate()) return;
    }
    head.headBytes = this.headBytes = fields.bytes;
    if (!connection.holds(fields.bytes)) refusal ??= REFUSALS.connection_headers;
    const { bodyLength } = head;
    if (bodyLength >= 0) this.expectedBytes = bodyLength;
    this.#isGrpc = head.isGrpc;
    const body = ends ? undefined : new RequestBody(this, parts.memory);
    const request = new ProxyRequest(head, body, this, connection, "2", parts, refusal);
    request.startedAt = connection.readAt;
    this.request = request;
    if (ends) connection.headEnds(this);
    if (body === undefined || refusal !== undefined) this.#serve(request);
    else {
      this.#pieces = [];
      connection.serveLater(this);
    }
  }

  #serve(request: ProxyRequest): void {
    this.#isServed = true;
    this.#connection.parts.serve(request);
  }

  /** Without the rest of its body, if there is one. */
  serve(): void {
    const pieces = this.#pieces;
    if (pieces === undefined) return;
    this.#pieces = undefined;
    const request = this.request!;
    for (const piece of pieces) if (!request.body!.write(piece)) this.pause();
    this.#serve(request);
  }

  protected deliver(bytes: Buffer, from: number, to: number): boolean {
    const piece = copyOf(bytes, from, to);
    if (this.#pieces === undefined) return this.request!.body!.write(piece);
    this.#pieces.push(piece);
    return true;
  }

  protected delivered(trailers: Fields | undefined): void {
    const request = this.request!;
    const { body } = request;
    const pieces = this.#pieces;
    if (pieces !== undefined && trailers === undefined) {
      // All of it came with its head: it is sent in one piece, and again if need be.
      this.#pieces = undefined;
      body!.whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
      request.head.bodyLength = body!.whole.length;
      this.#serve(request);
      return;
    }
    this.serve();
    body?.end(trailers);
  }

  // ── what the client gets ─────────────────────────────────────────────────────────────────────

  interim(head: ReplyHead): void {
    if (this.closed || this.#replied || head.status === 101) return;
    if (head.status === CONTINUE && !this.request!.head.expectsContinue) return;
    const { sending } = this.#connection;
    const writer = sending.beginHead();
    writer.own(statusField(head.status));
    head.fields.visit(writer);
    sending.closeHead(this, false);
  }

  head(head: ReplyHead): void {
    if (this.closed) return;
    this.#replied = true;
    const { status, bodyLength, saidLength } = head;
    const { sending } = this.#connection;
    const writer = sending.beginHead();
    writer.own(statusField(status));
    head.fields.visit(writer);
    const isBodyless = hasNoBody(this.request!.method, status);
    const length = isBodyless || saidLength === 0 ? saidLength : bodyLength;
    // A status of gRPC alone is no body that is empty.
    if (length > 0 || (length === 0 && !this.#isGrpc)) writer.own(lengthField(length));
    // Without a body its end is that of the head.
    const ends = bodyLength === 0 || isBodyless;
    sending.closeHead(this, ends);
    if (ends) this.sentAll();
  }

  flush(): void {
    // Once for each turn, by the connection.
  }

  data(bytes: Buffer, start: number, end: number): boolean {
    const observed = this.request!.observed;
    if (observed !== undefined) observed.sentBytes += end - start;
    return this.send(bytes, start, end);
  }

  end(trailers: Fields | undefined): void {
    if (!this.localEnded) this.sendEnd(trailers);
  }

  fail(): void {
    if (this.closed || this.localEnded) return;
    if (this.#isGrpc && this.#replied) {
      const trailers = new Fields();
      trailers.add(new Field("grpc-status", UNAVAILABLE));
      trailers.add(new Field("grpc-message", "connection to the server lost"));
      this.sendEnd(trailers);
      return;
    }
    this.reset(ERROR.internal);
    this.#gone("the reply broke off");
  }

  upgraded(): void {
    // HTTP/2 has no Upgrade, and CONNECT is refused.
    this.fail();
  }

  protected drained(): void {
    this.request!.exchange?.resume();
  }

  protected sentAll(): void {
    // It has its answer: what is left of the request is not wanted (RFC 9113 §8.1).
    if (!this.remoteEnded && !this.closed) this.reset(ERROR.none);
    this.#over();
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  broken(): void {
    this.#gone("the client has gone");
  }

  failed(_code: number, why: string): void {
    if (this.request !== undefined) this.request.cut ??= "malformed";
    this.#gone(why);
  }

  stalled(): void {
    this.#connection.parts.count("write_stall");
    if (this.request !== undefined) this.request.cut = "write_stall";
    this.#connection.parts.streamReset("server");
    this.reset(ERROR.cancel);
    this.#gone("the client takes nothing of the reply");
  }

  /** All of the reply has been sent. */
  #over(): void {
    const request = this.request!;
    // Also where its head was its end, before the attempt has come to its own.
    request.isReplied = true;
    request.body?.close();
    request.finish();
  }

  /** The client gets no reply, or not all of it. */
  #gone(why: string): void {
    const { request } = this;
    if (request === undefined || !this.#isServed) {
      this.#pieces = undefined;
      return;
    }
    request.body?.fail(new Error(why));
    request.finish();
    request.leave();
    request.body?.close();
  }

  /** Once a second. A call of gRPC may be silent for as long as it likes. */
  override look(age: number, went: number): void {
    const { request } = this;
    if (!this.#isGrpc && this.#isTakenTooSlowly(went)) return this.stalled();
    if (this.#isGrpc || !this.#isServed || request?.body === undefined || this.remoteEnded) return;
    const { limits } = this.#connection.parts;
    if (this.silentTicks * 1_000 >= limits.bodyIdleTimeoutMs || this.#trickles(age)) {
      this.#cut("body_timeout", "the client owes the rest of its body");
    }
  }

  /** Less than `minReplyRate`, over a time in which a client that pauses can make up for it. */
  #isTakenTooSlowly(went: number): boolean {
    const { minReplyRate, writeStallTimeoutMs } = this.#connection.parts.limits;
    if (!this.waits || minReplyRate === 0) {
      this.#waitedTicks = this.#wentBytes = 0;
      return false;
    }
    this.#waitedTicks++;
    this.#wentBytes += went;
    if (this.#waitedTicks * 1_000 < REPLY_WINDOW_STALLS * writeStallTimeoutMs) return false;
    const tooFew = this.#wentBytes < minReplyRate * this.#waitedTicks;
    this.#waitedTicks = this.#wentBytes = 0;
    return tooFew;
  }

  /** Less than `minBodyRate` over a window. */
  #trickles(age: number): boolean {
    const { minBodyRate, bodyRateWindowMs } = this.#connection.parts.limits;
    if (this.paused || this.#rateSince === 0) {
      this.#rateSince = age;
      this.#rateBytes = this.receivedBytes;
      return false;
    }
    const elapsed = age - this.#rateSince;
    if (elapsed * 1_000 < bodyRateWindowMs) return false;
    const tooFew = this.receivedBytes - this.#rateBytes < minBodyRate * elapsed;
    this.#rateSince = age;
    this.#rateBytes = this.receivedBytes;
    return tooFew;
  }

  #cut(reason: CutReason, why: string): void {
    const request = this.request!;
    const { parts } = this.#connection;
    request.cut = reason;
    parts.count(reason);
    request.body!.fail(new Error(why));
    if (this.#replied) this.reset(ERROR.cancel);
    else {
      const { head, body } = new OwnHead(408, reason, this.#connection.trust.givesReasons);
      request.sentStatus = head.status;
      this.head(head);
      this.data(body, 0, body.length);
      this.end(undefined);
    }
    this.#gone(why);
  }
}

function hasNoBody(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304;
}
