/**
 * One request on an HTTP/2 connection. Gives its exchange the events that undici gives for HTTP/1.1,
 * and distinguishes what Node runs together: a reply that ended and one that was cut off.
 */
import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { addAbortSignal, Readable, pipeline } from "node:stream";
import type { MeshError, Where } from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import { CONTENT_LENGTH, CONTENT_TYPE, LEAVING, type RawHeaders } from "../../headers.ts";
import type { PoolHandler } from "../pool.ts";
import { MAX_REPLY_FIELDS } from "../reply-limits.ts";
import { bodyFailed, BodyFault, endedEarly } from "../supplied-body.ts";
import type { SentBody } from "./body.ts";
import { fieldBytes, headBytes, rawFields, withoutPseudo } from "./fields.ts";
import type { Http2Session } from "./session.ts";
import {
  badBody,
  headTooLarge,
  isRefusal,
  lengthMismatch,
  streamError,
  tooLarge,
  unsent,
  type StreamEnd,
} from "./stream-error.ts";

const NO_ERROR = 0;
/**
 * Resets a stream with CANCEL and nothing else. `stream.close(CANCEL)` would end the request body
 * first: to the server an upload that was aborted would look whole.
 */
const ABORTED = AbortSignal.abort();
// oxlint-disable-next-line no-restricted-globals -- one turn of the loop is no time
const nextTurn = setImmediate;
const ENDED: unique symbol = Symbol("ended");
type Noted = ClientHttp2Stream & { [ENDED]?: boolean };

export interface StreamLimits {
  readonly maxReplyHeaderBytes: number;
}

export class Http2Stream implements Dispatcher.DispatchController {
  paused = false;
  aborted = false;
  reason: Error | null = null;
  rawHeaders: string[] | null = null;
  rawTrailers: string[] | null = null;
  readonly #handler: PoolHandler;
  readonly #session: Http2Session;
  readonly #where: Where;
  readonly #limits: StreamLimits;
  #stream!: ClientHttp2Stream;
  #over = false;
  /** It was given up, and goes on without a reader. */
  #unwanted = false;
  #status = 0;
  #received = 0;
  #expected: number | undefined = undefined;
  #cause: Error | undefined = undefined;
  #bodyError: Error | undefined = undefined;
  #trailers: RawHeaders = {};
  #onRelease: () => void;

  constructor(
    session: Http2Session,
    handler: PoolHandler,
    where: Where,
    limits: StreamLimits,
    onRelease: () => void,
  ) {
    this.#session = session;
    this.#handler = handler;
    this.#where = where;
    this.#limits = limits;
    this.#onRelease = onRelease;
  }

