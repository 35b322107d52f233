/** How much time is left, as gRPC writes it (gRPC over HTTP/2), for the client and for the proxy. */

/** `grpc-timeout`: at most eight digits and a unit, rounded up so that it is never zero. */
export function formatGrpcTimeout(remainingMs: number): string {
  const ms = Math.max(1, Math.ceil(remainingMs));
  if (ms < 100_000_000) return `${ms}m`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 100_000_000
    ? `${seconds}S`
    : `${Math.min(99_999_999, Math.ceil(seconds / 3600))}H`;
}
