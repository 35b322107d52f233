/**
 * Bodies that are read while they are sent: blobs, forms, iterables and streams. Reading may fail, and
 * the failure is the supplier's, never the endpoint's, whatever its error looks like: a stream from
 * another server fails with the same ECONNRESET as our own connection. So what a supplier throws is
 * wrapped where it is thrown; that also makes an Error of `throw undefined`, which undici does not
 * notice and waits for ever.
 *
 * Streams of Node's own class are passed on as they are: undici knows the length of one that has ended
 * already. They remember the error that they ended with (`isFaultOf`).
 */
import { Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import { MeshError } from "@inmesh/core/spi";
import type { FormData } from "undici";

/** The request body failed, or ended before its end. `cause`: what its supplier threw, if it is something. */
export class BodyFault extends MeshError {
  constructor(what: string, cause?: unknown) {
    super({
      code: "bad_request",
      reason: "bad_body",
      message: `the request body ${what}`,
      progress: "maybe-processed",
      cause,
      stackless: true,
    });
  }
}

export function endedEarly(): BodyFault {
  return new BodyFault("ended early, without an error");
}

export function bodyFailed(cause: unknown): BodyFault {
  return new BodyFault(
    `failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    cause ?? undefined,
  );
}

/** The error is the one that this stream ended with. Undici and pipelines pass it on as it is. */
export function isFaultOf(body: unknown, error: unknown): boolean {
  return body instanceof Readable && error instanceof Error && body.errored === error;
}

/** undici's own check too: the class is loaded only by those who use it. */
export function isFormData(body: unknown): body is FormData {
  return Object.prototype.toString.call(body) === "[object FormData]";
}

/** The same body; what goes wrong while it is read is a `BodyFault`. */
export function supplied(body: object): unknown {
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return body;
  if (body instanceof Blob) return new SuppliedBlob([body], typeOf(body));
  if (isFormData(body)) return ofForm(body);
  if (body instanceof Readable) return body;
  if (Symbol.asyncIterator in body || Symbol.iterator in body) {
    return new SuppliedChunks(body as AsyncIterable<Uint8Array>);
  }
  return body;
}

/** For fetch, whose own reader ends a request that cannot be read. What is in use already stays as it is. */
export function suppliedToFetch(body: unknown): unknown {
  if (typeof body !== "object" || body === null || body instanceof URLSearchParams) return body;
  const streamed = body instanceof Readable || body instanceof ReadableStream;
  if (!streamed) {
    const given = supplied(body);
    return given instanceof SuppliedChunks ? ReadableStream.from(given) : given;
  }
  if (Readable.isDisturbed(body as Readable) || (body as ReadableStream).locked) return body;
  return ReadableStream.from(new SuppliedChunks(body as AsyncIterable<Uint8Array>));
}

function faultOf(error: unknown): BodyFault {
  if (error instanceof BodyFault) return error;
  const closed =
    (error as { code?: unknown } | undefined | null)?.code === "ERR_STREAM_PREMATURE_CLOSE";
  return closed ? endedEarly() : bodyFailed(error);
}

/**
 * A web stream that a failed call has not begun to read is cancelled, as by fetch: its source would wait for
 * ever otherwise. Node's streams stay their owner's. One may be the request being served, and to destroy that
 * takes away the connection that its handler answers on.
 */
export function cancelUnread(body: unknown, reason: unknown): void {
  if (body instanceof SuppliedChunks) return body.cancelUnread(reason);
  if (!(body instanceof ReadableStream) || body.locked) return;
  body.cancel(reason).catch(() => {}); // its source has failed, which changes nothing any more
}

export class SuppliedChunks implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  #begun = false;

  constructor(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#source = source;
  }

  cancelUnread(reason: unknown): void {
    if (!this.#begun) cancelUnread(this.#source, reason);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const chunks = this.#read();
    const end = chunks.return.bind(chunks);
    // A generator that has not begun has nothing to end; its source has.
    chunks.return = (reason: unknown) => {
      this.cancelUnread(reason);
      return end(undefined);
    };
    return chunks;
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    this.#begun = true;
    try {
      for await (const chunk of this.#source) {
        // To write another kind would throw out of an event of the connection.
        if (!ArrayBuffer.isView(chunk) && typeof chunk !== "string") {
          throw new TypeError(`a chunk is a ${typeof chunk}, not bytes or a string`);
        }
        yield chunk;
      }
    } catch (error) {
      throw faultOf(error);
    }
  }
}

/** Its parts are read when they are sent, and again if it is sent again. */
class SuppliedBlob extends Blob {
  constructor(parts: (string | Blob)[], type: string) {
    super(parts, { type });
  }

  override stream(): ReturnType<Blob["stream"]> {
    const chunks = super.stream() as unknown as AsyncIterable<Uint8Array>;
    return ReadableStream.from(new SuppliedChunks(chunks)) as ReturnType<Blob["stream"]>;
  }
}

/** RFC 7578, with the escapes of the HTML standard. A Blob has its type in small letters. */
function ofForm(form: FormData): SuppliedBlob {
  const parts: (string | Blob)[] = [];
  if (!(Symbol.iterator in form)) {
    throw new BodyFault(
      "is a form of another kind (the package form-data?): use the process's FormData",
    );
  }
  const boundary = `----inmesh${process.getBuiltinModule("node:crypto").randomUUID()}`;
  for (const [name, value] of form) {
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="${escaped(crlf(name))}"`;
    if (typeof value === "string") {
      parts.push(`${head}\r\n\r\n${crlf(value)}\r\n`);
    } else {
      const type = typeOf(value) || "application/octet-stream";
      const file = `${head}; filename="${escaped(value.name)}"\r\ncontent-type: ${type}\r\n\r\n`;
      parts.push(file, value, "\r\n");
    }
  }
  parts.push(`--${boundary}--\r\n`);
  return new SuppliedBlob(parts, `multipart/form-data; boundary=${boundary}`);
}

/** A subclass of Blob may say anything; what the constructors of Blob let through fits in a header. */
function typeOf({ type }: Blob): string {
  if (/[^\u0020-\u007e]/.test(type)) throw new BodyFault("has a type that is no header value");
  return type;
}

function crlf(text: string): string {
  return text.replaceAll(/\r?\n|\r/g, "\r\n");
}

function escaped(text: string): string {
  return text.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
}
