/**
 * From what undici and the system report to a MeshError: what happened, how far the request got,
 * and what it says about the endpoint. The discriminator for "not sent" is whether undici ever gave
 * a controller: without one, no byte of this request was written.
 */
import {
  isConnectStrike,
  isExhaustion,
  MeshError,
  stacklessError,
  type ErrorCode,
  type ErrorReason,
  type Outcome,
} from "@inmesh/core/spi";
import { faultOfHead } from "./call-input.ts";
import type { HttpRequest } from "./request.ts";
import { bodyFailed, BodyFault, endedEarly, isFaultOf } from "./supplied-body.ts";

export interface Failure {
  readonly error: MeshError;
  readonly outcome: Outcome;
  /** No connection came about: a strike against the endpoint. */
  readonly connectFailed: boolean;
  /** The endpoint asks to be spared this long; 0: it does not. */
  readonly busyForMs: number;
}

export interface FailureFacts {
  readonly where: string;
  /** undici had handed over its controller: bytes may have left. */
  readonly started: boolean;
  readonly replyStarted: boolean;
  readonly request: Pick<HttpRequest, "method" | "path" | "headers" | "body" | "streamed">;
}

interface Coded {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
}

export function failureOf(cause: unknown, facts: FailureFacts): Failure {
  if (cause instanceof MeshError && !(cause instanceof BodyFault)) return ofMeshError(cause);
  const { code: rawCode, message: rawMessage } = (cause ?? {}) as Coded;
  const code = typeof rawCode === "string" ? rawCode : "";
  const text = typeof rawMessage === "string" ? rawMessage : String(cause);

  const fail = (
    errorCode: ErrorCode,
    reason: ErrorReason,
    outcome: Outcome,
    what: string,
    rootCause: unknown = cause,
  ): Failure => ({
    error: stacklessError(
      errorCode,
      reason,
      facts.started ? "maybe-processed" : "not-sent",
      `${facts.where}: ${what}`,
      rootCause,
    ),
    outcome,
    connectFailed: false,
    busyForMs: 0,
  });
  const badBody = (fault: BodyFault): Failure =>
    fail("bad_request", "bad_body", "abandoned", fault.message, fault.cause);

  const { body, streamed } = facts.request;
  if (cause instanceof BodyFault) return badBody(cause);
  if (isFaultOf(body, cause)) return badBody(bodyFailed(cause));
  // undici's word for a stream that closed without an end and without an error.
  if (code === "UND_ERR_ABORTED" && streamed) return badBody(endedEarly());

  if (code === "UND_ERR_INVALID_ARG" || code === "UND_ERR_NOT_SUPPORTED") {
    // undici's words for it name no header.
    const fault = faultOfHead(facts.request) ?? { reason: badRequestReason(text), what: text };
    return fail("bad_request", fault.reason, "abandoned", fault.what);
  }
  if (code === "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH") {
    return fail(
      "bad_request",
      "bad_body",
      "abandoned",
      "the body is not as long as content-length says: leave the header out, it is written for you",
    );
  }
  // Not only sockets need descriptors: undici loads its parser with the first connection.
  if (isExhaustion(code)) {
    const what = `this process has run out of sockets (${code}): raise its limit of open files, or look for sockets that are not closed`;
    return fail("overloaded", "local_exhaustion", "abandoned", what);
  }
  if (!facts.started) {
    // An idle socket was reset, or the pool was closed, while the request waited for its turn.
    return fail(
      "connection_lost",
      "reset_before_response",
      "abandoned",
      `connection lost before the request was sent (${code || text})`,
    );
  }
  // undici 8 gives its parser's errors no code.
  if (code.startsWith("HPE_") || (cause as Coded | null)?.name === "HTTPParserError") {
    // undici keeps the raw bytes of the reply in the error: they may be secret, and are long.
    if (cause !== null && typeof cause === "object" && "data" in cause) cause.data = undefined;
    const too = code === "HPE_HEADER_OVERFLOW";
    return fail(
      "bad_response",
      too ? "response_header_too_large" : "malformed_response",
      "failure",
      `malformed reply (${code || text}): look at what listens there`,
    );
  }
  if (code === "UND_ERR_HEADERS_OVERFLOW") {
    return fail(
      "bad_response",
      "response_header_too_large",
      "failure",
      "the reply's head is larger than limits.maxReplyHeaderBytes: send fewer headers or cookies, or raise the limit",
    );
  }
  if (code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH") {
    return fail(
      "bad_response",
      "content_length_mismatch",
      "failure",
      "the reply's body is not as long as its content-length: correct the server, or a proxy before it",
    );
  }
  if (text === "bad response" || text === "bad upgrade") {
    return fail(
      "bad_response",
      "unexpected_1xx",
      "failure",
      "the server sent an interim reply that was not asked for",
    );
  }
  if (code.startsWith("UND_ERR") || SYSTEM.test(code) || !streamed) {
    return facts.replyStarted
      ? fail(
          "connection_lost",
          "reset_mid_response",
          "failure",
          `connection lost in the middle of the reply (${code || text})`,
        )
      : fail(
          "connection_lost",
          "reset_before_response",
          "failure",
          `connection lost before the reply (${code || text})`,
        );
  }
  // What is left is a chunk that cannot be sent.
  return badBody(bodyFailed(cause));
}

/** A peer that says it is overrun is left alone at least this long. */
const CALM_MS = 1_000;

/** One error of a pool may end many attempts, and each writes into its own: it gets a copy. */
export function ofMeshError(cause: MeshError): Failure {
  const { code, reason, message, progress } = cause;
  const error = stacklessError(code, reason, progress, message, cause.cause);
  const connectFailed = isConnectStrike(cause);
  const overrun = reason === "refused_stream" && progress === "maybe-processed";
  return { error, outcome: outcomeOf(cause), connectFailed, busyForMs: overrun ? CALM_MS : 0 };
}

/** What it says about the endpoint. Our own certificate's fault, or an orderly goodbye, is not its. */
function outcomeOf(cause: MeshError): Outcome {
  const { code, reason, progress } = cause;
  switch (code) {
    case "deadline_exceeded":
      return "timeout";
    case "connect_failed":
      return isConnectStrike(cause) ? "failure" : "abandoned";
    case "connection_lost":
      if (reason === "refused_stream") return "overloaded";
      return progress === "not-sent" ? "abandoned" : "failure";
    case "bad_response":
      return "failure";
    default:
      return "abandoned";
  }
}

const SYSTEM = /^(E[A-Z]{3,}|ERR_(STREAM|SOCKET|SSL|TLS))/;

function badRequestReason(text: string): ErrorReason {
  if (/header|content-length/i.test(text)) return "bad_header";
  return /body/i.test(text) ? "bad_body" : "bad_target";
}
