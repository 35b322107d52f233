/**
 * Requests that would take their connection over. Tunnels are not served (faults H8). An
 * Upgrade belongs to the application, unless bytes follow its head: a body, or a request behind it,
 * would be read as what the other protocol says. Node hands either over without a word.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Refusal } from "@inmesh/core/spi";
import { CONTENT_LENGTH, TRANSFER_ENCODING } from "../headers.ts";
import { CONNECTION, type WithConnection } from "./connection-state.ts";
import { NODE_HTTP, type NodeServer } from "./listeners.ts";
import { closingReply } from "./raw-reply.ts";
import type { ChosenRules } from "./chosen-rules.ts";
import { REFUSALS, type RefusalReason } from "./refusals.ts";
import { lingerAndClose, type LingerOptions } from "./surplus.ts";

type Count = (reason: RefusalReason) => void;

export function guardTunnels(
  server: NodeServer,
  chosen: ChosenRules | undefined,
  count: Count,
  options: LingerOptions,
): void {
  if (server.listenerCount("connect") === 0) {
    server.on("connect", (request: IncomingMessage, socket: Socket) =>
      refuseConnect(request, socket, count, options),
    );
  }
  server.prependListener("connect", (request: IncomingMessage, socket: Socket) => {
    if (!isBehind(request)) return handedOver(socket);
    count("method_not_allowed");
    socket.destroy();
  });
  if (server.listenerCount("upgrade") > 0) guardUpgrades(server, chosen, count, options);
  else {
    // Node asks whether there is a listener, so one of ours would change what it does.
    const added = (event: string | symbol): void => {
      if (event !== "upgrade") return;
      server.off("newListener", added);
      guardUpgrades(server, chosen, count, options);
    };
    server.on("newListener", added);
  }
}

/** One listener cannot keep an event from the next, so it is looked at before it is emitted. */
function guardUpgrades(
  server: NodeServer,
  chosen: ChosenRules | undefined,
  count: Count,
  options: LingerOptions,
): void {
  const emit = server.emit as (event: string | symbol, ...args: unknown[]) => boolean;
  const guarded: typeof emit = (event, ...args) => {
    if (event !== "upgrade") return emit.call(server, event, ...args);
    const [request, socket, head] = args as [IncomingMessage, Socket, Buffer];
    if (isBehind(request)) {
      count("bad_upgrade");
      socket.destroy();
      return true;
    }
    handedOver(socket);
    const refusal = isBare(request, head) ? chosen?.check(request) : REFUSALS.bad_upgrade;
    if (refusal === undefined) return emit.call(server, event, ...args);
    count(refusal.reason as RefusalReason); // of ours: no layer of the application sees tunnels
    answer(socket, refusal, options);
    return true;
  };
  server.emit = guarded as typeof server.emit;
}

/**
 * Requests before it are still in progress. What takes the connection over, or an answer of ours, would be
 * read as the reply to one of those, and Node has let go of the connection: it would neither end them with
 * it nor go on writing to a slow reader. So it ends at once, as in Node where no listener takes it over.
 */
function isBehind(request: IncomingMessage): boolean {
  if (!(request instanceof NODE_HTTP.IncomingMessage)) return false;
  const state = (request.socket as WithConnection)[CONNECTION];
  return state !== undefined && state.active > 0;
}

/** It is no connection of HTTP/1 any more, which would be closed when it is idle. */
function handedOver(socket: Socket): void {
  const state = (socket as WithConnection)[CONNECTION];
  if (state !== undefined) state.parsed = false;
}

function isBare({ headers }: IncomingMessage, head: Buffer): boolean {
  const length = headers[CONTENT_LENGTH] ?? "0";
  return head.length === 0 && length === "0" && headers[TRANSFER_ENCODING] === undefined;
}

function refuseConnect(
  request: IncomingMessage,
  socket: Socket,
  count: Count,
  options: LingerOptions,
): void {
  if (socket.destroyed) return; // it came behind others, and is counted
  count("method_not_allowed");
  const refusal = REFUSALS.method_not_allowed;
  if (request instanceof NODE_HTTP.IncomingMessage) return answer(socket, refusal, options);
  const response = socket as unknown as ServerResponse;
  response.statusCode = refusal.status;
  response.end();
}

/** Half of it stays open, and belongs to nothing any more: the client has to be made to go. */
function answer(socket: Socket, { status }: Refusal, options: LingerOptions): void {
  socket.on("error", () => {});
  socket.write(closingReply(status));
  lingerAndClose(socket, options);
}
