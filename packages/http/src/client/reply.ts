/**
 * A lean reply. The head is here when the promise resolves; the body waits, at most 64 KiB of it,
 * until the application says in which form it is wanted. An unread body holds back the peer, and ends
 * with the call's deadline, or when the application has let go of the reply.
 */
import { AsyncResource } from "node:async_hooks";
import { Readable } from "node:stream";
import {
  MeshError,
  NOT_RETRIED_BECAUSE,
  PICKED_BECAUSE,
  placed,
  type Attempt,
  type HeaderChanges,
  type NoRetry,
  type Outcome,
  type Reply,
} from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import {
  allowedTrailers,
  CONTENT_ENCODING,
  HttpHeaders,
  retryAfterMs,
  type RawHeaders,
} from "../headers.ts";
import { decodedBytes, decodedStream } from "./decode.ts";
import { changedBytes, changedList, changeFields } from "./header-changes.ts";
import { takeMarks, unmarkedList, type Marks } from "./marks.ts";
import type { HttpRequest } from "./request.ts";

/** Held for a reader who has not come yet; then the peer has to wait. */
const HIGH_WATER_BYTES = 65_536;
/** A body dropped unread is read to its end up to this size: cheaper than a new connection. */
const DISCARD_BYTES = 65_536;

/** How the call came to this reply. */
export interface ReplyInfo {
  /** Name of the service, as in the configuration, or host and port of a URL. */
  readonly service: string;
  /** Name of the route that the call took; `default` where none of the configuration matched. */
  readonly route: string;
  /** `host:port` or `unix:path` of the endpoint that answered. */
  readonly endpoint: string;
  /** Where the endpoint stands, if discovery says so. */
  readonly zone: string | undefined;
  /** Attempts made, re-sends included; 1 if the first succeeded and none ran beside it. */
  readonly attempts: number;
  /** Endpoints that failed this call before, or were tried beside this one, in order. */
  readonly tried: readonly string[];
  readonly timings: {
    /** From the start of the call to the head of this reply. */
    readonly headMs: number;
    /** From the last pick to the head of this reply. */
    readonly attemptMs: number;
    /** From the last pick until the request had a connection. */
    readonly queuedMs: number;
  };
  /**
   * Why this reply, whose status the retry policy lists, was not followed by another attempt: the same
   * words as `MeshError.noRetry`. Undefined for a reply that needs none.
   */
  readonly noRetry: NoRetry | undefined;
  /** Why a server of the mesh refused the request, from the set of docs/reference/headers.md, if it said so. */
  readonly refusal: string | undefined;
  /** One sentence: which route, and why this endpoint after others. */
  readonly why: string;
}

const NONE: readonly Buffer[] = [];

type Mode = "waiting" | "collecting" | "streaming" | "sinking" | "discarding";

/** A reader that takes the body as it comes, without a stream in between. Must not throw. */
export interface BodySink {
  /** Asked after every chunk: nothing more is delivered until `reply.flow()`. */
  readonly paused: boolean;
  data(chunk: Buffer): void;
  end(trailers: RawHeaders): void;
  /** At once, paused or not; chunks held back are dropped. */
  fail(error: Error): void;
}

/** Fields as they were received, names and values in turn: bytes over HTTP/1.1, texts over HTTP/2. */
type RawFields = Dispatcher.DispatchController["rawHeaders"];

/** The attempt that the reply belongs to, and that its body comes from. */
export interface BodySource {
  /** Of the head. */
  readonly rawHeaders: RawFields;
  /** Null before there are any. */
  readonly rawTrailers: RawFields;
  /** The reader wants more. */
  resume(reply: HttpReply): void;
  /** The rest of the body is not wanted. */
  abandon(): void;
}

