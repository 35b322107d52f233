/**
 * Ends a request while its handler is at work, because of what its client does or does not do. The
 * handler sees what it would see if the client had gone: the request is aborted, so that a cut body
 * never looks whole, the response closes without having finished, and takes what still comes without
 * a word. For that an answer of ours goes past the response object: a response that has sent its head
 * throws at whatever is set on it later.
 */
import { abortedError } from "./http2/errors.ts";
import type { Inbound } from "./inbound.ts";
import type { Http2ServerResponse } from "./listeners.ts";
import { closingReply } from "./raw-reply.ts";

type Stream = Http2ServerResponse["stream"];

// oxlint-disable-next-line no-restricted-globals -- one turn of the loop is no time
const nextTurn = setImmediate;
const NO_ERROR = 0;
const CANCEL = 8;

/** Without a reply, or in the middle of one. */
export function cutShort({ request, response, http2 }: Inbound): void {
  if (http2) return streamOf(request).close(CANCEL);
  request.socket.destroy();
  // Behind its reply Node has forgotten the request, and would leave its reader waiting.
  if (response.writableFinished && !request.complete) request.destroy(abortedError());
}

/** With this status, if no head is out yet. False: replies before it are not out, so it has to wait. */
export function answerAndCut(inbound: Inbound, status: number): boolean {
  const { request, response, connection, http2 } = inbound;
  if (!http2 && response.socket === null) return false;
  if (response.headersSent) cutShort(inbound);
  else if (http2) answerStream(streamOf(request), status);
  else {
    const { socket } = request;
    connection.ended = true;
    socket.write(closingReply(status));
    socket.destroySoon();
  }
  return true;
}

function answerStream(stream: Stream, status: number): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ":status": status }, { endStream: true });
  // Both messages ask the stream, and go on as on one that was reset before its head was out.
  Object.defineProperty(stream, "headersSent", { value: false });
  stream.additionalHeaders = ignore;
  stream.respond = ignore;
  stream.emit("aborted"); // Node emits it only on streams whose reply has not ended
  // Not now: in the turn in which the stream has come, Node 22 and 26 send the reset without the reply.
  nextTurn(stopSending, stream);
}

/** Asks the client to stop sending (RFC 9113 §8.1), behind the reply. Node would then wait for a reader. */
function stopSending(stream: Stream): void {
  if (stream.destroyed) return;
  stream.close(NO_ERROR);
  if (stream.writableFinished) stream.destroy();
  else stream.on("finish", destroy);
}

function streamOf(request: unknown): Stream {
  return (request as { stream: Stream }).stream;
}

function destroy(this: Stream): void {
  this.destroy();
}

function ignore(): void {}
