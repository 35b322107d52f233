/**
 * Who reset a stream. Node reports either side's reset alike, when it is over; what the handler, or we,
 * reset is no misuse of the client's. So a stream's own two ways to be reset are watched: what ends
 * without having passed by here was ended by the peer, or by something it sent.
 */
import { destroyStream, watchSending } from "@inmesh/core/spi";
import type { Http2ServerResponse } from "./listeners.ts";

type Stream = Http2ServerResponse["stream"];

const NO_ERROR = 0;
const OWN: unique symbol = Symbol("inmesh.own-reset");
interface Watched {
  [OWN]?: true;
}

/** Two properties, no listener and no closure: it is on the way of every request. */
export function watchResets(stream: Stream): void {
  stream.close = close;
  stream.destroy = destroy;
  watchSending(stream);
}

/** The reply has closed before its end, and nothing here wanted that. */
export function isResetByPeer(response: Http2ServerResponse): boolean {
  const { stream } = response as { readonly stream?: Stream };
  if (stream === undefined) return false; // its handler has made it another message
  if ((stream as Watched)[OWN] !== undefined) return false;
  // Closing ends what the handler had not ended: `aborted` says so, and `writableFinished` then lies. It
  // lies the other way where a request had a body: then Node closes a whole reply before it says `finish`.
  if (!stream.headersSent || stream.aborted) return true;
  return !stream.writableFinished && stream.rstCode !== NO_ERROR;
}

function close(this: Stream & Watched, ...args: Parameters<Stream["close"]>): void {
  this[OWN] = true;
  prototypeOf(this).close.apply(this, args);
}

/** Node's own code calls it as well, for a stream that is closed. */
function destroy(this: Stream & Watched, ...args: Parameters<Stream["destroy"]>): Stream {
  if (!this.closed) this[OWN] = true;
  destroyStream(this, ...args);
  return this;
}

function prototypeOf(stream: Stream): Stream {
  return Object.getPrototypeOf(stream) as Stream;
}
