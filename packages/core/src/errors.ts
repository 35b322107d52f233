/**
 * Every failure that inmesh itself reports: a closed set of codes for programs, a closed set of
 * reasons for people and metric labels, and how far the request got, which is what retries read.
 */

const CODES = [
  "deadline_exceeded",
  "cancelled",
  "no_route",
  "no_endpoint",
  "overloaded",
  "connect_failed",
  "connection_lost",
  "bad_response",
  "bad_request",
  "bad_status",
  "identity_unavailable",
  "denied",
  "loop",
  "closed",
  "bad_config",
] as const;
export type ErrorCode = (typeof CODES)[number];
export const ERROR_CODES: readonly ErrorCode[] = CODES;

/** Why, in one word. Every code owns the reasons listed beside it; no reason has two codes. */
const REASONS = {
  deadline_exceeded: ["call_deadline", "attempt_timeout", "idle_timeout", "queue_wait"],
  cancelled: ["caller", "hedge_lost", "shutdown"],
  no_route: ["no_route"],
  no_endpoint: ["no_endpoints", "all_open", "discovery_pending"],
  overloaded: ["queue_full", "concurrency", "local_exhaustion"],
  connect_failed: [
    "connect_refused",
    "connect_timeout",
    "tls_handshake",
    "tls_rejected_by_peer",
    "peer_untrusted",
    "peer_expired",
    "identity_mismatch",
    "protocol_mismatch",
  ],
  connection_lost: ["reset_before_response", "reset_mid_response", "goaway", "refused_stream"],
  bad_response: [
    "malformed_response",
    "response_header_too_large",
    "content_length_mismatch",
    "unexpected_1xx",
  ],
  bad_request: [
    "bad_target",
    "bad_header",
    "bad_body",
    "body_used",
    "header_too_large",
    "bad_option",
  ],
  bad_status: ["client_error", "server_error"],
  identity_unavailable: ["no_certificate", "certificate_expired"],
  denied: ["policy", "unauthenticated"],
  loop: ["loop"],
  closed: ["closing"],
  bad_config: ["invalid"],
} as const;
export type ErrorReason = (typeof REASONS)[ErrorCode][number];
export const ERROR_REASONS: Readonly<Record<ErrorCode, readonly ErrorReason[]>> = REASONS;

/**
 * How far the request got before it failed. `not-sent`: no peer application can have seen it, so
 * any method may be sent again. `maybe-processed`: everything else. It never leaves the process:
 * what is unsent on this hop may be processed on another.
 */
export type Progress = "not-sent" | "maybe-processed";

/** Why a failed attempt was not followed by another. A closed set: it is a metric label too. */
export type NoRetry =
  | "attempts" // as many as `retry.attempts` allows were made
  | "budget" // the recent traffic has not paid for more
  | "deadline" // the pause before it would have outlasted the call
  | "layer" // this call is itself a retry of an outer hop, or the hop below has retried
  | "not_idempotent"
  | "not_replayable"; // the body was a stream, and part of it is gone

export interface MeshErrorInit {
  code: ErrorCode;
  reason: ErrorReason;
  /** Starts with where: `orders → 10.0.0.7:8080: …`. Never holds a header or a body. */
  message: string;
  progress: Progress;
  cause?: unknown;
  /** Made without a stack trace, which is for errors that `placed` gives one, or none needs. */
  stackless?: boolean;
}

/**
 * Gives a failed call the line that waits for it: called where the promise that the caller awaits is
 * about to be rejected, because V8 finds "at async caller" through the reactions of the promise whose
 * handler runs. In the turn of the call itself the caller's frames are on the stack. Only calls that
 * fail pay it, 0.7 µs for a frame. What is no MeshError is the application's, and is left as it is.
 */
export function placed<T>(error: T): T {
  // A host that has hardened its intrinsics may have taken the function away.
  if (error instanceof MeshError) Error.captureStackTrace?.(error, placed);
  return error;
}

