/** What the messages of one HTTP/2 stream hang on it, and its events that concern both. */
import type { EventEmitter } from "node:events";
// oxlint-disable-next-line no-restricted-imports -- types
import type { ServerHttp2Stream } from "node:http2";

export const REQUEST: unique symbol = Symbol("inmesh.request");
export const RESPONSE: unique symbol = Symbol("inmesh.response");

interface Message extends EventEmitter {
  onStreamClose(): void;
}

export interface ServedStream<Request = Message> extends ServerHttp2Stream {
  /** Undefined on a pushed stream. */
  [REQUEST]?: Request;
  /** Until it is over. */
  [RESPONSE]?: Message | undefined;
}

/** Messages do not fail with their stream: their handlers hear `aborted` and `close`. */
export function watchEnd(stream: ServedStream<unknown>): void {
  stream.on("error", ignore);
  stream.on("close", closeMessages);
}

/** From the first timeout that is set; both messages hear of it, whichever set it. */
export function watchTimeout(stream: ServedStream<unknown>): void {
  if (stream.listenerCount("timeout", timeOut) === 0) stream.on("timeout", timeOut);
}

function ignore(): void {}

/** Of the messages; a handler may have given them other ones (replaced.ts). Writer: messages.ts. */
export const PROTOTYPES: { request: object; response: object } = { request: {}, response: {} };

/** The request of the stream, as it was made. */
export function requestOf<Request>(stream: ServedStream<Request>): Request | undefined {
  const request = stream[REQUEST];
  if (request !== undefined && (request as Message).onStreamClose === undefined) {
    Object.setPrototypeOf(request, PROTOTYPES.request);
  }
  return request;
}

function closeMessages(this: ServedStream): void {
  const response = this[RESPONSE];
  if (response !== undefined && response.onStreamClose === undefined) {
    Object.setPrototypeOf(response, PROTOTYPES.response);
  }
  requestOf(this)?.onStreamClose();
  this[RESPONSE]?.onStreamClose();
}

function timeOut(this: ServedStream): void {
  this[REQUEST]?.emit("timeout");
  this[RESPONSE]?.emit("timeout");
}
