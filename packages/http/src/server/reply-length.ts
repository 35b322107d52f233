/**
 * A reply that is not as long as its Content-Length says: what is missing would be taken from the next
 * reply of the connection, and what is too much would be read as one. Node checks only if told to
 * (`strictContentLength`), and then throws into the handler, when it is too late. HTTP/2 frames bodies
 * itself, and so do the chunks of HTTP/1: Node may know the length of a chunked body all the same, and
 * what it writes then is longer by the frames of the chunks.
 */
import type { ServerResponse } from "node:http";
import { CONTENT_LENGTH } from "../headers.ts";
import { INBOUND, type WithInbound } from "./in-context.ts";
import { NODE_HTTP } from "./listeners.ts";

/** Node's own fields and method; every byte of a body passes through `_send`. */
export interface Sending {
  readonly _contentLength: number | null;
  readonly _hasBody: boolean;
  /** The head says `Transfer-Encoding: chunked`. */
  readonly chunkedEncoding: boolean;
  _send(data: string | Uint8Array, ...rest: never[]): boolean;
}

const node = NODE_HTTP.OutgoingMessage.prototype as unknown as Sending;

/** As `_send` of one reply. A function for all of them: it costs a request one property. */
export function sendMeasured(
  this: ServerResponse & WithInbound & Sending,
  data: string | Uint8Array,
  encoding: BufferEncoding,
  callback: never,
  bytes: never,
): boolean {
  if (data.length > 0 && this._contentLength !== null && this._hasBody) {
    const inbound = this[INBOUND]!;
    if (this.chunkedEncoding) {
      // A head that says both would be read in two ways.
      if (this.hasHeader(CONTENT_LENGTH)) inbound.owner.misframed(inbound);
    } else {
      inbound.sentBytes +=
        typeof data === "string" ? Buffer.byteLength(data, encoding) : data.length;
      // The connection goes before the surplus does; Node drops what is written to it then.
      if (inbound.sentBytes > this._contentLength) inbound.owner.misframed(inbound);
    }
  }
  return node._send.call(this, data, encoding as never, callback, bytes);
}

/** The handler has ended it, and has written less than it said. */
export function isShort(response: ServerResponse, sentBytes: number): boolean {
  const { _contentLength: length, _hasBody, chunkedEncoding } = response as unknown as Sending;
  return _hasBody && length !== null && !chunkedEncoding && sentBytes < length;
}
