/** Request bodies as HTTP/2 sends them: bytes that are here, or a stream that is read as they leave. */
import { Readable } from "node:stream";
import { SuppliedChunks } from "../supplied-body.ts";

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
  const open = (): Readable => {
    if (body instanceof Readable && !body.readableObjectMode) return body;
    const chunks = new SuppliedChunks(body as AsyncIterable<Uint8Array>);
    return Readable.from(chunks, { objectMode: true });
  };
  return { length: undefined, type: undefined, bytes: undefined, open };
}

function ofBytes(bytes: Uint8Array): SentBody {
  return { length: bytes.length, type: undefined, bytes, open: () => Readable.from([bytes]) };
}
