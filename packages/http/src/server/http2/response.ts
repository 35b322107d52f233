/**
 * A reply over HTTP/2, with the interface of Node's own `Http2ServerResponse` and an instance of it. A
 * reply behind whose body nothing can come does not wait for trailers: its last byte ends the stream,
 * where Node's takes one more turn of the loop and one more frame (docs/decisions/0015-own-http2-messages.md).
 */
// oxlint-disable-next-line no-restricted-imports -- types
import type { OutgoingHttpHeaders } from "node:http2";
import { Stream } from "node:stream";
import { runInContext, type WithContext } from "../in-context.ts";
import { nodeError } from "./errors.ts";
import { fieldsOf, isHeader, keyOf, warnOnce, type Headers, type HeaderValue } from "./headers.ts";
import { informationOf } from "./information.ts";
import type { Http2Request } from "./request.ts";
import { socketOf, type StreamSocket } from "./socket.ts";
import { REQUEST, RESPONSE, watchEnd, watchTimeout, type ServedStream } from "./stream.ts";

type OwnStream = ServedStream<Http2Request>;
/** An object, pairs, or names and values in turn. */
type GivenHeaders = OutgoingHttpHeaders | readonly (readonly [string, HeaderValue])[] | string[];
type Chunk = string | Uint8Array;
type Done = (error?: Error | null) => void;
type Pushed = (error: Error | null, response?: Http2Response) => void;

export class Http2Response extends Stream {
  readonly stream: OwnStream;
  /** Undefined of a pushed reply. */
  readonly req: Http2Request | undefined;
  readonly writable = true;
  readonly #headers: Headers = Object.create(null) as Headers;
  #trailers: Headers | undefined = undefined;
  #status = 200;
  #sendDate = true;
  /** `end` was called; from `#ending` on, its chunk has been written too. */
  #last = false;
  #ending = false;
  /** What `end` found: a stream of HEAD closes early, and its reply is not over before its `end`. */
  #endedHead = false;
  readonly #isHead: boolean;
  #closed = false;
  #destroyed = false;
  #socket: StreamSocket | undefined = undefined;

  /** Called by Node for every stream, and here for those that are pushed, with their `method`. */
  constructor(stream: OwnStream, method?: string) {
    super();
    this.stream = stream;
    this.req = stream[REQUEST];
    this.#isHead = (this.req === undefined ? method : this.req.method) === "HEAD";
    stream[RESPONSE] = this;
    if (this.req === undefined) watchEnd(stream);
  }

  // ── the head ─────────────────────────────────────────────────────────────────────────────────

  get headersSent(): boolean {
    return this.stream.headersSent;
  }

  /** What libraries ask a reply over HTTP/1 for. */
  get _header(): boolean {
    return this.stream.headersSent;
  }

  get statusCode(): number {
    return this.#status;
  }

  set statusCode(given: number) {
    const status = given | 0;
    if (status >= 100 && status < 200) throw nodeError("ERR_HTTP2_INFO_STATUS_NOT_ALLOWED");
    if (status < 100 || status > 599) {
      throw nodeError("ERR_HTTP2_STATUS_INVALID", `Invalid status code: ${status}`);
    }
    this.#status = status;
  }

  get statusMessage(): string {
    warnOnce("status message", "HTTP/2 has no status message");
    return "";
  }

  set statusMessage(_message: string) {
    warnOnce("status message", "HTTP/2 has no status message");
  }

  get sendDate(): boolean {
    return this.#sendDate;
  }

  set sendDate(wanted: boolean) {
    this.#sendDate = wanted;
  }

  getHeader(name: string): HeaderValue | undefined {
    return this.#headers[keyOf(name)];
  }

