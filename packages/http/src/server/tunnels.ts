/**
 * Requests that would take their connection over. Tunnels are nobody's business here (faults H8). An
 * Upgrade belongs to the application, unless bytes follow its head: a body, or a request behind it,
 * would be read as what the other protocol says. Node hands either over without a word.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { CONTENT_LENGTH, TRANSFER_ENCODING } from "../headers.ts";
import { NODE_HTTP, type NodeServer } from "./listeners.ts";
import { REFUSALS, type RefusalReason } from "./refusals.ts";

type Count = (reason: RefusalReason) => void;

export function guardTunnels(server: NodeServer, count: Count): void {
  if (server.listenerCount("connect") === 0) {
    server.on("connect", (request: IncomingMessage, socket: NodeJS.WritableStream) =>
      refuseConnect(request, socket, count),
    );
  }
  if (server.listenerCount("upgrade") > 0) guardUpgrades(server, count);
  else {
    // Node asks whether anybody listens, so a listener of ours would change what it does.
    const added = (event: string | symbol): void => {
      if (event !== "upgrade") return;
      server.off("newListener", added);
      guardUpgrades(server, count);
    };
    server.on("newListener", added);
  }
}

/** One listener cannot keep an event from the next, so it is looked at before it is emitted. */
function guardUpgrades(server: NodeServer, count: Count): void {
  const emit = server.emit as (event: string | symbol, ...args: unknown[]) => boolean;
  const guarded: typeof emit = (event, ...args) => {
    if (event === "upgrade" && !isBare(args[0] as IncomingMessage, args[2] as Buffer)) {
      count("bad_upgrade");
      answer(args[1] as NodeJS.WritableStream, REFUSALS.bad_upgrade.status);
      return true;
    }
    return emit.call(server, event, ...args);
  };
  server.emit = guarded as typeof server.emit;
}

function isBare({ headers }: IncomingMessage, head: Buffer): boolean {
  const length = headers[CONTENT_LENGTH] ?? "0";
  return head.length === 0 && length === "0" && headers[TRANSFER_ENCODING] === undefined;
}

function refuseConnect(
  request: IncomingMessage,
  socket: NodeJS.WritableStream,
  count: Count,
): void {
  count("method_not_allowed");
  const { status } = REFUSALS.method_not_allowed;
  if (request instanceof NODE_HTTP.IncomingMessage) return answer(socket, status);
  const response = socket as unknown as ServerResponse;
  response.statusCode = status;
  response.end();
}

function answer(socket: NodeJS.WritableStream, status: number): void {
  socket.on("error", () => {});
  const reason = NODE_HTTP.STATUS_CODES[status];
  socket.end(`HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
