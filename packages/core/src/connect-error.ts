/**
 * Why no connection came about, as a MeshError that one can act on, whatever protocol was to run over
 * it. Nothing was sent in any of these cases. A new error every time: calls write into theirs.
 */
import { type MeshError, stacklessError, type ErrorReason } from "./errors.ts";

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

/** `handshaking`: TCP had connected, and TLS was under way. */
export function connectError(where: Where, cause: Error & Coded, handshaking: boolean): MeshError {
  const code = typeof cause.code === "string" ? cause.code : "";
  const local = exhausted(where, code, cause);
  if (local !== undefined) return local;
  const fail = (reason: ErrorReason, what: string): MeshError =>
    failure(where, reason, what, cause);
  if (!handshaking)
    return fail("connect_refused", `no connection (${code || cause.message})${hintFor(code)}`);
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
  if (code === "INMESH_PEER_REFUSED") return fail("identity_mismatch", cause.message);
  if (UNTRUSTED.has(code)) {
    return fail(
      "peer_untrusted",
      `the certificate of ${name} is signed by no authority in tls.ca (${code}): put its authority into tls.ca`,
    );
  }
  if (isPeerAlert(cause)) {
    return fail(
      "tls_rejected_by_peer",
      `the peer refused our certificate, or that we have none (${code}): check tls.cert and tls.key`,
    );
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return fail(
      "tls_handshake",
      `the peer does not speak TLS on this port (${code}): correct the scheme or the port`,
    );
  }
  return fail(
    "tls_handshake",
    `TLS handshake failed (${code || cause.message}): compare both sides' TLS versions and certificates; cause has more`,
  );
}

export function timeoutError(where: Where, connectMs: number, handshaking: boolean): MeshError {
  const within = `within ${connectMs} ms (timeouts.connect)`;
  return handshaking
    ? failure(
        where,
        "tls_handshake",
        `connected, but no TLS handshake ${within}: does the peer speak TLS on this port?`,
      )
    : failure(
        where,
        "connect_timeout",
        `no connection ${within}: look for packets that are dropped, by a firewall or a dead host`,
      );
}

export function protocolMismatch(where: Where, why: string, cause?: unknown): MeshError {
  return failure(
    where,
    "protocol_mismatch",
    `the peer does not speak HTTP/2 (${why}): correct http2, the scheme or the port`,
    cause,
  );
}

/** This process, not the peer, has run out of descriptors, ports or buffers. */
export function isExhaustion(code: unknown): boolean {
  return typeof code === "string" && EXHAUSTED.has(code);
}

/** Undefined unless `code` says that this process, not the peer, has run out of something. */
export function exhausted(where: Where, code: unknown, cause?: unknown): MeshError | undefined {
  if (!isExhaustion(code)) return undefined;
  const message = `${textOfWhere(where)}: this process has run out of sockets (${String(code)}): raise its limit of open files, or look for sockets that are not closed`;
  return stacklessError("overloaded", "local_exhaustion", "not-sent", message, cause);
}

/** What to look at; nothing for codes that say it themselves. */
function hintFor(code: string): string {
  switch (code) {
    case "ECONNREFUSED":
      return ": nothing listens there; is it running, and is the port right?";
    case "ECONNRESET":
      return ": the peer closed it at once; is it the right port?";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return ": there is no way to that address from here; look at routes and network policies";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ": its name was not found; look at discovery";
    case "ENOENT":
      return ": there is no such socket file; is the server running?";
    case "EACCES":
      return ": this user may not connect to it";
    default:
      return "";
  }
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
  const message = `${textOfWhere(where)}: ${what}`;
  return stacklessError("connect_failed", reason, "not-sent", message, cause);
}
