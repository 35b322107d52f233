/**
 * Why no connection came about, as a MeshError that one can act on, whatever protocol was to run over
 * it. Nothing was sent in any of these cases. A new error every time: calls write into theirs.
 */
import { MeshError, type ErrorReason } from "./errors.ts";

/** Where a dial goes to. */
export interface Where {
  readonly service: string;
  /** `host:port` or `unix:path`. */
  readonly address: string;
  /** The name a certificate must be for; undefined without TLS. */
  readonly serverName: string | undefined;
}

interface Coded {
  readonly code?: unknown;
  readonly message?: string;
}

const EXHAUSTED = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS"]);
const UNTRUSTED = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "INVALID_CA",
  "INVALID_PURPOSE",
]);
/** What OpenSSL calls alerts with which a peer refuses our certificate, or the lack of one. */
const REJECTED =
  /ALERT_(?:BAD_CERTIFICATE|CERTIFICATE|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|NO_CERTIFICATE)/;

export function textOfWhere({ address, service }: Where): string {
  return `${service} → ${address}`;
}

/** `shaking`: TCP had connected, and TLS was under way. */
export function connectError(where: Where, cause: Error & Coded, shaking: boolean): MeshError {
  const code = typeof cause.code === "string" ? cause.code : "";
  const local = exhausted(where, code, cause);
  if (local !== undefined) return local;
  const fail = (reason: ErrorReason, what: string): MeshError =>
    failure(where, reason, what, cause);
  if (!shaking) return fail("connect_refused", `no connection (${code || cause.message})`);
  const name = where.serverName ?? where.address;
  if (code === "CERT_HAS_EXPIRED") {
    return fail("peer_expired", `the certificate of ${name} has expired: renew it there`);
  }
  if (code === "CERT_NOT_YET_VALID") {
    return fail("peer_expired", `the certificate of ${name} is not valid yet: check both clocks`);
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return fail(
      "identity_mismatch",
      `the certificate is not for ${name}: set tls.serverName to a name it has`,
    );
  }
  if (UNTRUSTED.has(code)) {
    return fail(
      "peer_untrusted",
      `the certificate of ${name} is signed by nobody in tls.ca (${code})`,
    );
  }
  if (isPeerAlert(cause)) {
    return fail(
      "tls_rejected_by_peer",
      `the peer refused our certificate, or that we have none (${code}): check tls.cert and tls.key`,
    );
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return fail("tls_handshake", `the peer does not speak TLS on this port (${code})`);
  }
  return fail("tls_handshake", `TLS handshake failed (${code || cause.message})`);
}

export function timeoutError(where: Where, connectMs: number, shaking: boolean): MeshError {
  const within = `within ${connectMs} ms (timeouts.connect)`;
  return shaking
    ? failure(where, "tls_handshake", `connected, but no TLS handshake ${within}`)
    : failure(where, "connect_timeout", `no connection ${within}`);
}

export function protocolMismatch(where: Where, why: string, cause?: unknown): MeshError {
  return failure(where, "protocol_mismatch", `the peer does not speak HTTP/2 (${why})`, cause);
}

/** This process, not the peer, has run out of descriptors, ports or buffers. */
export function isExhaustion(code: unknown): boolean {
  return typeof code === "string" && EXHAUSTED.has(code);
}

/** Undefined unless `code` says that this process, not the peer, has run out of something. */
export function exhausted(where: Where, code: unknown, cause?: unknown): MeshError | undefined {
  if (!isExhaustion(code)) return undefined;
  return new MeshError({
    code: "overloaded",
    reason: "local_exhaustion",
    message: `${textOfWhere(where)}: this process has run out of sockets (${String(code)})`,
    progress: "not-sent",
    cause,
    stackless: true,
  });
}

/** The peer says that our certificate is at fault. */
export function isPeerAlert({ code }: Coded): boolean {
  return typeof code === "string" && REJECTED.test(code);
}

/** The endpoint is to blame: it has a strike. Our own certificate, or our own lack of sockets, is not its fault. */
export function isConnectStrike({ code, reason }: MeshError): boolean {
  return code === "connect_failed" && reason !== "tls_rejected_by_peer";
}

function failure(where: Where, reason: ErrorReason, what: string, cause?: unknown): MeshError {
  return new MeshError({
    code: "connect_failed",
    reason,
    message: `${textOfWhere(where)}: ${what}`,
    progress: "not-sent",
    cause,
    stackless: true,
  });
}
