/** Request bodies as HTTP/2 sends them: bytes that are here, or a stream that is read as they leave. */
import { Readable } from "node:stream";
import type { FormData } from "undici";

export interface SentBody {
  /** Undefined: not known before it is sent. */
  readonly length: number | undefined;
  readonly type: string | undefined;
  readonly bytes: Uint8Array | undefined;
  open(): Readable;
}

/** Undefined: no body. */
export function sentBody(body: unknown): SentBody | undefined {
  if (body === null || body === undefined) return undefined;
  if (typeof body === "string") return ofBytes(Buffer.from(body));
  if (body instanceof Uint8Array) return ofBytes(body);
  if (body instanceof ArrayBuffer) return ofBytes(new Uint8Array(body));
  if (body instanceof Blob) {
    const type = body.type === "" ? undefined : body.type;
    const open = (): Readable => Readable.fromWeb(body.stream());
    return { length: body.size, type, bytes: undefined, open };
  }
  if (Object.prototype.toString.call(body) === "[object FormData]") {
    return ofForm(body as FormData);
  }
  const open = (): Readable => {
    if (body instanceof Readable) return body;
    if (body instanceof ReadableStream) return Readable.fromWeb(body);
    return Readable.from(body as AsyncIterable<Uint8Array>, { objectMode: true });
  };
  return { length: undefined, type: undefined, bytes: undefined, open };
}

function ofBytes(bytes: Uint8Array): SentBody {
  return { length: bytes.length, type: undefined, bytes, open: () => Readable.from([bytes]) };
}

/** RFC 7578, with the escapes of the HTML standard. */
function ofForm(form: FormData): SentBody {
  const parts: (string | Blob)[] = [];
  const boundary = `----inmesh${process.getBuiltinModule("node:crypto").randomUUID()}`;
  const escaped = (text: string): string =>
    text.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
  for (const [name, value] of form) {
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="${escaped(name)}"`;
    if (typeof value === "string") {
      parts.push(`${head}\r\n\r\n${value.replaceAll(/\r?\n|\r/g, "\r\n")}\r\n`);
    } else {
      const type = value.type === "" ? "application/octet-stream" : value.type;
      const file = `${head}; filename="${escaped(value.name)}"\r\ncontent-type: ${type}\r\n\r\n`;
      parts.push(file, value, "\r\n");
    }
  }
  parts.push(`--${boundary}--\r\n`);
  const whole = new Blob(parts);
  return {
    length: whole.size,
    type: `multipart/form-data; boundary=${boundary}`,
    bytes: undefined,
    open: () => Readable.fromWeb(whole.stream()),
  };
}