  /** Sends the request. `fields` are ours to change. */
  start(fields: OutgoingHttpHeaders, body: SentBody | undefined): void {
    try {
      this.#handler.onRequestStart!(this, {});
    } catch {
      return this.#onRelease(); // it was queued, and no call waits for it any longer
    }
    if (this.aborted) return this.#onRelease();
    if (body?.length !== undefined) {
      const said = fields[CONTENT_LENGTH];
      if (said !== undefined && Number(said) !== body.length) {
        this.#finish(badBody(this.#where, "is not as long as content-length says"));
        return this.#onRelease();
      }
      fields[CONTENT_LENGTH] ??= String(body.length);
    }
    if (body?.type !== undefined) fields[CONTENT_TYPE] ??= body.type;
    // Node would send it, and the peer may end the whole connection for it.
    const { maxFieldBytes } = this.#session;
    if (headBytes(fields) > maxFieldBytes) {
      const error = headTooLarge(this.#where, maxFieldBytes);
      this.#finish(error);
      if (error.code !== "bad_request") this.#session.replace();
      return this.#onRelease();
    }
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(fields, body === undefined);
    } catch (error) {
      this.#finish(unsent(this.#where, error as Error));
      return this.#onRelease();
    }
    this.#stream = stream;
    stream.push = pushAndNote;
    stream.on("response", (headers, _, raw?: readonly string[]) =>
      this.#onHead(raw ?? [], headers[":status"]!),
    );
    stream.on("headers", (headers, _, raw?: readonly string[]) => {
      if (this.#over) return;
      this.rawHeaders = withoutPseudo(raw ?? []);
      this.#handler.onResponseStart?.(this, headers[":status"]!, rawFields(raw ?? []), "");
    });
    stream.on("trailers", (_, __, raw?: readonly string[]) => this.#onTrailers(raw ?? []));
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#onEnd());
    // Heard when the stream closes: not every end has an error, and the reset's code says more.
    stream.on("error", (error: Error) => (this.#cause = error));
    stream.on("close", () => this.#onClose());
    if (body !== undefined) this.#send(body, Number(fields[CONTENT_LENGTH] ?? Number.NaN));
    else this.#handler.onRequestSent?.();
  }

  // ── what the exchange asks for ───────────────────────────────────────────────────────────────

  pause(): void {
    this.paused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.paused = false;
    if (this.#stream.isPaused()) this.#stream.resume();
  }

  /** One RST_STREAM; the connection and its other streams go on. */
  abort(reason: Error): void {
    if (this.#over) return;
    this.aborted = true;
    this.reason = reason;
    this.#finish(reason);
  }

  // ── what happens on the wire ─────────────────────────────────────────────────────────────────

  /** `saidBytes`: by content-length; NaN if nothing was said. The peer is not to find a mistake of ours. */
  #send(body: SentBody, saidBytes: number): void {
    const stream = this.#stream;
    const handler = this.#handler;
    if (body.bytes !== undefined) {
      stream.end(body.bytes);
      handler.onBodySent?.(body.bytes as Buffer);
      handler.onRequestSent?.();
      return;
    }
    const source = body.open();
    // It may have ended while the request waited for its connection: then no event follows.
    if (source.destroyed && !source.readableEnded) {
      this.#bodyError = source.errored === null ? endedEarly() : bodyFailed(source.errored);
    }
    let readBytes = 0;
    const misfit = (): void => {
      if (!this.#over) this.#finish(badBody(this.#where, "is not as long as content-length says"));
    };
    source.on("data", (chunk: Buffer | string) => {
      readBytes += Buffer.byteLength(chunk);
      if (readBytes > saidBytes) misfit();
      else handler.onBodySent?.(Buffer.from(chunk));
    });
    source.once("end", () => {
      if (readBytes < saidBytes) misfit();
    });
    source.once("error", (error: Error) => (this.#bodyError ??= error));
    // Closed without an end and without an error, while the stream was still open.
    source.once("close", () => {
      if (!source.readableEnded && !stream.destroyed) this.#bodyError ??= endedEarly();
    });
    // It resets the stream itself where the source fails, and ends the source where the stream does.
    pipeline(source, stream, () => {
      if (!this.#over && stream.writableFinished) handler.onRequestSent?.();
    });
  }

  #onHead(raw: readonly string[], status: number): void {
    if (this.#over) return;
    const { maxReplyHeaderBytes } = this.#limits;
    if (fieldBytes(raw) > maxReplyHeaderBytes || raw.length > 2 * MAX_REPLY_FIELDS) {
      return this.#finish(tooLarge(this.#where));
    }
    this.#status = status;
    this.#session.streamAnswered();
    this.rawHeaders = withoutPseudo(raw);
    const fields = rawFields(raw);
    // Before the server's GOAWAY: a stream that crosses that one is lost, if its body was a stream.
    if (fields[LEAVING] !== undefined) this.#session.leave();
    const length = fields[CONTENT_LENGTH];
    if (typeof length === "string" && /^\d{1,15}$/.test(length)) this.#expected = Number(length);
    this.#handler.onResponseStarted?.();
    this.#handler.onResponseStart!(this, this.#status, fields, "");
  }

  #onData(chunk: Buffer): void {
    if (this.#over) return;
    this.#received += chunk.length;
    this.#handler.onResponseData!(this, chunk);
  }

  #onTrailers(raw: readonly string[]): void {
    this.rawTrailers = raw as string[];
    this.#trailers = rawFields(raw);
  }

  /** Comes also when a reply is cut off: `close` shows that case then. */
  #onEnd(): void {
    if (this.#over || this.#status === 0 || (this.#stream as Noted)[ENDED] !== true) return;
    this.#over = true;
    this.#handler.onResponseEnd!(this, this.#trailers);
    // A server that has answered need not read the rest; without a reset Node would go on sending.
    if (!this.#stream.writableEnded) this.#reset();
  }

  #onClose(): void {
    if (!this.#over) {
      const end = this.#end();
      if (
        end.rstCode !== NO_ERROR &&
        this.#session.error === undefined &&
        this.#bodyError === undefined
      )
        this.#session.resetByPeer();
      if (isRefusal(end)) this.#session.streamRefused();
      this.#finish(this.#failure());
    }
    // Node sends a reset at the end of this turn; a stream opened before it would be one too many.
    nextTurn(release, this);
  }

  release(): void {
    this.#session.released(this.#unwanted);
    this.#onRelease();
  }

  #failure(): MeshError {
    const failed = this.#bodyError;
    if (failed !== undefined && (this.#cause === failed || failed instanceof BodyFault)) {
      this.#session.streamReset(); // by `pipeline`
      return failed instanceof BodyFault ? failed : bodyFailed(failed);
    }
    if (this.#expected !== undefined && this.#received !== this.#expected && this.#ofPeer()) {
      return lengthMismatch(this.#where);
    }
    return streamError(this.#where, this.#end());
  }

  #end(): StreamEnd {
    return {
      id: this.#stream.id ?? Infinity,
      rstCode: this.#stream.rstCode ?? NO_ERROR,
      replyStarted: this.#status !== 0,
      session: this.#session,
      cause: this.#session.error ?? this.#cause,
    };
  }

  /** The peer itself ended the reply: too short or too long, Node calls it a protocol error. */
  #ofPeer(): boolean {
    return this.#stream.rstCode === 1 && this.#session.error === undefined;
  }

  #finish(error: Error): void {
    this.#over = true;
    const stream = this.#stream as ClientHttp2Stream | undefined;
    if (stream !== undefined && !stream.closed) this.#reset();
    this.#handler.onResponseError!(this, error);
  }

  #reset(): void {
    const stream = this.#stream;
    // A body that is being sent has to stop, whatever it costs.
    if (!stream.writableEnded) this.#session.streamReset();
    else if (!this.#session.gaveUp()) {
      this.#unwanted = true;
      stream.resume(); // what comes is dropped
      return;
    }
    addAbortSignal(ABORTED, stream);
  }
}

function release(stream: Http2Stream): void {
  stream.release();
}

/**
 * Node ends the readable side with `null` for END_STREAM and for every way to be cut off alike. Only
 * the first comes while the stream is not closed yet.
 */
function pushAndNote(this: Noted, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && !this.closed) this[ENDED] = true;
  return Readable.prototype.push.call(this, chunk, encoding);
}
