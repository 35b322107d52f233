/**
 * Writes a refusal. If a body is on its way, the answer goes out first and the connection closes a
 * little later: closing with unread bytes makes the kernel send a reset, which can eat the answer
 * before the client has read it (faults H1).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import type { Refusal } from "@inmesh/core/spi";
import { NACK, REASON, RETRY_AFTER } from "../headers.ts";
import type { Inbound } from "./inbound.ts";
import { NODE_HTTP, type Http2ServerResponse } from "./listeners.ts";
import type { LingerOptions } from "./surplus.ts";

export function refuse(
  inbound: Inbound,
  refusal: Refusal,
  givesReasons: boolean,
  options: LingerOptions,
): void {
  const { request, response, connection, hasBody } = inbound;
  const { status, retryAfterMs, headers } = refusal;
  const body = `${refusal.reason}\n`;
  const { observed } = inbound;
  if (observed !== undefined && request.method !== "HEAD") observed.sentBytes += body.length;
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("content-length", body.length);
  for (const name in headers) response.setHeader(name, headers[name]!);
  if (retryAfterMs !== undefined) {
    response.setHeader(RETRY_AFTER, String(Math.ceil(retryAfterMs / 1_000)));
  }
  if (refusal.nack) response.setHeader(NACK, "1");
  if (givesReasons) response.setHeader(REASON, refusal.reason);
  if (inbound.http2) {
    closeAfter(response as unknown as Http2ServerResponse);
    response.end(body);
    return;
  }
  if (refusal.close || hasBody) {
    sayClose(response);
    connection.ended = true;
  }
  if (!hasBody) {
    response.end(body);
    return;
  }
  response.write(body); // the client has the whole answer: its length is in the head
  linger(request, options, () => response.end());
}

/** The head of a reply over HTTP/1 says that its connection ends with it. */
export function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader("connection", "close");
}

/** A reset in the turn of the end would overtake the reply (faults G15). */
function closeAfter(response: Http2ServerResponse): void {
  response.on("finish", () => {
    const { stream } = response as { stream?: Http2ServerResponse["stream"] };
    if (stream !== undefined && !stream.destroyed && !stream.readableEnded) stream.close(0);
  });
}

/** Reads and drops a body to its end, or to the limits; `done` runs once. */
export function linger(
  request: IncomingMessage,
  { limits, runtime }: LingerOptions,
  done: () => void,
): void {
  let left = limits.lingerBytes;
  let over = false;
  // Node drops the body of a request that has its reply before any listener sees it: only its connection
  // still says how much comes.
  const source: Readable = request instanceof NODE_HTTP.IncomingMessage ? request.socket : request;
  const count = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) finish();
  };
  const finish = (): void => {
    if (over) return;
    over = true;
    timer.cancel();
    source.off("data", count);
    // Whatever else comes waits in the kernel.
    if (!request.complete) request.pause();
    done();
  };
  const timer = runtime.after(limits.lingerMs, finish, undefined);
  source.on("data", count);
  request.on("end", finish);
  request.on("close", finish);
  request.on("error", finish);
  request.resume();
}
