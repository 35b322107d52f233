/**
 * A reply that is not as long as its Content-Length says: what is missing would be taken from the next
 * reply of the connection, and what is too much would be read as one. Node checks only where a handler
 * asks for it (`strictContentLength`), and then throws into the handler, when it is too late. HTTP/2
 * frames bodies itself, and so do the chunks of HTTP/1: Node may know the length of a chunked body all the same, and
 * what it writes then is longer by the frames of the chunks.
 */
import type { ServerResponse } from "node:http";
import { CONTENT_LENGTH, isNamed, TRANSFER_ENCODING } from "../headers.ts";
import {
  isChunked,
  lengthOf,
  nodeSend,
  replaceSend,
  type ServerMembers,
} from "../node-internals.ts";
import { INBOUND } from "./in-context.ts";
import type { WithInbound } from "./inbound.ts";
import type { Inbound } from "./inbound.ts";

type Response = ServerResponse & WithInbound;
type Write = (chunk?: unknown, ...rest: unknown[]) => boolean;
type End = (chunk?: unknown, ...rest: unknown[]) => ServerResponse;

/** Of a reply over HTTP/1, before its handler has it. */
export function watchLength(response: Response, members: ServerMembers): void {
  if (members.seesSends) replaceSend(response, sendMeasured);
  else {
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
  { sentBytes, declaredBytes }: Inbound,
  members: ServerMembers,
): boolean {
  if (!members.seesSends) return declaredBytes !== null && sentBytes < declaredBytes;
  const length = lengthOf(response);
  return length !== null && !isChunked(response) && sentBytes < length;
}

// ── the public way: what `write` and `end` are given is counted. Node's own count by
// `strictContentLength` throws into the handler, and makes two writes of every reply ─────────────

/** The head says two lengths: whatever comes is too much. */
const CONTRADICTION = -1;

/** By how much the client reads the body of a reply whose head is out; null: the length is not said. */
export function declaredLength(response: ServerResponse, given: unknown): number | null {
  const { statusCode: status, req: request } = response;
  if (request.method === "HEAD" || status === 204 || status === 304) return null;
  const length = fieldOf(given, CONTENT_LENGTH) ?? response.getHeader(CONTENT_LENGTH);
  if (length === undefined) return null;
  const coding = fieldOf(given, TRANSFER_ENCODING) ?? response.getHeader(TRANSFER_ENCODING);
  return coding === undefined ? Number(length) : CONTRADICTION;
}

/** Of what `writeHead` was given: an object, pairs, or names and values in turn. */
function fieldOf(given: unknown, wanted: string): unknown {
  if (typeof given !== "object" || given === null) return undefined;
  const isFlat = Array.isArray(given) && !Array.isArray(given[0]);
  const entries: readonly unknown[] = Array.isArray(given) ? given : Object.entries(given);
  if (!isFlat) {
    for (const [name, value] of entries as [unknown, unknown][]) {
      if (isNamed(String(name), wanted)) return value;
    }
    return undefined;
  }
  for (let i = 0; i < entries.length; i += 2) {
    if (isNamed(String(entries[i]), wanted)) return entries[i + 1];
  }
  return undefined;
}

function writeMeasured(this: Response, chunk?: unknown, ...rest: unknown[]): boolean {
  if (!measure(this, chunk, rest[0])) return false;
  const { write } = Object.getPrototypeOf(this) as { write: Write };
  return write.call(this, chunk, ...rest);
}

function endMeasured(this: Response, chunk?: unknown, ...rest: unknown[]): ServerResponse {
  if (!measure(this, chunk, rest[0])) return this;
  const { end } = Object.getPrototypeOf(this) as { end: End };
  return end.call(this, chunk, ...rest);
}

/** False: it must not be written, and its connection has gone for its length. */
function measure(response: Response, chunk: unknown, encoding: unknown): boolean {
  const inbound = response[INBOUND]!;
  if (inbound.sentBytes === Infinity) return false;
  // Node refuses or drops what comes behind the end of the reply or of its connection.
  if (response.writableEnded || response.destroyed || response.socket?.writable === false) {
    return true;
  }
  const bytes = bytesOf(chunk, encoding);
  if (bytes === undefined) return true; // Node throws for it
  // The head that goes out with the first bytes is made now, as Node would: it says which length counts.
  if (!response.headersSent && response.hasHeader(CONTENT_LENGTH)) {
    response.writeHead(response.statusCode);
  }
  if (inbound.declaredBytes === null) return true;
  inbound.sentBytes += bytes;
  // The connection goes before the surplus does; Node drops what is written to it then.
  if (inbound.sentBytes <= inbound.declaredBytes) return true;
  inbound.owner.misframed(inbound);
  return false;
}

/** Undefined: neither text nor bytes. A callback stands where there are none. */
export function bytesOf(chunk: unknown, encoding: unknown): number | undefined {
  if (chunk === undefined || chunk === null || typeof chunk === "function") return 0;
  if (typeof chunk === "string") {
    return Buffer.byteLength(
      chunk,
      typeof encoding === "string" ? (encoding as BufferEncoding) : undefined,
    );
  }
  return chunk instanceof Uint8Array ? chunk.byteLength : undefined;
}
