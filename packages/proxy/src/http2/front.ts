/**
 * The client's side of the proxy over HTTP/2 (RFC 9113, prior knowledge): each stream is a request of the
 * listener, and the sink of its reply.
 */
import type { Socket } from "node:net";
import {
  ConnectionPeer,
  endOfAge,
  Misuse,
  Tally,
  type ConnectionUse,
  type Trust,
} from "@inmesh/core/spi";
import { REFUSALS, type CutReason } from "@inmesh/http/spi/codec";
import { RequestBody, type BodySource } from "../body.ts";
import { Defects, onEvent } from "../defects.ts";
import { Field, Fields } from "../fields.ts";
import type { ReplySink } from "../halves.ts";
import type { FrontConnection, FrontParts } from "../listener.ts";
import { RequestHead, type ReplyHead } from "../message.ts";
import { OwnHead } from "../own-reply.ts";
import { ProxyRequest, type ClientConnection } from "../request.ts";
import { copyOf } from "../spent.ts";
import { Http2Clock } from "./clock.ts";
import { Http2Connection } from "./connection.ts";
import type { FloodKind } from "./floods.ts";
import {
  ERROR,
  FRAME,
  MAX_STREAM_ID,
  PREFACE,
  SETTING,
  writeGoaway,
  writeSettings,
} from "./frames.ts";
import type { HpackField } from "./hpack-fields.ts";
import { lengthField, statusField } from "./own-fields.ts";
import { Liveness } from "./liveness.ts";
import { MALFORMED, readRequestHead, type ListenerRules } from "./request-fields.ts";
import { Http2Stream, STREAM_WINDOW, trailerFields } from "./stream.ts";

/** The second GOAWAY of a drain comes after a round trip to any client (faults.md G1). */
const LEAVE_MS = 1_000;
/** Less than a second, because the listener's clock may be a little early. */
const TICK_MS = 950;
/** `grpc-status` of a reply whose server was lost. */
const UNAVAILABLE = "14";
const CONTINUE = 100;
/** As in packages/http: a client may pause for `writeStallTimeoutMs`, and has as long to make up for it. */
const REPLY_WINDOW_STALLS = 2;

/** What the connections of one listener share. */
export class Http2Front {
  readonly parts: FrontParts;
  readonly clock: Http2Clock;
  readonly misuse: Misuse<Http2FrontConnection, CutReason>;

  readonly rules: Omit<ListenerRules, "secure">;

  constructor(parts: FrontParts, rules: Omit<ListenerRules, "secure">) {
    this.parts = parts;
    this.rules = rules;
    this.clock = new Http2Clock(parts.runtime);
    this.misuse = new Misuse<Http2FrontConnection, CutReason>(
      parts.limits,
      parts.runtime,
      (connection) => connection.calmDown(),
      (reason) => parts.count(reason),
    );
  }

  /** `first`: what was read already, from the first byte on. */
  accept(socket: Socket, first: Buffer | undefined): void {
    new Http2FrontConnection(socket, this).start(first);
  }
}

