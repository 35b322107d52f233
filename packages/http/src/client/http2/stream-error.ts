/** From how an HTTP/2 stream ended to a MeshError: what happened, and whether it may be sent again. */
import {
  type MeshError,
  stacklessError,
  protocolMismatch,
  textOfWhere,
  type ErrorCode,
  type ErrorReason,
  type Progress,
  type Where,
} from "@inmesh/core/spi";

/** Of the session of a stream: how it ended, or is about to. */
export interface SessionEnd {
  /** GOAWAY: streams above were not processed, and will not be. Infinity: there was none. */
  readonly lastStreamId: number;
  /** GOAWAY's error code; 0: an orderly goodbye. */
  readonly goawayCode: number;
  /** Why it ended; undefined: without a reason, or not. */
  readonly error: Error | undefined;
  /** Takes no new streams. */
  readonly ending: boolean;
}

export interface StreamEnd {
  readonly id: number;
  readonly rstCode: number;
  readonly replyStarted: boolean;
  readonly session: SessionEnd;
  readonly cause: (Error & { readonly code?: unknown }) | undefined;
}

/** Names of error codes, by code (RFC 9113 §7). */
export const HTTP2_ERRORS: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];
const PROTOCOL_ERROR = 1;
const REFUSED_STREAM = 7;
export const ENHANCE_YOUR_CALM = 11;

/** The peer itself did not want this one stream, whether or not it says that it never looked at it. */
export function isRefusal({ id, rstCode, replyStarted, session }: StreamEnd): boolean {
  if (replyStarted || session.error !== undefined || id > session.lastStreamId) return false;
  return rstCode === REFUSED_STREAM || rstCode === ENHANCE_YOUR_CALM;
}

export function streamError(where: Where, end: StreamEnd): MeshError {
  const { session, rstCode, replyStarted } = end;
  const name = HTTP2_ERRORS[rstCode] ?? String(rstCode);
  // §8.7: the two proofs that the peer has not processed it.
  if (end.id > session.lastStreamId) {
    const code = HTTP2_ERRORS[session.goawayCode] ?? String(session.goawayCode);
    return lost(where, "goaway", "not-sent", `the peer is leaving (GOAWAY, ${code})`);
  }
  if (rstCode === REFUSED_STREAM && session.error === undefined) {
    return lost(where, "refused_stream", "not-sent", "the peer refused the stream");
  }
  if (session.goawayCode !== 0 && !replyStarted) {
    const code = HTTP2_ERRORS[session.goawayCode] ?? String(session.goawayCode);
    return lost(
      where,
      "goaway",
      "maybe-processed",
      `the peer ended the connection (GOAWAY, ${code})`,
    );
  }
  if (rstCode === ENHANCE_YOUR_CALM && !replyStarted) {
    return lost(where, "refused_stream", "maybe-processed", `the peer reset the stream (${name})`);
  }
  const { cause } = end;
  // nghttp2 found it, in this stream or in any other frame.
  const illegal = cause?.code === "ERR_HTTP2_ERROR" || rstCode === PROTOCOL_ERROR;
  if (illegal) {
    const why = cause?.code === "ERR_HTTP2_ERROR" ? cause.message : name;
    return failed(
      where,
      "bad_response",
      "malformed_response",
      `malformed reply (${why}): look at what listens there`,
    );
  }
  const why = session.error?.message ?? (session.ending ? "the connection ended" : name);
  return replyStarted
    ? lost(
        where,
        "reset_mid_response",
        "maybe-processed",
        `connection lost in the middle of the reply (${why})`,
      )
    : lost(
        where,
        "reset_before_response",
        "maybe-processed",
        `connection lost before the reply (${why})`,
      );
}

/** Node refused to open the stream: its session has just ended, or it does not like the headers. */
export function unsent(where: Where, cause: Error & { readonly code?: unknown }): MeshError {
  const ended =
    cause.code === "ERR_HTTP2_INVALID_SESSION" || cause.code === "ERR_HTTP2_GOAWAY_SESSION";
  const message = `${textOfWhere(where)}: ${cause.message}`;
  return stacklessError(
    ended ? "connection_lost" : "bad_request",
    ended ? "reset_before_response" : "bad_header",
    "not-sent",
    message,
    cause,
  );
}

export function lengthMismatch(where: Where): MeshError {
  const what =
    "the reply's body is not as long as its content-length: correct the server, or a proxy before it";
  return failed(where, "bad_response", "content_length_mismatch", what);
}

export function tooLarge(where: Where): MeshError {
  const what =
    "the reply's head is larger than limits.maxReplyHeaderBytes: send fewer headers or cookies, or raise the limit";
  return failed(where, "bad_response", "response_header_too_large", what);
}

/**
 * The four fields that every request begins with have some 200 bytes as RFC 9113 §6.5.2 counts, and
 * servers that are in use take 8 KiB and more. Where less is allowed, no request is too large, but
 * nothing that works listens there.
 */
const MIN_FIELD_BYTES = 512;

/** Whose fault it is that a head does not fit into `allowed` bytes: the peer's or the caller's. */
export function headTooLarge(where: Where, allowed: number): MeshError {
  if (allowed < MIN_FIELD_BYTES) {
    const what = `its SETTINGS allow a head of ${allowed} bytes, too few for a request`;
    return protocolMismatch(where, what);
  }
  const message = `${textOfWhere(where)}: target and headers are larger than the ${allowed} bytes that the peer's SETTINGS allow: send less`;
  return stacklessError("bad_request", "header_too_large", "not-sent", message);
}

export function badBody(where: Where, what: string, cause?: unknown): MeshError {
  return failed(where, "bad_request", "bad_body", `the request body ${what}`, cause);
}

function lost(where: Where, reason: ErrorReason, progress: Progress, what: string): MeshError {
  return stacklessError("connection_lost", reason, progress, `${textOfWhere(where)}: ${what}`);
}

function failed(
  where: Where,
  code: ErrorCode,
  reason: ErrorReason,
  what: string,
  cause?: unknown,
): MeshError {
  return stacklessError(code, reason, "maybe-processed", `${textOfWhere(where)}: ${what}`, cause);
}
