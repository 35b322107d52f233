/**
 * Which request bodies can be sent twice. An allow-list, because the others fail silently: undici
 * sends an async generator or a web stream that was begun before as an *empty* body.
 */
import type { Readable } from "node:stream";
import type { FormData } from "undici";
import { isFormData } from "./supplied-body.ts";

export type RequestBody =
  | string
  | Uint8Array
  | ArrayBuffer
  | Blob
  | URLSearchParams
  | FormData
  | Readable
  | ReadableStream
  | Iterable<Uint8Array>
  | AsyncIterable<Uint8Array>
  | null;

/** The body is consumed as it is sent: replayable only until its first byte may have left. */
export function isStreamed(body: unknown): boolean {
  return !(
    body === null ||
    body === undefined ||
    typeof body === "string" ||
    body instanceof Uint8Array ||
    body instanceof ArrayBuffer ||
    body instanceof Blob ||
    isFormData(body)
  );
}
