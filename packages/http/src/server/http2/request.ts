/**
 * A request over HTTP/2, with the interface of Node's own `Http2ServerRequest` and an instance of it.
 * Node's and its reply put thirteen listeners on every stream; these put two on one without a body
 * (docs/decisions/0015-own-http2-messages.md).
 */
// oxlint-disable-next-line no-restricted-imports -- types
import type { IncomingHttpHeaders } from "node:http2";
import { Readable } from "node:stream";
import { abortedError, nodeError } from "./errors.ts";
import { socketOf, type StreamSocket } from "./socket.ts";
import { REQUEST, requestOf, watchEnd, watchTimeout, type ServedStream } from "./stream.ts";

type OwnStream = ServedStream<Http2Request>;

const READABLE = { autoDestroy: false };

export class Http2Request extends Readable {
  readonly stream: OwnStream;
  /** Node's object; claims that are not for the handler have been taken out. */
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** Something may follow the head. */
  readonly #hasBody: boolean;
  #trailers: Record<string, unknown> | undefined = undefined;
  #rawTrailers: string[] | undefined = undefined;
  #aborted = false;
  #closed = false;
  /** Its body has come to its end, or its stream before that. */
  #whole = false;
  #cut = false;
  /** The body has been asked for. */
  #read = false;
  #socket: StreamSocket | undefined = undefined;

  /** Called by Node for every stream. */
  constructor(
    stream: OwnStream,
    headers: IncomingHttpHeaders,
    _options: unknown,
    rawHeaders: string[],
  ) {
    super(READABLE);
    this.stream = stream;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#hasBody = !stream.endAfterHeaders;
    stream[REQUEST] = this;
    watchEnd(stream);
    if (!this.#hasBody) return;
    stream.on("aborted", streamAborted);
    stream.on("trailers", streamTrailers);
    stream.on("end", streamEnded);
    this.on("pause", pauseStream);
    this.on("resume", resumeStream);
  }

  get httpVersion(): string {
    return "2.0";
  }

  get httpVersionMajor(): number {
    return 2;
  }

  get httpVersionMinor(): number {
    return 0;
  }

  get method(): string {
    return this.headers[":method"] as string;
  }

  set method(method: string) {
    if (typeof method !== "string") throw nodeError("ERR_INVALID_ARG_TYPE", "method is a text");
    if (method.trim() === "") throw nodeError("ERR_INVALID_ARG_VALUE", "method is not empty");
    this.headers[":method"] = method;
  }

  get url(): string {
    return this.headers[":path"] as string;
  }

  set url(url: string) {
    this.headers[":path"] = url;
  }

  get scheme(): string {
    return this.headers[":scheme"] as string;
  }

  /** One that was HTTP/1 before may have `host` instead (RFC 9113 §8.3.1). */
  get authority(): string {
    return (this.headers[":authority"] ?? this.headers.host) as string;
  }

  get trailers(): Record<string, unknown> {
    return (this.#trailers ??= {});
  }

  get rawTrailers(): string[] {
    return (this.#rawTrailers ??= []);
  }

  /** Its stream ended before the reply did. */
  get aborted(): boolean {
    return this.#aborted;
  }

  get complete(): boolean {
    return this.#aborted || this.readableEnded || this.#closed || this.stream.destroyed;
  }

  get socket(): StreamSocket {
    return (this.#socket ??= socketOf(this.stream));
  }

  get connection(): StreamSocket {
    return this.socket;
  }

  /** Without a byte of the stream for so long, `timeout` is emitted; nothing else happens. 0: never. */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.#closed) return this;
    watchTimeout(this.stream);
    this.stream.setTimeout(timeoutMs, callback);
    return this;
  }

  override _read(): void {
    if (!this.#hasBody) this.push(null);
    else if (this.#read) process.nextTick(resumeAgain, this.stream);
    else {
      this.#read = true;
      this.stream.on("data", streamData);
    }
  }

  /** Only its stream may call it, like the next two. */
  onStreamEnd(): void {
    this.#whole = true;
    this.push(null);
  }

  onStreamAbort(): void {
    if (this.#closed || this.#aborted) return;
    this.#aborted = true;
    this.#failIfCut();
    this.emit("aborted");
  }

  /**
   * Ends as over HTTP/1 if its body is not whole: with an error for those who listen for one, and
   * without `end`. Node's own says `end`.
   */
  #failIfCut(): void {
    if (!this.#hasBody || this.#whole || this.destroyed) return;
    this.#cut = true;
    this.destroy(abortedError());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#cut) process.nextTick(failIfHeard, this, error, callback);
    else callback(error);
  }

  onStreamClose(): void {
    if (this.stream.aborted) this.onStreamAbort();
    this.#closed = true;
    this.#failIfCut();
    if (this.#cut) return; // its close follows
    this.push(null);
    // As over HTTP/1, what was not asked for is dropped; a listener that waits for the end is called.
    const waits = this.#hasBody ? !this.#read : this.listenerCount("end") > 0;
    if (waits && this.readableFlowing !== true) this.resume();
    this.emit("close");
  }
}

function failIfHeard(
  request: Http2Request,
  error: Error | null,
  callback: (error?: Error | null) => void,
): void {
  callback(request.listenerCount("error") === 0 ? null : error);
}

function streamAborted(this: OwnStream): void {
  requestOf(this)!.onStreamAbort();
}

function streamData(this: OwnStream, chunk: Buffer): void {
  if (!requestOf(this)!.push(chunk)) this.pause();
}

/** Node says so as well of a stream that was reset. */
function streamEnded(this: OwnStream): void {
  if (!this.destroyed) requestOf(this)!.onStreamEnd();
}

function streamTrailers(
  this: OwnStream,
  trailers: Record<string, unknown>,
  _flags: number,
  raw: string[],
): void {
  const request = requestOf(this)!;
  Object.assign(request.trailers, trailers);
  request.rawTrailers.push(...raw);
}

function pauseStream(this: Http2Request): void {
  this.stream.pause();
}

function resumeStream(this: Http2Request): void {
  this.stream.resume();
}

function resumeAgain(stream: OwnStream): void {
  stream.resume();
}
