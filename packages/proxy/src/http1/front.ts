/**
 * A client's connection over HTTP/1. One request at a time: what is pipelined behind it waits unread, so replies
 * come in order. Nothing of a head is passed on as it came; the body goes on as it comes, and the client
 * waits where the server does.
 */
import type { Socket } from "node:net";
import {
  ConnectionPeer,
  endOfAge,
  Tally,
  type MeshError,
  type ServerPeer,
  type Trust,
} from "@inmesh/core/spi";
import { REFUSALS, type CutReason } from "@inmesh/http/spi/codec";
import { RequestBody, type BodySource } from "../body.ts";
import { onEvent } from "../defects.ts";
import type { Fields } from "../fields.ts";
import type { ReplySink } from "../halves.ts";
import type { FrontConnection, FrontParts } from "../listener.ts";
import { RequestHead, UNKNOWN_LENGTH, type ReplyHead } from "../message.ts";
import { OwnHead } from "../own-reply.ts";
import { ProxyRequest, type ClientConnection } from "../request.ts";
import { copyOf, free } from "../spent.ts";
import { allowedOf, BodyReader, type BodyTarget } from "./body-reader.ts";
import { INCOMPLETE, LF, MALFORMED } from "./lexer.ts";
import { Output } from "./output.ts";
import type { RequestReader } from "./request-reader.ts";
import { statusLine } from "./status.ts";

/** A body that is all here with its head, and no longer, goes on in one piece with it. */
const WHOLE_BYTES = 65_536;
/** Read ahead of a request in progress: what is pipelined. */
const AHEAD_BYTES = 65_536;
/** A tunnel through which nothing goes (security: `upgradeIdleMs`). */
const TUNNEL_IDLE_MS = 3_600_000;
/** One is forgotten after so long. */
const FORGET_GLITCH_MS = 10_000;
const NOTHING = Buffer.alloc(0);

/** What the connection waits for. */
const PHASE = {
  /** The head of a request; none is in progress. */
  head: 0,
  /** The body of the request in progress. */
  body: 1,
  /** The end of the reply. */
  reply: 2,
  /** Bytes of another protocol. */
  tunnel: 3,
  /** Both directions of the tunnel have ended, and its server has not taken all of what the client has sent. */
  tunnelRest: 4,
  /** The rest of what the client sends is dropped, then the connection is closed. */
  linger: 5,
  closed: 6,
} as const;
type Phase = (typeof PHASE)[keyof typeof PHASE];