export class Http2FrontConnection
  extends Http2Connection
  implements FrontConnection, ClientConnection, ConnectionUse<Http2FrontConnection>
{
  readonly front: Http2Front;
  readonly trust: Trust;
  readonly secure: boolean;
  readonly refusesUnderscores: boolean;
  readonly kept: ReadonlySet<string> | undefined;
  // Of core's `Misuse`.
  readonly session: Http2FrontConnection = this;
  evicted = false;
  resets = 0;
  readonly recentResets: Tally = new Tally();
  streams = 0;
  headBytes = 0;
  #lastStream = 0;
  #prefaceLeft: number = PREFACE.length;
  #leaving: "no" | "asked" | "final" = "no";
  #idleTicks = 0;
  readonly #liveness = new Liveness();
  /** The client sends no more, and may still read. */
  #hasInputEnded = false;
  #lookedAt = 0;
  /** It has served long enough: clients spread again, over servers that are new. */
  readonly #endsAt: number;
  #unserved: FrontStream[] = [];
  #peer: ConnectionPeer | undefined = undefined;
  readonly #onClosed: () => void;

  constructor(socket: Socket, front: Http2Front) {
    const { parts } = front;
    super(socket, front.clock, parts.limits, parts.limits.maxHeaderTableBytes);
    this.front = front;
    this.refusesUnderscores = front.rules.refusesUnderscores;
    this.kept = front.rules.kept;
    this.secure = (socket as { encrypted?: boolean }).encrypted === true;
    this.trust = parts.trustOf(() => this.peer);
    this.#endsAt = endOfAge(parts.limits.maxConnectionAgeMs, parts.runtime);
    this.#onClosed = parts.opened(this, socket, "http2");
  }

  start(first: Buffer | undefined): void {
    const { maxConcurrentStreams, maxHeaderTableBytes, maxHeaderBytes } = this.front.parts.limits;
    writeSettings(this.out, [
      [SETTING.headerTableSize, maxHeaderTableBytes],
      [SETTING.maxConcurrentStreams, maxConcurrentStreams],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, maxHeaderBytes],
      [SETTING.noRfc7540Priorities, 1],
    ]);
    this.window.open(this.out);
    this.flush();
    const { socket } = this;
    onEvent(socket, "data", this.runtime, this, (bytes) => this.#read(bytes));
    // A client that sends no more may still read.
    onEvent(socket, "end", this.runtime, this, () => this.#inputEnded());
    // Who found out what is spoken on it has paused it, and a `data` listener does not undo that.
    socket.resume();
    if (first !== undefined && first.length > 0) this.#read(first);
    if (this.front.parts.isLeaving) this.leave();
  }

  #read(bytes: Buffer): void {
    let at = 0;
    if (this.#prefaceLeft > 0) {
      const left = this.#prefaceLeft;
      at = Math.min(left, bytes.length);
      const from = PREFACE.length - left;
      if (bytes.compare(PREFACE, from, from + at, 0, at) !== 0) {
        this.fail(ERROR.protocol, "no preface of HTTP/2");
        return;
      }
      this.#prefaceLeft -= at;
      if (at === bytes.length) return;
    }
    this.read(bytes, at);
    if (this.#unserved.length === 0) return;
    const unserved = this.#unserved;
    this.#unserved = [];
    for (const stream of unserved) stream.serve();
  }

  /** Something irregular was let through. False: once too often, and the connection has ended. */
  tolerate(): boolean {
    return this.glitch();
  }

  /** Its body may come with the rest of what is being read. */
  serveLater(stream: FrontStream): void {
    this.#unserved.push(stream);
  }

  /**
   * Requests that are whole may still be answered. Others never become so, and one of gRPC may have no deadline that
   * would end it.
   */
  #inputEnded(): void {
    this.#leaving = "final";
    if (this.open.size === 0) return this.finish();
    for (const stream of this.open.all()) {
      if (stream.remoteEnded) continue;
      this.resetStream(stream, ERROR.cancel);
      stream.broken(undefined);
    }
    this.#hasInputEnded = true;
    // A client that is gone altogether refuses it, which the kernel says at the next one: the connection ends with that.
    // One that still reads need not answer.
    if (this.open.size > 0) this.askAlive();
  }

  get peer(): ConnectionPeer {
    return (this.#peer ??= ConnectionPeer.of(this.socket) as ConnectionPeer);
  }

  // ── of the listener ──────────────────────────────────────────────────────────────────────────

  get active(): number {
    return this.open.size;
  }

  get destroyed(): boolean {
    return this.ended || this.fault !== undefined;
  }

  /**
   * RFC 9113 §6.8: a first GOAWAY that lets in what is on its way, and a second one that says which was the last.
   * The connection ends with its last stream.
   */
  leave(): void {
    if (this.#leaving !== "no" || this.destroyed) return;
    this.#leaving = "asked";
    // Unless another reason was said before.
    this.front.parts.closing(this.socket, "drain");
    this.goaway(MAX_STREAM_ID);
    this.runtime.after(LEAVE_MS, leaveForGood, this);
  }

  leaveForGood(): void {
    if (this.#leaving === "final" || this.destroyed) return;
    this.#leaving = "final";
    this.goaway(this.#lastStream);
    if (this.open.size === 0) this.finish();
  }

  look(now: number): void {
    if (now - this.#lookedAt < TICK_MS) return;
    this.#lookedAt = now;
    if (now >= this.#endsAt && this.#leaving === "no") {
      this.front.parts.closing(this.socket, "age");
      this.leave();
    }
    this.tick();
  }

  closeIdle(): void {
    if (this.open.size === 0) this.leaveForGood();
  }

  /** It has done too much of something: it is asked to go, and destroyed a second later by core. */
  calmDown(): void {
    writeGoaway(this.out, this.#lastStream, ERROR.enhanceYourCalm, "");
    this.#leaving = "final";
    this.flush();
  }

  // ── of the connection ────────────────────────────────────────────────────────────────────────

  protected get lastPeerStream(): number {
    return this.#lastStream;
  }

  protected isIdle(id: number): boolean {
    return id > Math.max(this.#lastStream, this.#ignoredUpTo) || (id & 1) === 0;
  }

  protected openStream(id: number): Http2Stream | undefined | false {
    if ((id & 1) === 0) return this.fail(ERROR.protocol, "a stream with an even number");
    if (id <= this.#lastStream) {
      return this.fail(ERROR.streamClosed, "HEADERS on a stream that has ended");
    }
    this.#lastStreamSeen(id);
    // Behind the second GOAWAY nothing is looked at any more; its sender sends it elsewhere.
    if (this.#leaving === "final") return undefined;
    const { parts, misuse } = this.front;
    if (this.open.size >= parts.limits.maxConcurrentStreams) {
      this.refuseStream(id, ERROR.refusedStream);
      // Before it knew of the limit, it could not keep to it.
      if (this.settings.confirmed) misuse.reset(this, NaN, Infinity);
      return undefined;
    }
    this.streams++;
    this.floods.streams++;
    this.#idleTicks = 0;
    const stream = new FrontStream(id, this);
    this.open.add(stream);
    return stream;
  }

  #lastStreamSeen(id: number): void {
    if (this.#leaving !== "final") this.#lastStream = id;
    else if (id > this.#lastStream) this.#ignoredUpTo = Math.max(this.#ignoredUpTo, id);
  }

  #ignoredUpTo = 0;

  protected unknownStream(id: number, type: number): boolean {
    if (id <= this.#ignoredUpTo && this.#leaving === "final") return true;
    return this.fail(
      ERROR.streamClosed,
      `${type === FRAME.data ? "DATA" : "a frame"} on a stream that has ended`,
    );
  }

  protected settingsChanged(): void {}

  protected goawayReceived(): void {
    // The client opens nothing more; what is in progress goes on.
    if (this.open.size === 0) this.finish();
    else if (this.#leaving === "no") this.#leaving = "asked";
    this.#clientLeaves = true;
  }

  #clientLeaves = false;

  protected streamClosed(stream: Http2Stream): void {
    this.headBytes -= stream.headBytes;
    if (this.open.size > 0 || this.destroyed) return;
    if (this.#leaving === "final" || this.#clientLeaves) this.finish();
  }

  protected streamReset(stream: Http2Stream, byPeer: boolean): void {
    this.front.parts.streamReset(byPeer ? "client" : "server");
    const { request } = stream as FrontStream;
    const startedAt = request?.startedAt ?? NaN;
    this.front.misuse.reset(
      this,
      startedAt === 0 ? NaN : startedAt,
      request?.deadlineAt ?? Infinity,
    );
  }

  protected flooded(kind: FloodKind | "head_too_large"): void {
    this.front.parts.count(kind);
  }

  protected connectionClosed(): void {
    if (this.fault !== undefined && !this.#counted) this.front.parts.count("http2_error");
    this.#onClosed();
  }

  #counted = false;

  protected stalled(): void {
    this.#counted = true;
    this.front.parts.count("write_stall");
    this.destroy();
  }

  protected ticked(age: number, headAge: number): void {
    if (this.#hasInputEnded) this.askAlive();
    const { handshakeTimeoutMs, headersTimeoutMs, keepAliveIdleMs } = this.front.parts.limits;
    if (!this.settings.settled && age * 1_000 >= handshakeTimeoutMs) {
      this.#counted = true;
      this.front.parts.count("handshake_timeout");
      this.fail(ERROR.settingsTimeout, "no preface and SETTINGS");
      return;
    }
    if (headAge * 1_000 >= headersTimeoutMs) {
      this.#counted = true;
      this.front.parts.count("head_timeout");
      this.fail(ERROR.enhanceYourCalm, "a head does not end");
      return;
    }
    if (this.open.size > 0) {
      this.#idleTicks = 0;
      // One that sends no more cannot answer.
      if (!this.#hasInputEnded) this.#lookAlive();
      return;
    }
    this.#liveness.rest();
    if (++this.#idleTicks * 1_000 >= keepAliveIdleMs && this.#leaving === "no") {
      this.front.parts.closing(this.socket, "idle");
      this.leave();
    }
  }

  #lookAlive(): void {
    const { parts } = this.front;
    const { pingIntervalMs, pingTimeoutMs } = parts.limits;
    const sign = this.#liveness.look(this.socket.bytesRead, pingIntervalMs, pingTimeoutMs);
    if (sign === "ask") this.askAlive();
    else if (sign === "gone") {
      parts.closing(this.socket, "error");
      this.destroy();
    }
  }
}

function leaveForGood(connection: Http2FrontConnection): void {
  try {
    connection.leaveForGood();
  } catch (error) {
    Defects.of(connection.front.parts.runtime).end(error, connection);
  }
}

class FrontStream extends Http2Stream implements ReplySink, BodySource {
  readonly #connection: Http2FrontConnection;
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

  constructor(id: number, connection: Http2FrontConnection) {
    super(id, connection);
    this.#connection = connection;
  }

  // ── what the client sends ────────────────────────────────────────────────────────────────────

  takeHead(fields: HpackField[], bytes: number, tooLarge: boolean, ends: boolean): void {
    if (this.headed) return this.#takeTrailers(fields, bytes, tooLarge);
    const connection = this.#connection;
    const { parts, misuse } = connection.front;
    this.headed = true;
    const head = new RequestHead();
    let refusal = readRequestHead(fields, head, connection.trust, parts.limits, connection, ends);
    if (refusal === MALFORMED) {
      if (!tooLarge) {
        parts.count("malformed");
        connection.streamError(this, ERROR.protocol, "a head that is malformed");
        return;
      }
      refusal = undefined;
    }
    // Of a head that was cut off nothing is known for sure.
    if (tooLarge) {
      const { maxHeaderCount } = parts.limits;
      refusal =
        fields.length >= maxHeaderCount ? REFUSALS.too_many_headers : REFUSALS.header_too_large;
    }
    if (head.glitch !== undefined) {
      parts.count(head.glitch);
      if (!connection.tolerate()) return;
    }
    head.headBytes = bytes;
    this.headBytes = bytes;
    if (!misuse.holds(connection, bytes)) refusal ??= REFUSALS.connection_headers;
    connection.headBytes += bytes;
    const { bodyLength } = head;
    if (bodyLength >= 0) this.expectedBytes = bodyLength;
    this.#isGrpc = head.isGrpc;
    const body = ends ? undefined : new RequestBody(this, parts.memory);
    const request = new ProxyRequest(head, body, this, connection, "2", parts, refusal);
    this.request = request;
    if (ends) connection.endOfHead(this, undefined);
    if (body === undefined || refusal !== undefined) this.#serve(request);
    else {
      this.#pieces = [];
      connection.serveLater(this);
    }
  }

  #serve(request: ProxyRequest): void {
    this.#isServed = true;
    this.#connection.front.parts.serve(request);
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

  #takeTrailers(fields: HpackField[], bytes: number, tooLarge: boolean): void {
    const connection = this.#connection;
    const { limits } = connection.front.parts;
    const trailers = trailerFields(fields);
    if (trailers === undefined) {
      connection.streamError(this, ERROR.protocol, "trailers that are malformed");
      return;
    }
    const tooMany = fields.length > limits.maxTrailerCount || bytes > limits.maxTrailerBytes;
    if (tooLarge || tooMany) connection.front.parts.count("trailers");
    connection.endOfHead(this, tooLarge || tooMany ? undefined : trailers);
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
    this.#connection.front.parts.count("write_stall");
    if (this.request !== undefined) this.request.cut = "write_stall";
    this.#connection.front.parts.streamReset("server");
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
    const { limits } = this.#connection.front.parts;
    if (this.silentTicks * 1_000 >= limits.bodyIdleTimeoutMs || this.#trickles(age)) {
      this.#cut("body_timeout", "the client owes the rest of its body");
    }
  }

  /** Less than `minReplyRate`, over a time in which a client that pauses can make up for it. */
  #isTakenTooSlowly(went: number): boolean {
    const { minReplyRate, writeStallTimeoutMs } = this.#connection.front.parts.limits;
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
    const { minBodyRate, bodyRateWindowMs } = this.#connection.front.parts.limits;
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
    const { parts } = this.#connection.front;
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
