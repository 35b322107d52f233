/**
 * A connection of the proxy to a server that speaks HTTP/2: each stream carries one attempt. A request is sent
 * once the server has said its settings, which prove that it speaks HTTP/2 and say how many streams it takes.
 */
import type { Socket } from "node:net";
import {
  StreamEnds,
  type CloseTrigger,
  type ReplayConsumer,
  type ServiceConfig,
  type Where,
} from "@inmesh/core/spi";
import {
  HTTP2_IDLE_MS,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  headTooLarge,
  isRefusal,
  streamError,
  type PooledSession,
  type SessionEnd,
  type SessionOwner,
} from "@inmesh/http/spi/codec";
import type { BodyReader } from "../body.ts";
import { Defects, onEvent } from "../defects.ts";
import type { Exchange } from "../exchange.ts";
import type { Field, Fields, FieldVisitor } from "../fields.ts";
import type { Wire } from "../halves.ts";
import { hasBodyByMethod, ReplyHead } from "../message.ts";
import { free } from "../spent.ts";
import type { Http2Clock } from "./clock.ts";
import { Http2Connection } from "./connection.ts";
import type { ConnectionLimits } from "./connection-life.ts";
import { ERROR, PREFACE, SETTING, writeSettings } from "./frames.ts";
import { HpackField } from "./hpack-fields.ts";
import {
  authorityField,
  EXPECT_CONTINUE,
  GRPC_TIMEOUT,
  grpcTimeoutField,
  lengthField,
  methodField,
  pathField,
  schemeField,
  TE_TRAILERS,
} from "./own-fields.ts";
import { readReplyHead } from "./reply-fields.ts";
import { Liveness } from "./liveness.ts";
import { ANY_LENGTH, Http2Stream, STREAM_WINDOW, trailerFields } from "./stream.ts";
import { DEFAULT_TABLE_BYTES, FIELD_OVERHEAD } from "./tables.ts";

const VERSION = 2;
/** Servers of gRPC end a connection, and the calls on it, when pings come more often than this (A8). */
const GRPC_PING_INTERVAL_MS = 300_000;
/** Of a connection that is as good as used up (faults.md G20). */
const LAST_ID = 2 ** 30;
const MAX_REPLY_FIELDS = 200;
const WRITE_STALL_MS = 30_000;
/** Servers send what clients must not. */
const PEER_FLOODS = { maxPings: 100, maxSettingsFrames: 10, maxGlitches: 100 };
const MAX_TRAILERS = 32;
const MAX_TRAILER_BYTES = 8_192;
/** `:method`, `:scheme`, `:authority`, `:path`, and what the codec adds, at most. */
const OWN_FIELDS_BYTES = 512;

export class Http2Session extends Http2Connection implements SessionEnd, PooledSession {
  readonly #service: ServiceConfig;
  readonly #owner: SessionOwner<Http2Session>;
  readonly #clock: Http2Clock;
  readonly #ends = new StreamEnds();
  #nextId = 1;
  #state: "settling" | "open" | "leaving" | "refusing" | "closed" = "settling";
  #used = false;
  #idleTicks = 0;
  /** How often something of a reply has come. */
  answers = 0;
  #ending = false;
  #pong: ((alive: boolean) => void)[] = [];
  /** Questions of `prove` without an answer. */
  #proofs = 0;
  readonly #liveness = new Liveness();
  /** Times the usual silence before a ping. */
  readonly #patience: number;
  #pingIntervalMs = PING_INTERVAL_MS;
  lastStreamId: number = Infinity;
  goawayCode = 0;
  error: Error | undefined = undefined;

  constructor(
    socket: Socket,
    service: ServiceConfig,
    clock: Http2Clock,
    owner: SessionOwner<Http2Session>,
  ) {
    super(socket, clock, limitsOf(service), DEFAULT_TABLE_BYTES);
    this.#service = service;
    this.#owner = owner;
    this.#clock = clock;
    this.#patience = clock.patience;
    // An error of TLS, such as the peer's alert, ends no socket by itself.
    socket.on("error", (error) => {
      this.error ??= error;
      socket.destroy();
    });
    onEvent(socket, "data", clock.runtime, this, (bytes) => this.read(bytes));
    onEvent(socket, "end", clock.runtime, this, () => this.#inputEnded());
    clock.sweep.add(this);
    const { out } = this;
    out.reserve(PREFACE.length);
    PREFACE.copy(out.buffer, out.at);
    out.at += PREFACE.length;
    writeSettings(out, [
      [SETTING.headerTableSize, DEFAULT_TABLE_BYTES],
      [SETTING.enablePush, 0],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, service.limits.maxReplyHeaderBytes],
    ]);
    this.window.open(out);
    this.flush();
  }

