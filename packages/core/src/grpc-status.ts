/**
 * Statuses of gRPC (google/rpc/code.proto) for records of calls and routes, and the one that a failure of the mesh's own becomes;
 * what one says about an endpoint is its protocol's.
 */
import type { ErrorCode, MeshError } from "./errors.ts";

const NAMES: readonly string[] =
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  );

/** The number itself for one that has no name. */
export function grpcStatusName(code: number): string {
  return NAMES[code] ?? String(code);
}

/** What is none is to be taken for UNKNOWN (gRPC, statuscodes.md). */
export function isGrpcCode(code: number): boolean {
  return NAMES[code] !== undefined;
}

const HTTP_CODES: readonly number[] = [
  200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** The HTTP status that stands for it in records and in `retry.codes`, so that one configuration serves both protocols. */
export function httpCodeOfGrpc(code: number): number {
  return HTTP_CODES[code] ?? 500;
}

const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;

const CODES: Readonly<Record<ErrorCode, number>> = {
  deadline_exceeded: 4,
  cancelled: 1,
  no_route: 12,
  no_endpoint: UNAVAILABLE,
  overloaded: UNAVAILABLE,
  connect_failed: UNAVAILABLE,
  connection_lost: UNAVAILABLE,
  bad_response: INTERNAL,
  bad_request: INTERNAL,
  identity_unavailable: UNAVAILABLE,
  denied: 7,
  loop: INTERNAL,
  closed: UNAVAILABLE,
  bad_status: 2, // of HTTP alone
  bad_config: INTERNAL,
};

/** The status that callers of gRPC get for it, in a program and through the proxy. */
export function grpcCodeOfError({ code, reason }: MeshError): number {
  return reason === "header_too_large" ? RESOURCE_EXHAUSTED : CODES[code];
}
