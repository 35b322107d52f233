/** Statuses of gRPC (google/rpc/code.proto) for records of calls and routes; what one says about an endpoint is its protocol's. */
const NAMES: readonly string[] =
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  );

/** The number itself for one that has no name. */
export function grpcStatusName(code: number): string {
  return NAMES[code] ?? String(code);
}

const HTTP_CODES: readonly number[] = [
  200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** The HTTP status that stands for it in records and in `retry.codes`, so that one configuration serves both protocols. */
export function httpCodeOfGrpc(code: number): number {
  return HTTP_CODES[code] ?? 500;
}
