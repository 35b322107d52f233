/**
 * Why a lane has no connection. grpc-js keeps the error of a handshake from us and says the rest in
 * words alone, so the first is read where we shake hands, and codes of the system out of the words.
 */
import type { ChannelCredentials } from "@grpc/grpc-js";
import { connectError, protocolMismatch, type MeshError, type Where } from "@inmesh/core/spi";
import { foreignCredentials, isOtherProtocol, TlsCredentials } from "./tls-credentials.ts";

/** The call was never given a connection: also where the name of the endpoint was not found. */
const NO_CONNECTION = /^(?:No connection established|Name resolution failed)/;
const LAST_ERROR = /Last error: ([^]*?)\. Resolution note/;
/** As in `connect ECONNREFUSED 10.0.0.1:80`. */
const SYSTEM_CODE = /\bE[A-Z]{3,}\b/;
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
  // What has no code of the system's is OpenSSL's.
  const shaking = code === undefined && foreignCredentials.has(credentials);
  return connectError(where, Object.assign(cause, { code }), shaking);
}

export function whereOf(
  credentials: ChannelCredentials | undefined,
  service: string,
  address: string,
): Where {
  const serverName = credentials instanceof TlsCredentials ? credentials.serverName : undefined;
  return { service, address, serverName };
}

/** The time to connect was spent on a handshake. */
export function wasShaking(credentials: ChannelCredentials): boolean {
  return credentials instanceof TlsCredentials && credentials.shaking;
}
