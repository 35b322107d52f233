/**
 * A connection over HTTP/1 to an endpoint. It carries one attempt at a time, and another only when everything about
 * the one before was in order: its request was sent whole, its reply had an end, and nothing came behind it.
 *
 * What is read goes into a buffer of the connection. A reply's head is given to the pipeline, which answers in
 * a microtask, before the next read; until then the rest of what was read stays where it is, and should
 * another read come first, it goes into a second buffer.
 */
import type { Socket } from "node:net";
import {
  MeshError,
  type ErrorReason,
  type ReplayConsumer,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import type { Connector, OnRead } from "@inmesh/http/spi/codec";
import type { BodyReader as RequestBodyReader } from "../body.ts";
import { Defects, onEvent } from "../defects.ts";
import type { Exchange } from "../exchange.ts";
import type { Flushed, Flushes } from "../flushes.ts";
import type { Wire } from "../halves.ts";
import { hasBodyByMethod, ReplyHead, UNKNOWN_LENGTH } from "../message.ts";
import { free } from "../spent.ts";
import { allowedOf, BodyReader, type BodyTarget } from "./body-reader.ts";
import { INCOMPLETE, MALFORMED, TOO_LARGE } from "./lexer.ts";
import { Output } from "./output.ts";
import { ReplyReader } from "./reply-reader.ts";

/** Enough for nearly every reply; a long body takes some reads more. */
const READ_BYTES = 16_384;
const HEAD_END = "\r\n\r\n";
const NOTHING = Buffer.alloc(0);
/** What a connection ends with that is cut off: for metrics, which tell it from an orderly end. */
const CUT_OFF = new Error("cut off by mesh-proxy");
const TRAILER_LIMITS = { maxTrailerCount: 32, maxTrailerBytes: 8_192 };

/** The pool that it belongs to. */
export interface UpstreamOwner {
  readonly config: ServiceConfig;
  readonly runtime: Runtime;
  readonly flushes: Flushes;
  /** It can carry another attempt. */
  free(upstream: Http1Upstream): void;
  gone(upstream: Http1Upstream): void;
}

export class Http1Upstream implements Wire, ReplayConsumer, BodyTarget, Flushed {
  readonly onread: OnRead;
  readonly #owner: UpstreamOwner;
  readonly #reader: ReplyReader;
  readonly #bodyReader = new BodyReader(TRAILER_LIMITS);
  #head = new ReplyHead();
  #socket!: Socket;
  #out!: Output;
  #connector!: Connector;
  #exchange: Exchange | undefined = undefined;
  #body: RequestBodyReader | undefined = undefined;
  /** It has a request, of which nothing is written yet. */
  #isDue = false;
  /** The request has been sent to its end. */
  #isSent = true;
  #sendsChunks = false;
  #isHead = false;
  #upgrade: string | undefined = undefined;
  #isTunnel = false;
  /** The final head has been read. */
  #hasHead = false;
  #isPaused = false;
  /** The socket does not read. */
  #isStopped = false;
  #isDelivering = false;
  #uses = 0;
  /** The end of the request line and the host of the last request: nearly always those of the next. */
  #authority = "";
  #hostLine: Buffer = NOTHING;
  #idleSince = 0;
  #idleHintMs = Infinity;
  /** Read and not yet taken. */
  #bytes: Buffer = NOTHING;
  #at = 0;
  #end = 0;
  #isJoined = false;
  readonly #buffers: [Buffer, Buffer | undefined] = [Buffer.allocUnsafeSlow(READ_BYTES), undefined];
  #reading = 0;
  #error: Error | undefined = undefined;
  /** A byte of a reply has come. */
  #heard = false;
  #hasEnded = false;
  #isOver = false;

  constructor(owner: UpstreamOwner) {
    this.#owner = owner;
    this.#reader = new ReplyReader(owner.config.limits);
    let hasRead = false;
    this.onread = {
      // Asked for once more with each address of a name that is tried, before anything is read; only then is what is
      // given in use, and undefined leaves it so.
      buffer: () => (hasRead ? (this.#nextBuffer() as Buffer) : this.#buffers[0]),
      callback: (bytes, buffer) => {
        hasRead = true;
        try {
          return this.#received(buffer as Buffer, bytes);
        } catch (error) {
          Defects.of(owner.runtime).end(error, this);
          return false;
        }
      },
    };
  }

  connected(socket: Socket, connector: Connector): void {
    this.#socket = socket;
    this.#connector = connector;
    this.#out = new Output(socket);
    this.#idleSince = this.#owner.runtime.now();
    const { runtime } = this.#owner;
    onEvent(socket, "end", runtime, this, () => this.#ended());
    // An error of TLS, such as the peer's alert, ends no socket by itself.
    socket.on("error", (error) => {
      this.#error ??= error;
      socket.destroy();
    });
    onEvent(socket, "drain", runtime, this, () => this.readable());
    onEvent(socket, "close", runtime, this, () => this.#gone());
    socket.resume();
  }

  // ── its life ─────────────────────────────────────────────────────────────────────────────────

  /** Nothing has come, and nothing has ended, since it is free. */
  get isUsable(): boolean {
    const socket = this.#socket;
    return !this.#isOver && !this.#hasEnded && !socket.destroyed && socket.writable;
  }

  /** When it is too old to be used again; its server may have said so. */
  idleUntil(keepAliveMs: number, marginMs: number): number {
    return this.#idleSince + Math.min(keepAliveMs, this.#idleHintMs - marginMs);
  }

  close(): void {
    this.#isOver = true;
    this.#socket.destroySoon();
  }

  end(error: MeshError): void {
    this.#isOver = true;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.fail(error);
    this.#socket.destroy(CUT_OFF);
  }

  /** After an error of the proxy's own. */
  destroy(): void {
    this.#isOver = true;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#out.drop();
    this.#socket.destroy(CUT_OFF);
    this.#body?.close();
    this.#body = undefined;
    exchange?.defective();
  }

  // ── the request ──────────────────────────────────────────────────────────────────────────────

  /** Does not throw. */
  start(exchange: Exchange): void {
    try {
      this.#start(exchange);
    } catch (error) {
      Defects.of(this.#owner.runtime).end(error, this);
    }
  }

  #start(exchange: Exchange): void {
    const reused = this.#uses > 0;
    if (!exchange.begin(this, 1, reused)) return this.#owner.free(this);
    this.#uses++;
    this.#exchange = exchange;
    this.#hasHead = this.#heard = this.#isPaused = this.#isTunnel = false;
    // Behind the reads of this turn: what has been read meanwhile was no answer to it, and to write one request behind
    // the other keeps the code of both, ours and the kernel's, in the caches of the core.
    this.#isDue = true;
    this.#owner.flushes.add(this);
  }

  /** Writer: `Flushes`. */
  flushNow(): void {
    const exchange = this.#exchange;
    if (!this.#isDue || exchange === undefined) return;
    this.#isDue = false;
    this.#write(exchange);
  }

  #write(exchange: Exchange): void {
    const { request } = exchange;
    const { head, body } = request;
    const out = this.#out;
    const { method, bodyLength, upgrade } = head;
    this.#isHead = method === "HEAD";
    this.#upgrade = upgrade;
    if (head.lineStart >= 0) out.copy(head.fields.bytes, head.lineStart, head.targetEnd);
    else out.line(`${method} ${head.target}`);
    const { authority } = exchange;
    if (authority !== this.#authority) {
      this.#authority = authority;
      this.#hostLine = Buffer.from(` HTTP/1.1\r\nhost: ${authority}\r\n`, "latin1");
    }
    out.copy(this.#hostLine, 0, this.#hostLine.length);
    exchange.visitFields(out);
    if (upgrade !== undefined) out.line(`connection: upgrade\r\nupgrade: ${upgrade}\r\n`);
    else if (head.takesTrailers) out.line("te: trailers\r\nconnection: te\r\n");
    // Its client sends the body when the server says so; one that has sent it already does not wait.
    if (head.expectsContinue && body !== undefined && body.whole === undefined) {
      out.line("expect: 100-continue\r\n");
    }
    this.#sendsChunks = false;
    if (upgrade === undefined && body !== undefined) {
      if (bodyLength === UNKNOWN_LENGTH) {
        this.#sendsChunks = true;
        out.line("transfer-encoding: chunked\r\n\r\n");
      } else {
        out.text("content-length", `${bodyLength}`);
        out.line("\r\n");
      }
    } else if (body === undefined && hasBodyByMethod(method)) out.line("content-length: 0\r\n\r\n");
    else out.line("\r\n");
    this.#isSent = body === undefined;
    if (body === undefined) {
      out.flush();
      return;
    }
    const { whole } = body;
    if (whole !== undefined) {
      out.whole(whole, false);
      exchange.sent(whole.length);
      this.#isSent = true;
      out.flush();
      return;
    }
    this.#body = body.read(this);
    if (upgrade !== undefined) {
      // Its body are the bytes of the other protocol, if there will be one.
      this.#isSent = true;
      out.flush();
      return;
    }
    this.readable();
    // Of a body of which nothing is here yet the head goes ahead.
    out.flush();
  }

  /** There is more of the body, or room for it. */
  readable(): void {
    const reader = this.#body;
    const exchange = this.#exchange;
    if (reader === undefined || exchange === undefined) return;
    if (this.#upgrade !== undefined && !this.#isTunnel) return;
    if (this.#isTunnel && reader.state === "closed") {
      // Its client has gone, and nothing else ends a connection that has no further request.
      this.abort();
      return;
    }
    const out = this.#out;
    if (out.isFull) return;
    const body = exchange.request.body!;
    for (let chunk = reader.next; chunk !== undefined; chunk = reader.next) {
      exchange.sent(chunk.length);
      if (this.#sendsChunks) out.chunkSize(chunk.length);
      const { spends } = body;
      const copied = out.whole(chunk, spends);
      if (this.#sendsChunks) out.line("\r\n");
      // Behind the write: what is taken makes room, and the next piece may come right here.
      reader.take();
      if (copied && spends) free(chunk);
      if (out.isFull) {
        out.flush();
        return;
      }
    }
    // What is taken makes room at the client, whose next piece, or end, may have come right here.
    if (this.#body !== reader) return;
    if (reader.ended) this.#bodyEnded(exchange);
    else if (reader.state !== "open") this.#body = undefined;
    out.flush();
  }

  #bodyEnded(exchange: Exchange): void {
    this.#body?.close();
    this.#body = undefined;
    const body = exchange.request.body!;
    if (body.error !== undefined) {
      // Its client has broken off: the server must not take what it has for the whole.
      this.#out.drop();
      this.#isOver = true;
      exchange.fail(
        new MeshError({
          code: "bad_request",
          reason: "bad_body",
          message: `${exchange.where}: ${(body.error as Error).message}`,
          progress: "maybe-processed",
          stackless: true,
        }),
        "abandoned",
      );
      this.#exchange = undefined;
      this.#socket.destroy(CUT_OFF);
      return;
    }
    if (this.#isTunnel) {
      this.#out.flush();
      this.#socket.end();
      return;
    }
    if (this.#sendsChunks) this.#out.lastChunk(body.trailers);
    this.#isSent = true;
  }

  // ── the reply ────────────────────────────────────────────────────────────────────────────────

  /** The buffer for the next read, if it may not be the same. */
  #nextBuffer(): Buffer | undefined {
    if (this.#at === this.#end || this.#bytes !== this.#buffers[this.#reading]) return undefined;
    this.#reading ^= 1;
    return (this.#buffers[this.#reading] ??= Buffer.allocUnsafeSlow(READ_BYTES));
  }

  /** False: nothing more is read for now. */
  #received(buffer: Buffer, length: number): boolean {
    const exchange = this.#exchange;
    if (exchange === undefined || this.#isDue) {
      // A reply to nothing. What it would belong to is not known, so it belongs to no one.
      if (exchange !== undefined) this.#lost(exchange);
      this.#isOver = true;
      this.#socket.destroy();
      return false;
    }
    this.#heard = true;
    if (this.#at === this.#end) {
      this.#bytes = buffer;
      this.#at = 0;
      this.#end = length;
      this.#isJoined = false;
    } else {
      // A head in pieces, or a reply that nothing has taken yet.
      const kept = this.#end - this.#at;
      const joined = Buffer.allocUnsafe(kept + length);
      this.#bytes.copy(joined, 0, this.#at, this.#end);
      buffer.copy(joined, kept, 0, length);
      this.#bytes = joined;
      this.#at = 0;
      this.#end = joined.length;
      this.#isJoined = true;
    }
    this.#deliver();
    // What is given up by `false` starts again with the socket's `resume`, whatever its `isPaused` says.
    this.#isStopped = this.#isPaused && this.#end - this.#at >= READ_BYTES;
    return !this.#isStopped;
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isDelivering) this.#deliver();
    if (this.#isStopped && !this.#isPaused) {
      this.#isStopped = false;
      this.#socket.resume();
    }
  }

  #deliver(): void {
    this.#isDelivering = true;
    while (this.#exchange !== undefined && !this.#isPaused) {
      const isMore = this.#hasHead
        ? this.#readBody(this.#exchange)
        : this.#readHead(this.#exchange);
      if (!isMore) break;
    }
    this.#isDelivering = false;
  }

  /** False: what there is has been used up. */
  #readHead(exchange: Exchange): boolean {
    if (this.#at === this.#end) return false;
    if (this.#isJoined && !this.#mayBeWhole()) return false;
    const head = this.#head;
    const at = this.#reader.read(
      this.#bytes,
      this.#at,
      this.#end,
      head,
      this.#isHead,
      this.#upgrade,
    );
    if (at === INCOMPLETE) {
      if (this.#hasEnded) this.#lost(exchange);
      return false;
    }
    if (at === MALFORMED || at === TOO_LARGE) {
      const error =
        at === TOO_LARGE
          ? exchange.badReply(
              "response_header_too_large",
              "the reply's head is larger than limits.maxReplyHeaderBytes: send fewer headers or cookies, or raise the limit",
            )
          : exchange.badReply(
              "malformed_response",
              `malformed reply (${this.#reader.problem}): look at what listens there`,
            );
      this.#break(exchange, error);
      return false;
    }
    this.#at = at;
    const { status } = head;
    if (status === 101) {
      this.#hasHead = this.#isTunnel = this.#isPaused = true;
      this.#bodyReader.startUntilClose();
      // Either end may have said all and still read, as over TCP.
      this.#socket.allowHalfOpen = true;
      this.#head = new ReplyHead();
      exchange.upgraded(head);
      return false;
    }
    if (status < 200) return exchange.interim(head);
    this.#hasHead = true;
    const bodyReader = this.#bodyReader;
    const reader = this.#reader;
    if (reader.chunked) bodyReader.startChunked();
    else if (reader.untilClose) bodyReader.startUntilClose();
    else bodyReader.startLength(head.bodyLength);
    this.#isPaused = true;
    exchange.replied(head);
    return !this.#isPaused;
  }

  /** A head that comes in pieces is read again only when its end can be here: else bytes by the piece cost a square. */
  #mayBeWhole(): boolean {
    if (this.#end - this.#at > this.#owner.config.limits.maxReplyHeaderBytes) return true;
    return this.#bytes.subarray(this.#at, this.#end).indexOf(HEAD_END) >= 0;
  }

  /** False: what there is has been used up, or the reader wants no more. */
  #readBody(exchange: Exchange): boolean {
    const reader = this.#bodyReader;
    if (!reader.ended) {
      if (this.#at < this.#end) {
        const at = reader.read(this.#bytes, this.#at, this.#end, this);
        if (at === MALFORMED) {
          this.#break(
            exchange,
            exchange.badReply("malformed_response", `malformed reply (${reader.problem})`),
          );
          return false;
        }
        this.#at = at;
        if (this.#isPaused) {
          exchange.flush();
          return false;
        }
        if (exchange.over) return false;
      }
      if (!reader.ended && this.#hasEnded && this.#at === this.#end)
        return this.#closedInBody(exchange);
      if (!reader.ended) {
        if (this.#isTunnel) this.readable();
        exchange.flush();
        return false;
      }
    }
    this.#replyEnded(exchange);
    return false;
  }

  bodyData(bytes: Buffer, start: number, end: number): boolean {
    const exchange = this.#exchange;
    if (exchange === undefined) return false;
    if (exchange.data(bytes, start, end)) return this.#exchange !== undefined;
    this.#isPaused = true;
    return false;
  }

  #replyEnded(exchange: Exchange): void {
    const trailers = allowedOf(this.#bodyReader.trailers);
    this.#exchange = undefined;
    this.#body?.close();
    this.#body = undefined;
    exchange.end(trailers);
    if (this.#isSent) return this.#release(exchange.attempt.endedAt);
    // An answer before the request was sent: what is not sent never will be, and the connection ends.
    this.#isOver = true;
    this.#socket.destroySoon();
  }

  /** The attempt has ended, and another one may come. */
  #release(now: number): void {
    // Surplus bytes belong to no request (faults C13).
    const isClean = this.#at === this.#end && this.#reader.keepAlive && !this.#hasEnded;
    if (!isClean || this.#isOver || this.#isTunnel) {
      this.#isOver = true;
      this.#socket.destroySoon();
      return;
    }
    this.#bytes = NOTHING;
    this.#at = this.#end = 0;
    this.#idleHintMs = this.#reader.idleHintMs;
    this.#idleSince = now;
    this.#owner.free(this);
  }

  abort(): void {
    this.#isOver = true;
    this.#exchange = undefined;
    this.#body?.close();
    this.#body = undefined;
    this.#socket.destroy(CUT_OFF);
  }

  #break(exchange: Exchange, error: MeshError): void {
    this.#isOver = true;
    this.#exchange = undefined;
    this.#body?.close();
    this.#body = undefined;
    exchange.fail(error);
    this.#socket.destroy(CUT_OFF);
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** The server sends nothing more. */
  #ended(): void {
    this.#hasEnded = true;
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.#isOver = true;
      this.#socket.destroySoon();
    } else if (!this.#isPaused) {
      if (this.#at === this.#end && !this.#hasHead) this.#lost(exchange);
      else this.#deliver();
    }
  }

  #closedInBody(exchange: Exchange): boolean {
    const reader = this.#bodyReader;
    if (this.#isTunnel && this.#error !== undefined) {
      this.#lost(exchange);
      return false;
    }
    // A reset that looks like an end (faults C12).
    if (reader.isUntilClose && (this.#isTunnel || !this.#connector.broke(this.#socket))) {
      reader.close();
      if (this.#isTunnel) {
        exchange.end(undefined);
        return false;
      }
      this.#replyEnded(exchange);
      return false;
    }
    this.#lost(exchange);
    return false;
  }

  #gone(): void {
    try {
      this.#left();
    } finally {
      // Whatever else goes wrong, its pool must not wait for it.
      this.#owner.gone(this);
    }
  }

  #left(): void {
    this.#isOver = this.#hasEnded = true;
    const exchange = this.#exchange;
    if (exchange !== undefined) {
      if (this.#hasHead && !this.#isPaused) this.#deliver();
      // What has come may still wait for the client.
      if (this.#exchange !== undefined && !(this.#isPaused && this.#hasHead)) {
        this.#lost(this.#exchange);
      }
    }
  }

  #lost(exchange: Exchange): void {
    this.#isOver = true;
    this.#exchange = undefined;
    this.#body?.close();
    this.#body = undefined;
    const inReply = this.#hasHead || this.#heard;
    const reason: ErrorReason = inReply ? "reset_mid_response" : "reset_before_response";
    const cause = this.#error;
    if (cause !== undefined && !inReply && this.#uses === 1 && this.#connector.rejected(cause)) {
      // The first thing that its server has sent was what it finds wrong with our certificate (faults T5).
      exchange.fail(this.#connector.rejectionError(cause));
      this.#socket.destroy();
      return;
    }
    const code = (cause as { code?: string } | undefined)?.code ?? "closed";
    exchange.fail(
      new MeshError({
        code: "connection_lost",
        reason,
        message: `${exchange.where}: connection lost ${inReply ? "in the middle of the reply" : "before the reply"} (${code})`,
        progress: this.#isDue ? "not-sent" : "maybe-processed",
        cause,
        stackless: true,
      }),
    );
    this.#socket.destroy();
  }
}
