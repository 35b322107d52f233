/** Who is at the other end of a request's connection, for handlers, layers and observers. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { ConnectionPeer, type ServerPeer } from "@inmesh/core/spi";
import type { ConnectionState } from "./connection-state.ts";

/** Looked up once for each connection, while it is there. */
export function peerOf(connection: ConnectionState, { socket }: IncomingMessage): ServerPeer {
  if (connection.peer !== undefined) return connection.peer;
  // Of a request without a connection.
  if ((socket as Socket | null | undefined) == null) return ConnectionPeer.unknown;
  try {
    return (connection.peer = ConnectionPeer.of(socket));
  } catch {
    return ConnectionPeer.unknown; // of an HTTP/2 session that has ended
  }
}
