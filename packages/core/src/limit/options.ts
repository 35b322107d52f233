/** How much of everything one service may take. See option.ts. */
export const CLIENT_LIMITS = {
  /**
   * Calls of the service in progress, queued ones included.
   * - Reason: Bounds memory; a caller that queues more is not served by waiting.
   * - Elsewhere: Envoy `circuit_breakers.max_requests` plus `max_pending_requests`
   */
  maxInFlight: { type: "integer", unit: "calls", default: 4_096, min: 1, max: 1_000_000 },
  /**
   * Connections to one endpoint.
   * - Reason: Of HTTP/1.1 each carries one call at a time. Where answers take 250 ms, 32 of
   *   them carry 128 calls a second, whatever CPU is left.
   * - Elsewhere: Envoy `per_host_thresholds.max_connections`
   */
  maxConnectionsPerEndpoint: {
    type: "integer",
    unit: "connections",
    default: 128,
    min: 1,
    max: 65_535,
  },
  /**
   * Attempts that wait for a connection to one endpoint; one more is refused.
   * - Reason: A queue that long is not worked off within `timeouts.queue`.
   * - No effect when `limits.maxInFlight` is below it
   * - Elsewhere: Envoy `circuit_breakers.max_pending_requests`
   */
  maxQueuedPerEndpoint: {
    type: "integer",
    unit: "attempts",
    default: 1_000,
    min: 1,
    max: 1_000_000,
  },
  /**
   * Endpoints of one service that are kept.
   * - Reason: A broken source must not fill the memory.
   */
  maxEndpoints: { type: "integer", unit: "endpoints", default: 10_000, min: 1, max: 100_000 },
  /**
   * Size of a reply's head.
   * - Reason: Twice what Node allows by default; cookies grow.
   * - Elsewhere: Envoy `max_response_headers_kb`
   */
  maxReplyHeaderBytes: {
    type: "integer",
    unit: "bytes",
    default: 32_768,
    min: 1_024,
    max: 1_048_576,
  },
  /**
   * Size of a request's target and headers; a larger one is refused before it is sent.
   * - Reason: What Node's servers take by default.
   * - Elsewhere: Envoy `max_request_headers_kb`, of what it receives
   */
  maxRequestHeaderBytes: {
    type: "integer",
    unit: "bytes",
    default: 16_384,
    min: 1_024,
    max: 1_048_576,
  },
  /**
   * Connections to an endpoint take no new calls after this long, ± 10 %, and end with their
   * last.
   * - Reason: Load follows what changes behind an address; gRPC's servers do the same.
   * - Elsewhere: Envoy `max_connection_duration`, gRPC `grpc.max_connection_age_ms`
   */
  maxConnectionAge: { type: "duration", default: "1h", min: "1s", max: "24h", none: true },
} as const;
