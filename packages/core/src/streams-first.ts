/**
 * The order in which an HTTP/2 client session of Node's may be ended: its streams, and the session a turn
 * later. A stream that is destroyed within a head holds memory of the session until the end of the turn, and
 * a session that the garbage collector frees before that aborts the process (`~Http2Session()`, Node 22 to
 * 26). An upstream brings that about with an interim reply that ends its stream, and another head behind it.
 */
interface Session {
  readonly destroyed: boolean;
  destroy(error?: Error, code?: number): void;
  request?(...args: never[]): unknown;
  [OPEN]?: Set<Stream>;
}

interface Stream {
  readonly session: Session | undefined;
  once(event: "close", listener: () => void): unknown;
  destroy(error?: Error): unknown;
}

const OPEN: unique symbol = Symbol("inmesh.open");
// oxlint-disable-next-line no-restricted-globals -- one turn of the loop is no time
const nextTurn = setImmediate;

/**
 * Before its first stream. What destroys it from then on, Node itself too, destroys it in that order.
 * `ending` is called for it at once, with the error if there is one. Idempotent.
 */
export function endStreamsFirst(
  session: Session,
  ending?: (error: Error | undefined) => void,
): void {
  if (session[OPEN] !== undefined) return;
  const streams = (session[OPEN] = new Set<Stream>());
  let isEnding = false;
  session.destroy = (error, code) => {
    if (isEnding || session.destroyed) return;
    isEnding = true;
    const reason = error instanceof Error ? error : undefined;
    ending?.(reason);
    session.request = refuse;
    for (const stream of streams) stream.destroy(reason);
    nextTurn(() => {
      (Object.getPrototypeOf(session) as Session).destroy.call(session, error, code);
    });
  };
}

/** Each stream of such a session; others are left alone. */
export function watchOpen(stream: Stream): void {
  const open = stream.session?.[OPEN];
  if (open === undefined) return;
  open.add(stream);
  stream.once("close", () => open.delete(stream));
}

/** Stands for `request` of a session that is about to be destroyed, and refuses as a destroyed one does. */
function refuse(): never {
  throw Object.assign(new Error("The session has been destroyed"), {
    code: "ERR_HTTP2_INVALID_SESSION",
  });
}
