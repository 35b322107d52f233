/**
 * Pipelined requests whose connection ends before it was the turn of their replies. Their replies must
 * close as that of the first one does, or each would count as in progress for ever, until the server
 * refuses everything. Node 22 closes only the reply whose turn it is, and no version of Node closes any
 * other once a CONNECT or an Upgrade came behind them, because Node then has let go of the connection.
 */
import type { IncomingMessage } from "node:http";
import type { ConnectionState } from "./connection-state.ts";
import { abortedError } from "./http2/errors.ts";
import type { Inbound } from "./inbound.ts";

/** `newest`: the first of the list of requests in progress, asked for when the connection has ended. */
export function watchPipelined(
  connection: ConnectionState,
  { socket }: IncomingMessage,
  newest: () => Inbound | undefined,
): void {
  if (connection.pipelined) return;
  connection.pipelined = true;
  // Behind what Node does by itself when a connection ends.
  socket.on("close", () => process.nextTick(endLeftBehind, connection, newest));
}

function endLeftBehind(connection: ConnectionState, newest: () => Inbound | undefined): void {
  if (connection.active === 0) return;
  // Collected first, because the handlers that hear of an end may begin or end others.
  const left: Inbound[] = [];
  for (let one = newest(); one !== undefined; one = one.next) {
    if (one.connection === connection) left.push(one);
  }
  for (const { request, response } of left.toReversed()) {
    request.destroy(abortedError());
    response.destroy();
  }
  process.nextTick(closeAll, left);
}

/** Node 22 does not say `close` of a reply that is destroyed without a socket. */
function closeAll(left: readonly Inbound[]): void {
  for (const { phase, response } of left) if (phase !== "ended") response.emit("close");
}