export class HttpReply implements Reply {
  /** The status of HTTP. Every status resolves the call. */
  readonly status: number;
  /** As received over HTTP/1.1; empty over HTTP/2, which has none. */
  readonly statusText: string;
  readonly outcome: Outcome;
  readonly #raw: RawHeaders;
  readonly #attempt: Attempt<HttpRequest>;
  readonly #source: BodySource;
  readonly #trustNacks: boolean;
  readonly #headAt: number;
  #headers: HttpHeaders | undefined = undefined;
  /** Null: there are none. Undefined: not looked for yet. */
  #marks: Marks | null | undefined = undefined;
  #changes: HeaderChanges | undefined = undefined;
  #mode: Mode = "waiting";
  #chunks: readonly Buffer[] = NONE;
  #bytes = 0;
  #ended = false;
  #used = false;
  #error: unknown = undefined;
  #trailers: RawHeaders | undefined = undefined;
  #collector: { resolve: (body: Buffer) => void; reject: (error: unknown) => void } | undefined =
    undefined;
  #stream: BodyStream | undefined = undefined;
  #decodedStream: Readable | undefined = undefined;
  #sink: BodySink | undefined = undefined;
  #flowing = false;

  constructor(
    status: number,
    statusText: string,
    raw: RawHeaders,
    outcome: Outcome,
    source: BodySource,
    attempt: Attempt<HttpRequest>,
    trustNacks: boolean,
    headAt: number,
  ) {
    this.status = status;
    this.statusText = statusText;
    this.#raw = raw;
    this.outcome = outcome;
    this.#source = source;
    this.#attempt = attempt;
    this.#trustNacks = trustNacks;
    this.#headAt = headAt;
  }

  get code(): number {
    return this.status;
  }

  /** The status is 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** Headers as received, but for what a route changes, for doors that hand them on as they are. */
  get head(): RawHeaders {
    this.#said();
    return this.#raw;
  }

  /** What its server says of it. From then on the headers do not have it any more. */
  #said(): Marks | null {
    if (this.#marks === undefined) this.#marks = takeMarks(this.#raw) ?? null;
    return this.#marks;
  }