  get where(): Where {
    return this.#owner.where;
  }

  get ending(): boolean {
    return this.#state !== "settling" && this.#state !== "open";
  }

  get served(): boolean {
    return this.#ends.served;
  }

  get streams(): number {
    return this.open.size;
  }

  get room(): number {
    if (this.#state !== "open" || this.proving || this.fault !== undefined || this.ended) return 0;
    return this.settings.maxStreams - this.open.size;
  }

  get endedBy(): CloseTrigger | undefined {
    if (this.lastStreamId !== Infinity) return "peer";
    if (this.error !== undefined || this.fault !== undefined) return "error";
    return this.#ending ? undefined : "peer";
  }

  /** There is room for it. Does not throw. */
  start(exchange: Exchange): void {
    try {
      this.#start(exchange);
    } catch (error) {
      Defects.of(this.runtime).end(error, this);
      exchange.defective();
    }
  }

  #start(exchange: Exchange): void {
    const reused = this.#used;
    this.#used = true;
    const id = this.#nextId;
    const stream = new UpstreamStream(id, this, exchange);
    const { maxHeaderBytes } = this.settings;
    if (
      maxHeaderBytes !== Infinity &&
      exchange.request.headBytes + OWN_FIELDS_BYTES > maxHeaderBytes
    ) {
      const bytes = headBytesOf(exchange);
      if (bytes > maxHeaderBytes) {
        exchange.fail(headTooLarge(this.where, maxHeaderBytes));
        return;
      }
    }
    if (!exchange.begin(stream, VERSION, reused)) return;
    this.#nextId += 2;
    this.#idleTicks = 0;
    if (exchange.request.isGrpc) this.#pingIntervalMs = GRPC_PING_INTERVAL_MS;
    this.floods.streams++;
    this.open.add(stream);
    stream.begin(this.#service);
    if (id > LAST_ID) this.leave();
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** Takes no new streams, and ends with its last. */
  leave(): void {
    this.#leave("leaving");
  }

  #leave(state: "leaving" | "refusing"): void {
    if (this.ending) return;
    this.#state = state;
    this.#owner.leaving(this);
    if (this.open.size === 0) this.close();
  }

  close(): void {
    if (this.#state === "settling" || this.#state === "open") this.#state = "leaving";
    this.#ending = true;
    if (this.open.size === 0) this.finish();
  }

  override destroy(error?: Error): void {
    this.error ??= error;
    this.#ending = true;
    super.destroy();
  }

  flushLater(stream: { flushNow(): void; destroy(): void }): void {
    this.#clock.flushes.add(stream);
  }

  /** A stream is wanted no longer. */
  gaveUp(): void {
    this.#owner.streamReset("client");
    if (this.#ends.reset()) this.leave();
  }

  answered(): void {
    this.#ends.answered();
  }

  /** It is asked whether it is alive, and takes no streams before it has said so. */
  get proving(): boolean {
    return this.#proofs > 0;
  }

  /** Asks whether it is alive. What does not answer ends. */
  prove(patienceMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.ending) return resolve(false);
      const answered = (alive: boolean): void => {
        this.#proofs--;
        resolve(alive);
        if (alive) this.#owner.roomChanged(this);
      };
      this.#proofs++;
      this.#ping(answered);
      this.runtime.after(
        patienceMs,
        (session) => {
          if (session.#pong.includes(answered)) {
            session.destroy(new Error(`no answer to a ping within ${patienceMs} ms`));
          }
        },
        this,
      );
    });
  }

