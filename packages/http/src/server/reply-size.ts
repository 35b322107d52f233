/** How many bytes of body a reply has, for observers: counted where its handler writes them, and only while one is attached. */
import type { ServerResponse } from "node:http";
import { bytesOf } from "./reply-length.ts";

export interface SizedReply {
  sentBytes: number | undefined;
}

type Write = (this: ServerResponse, chunk?: unknown, ...rest: unknown[]) => boolean;
type End = (this: ServerResponse, chunk?: unknown, ...rest: unknown[]) => ServerResponse;

/** Before its handler has it. */
export function countSize(
  response: ServerResponse,
  method: string | undefined,
  reply: SizedReply,
): void {
  let bytes = (reply.sentBytes = 0);
  if (method === "HEAD") return;
  const { write, end } = response as unknown as { write: Write; end: End };
  // Over HTTP/2 `end` gives what it is given to `write`.
  let isEnding = false;
  response.write = function counted(this: ServerResponse, chunk?: unknown, ...rest: unknown[]) {
    if (!isEnding) reply.sentBytes = bytes += bytesOf(chunk, rest[0]) ?? 0;
    return write.call(this, chunk, ...rest);
  } as typeof response.write;
  response.end = function counted(this: ServerResponse, chunk?: unknown, ...rest: unknown[]) {
    if (isEnding || this.writableEnded) return end.call(this, chunk, ...rest);
    // Before it is written: a reply without a connection is over when `end` returns.
    reply.sentBytes = bytes += bytesOf(chunk, rest[0]) ?? 0;
    isEnding = true;
    try {
      return end.call(this, chunk, ...rest);
    } finally {
      isEnding = false;
    }
  } as typeof response.end;
}
