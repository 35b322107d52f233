/**
 * An HTTP/2 session that was asked to end is made to end. Node's `close()` waits for as long as nghttp2
 * does, and that waits for the rest of a head; its `destroy()` waits until all that was written has been
 * taken, and on a session that is closing for the client to end its side.
 */
import type { Socket } from "node:net";
import type { Runtime } from "@inmesh/core/spi";
import { CONNECTION, type ConnectionState, type WithConnection } from "./connection-state.ts";
import type { Http2Session } from "./listeners.ts";

/** A session on which nothing was in progress at two looks has not managed to end by itself. */
const LOOK_MS = 1_000;

class Ending {
  readonly session: Http2Session;
  readonly socket: Socket;
  readonly state: ConnectionState;
  readonly runtime: Runtime;
  wasIdle = false;

  constructor(session: Http2Session, state: ConnectionState, socket: Socket, runtime: Runtime) {
    this.session = session;
    this.state = state;
    this.socket = socket;
    this.runtime = runtime;
  }
}

/** Once per session, which has not been destroyed yet. */
export function makeEnd(session: Http2Session, state: ConnectionState, runtime: Runtime): void {
  if (state.ending) return;
  state.ending = true;
  const socket = socketOf(session);
  if (socket === undefined) return;
  runtime.after(LOOK_MS, look, new Ending(session, state, socket, runtime));
}

function look(ending: Ending): void {
  const { session, socket, state, runtime } = ending;
  if (socket.destroyed) return;
  const isIdle = session.destroyed || state.active === 0;
  if (isIdle && ending.wasIdle) {
    session.destroy();
    socket.destroy();
    return;
  }
  ending.wasIdle = isIdle;
  runtime.after(LOOK_MS, look, ending);
}

/** `session.socket` refuses to be destroyed, and gives what hangs on the socket behind it. */
export function socketOf(session: Http2Session): Socket | undefined {
  return (session.socket as WithConnection)[CONNECTION]?.holder as Socket | undefined;
}
