/** Names of the statuses of gRPC (google/rpc/code.proto), for records of calls; what a status means is its protocol's. */
const NAMES: readonly string[] =
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  );

/** The number itself for one that has no name. */
export function grpcStatusName(code: number): string {
  return NAMES[code] ?? String(code);
}
