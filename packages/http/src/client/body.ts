/**
 * Which request bodies can be sent twice. An allow-list, because the others fail silently: undici
 * sends an async generator or a web stream that was begun before as an *empty* body.
 */
import type { Readable } from "node:stream";
import { isFormData } from "./supplied-body.ts";

/** FormData of the process or of any undici: their types do not agree with each other. */
export interface FormLike {
  [Symbol.iterator](): Iterator<[string, unknown]>;
  append(name: string, value: string): void;
  getAll(name: string): unknown[];
}

export type RequestBody =
  | string
  | Uint8Array
  | ArrayBuffer
  | Blob
  | URLSearchParams
  | FormLike
  // Named as well, because lib dom without dom.iterable does not say that it is iterable.
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
