/**
 * Writes a refusal. If a body is on its way, the answer goes out first and the connection closes a
 * little later: closing with unread bytes makes the kernel send a reset, which can eat the answer
 * before the client has read it (faults H1).
 */
import type { IncomingMessage } from "node:http";
import type { Runtime } from "@inmesh/core/spi";
import { NACK, REASON, RETRY_AFTER } from "../headers.ts";
import type { Inbound } from "./inbound.ts";
import type { ServerLimits } from "./limits.ts";
import type { Http2ServerResponse } from "./listeners.ts";
import { RETRY_AFTER_S, type Refusal } from "./refusals.ts";

export interface RefuseOptions {
  readonly tellsReasons: boolean;
  readonly limits: ServerLimits;
  readonly runtime: Runtime;
}

export function refuse(inbound: Inbound, refusal: Refusal, options: RefuseOptions): void {
  const { request, response, connection, hasBody } = inbound;
  const { status } = refusal;
  const body = `${refusal.reason}\n`;
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("content-length", body.length);
  if (status === 503) response.setHeader(RETRY_AFTER, String(RETRY_AFTER_S));
  if (refusal.nack) response.setHeader(NACK, "1");
  if (options.tellsReasons) response.setHeader(REASON, refusal.reason);
  if (inbound.http2) {
    closeAfter(response as unknown as Http2ServerResponse);
    response.end(body);
    return;
  }
  if (refusal.close || hasBody) {
    response.shouldKeepAlive = false;
    connection.ended = true;
  }
  if (!hasBody) {
    response.end(body);
    return;
  }
  response.write(body); // the client has the whole answer: its length is in the head
  linger(request, options, () => response.end());
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
  { limits, runtime }: Pick<RefuseOptions, "limits" | "runtime">,
  done: () => void,
): void {
  let left = limits.lingerBytes;
  let over = false;
  const finish = (): void => {
    if (over) return;
    over = true;
    timer.cancel();
    done();
  };
  const timer = runtime.after(limits.lingerMs, finish, undefined);
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) finish();
  });
  request.on("end", finish);
  request.on("close", finish);
  request.on("error", finish);
  request.resume();
}
