/** Who is at the other end of a request's connection, for layers of the application. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ServerPeer } from "@inmesh/core/spi";

const NOBODY: ServerPeer = { address: undefined, port: undefined, certificate: undefined };

export function peerOf({ socket }: IncomingMessage): ServerPeer {
  if ((socket as Socket | null | undefined) == null) return NOBODY; // of a request without a connection
  const { remoteAddress: address, remotePort: port } = socket;
  const { authorized, getPeerCertificate } = socket as Partial<TLSSocket>;
  const certificate = authorized === true ? getPeerCertificate?.call(socket) : undefined;
  return { address, port, certificate };
}
