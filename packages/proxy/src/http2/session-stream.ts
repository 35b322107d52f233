/**
 * A stream that the proxy has opened to a server: one attempt, its request and what comes of its reply. It drives the
 * exchange of the attempt, which judges.
 */
import type { ReplayConsumer, ServiceConfig, Where } from "@inmesh/core/spi";
import { isRefusal, streamError, type SessionEnd } from "@inmesh/http/spi/codec";
import type { BodyReader } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import type { Field, Fields, FieldVisitor } from "../fields.ts";
import type { Flushed } from "../flushes.ts";
import type { Wire } from "../halves.ts";
import { hasBodyByMethod, ReplyHead } from "../message.ts";
import { free } from "../spent.ts";
import { ERROR } from "./frames.ts";
import type { HeadFields } from "./hpack-decoder.ts";
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
import { ANY_LENGTH, Http2Stream, type StreamOwner } from "./stream.ts";
import { FIELD_OVERHEAD } from "./tables.ts";

/** `:method`, `:scheme`, `:authority`, `:path`, and what the codec adds, at most. */
export const OWN_FIELDS_BYTES = 512;

/** The connection to the server, as its streams need it. */
export interface SessionStreamOwner extends StreamOwner, SessionEnd {
  readonly where: Where;
  /** How often something of a reply has come. */
  answers: number;
  /** `stream.flushNow` is called at the end of this turn. */
  flushLater(stream: Flushed): void;
  /** The server has begun to answer a stream. */
  answered(): void;
  /** The server has refused a stream. */
  refused(): void;
  /** A stream is wanted no longer. */
  gaveUp(): void;
  /** A stream has had its time, and nothing was answered on the whole connection meanwhile. */
  suspect(): void;
  /** Takes no new streams, and ends with its last. */
  leave(): void;
  destroy(error?: Error): void;
}

/** Counts what a head would have. */
export function headBytesOf(exchange: Exchange): number {
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

export class SessionStream extends Http2Stream implements Wire, ReplayConsumer {
  readonly #session: SessionStreamOwner;
  readonly #exchange: Exchange;
  readonly #isHead: boolean;
  #reader: BodyReader | undefined = undefined;
  #reply: ReplyHead | undefined = undefined;
  #flushing = false;
  /** `answers` of the connection when something of this stream came last, or it began. */
  #answers: number;

  constructor(id: number, session: SessionStreamOwner, exchange: Exchange) {
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

  takeHead(fields: HeadFields, ends: boolean): void {
    const exchange = this.#exchange;
    const session = this.#session;
    this.#answers = ++session.answers;
    if (fields.tooLarge) {
      this.reset(ERROR.cancel);
      session.gaveUp();
      const what = "the head of the reply is larger than limits.maxReplyHeaderBytes";
      exchange.fail(exchange.badReply("response_header_too_large", what));
      return;
    }
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
    if (ends) session.headEnds(this);
    exchange.replied(head);
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
