/**
 * The connections of a server as they are measured, whatever its protocol: it listens to Node's server below.
 * A connection counts as open from the moment at which a request may come on it.
 */
import type { Server as NetServer, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { connectError } from "../connect-error.ts";
import type { CloseTrigger, ConnectionRecord, Spoken } from "../telemetry/connections.ts";

const TIMED_OUT = "ERR_TLS_HANDSHAKE_TIMEOUT";
/** Of a handshake that a client gave up. */
const ENDED = new Set(["ECONNRESET", "EPIPE"]);

export interface ServedConnectionEvents {
  /** What is spoken on it. */
  spoken(socket: Socket): Spoken;
  /** What ended it, as far as the server knows. */
  endedBy(socket: Socket): CloseTrigger | undefined;
}

/** `record` undefined: nothing is measured. */
export function measureConnections(
  server: NetServer,
  secure: boolean,
  record: ConnectionRecord | undefined,
  events: ServedConnectionEvents,
): void {
  if (record === undefined) return;
  const opened = (socket: Socket, isMutual: boolean): void => {
    if (socket.destroyed) return;
    const mutual = isMutual ? "true" : "false";
    record.opened(socket, { protocol: events.spoken(socket), mutual });
    record.explain(socket, () => events.endedBy(socket));
  };
  if (!secure) {
    server.on("connection", (socket: Socket) => opened(socket, false));
    return;
  }
  // The socket above TLS is another object: only the client's address and port are the same. One of a Unix
  // socket has none, and how long its handshake took is not known.
  const begun = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const client = clientOf(socket);
    if (client === undefined) return;
    begun.set(client, record.now());
    socket.once("close", () => begun.delete(client));
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    const startedAt = begun.get(clientOf(socket) ?? "");
    record.shookHands(startedAt === undefined ? undefined : record.now() - startedAt);
    opened(socket, socket.authorized);
  });
  server.on("tlsClientError", (error: Error & { readonly code?: unknown }, socket: TLSSocket) => {
    const reason = reasonOf(error);
    record.handshakeFailed(reason);
    record.failed(events.spoken(socket), reason);
  });
}

function clientOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}

/** The words of a client's errors where they fit. */
function reasonOf(error: Error & { readonly code?: unknown }): string {
  if (error.code === TIMED_OUT) return "connect_timeout";
  if (ENDED.has(String(error.code))) return "tls_handshake";
  const where = { service: "", address: "", serverName: undefined };
  return connectError(where, error, true).reason;
}
