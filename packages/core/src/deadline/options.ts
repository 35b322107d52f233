/** How long a call, and each part of it, may take. See option.ts. */
export const TIMEOUTS = {
  /**
   * Deadline of a whole call: queue, connect, attempts, pauses and body.
   * - Reason: Every call ends; longer than a slow page, shorter than a user's patience.
   * - No effect when the caller gives an earlier deadline, or the route is streaming and sets
   *   none itself
   * - Elsewhere: Gateway API `timeouts.request`, Envoy `route.timeout`, gRPC
   *   `methodConfig.timeout`
   */
  request: { type: "duration", default: "15s", min: "1ms", max: "24h", none: true, route: true },
  /**
   * A call that asks for more time than `request` gets it, up to this.
   * - Reason: 0: only who configures the service may give its calls more time than `request`.
   * - No effect when it is at most `request`, the call asks for less, a deadline is inherited
   *   from the request being served, or the call streams
   */
  maxRequest: { type: "duration", default: "0s", max: "24h", none: true, route: true },
  /**
   * One attempt, until the head of its reply.
   * - Reason: The age of calls in flight already moves traffic away from a slow endpoint.
   * - No effect when the call's own deadline comes first
   * - Elsewhere: Gateway API `timeouts.backendRequest`, Envoy `per_try_timeout`
   */
  backendRequest: {
    type: "duration",
    default: "none",
    min: "1ms",
    max: "24h",
    none: true,
    route: true,
    atMost: ["request", "maxRequest"],
  },
  /**
   * TCP connect plus TLS handshake, and with HTTP/2 until the peer's settings are here.
   * - Reason: Linkerd's outbound value; the operating system would wait about 127 s.
   * - No effect when a warm connection is free
   * - Elsewhere: Envoy `connect_timeout`
   */
  connect: { type: "duration", default: "1s", min: "1ms", max: "5m" },
  /**
   * An attempt waits this long for a free connection; then another endpoint is tried.
   * - Reason: A call that waits longer is better served elsewhere.
   * - No effect when a connection is free, or the call's own deadline comes first
   * - Elsewhere: Linkerd `failfast_timeout`
   */
  queue: { type: "duration", default: "3s", min: "1ms", max: "24h", none: true },
  /**
   * No byte of a reply body for this long ends the call.
   * - Reason: A peer that falls silent must not hold a connection forever; time in which the
   *   reader pauses does not count: then the call's deadline ends it, or the collection of a
   *   reply that was let go of.
   * - No effect when the reply has no body
   * - Elsewhere: Envoy `stream_idle_timeout`
   */
  bodyIdle: { type: "duration", default: "30s", min: "1ms", max: "24h", none: true },
} as const;