  #ping(answered: (alive: boolean) => void): void {
    this.#pong.push(answered);
    this.askAlive();
  }

  protected override pingAnswered(): boolean {
    this.#pong.shift()?.(true);
    return super.pingAnswered();
  }

  /**
   * A stream has had its time, and nothing was answered on the whole connection meanwhile. The server may be gone, or
   * packets be lost behind which all others wait, and the kernel would take a quarter of an hour to say so: new streams
   * get another connection, those on this one may still be answered (faults.md C20).
   */
  suspect(): void {
    this.error ??= new Error("nothing was answered in the whole time of an attempt");
    this.leave();
  }

  #inputEnded(): void {
    // The server sends nothing more: what has no reply will have none.
    if (this.open.size > 0) return super.destroy();
    // Until its socket has closed, which takes some turns, nothing may begin on it.
    if (!this.ending) this.#state = "leaving";
    this.finish();
  }

  // ── of the connection ────────────────────────────────────────────────────────────────────────

  protected get lastPeerStream(): number {
    return 0;
  }

  protected isIdle(id: number): boolean {
    return (id & 1) === 0 || id >= this.#nextId;
  }

  protected openStream(id: number): undefined | false {
    if (this.isIdle(id)) return this.fail(ERROR.protocol, "HEADERS on a stream that is idle");
    // Of one that has ended: its sender may not know yet.
    return this.glitch() ? undefined : false;
  }

  protected unknownStream(): boolean {
    return this.glitch();
  }

  protected settingsChanged(): void {
    if (this.#state === "settling") this.#state = "open";
    this.#owner.roomChanged(this);
  }

  protected goawayReceived(lastStream: number, code: number): void {
    this.goawayCode = code;
    if (code === ERROR.enhanceYourCalm) this.#clock.pingLess();
    this.lastStreamId = Math.min(this.lastStreamId, lastStream);
    this.leave();
    const lost = this.open.all().filter(({ id }) => id > this.lastStreamId);
    for (const stream of lost) {
      this.forgetStream(stream);
      stream.broken(undefined);
    }
  }

  protected streamClosed(): void {
    if (this.ended || this.fault !== undefined) return;
    if (this.open.size === 0 && this.ending) this.close();
    else this.#owner.roomChanged(this);
  }

  /** A server may have answered before it has read all (faults G15). */
  protected override isAnswered(stream: Http2Stream): boolean {
    return stream.remoteEnded;
  }

  protected streamReset(stream: Http2Stream, byPeer: boolean): void {
    if (byPeer) this.#owner.streamReset("server");
    else this.gaveUp();
    void stream;
  }

  /** The server has refused a stream. */
  refused(): void {
    if (!this.ending && this.#ends.refused() && this.#owner.replaces(this)) this.#leave("refusing");
  }

  protected flooded(): void {}

  protected connectionClosed(): void {
    const refusing = this.#state === "refusing";
    this.#state = "closed";
    if (this.fault !== undefined) this.error ??= new Error(this.fault.why);
    this.#clock.sweep.remove(this);
    const pong = this.#pong;
    this.#pong = [];
    for (const answer of pong) answer(false);
    this.#owner.closed(this, refusing);
  }

  protected override faulted(): void {
    this.error ??= new Error(this.fault!.why);
    this.leave();
  }

  protected stalled(): void {
    this.destroy(new Error(`nothing was taken for ${WRITE_STALL_MS} ms`));
  }

  protected ticked(): void {
    if (this.open.size > 0) {
      this.#idleTicks = 0;
      this.#lookAlive();
      return;
    }
    this.#liveness.rest();
    if (++this.#idleTicks * 1_000 >= HTTP2_IDLE_MS && this.#state === "open") this.close();
  }

  #lookAlive(): void {
    const intervalMs = this.#pingIntervalMs * this.#patience;
    const sign = this.#liveness.look(this.socket.bytesRead, intervalMs, PING_TIMEOUT_MS);
    if (sign === "ask") this.#ping(ignore);
    else if (sign === "gone") {
      this.destroy(new Error(`no answer to a ping within ${PING_TIMEOUT_MS} ms`));
    }
  }
}

function ignore(): void {}

function limitsOf(service: ServiceConfig): ConnectionLimits {
  return {
    ...PEER_FLOODS,
    maxHeaderBytes: service.limits.maxReplyHeaderBytes,
    maxHeaderCount: MAX_REPLY_FIELDS,
    writeStallTimeoutMs: WRITE_STALL_MS,
  };
}

/** Counts what a head would have. */
function headBytesOf(exchange: Exchange): number {
  let total = OWN_FIELDS_BYTES;
  const visitor: FieldVisitor = {
    fields: (fields) => fields.visit(visitor),
    piece: (_, nameStart, nameEnd, valueStart, valueEnd) => {
      total += nameEnd - nameStart + (valueEnd - valueStart) + FIELD_OVERHEAD;
    },
    field: ({ name, value }: Field) => {
      total += name.length + value.length + FIELD_OVERHEAD;
    },
    text: (name, value) => {
      total += name.length + value.length + FIELD_OVERHEAD;
    },
  };
  exchange.visitFields(visitor);
  return total + exchange.request.head.target.length;
}

class UpstreamStream extends Http2Stream implements Wire, ReplayConsumer {
  readonly #session: Http2Session;
  readonly #exchange: Exchange;
  readonly #isHead: boolean;
  #reader: BodyReader | undefined = undefined;
  #reply: ReplyHead | undefined = undefined;
  #flushing = false;
  /** `answers` of the connection when something of this stream came last, or it began. */
  #answers: number;

  constructor(id: number, session: Http2Session, exchange: Exchange) {
    super(id, session);
    this.#session = session;
    this.#answers = session.answers;
    this.#exchange = exchange;
    this.#isHead = exchange.request.head.method === "HEAD";
  }

  // ── the request ──────────────────────────────────────────────────────────────────────────────

  begin(service: ServiceConfig): void {
    const exchange = this.#exchange;
    const session = this.#session;
    const { head } = exchange.request;
    // HTTP/2 has no Upgrade: of a request that would change the protocol nothing follows its head.
    const body = head.upgrade === undefined ? exchange.request.body : undefined;
    const writer = session.sending.beginHead();
    writer.own(methodField(head.method));
    writer.own(schemeField(service.scheme === "https"));
    writer.own(authorityField(exchange.authority));
    const { targetField } = head;
    writer.own(targetField instanceof HpackField ? targetField : pathField(head.target));
    const { isGrpc } = head;
    if (isGrpc) {
      const { attempt } = exchange;
      const { deadlineAt } = attempt.call;
      // One that cannot be read goes on as it is: its server refuses it, as its client has to learn (faults G18).
      if (deadlineAt !== Infinity && !head.hasBadGrpcTimeout) {
        writer.without = GRPC_TIMEOUT;
        writer.own(grpcTimeoutField(deadlineAt - (attempt.sentAt || attempt.startedAt)));
      }
    }
    exchange.visitFields(writer);
    writer.without = undefined;
    const whole = body?.whole;
    const length = whole?.length ?? head.bodyLength;
    // Clients of gRPC write none, whatever they know of it.
    if (
      !isGrpc &&
      (length > 0 || (length === 0 && (body !== undefined || hasBodyByMethod(head.method))))
    ) {
      writer.own(lengthField(length));
    }
    if (head.takesTrailers) writer.own(TE_TRAILERS);
    if (head.expectsContinue) writer.own(EXPECT_CONTINUE);
    const ends = body === undefined || whole?.length === 0;
    session.sending.closeHead(this, ends);
    if (ends) return;
    if (whole !== undefined) {
      exchange.sent(whole.length);
      this.send(whole, 0, whole.length);
      this.sendEnd(body.trailers);
      return;
    }
    this.#reader = body.read(this);
    this.readable();
  }

  /** There is more of the body, or its end. */
  readable(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    // What is taken makes room at the client, whose next piece may come right here, and be sent or wait.
    while (!this.closed && !this.waits) {
      const chunk = reader.next;
      if (chunk === undefined) break;
      this.#exchange.sent(chunk.length);
      if (!this.send(chunk, 0, chunk.length)) return; // `drained` takes it
      this.#take(reader);
    }
    if (this.closed || this.waits || this.#reader?.ended !== true) return;
    const { body } = this.#exchange.request;
    this.#reader = undefined;
    // Cut short by the client: the server has to see that it is not whole.
    if (body!.error === undefined) this.sendEnd(body!.trailers);
    else this.reset(ERROR.cancel);
  }

  /** What is sent has been copied. */
  #take(reader: BodyReader): void {
    const chunk = reader.next;
    const { spends } = this.#exchange.request.body!;
    reader.take();
    if (spends && chunk !== undefined) free(chunk);
  }

  protected drained(): void {
    if (this.#reader !== undefined) this.#take(this.#reader);
    this.readable();
  }

  protected sentAll(): void {}

  // ── the reply ────────────────────────────────────────────────────────────────────────────────

  takeHead(fields: HpackField[], bytes: number, tooLarge: boolean, ends: boolean): void {
    const exchange = this.#exchange;
    const session = this.#session;
    this.#answers = ++session.answers;
    if (tooLarge) {
      this.reset(ERROR.cancel);
      session.gaveUp();
      const what = "the head of the reply is larger than limits.maxReplyHeaderBytes";
      exchange.fail(exchange.badReply("response_header_too_large", what));
      return;
    }
    if (this.headed) return this.#takeTrailers(fields, bytes);
    const head = new ReplyHead();
    const wrong = readReplyHead(fields, head, this.#isHead, ends);
    if (wrong !== undefined) {
      session.streamError(this, ERROR.protocol, `a reply that is malformed: ${wrong}`);
      return;
    }
    if (head.status < 200) {
      exchange.interim(head);
      return;
    }
    this.headed = true;
    this.#reply = head;
    session.answered();
    const { bodyLength, saidLength } = head;
    if (bodyLength >= 0) this.expectedBytes = bodyLength;
    else if (saidLength === 0) this.expectedBytes = 0;
    // Before the server's GOAWAY: a request that crosses that one may be lost.
    if (head.leaving) session.leave();
    this.pause();
    if (ends) session.endOfHead(this, undefined);
    exchange.replied(head);
  }

  #takeTrailers(fields: HpackField[], bytes: number): void {
    const trailers = trailerFields(fields);
    if (trailers === undefined) {
      this.#session.streamError(this, ERROR.protocol, "trailers that are malformed");
      return;
    }
    const tooMany = fields.length > MAX_TRAILERS || bytes > MAX_TRAILER_BYTES;
    this.#session.endOfHead(this, tooMany ? undefined : trailers);
  }

  protected deliver(bytes: Buffer, from: number, to: number): boolean {
    this.#answers = ++this.#session.answers;
    this.#flushSoon();
    return this.#exchange.data(bytes, from, to);
  }

  override resume(): void {
    super.resume();
    if (!this.remoteEnded) this.#flushSoon();
  }

  /** What came in this turn goes on at its end. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#session.flushLater(this);
  }

  /** Writer: `Flushes`. */
  flushNow(): void {
    this.#flushing = false;
    this.#exchange.flush();
  }

  /** After an error of the proxy's own. Writer: `Flushes`. */
  destroy(): void {
    this.#session.destroy();
  }

  protected delivered(trailers: Fields | undefined): void {
    this.#exchange.end(trailers);
    this.#reader?.close();
    // A server that has answered need not have the rest.
    if (!this.localEnded && !this.closed) {
      this.reset(ERROR.none);
      this.#session.gaveUp();
    }
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  abort(isLate = false): void {
    this.#reader?.close();
    this.drop();
    if (this.closed) return;
    const session = this.#session;
    this.reset(ERROR.cancel);
    session.gaveUp();
    if (isLate && this.#answers === session.answers) session.suspect();
  }

  broken(code: number | undefined): void {
    this.#reader?.close();
    const session = this.#session;
    const end = {
      id: this.id,
      rstCode: code ?? ERROR.none,
      replyStarted: this.#reply !== undefined,
      session,
      cause: session.error,
    };
    if (code !== undefined && isRefusal(end)) session.refused();
    this.#exchange.fail(streamError(session.where, end));
  }

  failed(code: number, why: string): void {
    this.#reader?.close();
    const exchange = this.#exchange;
    const isLength = this.expectedBytes !== ANY_LENGTH && why.includes("content-length");
    exchange.fail(
      exchange.badReply(isLength ? "content_length_mismatch" : "malformed_response", why),
    );
    void code;
  }

  stalled(): void {
    this.reset(ERROR.cancel);
    this.#session.gaveUp();
    const end = {
      id: this.id,
      rstCode: ERROR.cancel,
      replyStarted: this.#reply !== undefined,
      session: this.#session,
      cause: new Error("its window does not open"),
    };
    this.#exchange.fail(streamError(this.#session.where, end));
  }
}
