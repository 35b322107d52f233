/**
 * The bytes of the bodies of a request with an observer, counted where its messages take and give them.
 * Requests without an observer pay nothing.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { bytesOf } from "./reply-length.ts";

/** Where they are counted. */
export interface BodyBytes {
  sentBytes: number;
  receivedBytes: number;
}

type Write = (...args: unknown[]) => unknown;

/** Counts the bytes of both bodies. Called before the handler has request and response. */
export function countBodies(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: BodyBytes,
): void {
  const push = request.push.bind(request);
  request.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    bytes.receivedBytes += bytesOf(chunk, encoding) ?? 0;
    return push(chunk, encoding);
  };
  const hasBody = (): boolean => {
    const { statusCode, writableEnded, destroyed } = response;
    if (writableEnded || destroyed || request.method === "HEAD") return false;
    return statusCode !== 204 && statusCode !== 304;
  };
  // `end` of HTTP/2 gives its chunk to `write`.
  let isEnding = false;
  const write = response.write.bind(response) as Write;
  response.write = ((...args: unknown[]): unknown => {
    if (!isEnding && hasBody()) bytes.sentBytes += bytesOf(args[0], args[1]) ?? 0;
    return write(...args);
  }) as never;
  const end = response.end.bind(response) as Write;
  response.end = ((...args: unknown[]): unknown => {
    if (hasBody()) bytes.sentBytes += bytesOf(args[0], args[1]) ?? 0;
    isEnding = true;
    try {
      return end(...args);
    } finally {
      isEnding = false;
    }
  }) as never;
}
