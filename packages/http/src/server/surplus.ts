/**
 * What comes over HTTP/1 behind the last request that a connection is served. Node goes on parsing, and
 * keeps each request with its reply until those before it are out: a client that goes on sending would
 * fill the memory while one slow reply holds them up. So the parser is taken off the connection, what
 * comes is dropped, and after some of it nothing is read any more: TCP makes the client wait.
 */
import type { Socket } from "node:net";
import type { Runtime } from "@inmesh/core/spi";
import { CONNECTION, type WithConnection } from "./connection-state.ts";
import type { ServerLimits } from "./limits.ts";

export interface LingerOptions {
  readonly limits: ServerLimits;
  readonly runtime: Runtime;
}

/** From now on nothing of it is read as a request; the replies before go out, and it ends. Idempotent. */
export function dropSurplus(socket: Socket, options: LingerOptions): void {
  const state = (socket as WithConnection)[CONNECTION];
  if (state === undefined || state.surplus || socket.destroyed) return;
  state.surplus = true;
  // Bytes come as `data` as soon as there is a listener; until now they went straight to the parser.
  socket.removeAllListeners("data");
  let left = options.limits.lingerBytes;
  socket.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    // A request before it that is read resumes the connection: so again and again.
    if (left < 0 && !state.closing) socket.pause();
  });
  // What Node calls when the last reply is out. It would close over unread bytes, and the reset that
  // the kernel sends then can eat replies which the client has not read yet (faults H1).
  socket.destroySoon = () => {
    state.closing = true;
    lingerAndClose(socket, options);
  };
}

/** Ends this side, and drops what comes until the client ends its own, or for as long as the limits say. */
export function lingerAndClose(socket: Socket, { limits, runtime }: LingerOptions): void {
  if (socket.destroyed) return;
  let left = limits.lingerBytes;
  const timer = runtime.after(limits.lingerMs, destroy, socket);
  socket.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) socket.destroy();
  });
  socket.on("end", () => socket.destroy());
  socket.on("close", () => timer.cancel());
  socket.end();
  socket.resume();
}

function destroy(socket: Socket): void {
  socket.destroy();
}
