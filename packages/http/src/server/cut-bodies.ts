/**
 * Node's own requests over HTTP/2 say `end` when their stream was reset in the middle of their body, as
 * if it were whole. Those of a server that was given are kept from it here; ours (`http2/request.ts`)
 * do it by themselves.
 */
import type { EventEmitter } from "node:events";
import type { Readable } from "node:stream";
import { abortedError } from "./http2/errors.ts";
import { emitInContext, type WithInbound } from "./in-context.ts";

const WHOLE: unique symbol = Symbol("inmesh.whole");
const CLOSED: unique symbol = Symbol("inmesh.closed");

interface Given extends Readable, WithInbound {
  readonly stream: Readable;
  [WHOLE]?: true;
  [CLOSED]?: true;
}

/** Keeps it, before its handler's listeners hear anything. */
export function watchBody(request: unknown): void {
  const given = request as Given;
  // Node says `end` of a stream that was reset as well, and passes it on.
  given.stream.prependListener("end", () => {
    if (given.stream.destroyed) fail(given);
    else given[WHOLE] = true;
  });
  given.emit = emitUncut as typeof given.emit;
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