/** Up to seven of ours, nine where redirects are followed, then the caller's. */
const REFUSED_FRAMES = 10;

/** The same in the turn of the call, for refusals: they must stay cheap when there are many. */
export function placedRefusal<T>(error: T): T {
  const limit = Error.stackTraceLimit;
  // Set without a throw where the host has frozen the intrinsics (P6): then there is a longer one.
  if (limit > REFUSED_FRAMES) Reflect.set(Error, "stackTraceLimit", REFUSED_FRAMES);
  if (error instanceof MeshError) Error.captureStackTrace?.(error, placedRefusal);
  Reflect.set(Error, "stackTraceLimit", limit);
  return error;
}

/** Shared by every copy of inmesh in the process: a bundle may hold one of its own. */
const BRAND: symbol = Symbol.for("inmesh.MeshError");

/**
 * True for a MeshError of any copy of inmesh. `instanceof` knows only those of the copy that it was
 * imported from, which is enough where nothing is bundled.
 */
export function isMeshError(error: unknown): error is MeshError {
  return typeof error === "object" && error !== null && BRAND in error;
}

export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly progress: Progress;
  /** How many attempts the call had made when it failed. Writers: retry, and an attempt that ends in it. */
  attempts = 0;
  /** Why there was no further one; undefined for errors that are never retried. Written by retry, once. */
  noRetry: NoRetry | undefined = undefined;
  /** The last endpoint tried, `host:port` or `unix:path`. Written where the failure is met. */
  endpoint: string | undefined = undefined;

  constructor(init: MeshErrorInit) {
    const limit = Error.stackTraceLimit;
    // Set without a throw where the host has frozen the intrinsics (P6): then there is a stack.
    if (init.stackless === true) Reflect.set(Error, "stackTraceLimit", 0);
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    if (init.stackless === true) Reflect.set(Error, "stackTraceLimit", limit);
    this.code = init.code;
    this.reason = init.reason;
    this.progress = init.progress;
  }

  /**
   * For JSON.stringify and loggers that use it. The cause is its name, message and code alone: what else
   * hangs on an error of the system or of the application may hold headers and bodies.
   */
  toJSON(): MeshErrorJson {
    const { name, message, code, reason, progress, endpoint, attempts, noRetry, cause } = this;
    const plain = { name, message, code, reason, progress, endpoint, attempts, noRetry };
    return cause === undefined ? plain : { ...plain, cause: plainCause(cause) };
  }
}

/**
 * An error without a stack trace: one that `placed` gives the caller's, or that needs none. `message` starts with where:
 * `orders → 10.0.0.7:8080: …`.
 */
export function stacklessError(
  code: ErrorCode,
  reason: ErrorReason,
  progress: Progress,
  message: string,
  cause?: unknown,
): MeshError {
  return new MeshError({ code, reason, message, progress, cause, stackless: true });
}

/** A MeshError as plain data. Fields that are undefined do not appear in JSON. */
export interface MeshErrorJson {
  readonly name: string;
  readonly message: string;
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly progress: Progress;
  readonly endpoint: string | undefined;
  readonly attempts: number;
  readonly noRetry: NoRetry | undefined;
  readonly cause?: { readonly name?: string; readonly message: string; readonly code?: string };
}

function plainCause(cause: unknown): NonNullable<MeshErrorJson["cause"]> {
  if (!(cause instanceof Error)) return { message: String(cause) };
  const { name, message } = cause;
  const { code } = cause as { code?: unknown };
  return typeof code === "string" ? { name, message, code } : { name, message };
}

Object.defineProperty(MeshError.prototype, BRAND, { value: true });

/** What was thrown may be anything. */
export function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

export function messageOf(thrown: unknown): string {
  return errorOf(thrown).message;
}

/** With where it was thrown, where that is known. Never throws, whatever it is. */
export function stackOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  } catch {
    return "it threw what cannot be shown";
  }
}

/** The code of an error of the system, such as `ENOENT`; of another error its message. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
}