  getHeaderNames(): string[] {
    return Object.keys(this.#headers);
  }

  getHeaders(): Headers {
    return Object.assign(Object.create(null) as Headers, this.#headers);
  }

  hasHeader(name: string): boolean {
    return keyOf(name) in this.#headers;
  }

  setHeader(name: string, value: HeaderValue): this {
    const key = keyOf(name);
    this.#expectUnsent();
    this.#set(key, value);
    return this;
  }

  appendHeader(name: string, value: HeaderValue): this {
    const key = keyOf(name);
    this.#expectUnsent();
    this.#append(key, value);
    return this;
  }

  removeHeader(name: string): void {
    const key = keyOf(name);
    this.#expectUnsent();
    this.#remove(key);
  }

  flushHeaders(): void {
    if (!this.#closed && !this.stream.headersSent) this.writeHead(this.#status);
  }

  /** `message` is for callers who speak HTTP/1; of a list of headers all values of a name are kept. */
  writeHead(status: number, message?: string | GivenHeaders, given?: GivenHeaders): this {
    const { stream } = this;
    if (this.#closed || stream.destroyed || stream.closed) return this;
    this.#expectUnsent();
    if (typeof message === "string") warnOnce("status message", "HTTP/2 has no status message");
    const headers = given ?? (typeof message === "object" ? message : undefined);
    if (Array.isArray(headers)) {
      const fields = fieldsOf(headers);
      for (const [key] of fields) this.#remove(key);
      for (const [key, value] of fields) this.#append(key, value);
    } else if (headers) {
      for (const name of Object.keys(headers)) {
        this.#set(name.trim().toLowerCase(), (headers as Headers)[name]);
      }
    }
    this.#status = status;
    this.#respond();
    return this;
  }

  #expectUnsent(): void {
    if (this.stream.headersSent) throw nodeError("ERR_HTTP2_HEADERS_SENT");
  }

  #set(key: string, value: unknown): void {
    if (isHeader(key, value)) this.#headers[key] = value as HeaderValue;
  }

  #append(key: string, value: unknown): void {
    const before = this.#headers[key];
    if (!before) this.#set(key, value);
    else if (isHeader(key, value)) {
      this.#headers[key] = ([] as unknown[]).concat(before, value) as string[];
    }
  }

  #remove(key: string): void {
    if (key === "date") this.#sendDate = false;
    else delete this.#headers[key];
  }

