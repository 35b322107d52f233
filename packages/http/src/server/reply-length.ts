/**
 * A reply that is not as long as its Content-Length says: what is missing would be taken from the next
 * reply of the connection, and what is too much would be read as one. Node checks only if told to
 * (`strictContentLength`), and then throws into the handler, when it is too late. HTTP/2 frames bodies
 * itself, and so do the chunks of HTTP/1: Node may know the length of a chunked body all the same, and
 * what it writes then is longer by the frames of the chunks.
 */
import type { ServerResponse } from "node:http";
import { CONTENT_LENGTH, TRANSFER_ENCODING } from "../headers.ts";
import {
  isChunked,
  lengthOf,
  nodeSend,
  replaceSend,
  type ServerMembers,
} from "../node-internals.ts";
import { INBOUND, type WithInbound } from "./in-context.ts";

type Response = ServerResponse & WithInbound;
type End = (...args: unknown[]) => ServerResponse;
type Write = (...args: unknown[]) => boolean;

/** Of a reply over HTTP/1, before its handler has it. */
export function watchLength(response: Response, members: ServerMembers): void {
  if (members.seesSends) replaceSend(response, sendMeasured);
  else {
    response.strictContentLength = true;
    response.write = writeMeasured as never;
    response.end = endMeasured as never;
  }
}

/** Every byte passes here. A function for all replies: it costs a request one property. */
function sendMeasured(
  this: Response,
  data: string | Uint8Array,
  encoding: BufferEncoding,
  callback: never,
  bytes: never,
): boolean {
  const length = data.length > 0 ? lengthOf(this) : null;
  if (length !== null) {
    const inbound = this[INBOUND]!;
    if (isChunked(this)) {
      // A head that says both would be read in two ways.
      if (this.hasHeader(CONTENT_LENGTH)) inbound.owner.misframed(inbound);
    } else {
      inbound.sentBytes +=
        typeof data === "string" ? Buffer.byteLength(data, encoding) : data.length;
      // The connection goes before the surplus does; Node drops what is written to it then.
      if (inbound.sentBytes > length) inbound.owner.misframed(inbound);
    }
  }
  return nodeSend(this, data, encoding, callback, bytes);
}

/** The handler has ended it, and has written less than it said. */
export function isShort(
  response: ServerResponse,
  sentBytes: number,
  members: ServerMembers,
): boolean {
  if (!members.seesSends) return false; // `end` has said so
  const length = lengthOf(response);
  return length !== null && !isChunked(response) && sentBytes < length;
}

// ── the public way: Node counts, and what it throws does not reach the handler ─────────────────

function writeMeasured(this: Response, ...args: unknown[]): boolean {
  if (!announce(this)) return false;
  const { write } = Object.getPrototypeOf(this) as { write: Write };
  return counted(this, write, args) ?? false;
}

function endMeasured(this: Response, ...args: unknown[]): ServerResponse {
  if (!announce(this)) return this;
  const { end } = Object.getPrototypeOf(this) as { end: End };
  return counted(this, end, args) ?? this;
}

/** False: its head would say two lengths, or its connection has gone for its length. */
function announce(response: Response): boolean {
  const inbound = response[INBOUND]!;
  if (inbound.sentBytes === Infinity) return false;
  // What comes behind the end of the connection is no reply any more.
  if (response.destroyed || response.socket?.writable === false) {
    response.strictContentLength = false;
    return true;
  }
  if (!response.hasHeader(CONTENT_LENGTH)) return true;
  if (response.hasHeader(TRANSFER_ENCODING)) {
    inbound.owner.misframed(inbound);
    return false;
  }
  // Node counts by the length in a head that is out, and not by one that goes out with the first bytes.
  if (!response.headersSent) response.flushHeaders();
  return true;
}

function counted<T>(
  response: Response,
  method: (...args: unknown[]) => T,
  args: unknown[],
): T | undefined {
  try {
    return method.apply(response, args);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_HTTP_CONTENT_LENGTH_MISMATCH") throw error;
    const inbound = response[INBOUND]!;
    inbound.owner.misframed(inbound);
    return undefined;
  }
}