  /** The same before parsing: names and values in turn. */
  get rawHead(): RawFields {
    const received = this.#source.rawHeaders;
    const marked = this.#said() !== null && Array.isArray(received);
    const raw = marked ? unmarkedList(received) : received;
    if (this.#changes === undefined || !Array.isArray(raw)) return raw;
    // Bytes from undici, texts from HTTP/2.
    return raw[0] instanceof Buffer
      ? changedBytes(raw as Buffer[], this.#changes)
      : changedList(raw as string[], this.#changes);
  }

  /** The trailers before parsing. */
  get rawTrailers(): RawFields {
    return this.#source.rawTrailers;
  }

  changeHeaders(changes: HeaderChanges): void {
    this.#changes = changes;
    changeFields(this.#raw, changes);
  }

  /** By name, in any case; iterable. */
  get headers(): HttpHeaders {
    return (this.#headers ??= new HttpHeaders(this.head));
  }

  /** Trailers; undefined before the body has ended. */
  get trailers(): HttpHeaders | undefined {
    const trailers = this.#trailers;
    return trailers === undefined ? undefined : new HttpHeaders(allowedTrailers(trailers));
  }

  get nacked(): boolean {
    return this.#trustNacks && this.#said()?.nacked === true;
  }

  get final(): boolean {
    return this.#said()?.final === true;
  }

  get retryAfterMs(): number | undefined {
    return retryAfterMs(this.#raw);
  }

  /** 429 is a limit of ours, which all endpoints count (RFC 6585 §4); 503 is the state of one server. */
  get waitsForAll(): boolean {
    return this.status === 429;
  }

  /** Only those who read its body need it: no promise and no sink waits for more. For the exchange. */
  get mayGo(): boolean {
    return this.#mode === "waiting" || this.#mode === "streaming";
  }

  /** The body was asked for; it can be asked for once. */
  get bodyUsed(): boolean {
    return this.#used;
  }

  /** Endpoint, attempts, timings, and why it was routed so. */
  get mesh(): ReplyInfo {
    const { call, endpoint, kind, startedAt, rule } = this.#attempt;
    const tried = (call.tried ?? []).map(({ address }) => address);
    const address = endpoint?.address ?? "";
    const others = tried.join(", ");
    const after =
      tried.length === 0
        ? ""
        : call.beside === undefined
          ? `; ${kind} after ${others} failed`
          : `; ${kind}, with attempts beside it (tried: ${others})`;
    const notRetried =
      call.noRetry === undefined ? "" : `; not retried: ${NOT_RETRIED_BECAUSE[call.noRetry]}`;
    return {
      service: call.service,
      route: call.route,
      endpoint: address,
      zone: endpoint?.zone,
      attempts: call.attempts,
      tried,
      timings: {
        headMs: this.#headAt - call.startedAt,
        attemptMs: this.#headAt - startedAt,
        queuedMs: Math.max(0, this.#attempt.sentAt - startedAt),
      },
      noRetry: call.noRetry,
      refusal: this.#said()?.reason,
      why: `route ${call.route} → ${address}: ${PICKED_BECAUSE[rule]}${after}${notRetried}`,
    };
  }

  // ── body, as the application reads it ────────────────────────────────────────────────────────

  /** The whole body. Rejects with the reason if it is cut, the deadline passes or the call is aborted. */
  async bytes(): Promise<Uint8Array> {
    return this.#collectDecoded(this.#attempt.call.request.decodes);
  }

  /** The body as UTF-8 text, without a byte order mark. */
  async text(): Promise<string> {
    // As text an encoded body is of no use, so it is decoded whether or not the client asked for it.
    const body = await this.#collectDecoded(true);
    const bom = body.length > 2 && body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
    return bom ? body.toString("utf8", 3) : body.toString("utf8");
  }

  /** The body as JSON. Throws SyntaxError if it is not. */
  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  /** The body as a Node stream. Destroying it ends the request. */
  get body(): Readable {
    if (this.#stream !== undefined) return this.#decodedStream ?? this.#stream;
    this.#use();
    const stream = new BodyStream(this);
    this.#stream = stream;
    this.#mode = "streaming";
    for (const chunk of this.#chunks) stream.push(chunk);
    this.#chunks = NONE;
    this.#bytes = 0;
    if (this.#error !== undefined) stream.destroy(asError(this.#error));
    else if (this.#ended) stream.push(null);
    const coding = this.#raw[CONTENT_ENCODING];
    if (coding === undefined || !this.#attempt.call.request.decodes) return stream;
    return (this.#decodedStream = decodedStream(stream, coding, this.#where));
  }

  /** The body as a web stream. */
  get webBody(): NonNullable<Response["body"]> {
    // The type of the process's own Response: with lib dom it is another than that of node:stream/web.
    return Readable.toWeb(this.body);
  }

  /** The WHATWG class, for code that wants it; making it costs more than the call's whole way. */
  toResponse(): Response {
    const headers = new Headers();
    for (const [name, value] of this.headers) headers.append(name, value);
    const empty = this.status === 204 || this.status === 205 || this.status === 304;
    if (empty) this.discard();
    const init = { status: this.status, statusText: this.statusText, headers };
    return new Response(empty ? null : (this.webBody as never), init);
  }

  /**
   * The body is not wanted. A short rest is read, so that the connection is free for the next call; of a
   * long one the connection is closed. No effect when the body was asked for.
   */
  discard(): void {
    if (this.#used) return;
    this.#used = true;
    this.#chunks = NONE;
    if (this.#ended) return;
    this.#mode = "discarding";
    if (this.#bytes > DISCARD_BYTES) this.#source.abandon();
    else this.#source.resume(this);
  }

  /** Delivers the body to `sink`, what is here already before this returns. */
  sendTo(sink: BodySink): void {
    this.#use();
    this.#sink = sink;
    this.#mode = "sinking";
    this.flow();
  }

  /** The sink is ready for more. May be called from inside its `data`. */
  flow(): void {
    if (this.#flowing) return;
    const sink = this.#sink!;
    this.#flowing = true;
    let taken = 0;
    while (taken < this.#chunks.length && !sink.paused) sink.data(this.#chunks[taken++]!);
    this.#chunks = taken < this.#chunks.length ? this.#chunks.slice(taken) : NONE;
    this.#flowing = false;
    if (sink.paused) return;
    if (!this.#ended) this.#source.resume(this);
    else if (this.#error !== undefined) sink.fail(asError(this.#error));
    else sink.end(this.#allowedTrailers());
  }

  #allowedTrailers(): RawHeaders {
    const trailers = this.#trailers;
    // Nearly always there are none.
    for (const _name in trailers) return allowedTrailers(trailers);
    return {};
  }

  #use(): void {
    if (this.#used) {
      throw new MeshError({
        code: "bad_request",
        reason: "body_used",
        message: `${this.#attempt.call.service}: the body was read or discarded before: read it once and keep the result`,
        progress: "maybe-processed",
      });
    }
    this.#used = true;
  }

  #collect(): Promise<Buffer> {
    try {
      this.#use();
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#error !== undefined) return Promise.reject(asError(this.#error));
    if (this.#ended) return Promise.resolve(this.#joined());
    this.#mode = "collecting";
    return new Promise((resolve, reject) => {
      this.#collector = { resolve, reject };
      this.#source.resume(this);
    });
  }

  async #collectDecoded(decodes: boolean): Promise<Buffer> {
    try {
      const body = await this.#collect();
      const coding = this.#raw[CONTENT_ENCODING];
      if (coding === undefined || !decodes) return body;
      return await decodedBytes(body, coding, this.#where);
    } catch (error) {
      throw placed(error);
    }
  }

  get #where(): string {
    const { call, endpoint } = this.#attempt;
    return `${call.service} → ${endpoint?.address}`;
  }

  #joined(): Buffer {
    const chunks = this.#chunks;
    this.#chunks = NONE;
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  }

  // ── body, as the exchange delivers it ────────────────────────────────────────────────────────

  /** False: the peer has to wait. */
  receive(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    switch (this.#mode) {
      case "waiting":
        this.#hold(chunk);
        return this.#bytes < HIGH_WATER_BYTES;
      case "collecting":
        this.#hold(chunk);
        return true;
      case "streaming":
        return this.#stream!.deliver(chunk);
      case "sinking": {
        const sink = this.#sink!;
        if (sink.paused || this.#flowing) this.#hold(chunk);
        else sink.data(chunk);
        return !sink.paused;
      }
      case "discarding":
        if (this.#bytes > DISCARD_BYTES) this.#source.abandon();
        return true;
    }
  }

  /** Most bodies are one chunk: an array that grows would be eight times as large as needed. */
  #hold(chunk: Buffer): void {
    if (this.#chunks === NONE) this.#chunks = [chunk];
    else (this.#chunks as Buffer[]).push(chunk);
  }

  finish(trailers: RawHeaders): void {
    this.#ended = true;
    this.#trailers = trailers;
    this.#collector?.resolve(this.#joined());
    this.#stream?.deliver(null);
    if (this.#sink !== undefined && !this.#sink.paused && !this.#flowing) {
      this.#sink.end(this.#allowedTrailers());
    }
  }

  /** The body is cut: its reader, now or later, gets the reason. */
  fail(error: unknown): void {
    this.#ended = true;
    this.#error = error;
    this.#chunks = NONE;
    this.#collector?.reject(error);
    this.#stream?.destroy(asError(error));
    this.#sink?.fail(asError(error));
  }

  /** For the stream: its reader wants more, or has left. */
  resume(): void {
    this.#source.resume(this);
  }

  leave(): void {
    if (!this.#ended) this.#source.abandon();
  }
}

function pushTo(stream: Readable, chunk: Buffer | null): boolean {
  return stream.push(chunk);
}

/** Emits in the async context that asked for the body, not in the one that opened the socket. */
class BodyStream extends Readable {
  readonly #reply: HttpReply;
  readonly #resource = new AsyncResource("InmeshBody");

  constructor(reply: HttpReply) {
    super({ highWaterMark: HIGH_WATER_BYTES });
    this.#reply = reply;
  }

  deliver(chunk: Buffer | null): boolean {
    return this.destroyed || this.#resource.runInAsyncScope(pushTo, undefined, this, chunk);
  }

  override _read(): void {
    this.#reply.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#reply.leave();
    callback(error);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
