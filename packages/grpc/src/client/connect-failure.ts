/**
 * Why a lane has no connection. grpc-js keeps the error of a handshake from us and says the rest in
 * words alone, so the first is read where we shake hands, and codes of the system out of the words.
 */
import type { ChannelCredentials } from "@grpc/grpc-js";
import { connectError, protocolMismatch, type MeshError, type Where } from "@inmesh/core/spi";
import { foreignNames, isOtherProtocol, TlsCredentials } from "./tls-credentials.ts";
import { tlsCodeOf } from "./tls-texts.ts";

/** The call was never given a connection: also where the name of the endpoint was not found. */
const NO_CONNECTION = /^(?:No connection established|Name resolution failed)/;
/** Version 1.13 has no note behind it. */
const LAST_ERROR = /Last error: ([^]*?)(?:\. Resolution note|$)/;
/** As in `connect ECONNREFUSED 10.0.0.1:80`. */
const SYSTEM_CODE = /\bE[A-Z]{3,}\b/;
/** Of an error before the connection of TCP was there. */
const DIALLING = /(?:^|: )(?:connect|getaddrinfo) E/;
/** nghttp2's words for first bytes that are no HTTP/2. */
const NOT_HTTP2 = "Protocol error";
/** grpc-js's words for a connection that ended before the peer's settings, without an error. */
const CLOSED = "Failed to connect";

export function isConnectFailure(details: string): boolean {
  return NO_CONNECTION.test(details);
}

/** `credentials`: those of the lane. */
export function connectFailure(
  details: string,
  credentials: ChannelCredentials,
  where: Where,
): MeshError {
  const failure = credentials instanceof TlsCredentials ? credentials.failure : undefined;
  // One that came after the handshake may be of an earlier connection.
  if (failure !== undefined && details.includes(failure.message)) {
    if (isOtherProtocol(failure)) return protocolMismatch(where, failure.message, failure);
    return connectError(where, failure, true);
  }
  const said = LAST_ERROR.exec(details)?.[1] ?? details;
  if (said.startsWith(NOT_HTTP2)) return protocolMismatch(where, "its first bytes are another's");
  const cause = new Error(said.startsWith(CLOSED) ? "closed at once" : said);
  const code = SYSTEM_CODE.exec(said)?.[0];
  if (!foreignNames.has(credentials) || DIALLING.test(said)) {
    return connectError(where, Object.assign(cause, { code }), false);
  }
  const handshake = Object.assign(cause, { code: code ?? tlsCodeOf(said) });
  if (isOtherProtocol(handshake)) return protocolMismatch(where, said, handshake);
  return connectError(where, handshake, true);
}

export function whereOf(
  credentials: ChannelCredentials | undefined,
  service: string,
  address: string,
): Where {
  const serverName =
    credentials instanceof TlsCredentials
      ? credentials.serverName
      : credentials && foreignNames.get(credentials);
  return { service, address, serverName };
}

/** The time to connect was spent on a handshake. `hasSocket`: TCP has connected. */
export function wasHandshaking(credentials: ChannelCredentials, hasSocket: boolean): boolean {
  if (credentials instanceof TlsCredentials) return credentials.handshaking;
  return foreignNames.has(credentials) && hasSocket;
}
