/**
 * Errors as callers of node:http know them: `code` is Node's where Node has one for the same thing,
 * because clients decide by it what they repeat (got's and axios-retry's default lists). The message ends
 * with it, because Node's messages have it and programs search them. The MeshError is the `cause`, and its
 * fields are repeated here.
 */
import { MeshError, type ErrorReason, type Progress } from "@inmesh/core/spi";

/** By reason; what is missing has no counterpart in Node, and keeps the code of the MeshError. */
const NODE_CODES: Partial<Record<ErrorReason, string>> = {
  call_deadline: "ETIMEDOUT",
  attempt_timeout: "ETIMEDOUT",
  idle_timeout: "ETIMEDOUT",
  queue_wait: "ETIMEDOUT",
  no_endpoints: "ENOTFOUND",
  discovery_pending: "EAI_AGAIN",
  all_open: "ECONNREFUSED",
  local_exhaustion: "EMFILE",
  connect_refused: "ECONNREFUSED",
  connect_timeout: "ETIMEDOUT",
  tls_handshake: "ECONNRESET",
  tls_rejected_by_peer: "ECONNRESET",
  reset_before_response: "ECONNRESET",
  reset_mid_response: "ECONNRESET",
  goaway: "ECONNRESET",
  refused_stream: "ECONNRESET",
  response_header_too_large: "HPE_HEADER_OVERFLOW",
};

export class AgentError extends Error {
  override readonly name = "AgentError";
  /** Of the system's error if there is one underneath, else by the reason. */
  readonly code: string;
  declare readonly cause: MeshError;
  readonly reason: ErrorReason;
  readonly progress: Progress;
  readonly endpoint: string | undefined;
  readonly attempts: number;

  constructor(cause: MeshError) {
    const code = nodeCodeOf(cause);
    const isSaid = code === cause.code || cause.message.includes(code);
    super(isSaid ? cause.message : `${cause.message} (${code})`, { cause });
    this.code = code;
    this.reason = cause.reason;
    this.progress = cause.progress;
    this.endpoint = cause.endpoint;
    this.attempts = cause.attempts;
  }
}

/** For a caller of node:http: what is no MeshError stays as it is. */
export function asAgentError(error: unknown): Error {
  return error instanceof MeshError ? new AgentError(error) : (error as Error);
}

function nodeCodeOf({ code, reason, cause }: MeshError): string {
  const system = (cause as { readonly code?: unknown } | undefined)?.code;
  const fromSystem = code === "connect_failed" || reason === "local_exhaustion";
  if (fromSystem && typeof system === "string") return system;
  return NODE_CODES[reason] ?? code;
}