export class Http1Front
  implements ReplySink, BodySource, BodyTarget, FrontConnection, ClientConnection
{
  trust: Trust;
  readonly #socket: Socket;
  readonly #parts: FrontParts;
  readonly #reader: RequestReader;
  readonly #bodyReader: BodyReader;
  readonly #out: Output;
  readonly #closed: () => void;
  #peer: ServerPeer | undefined = undefined;
  #head = new RequestHead();
  #request: ProxyRequest | undefined = undefined;
  #body: RequestBody | undefined = undefined;
  /** Pieces of a body that may turn out to be whole with its head. */
  #pieces: Buffer[] | undefined = undefined;
  #phase: Phase = PHASE.head;
  /** Read, and not yet taken. */
  #bytes: Buffer = NOTHING;
  #at = 0;
  #end = 0;
  /** The bytes are in a buffer of this connection's own, with room behind them. */
  #isOwn = false;
  /** They are of the body alone, and copied as they go on: no head stands in them, and no piece is a part of them. */
  #isCopied = false;
  /** There is more of a head than when it was looked at last. */
  #looksAgain = false;
  #isReading = false;
  #isFull = false;
  #served = 0;
  #keepAlive = true;
  #ends = false;
  #isHead = false;
  #isHttp10 = false;
  #saysContinue = false;
  /** The body that came with the head is none. */
  #isBadBody = false;
  #isLeaving = false;
  /** Framing of the reply. */
  #chunks = false;
  #replyLeft = 0;
  #isReplyFull = false;
  #lingered = 0;
  #glitches: Tally | undefined = undefined;
  /** It is old from then on: its replies say close. */
  readonly #endsAt: number;
  /** When something was read last, or looked for. */
  #readAt: number;
  /** For the clock: when this phase began, -1 for the next look, and what had been read or written. */
  #since: number;
  #rateSince = 0;
  #rateBytes = 0;
  #waitedBefore = 0;
  #writeSince = 0;

  constructor(socket: Socket, parts: FrontParts, reader: RequestReader) {
    this.#socket = socket;
    this.#parts = parts;
    this.#reader = reader;
    this.#bodyReader = new BodyReader(parts.limits);
    this.#out = new Output(socket);
    this.trust = parts.trustOf(() => this.peer);
    this.#readAt = this.#since = parts.runtime.now();
    this.#endsAt = endOfAge(parts.limits.maxConnectionAgeMs, parts.runtime);
    this.#isLeaving = parts.isLeaving;
    this.#closed = parts.opened(this, socket, "http1");
  }

  /** Takes what the client sends. `first`: what has been read already. */
  begin(first: Buffer | undefined): void {
    const socket = this.#socket;
    const { runtime } = this.#parts;
    onEvent(socket, "data", runtime, this, (chunk) => this.#received(chunk));
    onEvent(socket, "end", runtime, this, () => this.#clientEnded());
    socket.on("error", ignore);
    onEvent(socket, "drain", runtime, this, () => this.#drained());
    onEvent(socket, "close", runtime, this, () => this.#gone());
    if (first !== undefined && first.length > 0) this.#received(first);
    // A listener that does not look at what is spoken hands it over paused.
    else socket.resume();
  }

  get peer(): ServerPeer {
    return (this.#peer ??= ConnectionPeer.of(this.#socket));
  }

  // ── what the client sends ────────────────────────────────────────────────────────────────────

  #received(chunk: Buffer): void {
    const now = this.#parts.runtime.now();
    this.#readAt = now;
    switch (this.#phase) {
      case PHASE.linger:
        this.#lingered += chunk.length;
        if (this.#lingered > this.#parts.limits.lingerBytes) this.#socket.destroy();
        return;
      case PHASE.closed:
        return;
      case PHASE.tunnel:
        this.#since = now;
        if (!this.#body!.write(chunk)) this.#socket.pause();
        return;
      default:
    }
    if (this.#at === this.#end) {
      this.#bytes = chunk;
      this.#at = 0;
      this.#end = chunk.length;
      this.#isOwn = false;
      this.#isCopied = this.#phase === PHASE.body;
      this.#looksAgain = true;
      if (this.#phase === PHASE.head && this.#served > 0) this.#since = now;
    } else this.#append(chunk);
    this.#rateBytes += chunk.length;
    this.#process();
  }

  /** Bytes of a head that came in pieces: each is copied once, so that a byte at a time costs no square. */
  #append(chunk: Buffer): void {
    const kept = this.#end - this.#at;
    const needed = kept + chunk.length;
    if (!this.#isOwn || this.#bytes.length - this.#end < chunk.length) {
      const bytes = Buffer.allocUnsafe(Math.max(2 * needed, 2_048));
      this.#bytes.copy(bytes, 0, this.#at, this.#end);
      this.#bytes = bytes;
      this.#at = 0;
      this.#end = kept;
      this.#isOwn = true;
      this.#isCopied = false;
    }
    this.#end += chunk.copy(this.#bytes, this.#end);
    if (!this.#looksAgain) this.#looksAgain = chunk.includes(LF);
  }

  /** Takes what has been read, as far as it may. */
  #process(): void {
    if (this.#isReading) return; // called by what it calls
    this.#isReading = true;
    for (;;) {
      if (this.#phase === PHASE.body) {
        if (this.#at < this.#end) {
          if (this.#isFull || !this.#readBody()) break;
        } else break;
      } else if (this.#phase === PHASE.head && this.#at < this.#end) {
        if (!this.#readHead()) break;
      } else break;
    }
    this.#isReading = false;
    if (this.#isCopied && this.#at === this.#end) {
      this.#isCopied = false;
      free(this.#bytes);
      this.#bytes = NOTHING;
      this.#at = this.#end = 0;
    }
    this.#readMore();
  }

  /** Whether the socket goes on reading. */
  #readMore(): void {
    const waits = this.#phase === PHASE.reply ? this.#end - this.#at >= AHEAD_BYTES : this.#isFull;
    const socket = this.#socket;
    if (waits) socket.pause();
    else if (socket.isPaused()) socket.resume();
  }

  /** False: not all of it is here, or the connection takes no further one. */
  #readHead(): boolean {
    const { limits } = this.#parts;
    const reader = this.#reader;
    const bytes = this.#bytes;
    this.#isCopied = false;
    // A head that comes in pieces is looked at again with each line, and not with each byte.
    if (!this.#looksAgain && this.#end - this.#at <= limits.maxHeaderBytes) return false;
    this.#looksAgain = false;
    const head = this.#head;
    const at = reader.read(bytes, this.#at, this.#end, head, this.trust);
    if (at === INCOMPLETE) return false;
    const { refusal } = reader;
    if (at < 0 && refusal === undefined) {
      this.#parts.count("malformed");
      this.#refuseMalformed();
      return false;
    }
    if (at < 0) head.fields.clear(bytes);
    this.#served++;
    this.#phase = PHASE.reply;
    this.#keepAlive = at >= 0 && reader.keepAlive;
    this.#ends = at < 0;
    this.#isHead = head.method === "HEAD";
    this.#isHttp10 = reader.minor === 0;
    this.#saysContinue = head.expectsContinue;
    this.#chunks = this.#isBadBody = false;
    this.#at = at < 0 ? this.#end : at;
    const { glitch } = head;
    if (glitch !== undefined) this.#countGlitch(glitch);
    this.#body = at < 0 ? undefined : this.#bodyOf(head, reader.chunked);
    const version = this.#isHttp10 ? "1.0" : "1.1";
    const request = new ProxyRequest(
      head,
      this.#body,
      this,
      this,
      version,
      this.#parts,
      refusal ?? (this.#isBadBody ? REFUSALS.bad_framing : this.#upgradeProblem(head)),
    );
    request.startedAt = this.#readAt;
    this.#request = request;
    this.#parts.serve(request);
    return true;
  }

  /** A client that goes on with what is only tolerated is asked to leave. */
  #countGlitch(what: CutReason): void {
    const { runtime, limits } = this.#parts;
    this.#parts.count(what);
    this.#glitches ??= new Tally();
    if (!this.#glitches.add(runtime.now(), limits.maxGlitches, FORGET_GLITCH_MS)) return;
    this.#parts.count("glitches");
    this.#parts.closing(this.#socket, "glitch");
    this.#keepAlive = false;
  }

  /** What comes behind a request that would change the protocol could be of either. */
  #upgradeProblem({ upgrade }: RequestHead): (typeof REFUSALS)["bad_upgrade"] | undefined {
    if (upgrade === undefined || this.#at === this.#end) return undefined;
    this.#ends = true;
    return REFUSALS.bad_upgrade;
  }

  #bodyOf(head: RequestHead, chunked: boolean): RequestBody | undefined {
    const { memory } = this.#parts;
    const { bodyLength } = head;
    if (head.upgrade !== undefined) return new RequestBody(this, memory);
    if (bodyLength === 0) return undefined;
    const body = new RequestBody(this, memory);
    const bodyReader = this.#bodyReader;
    if (chunked) bodyReader.startChunked();
    else {
      bodyReader.startLength(bodyLength);
      if (bodyLength <= WHOLE_BYTES && this.#end - this.#at >= bodyLength) {
        body.whole = this.#bytes.subarray(this.#at, this.#at + bodyLength);
        this.#at += bodyLength;
        body.end();
        bodyReader.startLength(0);
        return body;
      }
    }
    this.#phase = PHASE.body;
    this.#since = this.#rateSince = this.#parts.runtime.now();
    this.#rateBytes = 0;
    if (!chunked || this.#at === this.#end || head.expectsContinue) return body;
    // Small bodies in chunks often come with their head: then there is a length after all.
    this.#body = body;
    const pieces = (this.#pieces = []);
    const at = bodyReader.read(this.#bytes, this.#at, this.#end, this);
    this.#pieces = undefined;
    if (at >= 0) {
      this.#at = at;
      if (bodyReader.ended && bodyReader.trailers === undefined) {
        body.whole = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
        head.bodyLength = body.whole!.length;
        body.end();
        this.#phase = PHASE.reply;
        return body;
      }
      for (const piece of pieces) if (!body.write(piece)) this.#isFull = true;
      if (bodyReader.ended) this.#endBody(head.takesTrailers);
      return body;
    }
    this.#at = this.#end;
    this.#ends = true;
    this.#keepAlive = false;
    this.#isBadBody = true;
    this.#phase = PHASE.reply;
    return undefined;
  }

  /** False: nothing more can be taken. */
  #readBody(): boolean {
    const at = this.#bodyReader.read(this.#bytes, this.#at, this.#end, this);
    if (at === MALFORMED) {
      this.#at = this.#end;
      this.#malformedBody();
      return false;
    }
    this.#at = at;
    this.#since = this.#parts.runtime.now();
    if (this.#bodyReader.ended) this.#endBody(this.#request?.head.takesTrailers === true);
    return true;
  }

  #endBody(takesTrailers: boolean): void {
    const reader = this.#bodyReader;
    const trailers = takesTrailers ? allowedOf(reader.trailers) : undefined;
    if (reader.droppedTrailers) this.#countGlitch("trailers");
    this.#phase = PHASE.reply;
    this.#body!.end(trailers);
  }

  bodyData(bytes: Buffer, start: number, end: number): boolean {
    const piece = this.#pieceOf(bytes, start, end);
    if (this.#pieces !== undefined) {
      this.#pieces.push(piece);
      return true;
    }
    if (this.#body!.write(piece)) return true;
    this.#isFull = true;
    return false;
  }

  #pieceOf(bytes: Buffer, start: number, end: number): Buffer {
    if (this.#isCopied && start === 0 && end === bytes.length) {
      this.#isCopied = false;
      return bytes;
    }
    // A buffer of this connection's own is written again. Of any other, parts would keep the whole from being freed.
    return this.#isOwn || this.#isCopied ? copyOf(bytes, start, end) : bytes.subarray(start, end);
  }

  /** The body takes more again. */
  resume(): void {
    this.#isFull = false;
    if (this.#phase === PHASE.tunnel) this.#socket.resume();
    else this.#process();
  }

  #clientEnded(): void {
    switch (this.#phase) {
      case PHASE.head:
        // A part of a head is not answered: its client has gone.
        this.#socket.end();
        return;
      case PHASE.body:
        this.#cutRequest("malformed", "the client has closed before the end of its body");
        return;
      case PHASE.reply:
        // As servers have it, Node's too: a client that closes its half waits for nothing any more.
        this.#socket.destroy();
        return;
      case PHASE.tunnel:
        this.#body!.end();
        return;
      case PHASE.linger:
        this.#socket.destroy();
        return;
      default:
    }
  }

  #malformedBody(): void {
    this.#cutRequest("malformed", `the body is none of HTTP/1: ${this.#bodyReader.problem}`);
  }

  /** The client breaks the rules, or stalls: 400 or 408 if nothing was answered, and the end of its connection. */
  #cutRequest(reason: CutReason, why: string, status = 400): void {
    const request = this.#request;
    if (request === undefined) return;
    request.cut = reason;
    this.#parts.count(reason);
    this.#body?.fail(new Error(why));
    const answered = request.sentStatus !== 0;
    this.#keepAlive = false;
    if (answered) this.#socket.destroy();
    else {
      request.sentStatus = status;
      this.#writeOwn(new OwnHead(status, reason, this.trust.givesReasons));
    }
    this.#finish();
    request.leave();
    if (!answered) this.#lingerThenClose();
  }

  /** What is no request at all. */
  #refuseMalformed(): void {
    this.#keepAlive = false;
    this.#at = this.#end;
    this.#writeOwn(new OwnHead(400, "malformed", this.trust.givesReasons));
    this.#lingerThenClose();
  }

  #writeOwn({ head, body }: OwnHead): void {
    const out = this.#out;
    out.line(statusLine(head.status));
    out.fields(head.fields);
    out.line(`content-length: ${body.length}\r\nconnection: close\r\n\r\n`);
    if (!this.#isHead) out.copy(body, 0, body.length);
    out.flush();
  }

  // ── what the client gets ─────────────────────────────────────────────────────────────────────

  interim(head: ReplyHead): void {
    if (this.#isHttp10) return;
    if (head.status === 100) {
      // One, and only for a client that waits for it.
      if (!this.#saysContinue || this.#phase !== PHASE.body) return;
      this.#saysContinue = false;
    }
    const out = this.#out;
    out.line(statusLine(head.status));
    out.fields(head.fields);
    out.line("\r\n");
    out.flush();
  }

  head(head: ReplyHead, close: boolean): void {
    const out = this.#out;
    const { status, bodyLength, saidLength } = head;
    // A body of which the rest is still to come would be read as the next request by who believes in this reply.
    // So would what came behind a request that wanted to change the protocol, and may not.
    if (close || this.#isLeaving || this.#phase === PHASE.body) this.#keepAlive = false;
    if (this.#request?.head.upgrade !== undefined) this.#keepAlive = false;
    this.#chunks = false;
    this.#replyLeft = -1;
    out.begin();
    out.line(statusLine(status));
    out.fields(head.fields);
    if (this.#isHead || status === 204 || status === 304) {
      if (saidLength >= 0) out.text("content-length", String(saidLength));
      this.#replyLeft = 0;
    } else if (bodyLength !== UNKNOWN_LENGTH) {
      out.text("content-length", `${bodyLength}`);
      this.#replyLeft = bodyLength;
    } else if (saidLength === 0) {
      out.text("content-length", "0");
      this.#replyLeft = 0;
    } else if (this.#isHttp10) this.#keepAlive = false;
    else {
      this.#chunks = true;
      out.line("transfer-encoding: chunked\r\n");
    }
    if (!this.#keepAlive) out.line("connection: close\r\n\r\n");
    else out.line(this.#isHttp10 ? "connection: keep-alive\r\n\r\n" : "\r\n");
  }

  data(bytes: Buffer, start: number, end: number): boolean {
    const out = this.#out;
    const observed = this.#request?.observed;
    if (observed !== undefined) observed.sentBytes += end - start;
    if (this.#phase === PHASE.tunnel) {
      this.#since = this.#parts.runtime.now();
      out.data(bytes, start, end);
    } else if (this.#chunks) out.chunk(bytes, start, end);
    else {
      if (this.#replyLeft >= 0) this.#replyLeft -= end - start;
      out.data(bytes, start, end);
    }
    this.#isReplyFull = out.isFull;
    return !this.#isReplyFull;
  }

  flush(): void {
    this.#isReplyFull = !this.#out.flush();
  }

  end(trailers: Fields | undefined): void {
    const out = this.#out;
    if (this.#phase === PHASE.tunnel) {
      out.flush();
      this.#socket.end();
      return;
    }
    if (this.#chunks) {
      out.lastChunk(this.#request!.head.takesTrailers ? allowedOf(trailers) : undefined);
    }
    out.flush();
    if (this.#phase === PHASE.body && !this.#bodyReader.ended) {
      // An answer before the end of the body: the rest is read and dropped for a while.
      this.#keepAlive = false;
      this.#finish();
      this.#lingerThenClose();
      return;
    }
    this.#next();
  }

  fail(error: MeshError | undefined): void {
    const request = this.#request;
    if (error !== undefined && request !== undefined && this.#out.takeBack()) {
      return this.#answerInstead(request, error);
    }
    this.#out.drop();
    // Where only the end shows how long the body is, an orderly end would make it whole.
    if (this.#replyLeft < 0 && !this.#chunks) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  /** Of a reply that broke off, nothing has gone out. */
  #answerInstead(request: ProxyRequest, error: MeshError): void {
    const { head, status, body } = OwnHead.ofError(
      error,
      request.exhausted,
      this.trust.givesReasons,
    );
    const { observed } = request;
    if (observed !== undefined) observed.sentBytes = 0;
    request.sentStatus = status;
    request.isReplied = true;
    request.isBroken = false;
    this.head(head, false);
    if (!this.#isHead) this.data(body, 0, body.length);
    this.end(undefined);
  }

  upgraded(head: ReplyHead): void {
    const out = this.#out;
    out.line(statusLine(101));
    out.fields(head.fields);
    out.line(`connection: upgrade\r\nupgrade: ${head.upgrade}\r\n\r\n`);
    this.#phase = PHASE.tunnel;
    this.#keepAlive = this.#chunks = false;
    this.#replyLeft = -1;
    if (this.#at < this.#end) {
      const early = Buffer.from(this.#bytes.subarray(this.#at, this.#end));
      this.#at = this.#end;
      this.#body!.write(early);
    }
    this.#socket.resume();
  }

  /** The request and its reply have ended. */
  #next(): void {
    const call = this.#request?.call;
    this.#finish();
    if (!this.#keepAlive || this.#ends) return this.#lingerThenClose();
    this.#phase = PHASE.head;
    this.#since = -1;
    this.#looksAgain = true;
    if (this.#at < this.#end) {
      // The end of its call is noted behind its last bytes, and says what was asked for.
      if (call?.ended === false) this.#head = new RequestHead();
      this.#readAt = this.#parts.runtime.now();
      this.#process();
    } else if (!this.#isReading) this.#readMore();
  }

  /** Its end is reported once all of the reply is with the kernel, or the client has gone. */
  #finish(): void {
    const request = this.#request;
    if (request === undefined) return;
    this.#request = undefined;
    this.#body?.close();
    this.#body = undefined;
    if (this.#out.isEmpty) return request.finish();
    // What comes next must not take the place of what is still to be noted.
    this.#head = new RequestHead();
    this.#socket.write(NOTHING, (error) => {
      if (error != null) request.isReplied = false;
      request.finish();
    });
  }

  #drained(): void {
    if (!this.#isReplyFull) return;
    this.#isReplyFull = false;
    this.#request?.exchange?.resume();
  }

  /** Closing with unread bytes makes the kernel send a reset, which can eat the answer before it is read (faults H1). */
  #lingerThenClose(): void {
    if (this.#phase === PHASE.closed || this.#phase === PHASE.linger) return;
    this.#phase = PHASE.linger;
    this.#lingered = 0;
    this.#since = this.#parts.runtime.now();
    this.#at = this.#end = 0;
    this.#bytes = NOTHING;
    const socket = this.#socket;
    if (socket.destroyed) return;
    this.#parts.closing(socket, "idle");
    socket.end();
    if (socket.readableEnded) return;
    socket.resume();
  }

  #gone(): void {
    if (this.#phase === PHASE.tunnel && this.#owesServer) {
      this.#phase = PHASE.tunnelRest;
      this.#since = this.#parts.runtime.now();
      this.#waitedBefore = this.#body!.unsentBytes;
      return;
    }
    try {
      this.#leave();
    } finally {
      // Whatever else goes wrong, its listener must not wait for it.
      this.#closed();
    }
  }

  /** Its client has ended the tunnel in order, and not all of what it has sent has gone on. */
  get #owesServer(): boolean {
    const { errored, readableEnded, writableFinished } = this.#socket;
    const isOrderly = errored === null && readableEnded && writableFinished;
    return isOrderly && this.#body?.isRead === true;
  }

  #leave(): void {
    const phase = this.#phase;
    this.#phase = PHASE.closed;
    this.#out.drop();
    this.#bytes = NOTHING;
    this.#at = this.#end = 0;
    const request = this.#request;
    this.#request = undefined;
    if (request !== undefined) {
      const body = this.#body;
      this.#body = undefined;
      body?.fail(new Error("the client has gone"));
      if (phase === PHASE.tunnel) request.exchange?.abandon();
      request.finish();
      request.leave();
      body?.close();
    }
  }

  // ── its clock, and its end ───────────────────────────────────────────────────────────────────

  get active(): number {
    return this.#request === undefined ? 0 : 1;
  }

  /** Looks whether the client, or this connection, has waited too long. */
  look(now: number): void {
    const { limits } = this.#parts;
    if (now >= this.#endsAt && !this.#isLeaving) {
      this.#isLeaving = true;
      this.#parts.closing(this.#socket, "age");
      // One more request may be on its way to an idle connection: the idle clock closes it.
    }
    const socket = this.#socket;
    if (this.#since < 0) this.#since = now;
    const waited = now - this.#since;
    if (!this.#out.isEmpty) {
      if (socket.writableLength !== this.#waitedBefore || this.#writeSince === 0) {
        this.#waitedBefore = socket.writableLength;
        this.#writeSince = now;
      } else if (now - this.#writeSince >= limits.writeStallTimeoutMs) {
        if (this.#request !== undefined) this.#request.cut = "write_stall";
        this.#parts.count("write_stall");
        socket.destroy();
        return;
      }
    } else this.#writeSince = 0;
    switch (this.#phase) {
      case PHASE.head:
        if (this.#at < this.#end || this.#served === 0) {
          if (waited < limits.headersTimeoutMs) return;
          this.#parts.count("head_timeout");
          // One that never said a word is just closed.
          if (this.#at === this.#end) this.#close("idle");
          else {
            this.#writeOwn(new OwnHead(408, "head_timeout", this.trust.givesReasons));
            this.#lingerThenClose();
          }
        } else if (waited >= limits.keepAliveIdleMs) this.#close("idle");
        return;
      case PHASE.body:
        if (this.#isFull) this.#since = this.#rateSince = now;
        else if (waited >= limits.bodyIdleTimeoutMs || this.#trickles(now)) {
          this.#cutRequest("body_timeout", "the client owes the rest of its body", 408);
        }
        return;
      case PHASE.tunnel:
        if (waited >= TUNNEL_IDLE_MS) socket.destroy();
        return;
      case PHASE.tunnelRest:
        this.#lookAtRest(now);
        return;
      case PHASE.linger:
        if (waited >= limits.lingerMs && this.#out.isEmpty) socket.destroy();
        return;
      default:
    }
  }

  /** Of a tunnel whose client has closed: for as long as its server takes something. */
  #lookAtRest(now: number): void {
    const { isRead, unsentBytes } = this.#body!;
    if (isRead && unsentBytes !== this.#waitedBefore) {
      this.#waitedBefore = unsentBytes;
      this.#since = now;
    } else if (!isRead || now - this.#since >= this.#parts.limits.writeStallTimeoutMs) {
      this.#gone();
    }
  }

  /** Less than `minBodyRate` over a window. */
  #trickles(now: number): boolean {
    const { minBodyRate, bodyRateWindowMs } = this.#parts.limits;
    const elapsed = now - this.#rateSince;
    if (elapsed < bodyRateWindowMs) return false;
    const tooFew = this.#rateBytes < (minBodyRate * elapsed) / 1_000;
    this.#rateSince = now;
    this.#rateBytes = 0;
    return tooFew;
  }

  #close(trigger: "idle" | "drain"): void {
    this.#parts.closing(this.#socket, trigger);
    this.#phase = PHASE.linger;
    this.#since = this.#parts.runtime.now();
    this.#socket.end();
  }

  leave(): void {
    this.#isLeaving = true;
  }

  closeIdle(): void {
    if (this.#phase === PHASE.head && this.#at === this.#end) this.#close("drain");
  }

  destroy(): void {
    if (this.#phase === PHASE.tunnelRest) this.#gone();
    this.#socket.destroy();
  }
}

function ignore(): void {}
