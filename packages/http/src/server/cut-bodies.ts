/**
 * What Node's own messages over HTTP/2 say wrongly when their stream was reset. A reply to HEAD never
 * closes then, if its handler does not end it. Requests say `end` in the middle of their body, as if
 * it were whole. Those of a server that was given are kept from it here; ours (`http2/request.ts`,
 * `http2/response.ts`) do it by themselves.
 */
import type { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { abortedError } from "./http2/errors.ts";
import { emitInContext, type WithContext } from "./in-context.ts";
import type { Http2ServerResponse } from "./listeners.ts";

const WHOLE: unique symbol = Symbol("inmesh.whole");
const CLOSED: unique symbol = Symbol("inmesh.closed");

interface Given extends Readable, WithContext {
  readonly stream: Readable;
  [WHOLE]?: true;
  [CLOSED]?: true;
}

/** Keeps it, before its handler's listeners hear anything. */
export function watchBody(request: unknown): void {
  const given = request as Given;
  // Node says `end` of a stream that was reset as well, and passes it on.
  const { stream } = given; // its handler may make it another message
  stream.prependListener("end", () => {
    if (stream.destroyed) fail(given);
    else given[WHOLE] = true;
  });
  given.emit = emitUncut as typeof given.emit;
}

/** `closed` runs once, as `close` of the reply, at the end of a stream whose reply had not begun too. */
export function watchHead(response: ServerResponse, closed: () => void): void {
  const { stream } = response as unknown as Http2ServerResponse;
  stream.on("close", () => {
    if (stream.headersSent || !response.listeners("close").includes(closed)) return;
    response.off("close", closed);
    closed.call(response);
  });
}

/** As `emit`, in the context of its handler. */
function emitUncut(this: Given & EventEmitter, ...event: never[]): boolean {
  const [name] = event as unknown as [string];
  switch (name) {
    case "aborted":
      fail(this);
      break;
    case "error":
      // As over HTTP/1, it is no crash of a handler that does not listen.
      if (this.errored !== null && this.listenerCount("error") === 0) return false;
      break;
    case "close":
      if (fail(this)) return true; // the error first, and then this
      if (this[CLOSED] === true) return false; // said by the request, and again by its stream
      this[CLOSED] = true;
      break;
    default:
  }
  return emitInContext.apply(this, event);
}

/** True: its error and its close follow. */
function fail(request: Given): boolean {
  if (request[WHOLE] === true || request.destroyed) return false;
  request.destroy(abortedError());
  return true;
}
