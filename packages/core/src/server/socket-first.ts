/**
 * The order in which an HTTP/2 connection of Node's may be ended. Node keeps a stream that is destroyed
 * while its bytes wait for the client until the garbage collector comes. If the client has begun
 * trailers and not ended them, that stream holds memory of its session, and a session that is collected
 * first finds its memory wanting and aborts the process (`~Http2Session()`, Node 22 to 26; what Node did
 * about CVE-2024-27983 covers streams that were not destroyed before). A client can bring that about, so:
 *
 * - a stream with unsent bytes is closed: Node destroys it when the reset has been sent;
 * - a session with such a stream ends through its socket, which ends the write before the streams.
 */
import type { Socket } from "node:net";

const INTERNAL_ERROR = 2;
const CANCEL = 8;

const SENDING: unique symbol = Symbol("inmesh.sending");

interface Session {
  readonly destroyed: boolean;
  destroy(error?: Error, code?: number): void;
  [SENDING]?: Set<Stream>;
}

interface Stream {
  readonly session: Session | undefined;
  readonly closed: boolean;
  readonly writableLength: number;
  close(code: number): void;
  destroy(error?: Error): unknown;
}

/** As it arrives. What is destroyed of it from then on, by Node itself too, is destroyed in that order. */
export function endSocketFirst(session: Session, socket: Socket): void {
  let isGone = false;
  let reason: Parameters<Session["destroy"]> | undefined;
  session[SENDING] = new Set();
  session.destroy = (...args) => {
    if (!session.destroyed && !isGone && isSending(session)) {
      reason ??= args;
      socket.destroy();
    } else prototypeOf(session).destroy.apply(session, args);
  };
  // By now its last write has failed. Before Node's own listener, which would give no reason.
  socket.prependOnceListener("close", () => {
    isGone = true;
    if (reason !== undefined) session.destroy(...reason);
  });
}

/** Each stream of such a session, before its handler has it; its `destroy` has to come by `destroyStream`. */
export function watchSending(stream: Stream): void {
  stream.session?.[SENDING]?.add(stream);
}

export function destroyStream(stream: Stream, error?: Error): void {
  const { session } = stream;
  // Node's own code destroys those that are closed, and those of a session that has ended.
  if (session?.[SENDING] !== undefined && !session.destroyed && !stream.closed) {
    if (stream.writableLength > 0) {
      return stream.close(error === undefined || error === null ? CANCEL : INTERNAL_ERROR);
    }
  }
  session?.[SENDING]?.delete(stream);
  prototypeOf(stream).destroy.call(stream, error);
}

function isSending({ [SENDING]: streams }: Session): boolean {
  for (const { writableLength } of streams!) if (writableLength > 0) return true;
  return false;
}

function prototypeOf<T extends object>(given: T): T {
  return Object.getPrototypeOf(given) as T;
}