  #respond(): void {
    const headers = this.#headers;
    headers[":status"] = this.#status;
    const mayFollow =
      this.#trailers !== undefined ||
      // As over HTTP/1: nothing comes behind a body of known length that was not announced.
      !(
        this.#last ||
        (headers["content-length"] !== undefined && headers["trailer"] === undefined)
      );
    if (mayFollow) this.stream.once("wantTrailers", sendTrailers);
    this.stream.respond(
      headers as OutgoingHttpHeaders,
      {
        endStream: this.#ending && !mayFollow,
        waitForTrailers: mayFollow,
        sendDate: this.#sendDate,
      } as never,
    );
  }

  // ── before the head: 1xx ─────────────────────────────────────────────────────────────────────

  /** False: too late. */
  writeInformation(status: number, headers?: OutgoingHttpHeaders): boolean {
    if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) {
      throw nodeError("ERR_HTTP2_STATUS_INVALID", `Invalid status code: ${status}`);
    }
    const { stream } = this;
    if (this.#closed || stream.closed || stream.destroyed || stream.headersSent) return false;
    stream.additionalHeaders({ ...headers, ":status": status });
    return true;
  }

  writeContinue(): boolean {
    return this.writeInformation(100);
  }

  writeEarlyHints(hints: Record<string, string | string[]>): boolean {
    const headers = informationOf(hints);
    return headers !== undefined && this.writeInformation(103, headers);
  }

  // ── the body ─────────────────────────────────────────────────────────────────────────────────

  write(chunk: Chunk, encoding?: BufferEncoding | Done, callback?: Done): boolean {
    const named = typeof encoding === "function" ? undefined : encoding;
    const done = functionOf(encoding, callback);
    if (this.#ending || this.#closed) {
      this.#refuseChunk(done);
      return false;
    }
    if (this.#destroyed) return false;
    const { stream } = this;
    if (!stream.headersSent) this.writeHead(this.#status);
    const wantsMore = stream.write(chunk, named as never, done as never);
    // Once for all writes of a handler that does not wait.
    if (!wantsMore && stream.listenerCount("drain", drained) === 0) stream.once("drain", drained);
    return wantsMore;
  }

  #refuseChunk(done: Done | undefined): void {
    const code = this.#ending ? "ERR_STREAM_WRITE_AFTER_END" : "ERR_HTTP2_INVALID_STREAM";
    const error = nodeError(code);
    if (done !== undefined) process.nextTick(done, error);
    this.destroy(error);
  }

  end(body?: Chunk | Done | null, encoding?: BufferEncoding | Done, callback?: Done): this {
    const chunk = typeof body === "function" ? undefined : body;
    const named = typeof encoding === "function" ? undefined : encoding;
    const done = functionOf(body, encoding, callback);
    const { stream } = this;
    if ((this.#closed || this.#ending) && this.#endedHead === this.#isHead) {
      if (done !== undefined) process.nextTick(done);
      return this;
    }
    this.#last = true;
    if (chunk !== null && chunk !== undefined) this.write(chunk, named);
    this.#ending = true;
    this.#endedHead = this.#isHead;
    if (done !== undefined) {
      if (stream.writableEnded) this.once("finish", done);
      else stream.once("finish", done);
    }
    if (!stream.headersSent) this.writeHead(this.#status);
    if (this.#closed || stream.destroyed) this.onStreamClose();
    else stream.end();
    return this;
  }

  cork(): void {
    this.stream.cork();
  }

  uncork(): void {
    this.stream.uncork();
  }

  get writableEnded(): boolean {
    return this.#ending;
  }

  get finished(): boolean {
    return this.#ending;
  }

  get writableCorked(): number {
    return this.stream.writableCorked;
  }

  get writableFinished(): boolean {
    return this.stream.writableFinished;
  }

  get writableHighWaterMark(): number {
    return this.stream.writableHighWaterMark;
  }

  get writableLength(): number {
    return this.stream.writableLength;
  }

  get writableNeedDrain(): boolean {
    return this.stream.writableNeedDrain;
  }

  get writableObjectMode(): boolean {
    return this.stream.writableObjectMode;
  }

  // ── behind it ────────────────────────────────────────────────────────────────────────────────

  /** Before `end`, and before the head if that says the body's length without announcing `trailer`. */
  setTrailer(name: string, value: HeaderValue): void {
    const key = keyOf(name);
    if (isHeader(key, value)) (this.#trailers ??= Object.create(null) as Headers)[key] = value;
  }

  addTrailers(trailers: Readonly<Record<string, HeaderValue>>): void {
    for (const name of Object.keys(trailers)) this.setTrailer(name, trailers[name]!);
  }

  /** Once the body is out. */
  static sendTrailers(response: Http2Response): void {
    response.stream.sendTrailers((response.#trailers ?? {}) as OutgoingHttpHeaders);
  }

  // ── its stream ───────────────────────────────────────────────────────────────────────────────

  /** Undefined when it is over, as over HTTP/1. */
  get socket(): StreamSocket | undefined {
    if (this.#closed) return undefined;
    return this.req?.socket ?? (this.#socket ??= socketOf(this.stream));
  }

  get connection(): StreamSocket | undefined {
    return this.socket;
  }

  /** Without a byte of the stream for so long, `timeout` is emitted; nothing else happens. 0: never. */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.#closed) return this;
    watchTimeout(this.stream);
    this.stream.setTimeout(timeoutMs, callback);
    return this;
  }

  destroy(error?: Error): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.stream.destroy(error);
  }

  createPushResponse(headers: OutgoingHttpHeaders, callback: Pushed): void {
    if (typeof callback !== "function") {
      throw nodeError("ERR_INVALID_ARG_TYPE", "callback is a function");
    }
    if (this.#closed) {
      process.nextTick(callback, nodeError("ERR_HTTP2_INVALID_STREAM"));
      return;
    }
    const method = headers[":method"] as string | undefined;
    this.stream.pushStream(headers, {}, (error, pushed) => {
      if (error) callback(error);
      else callback(null, new Http2Response(pushed, method));
    });
  }

  /** Only its stream may call it. */
  onStreamClose(): void {
    const { stream } = this;
    // A stream of HEAD closes with its head; one that was reset before that is over all the same.
    const isEarly = this.#isHead !== this.#endedHead && stream.headersSent;
    if (stream[RESPONSE] !== this || isEarly) return;
    stream[RESPONSE] = undefined;
    this.#closed = true;
    // Streams close in callbacks of their connection. The server itself listens for `close`.
    const isHeard = this.listenerCount("finish") > 0 || this.listenerCount("close") > 1;
    if (isHeard) runInContext(this as Http2Response & WithContext, emitEnds);
    else emitEnds(this);
  }
}

function emitEnds(response: Http2Response): void {
  response.emit("finish");
  response.emit("close");
}

/** The first that is one; frameworks pass null for what they leave out. */
function functionOf(one: unknown, another: unknown, third?: unknown): Done | undefined {
  if (typeof one === "function") return one as Done;
  if (typeof another === "function") return another as Done;
  return typeof third === "function" ? (third as Done) : undefined;
}

function sendTrailers(this: OwnStream): void {
  const response = this[RESPONSE];
  if (response instanceof Http2Response) Http2Response.sendTrailers(response);
}

function drained(this: OwnStream): void {
  this[RESPONSE]?.emit("drain");
}
