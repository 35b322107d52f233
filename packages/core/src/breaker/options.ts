/** When an endpoint is taken out, and for how long. See option.ts. */
import type { ParsedOptions } from "../option.ts";

export const BREAKER = {
  /**
   * Failures in a row that take an endpoint out; 0: the rule is off.
   * - Reason: Linkerd.
   * - Elsewhere: Linkerd `failure-accrual-consecutive-max-failures`, Envoy `consecutive_5xx`
   */
  consecutiveFailures: { type: "integer", unit: "failures", default: 7, max: 1_000 },
  /**
   * Two failures in a row this far apart take it out too; `0s`: off.
   * - Reason: A caller with one request a second would need 7 s of errors otherwise.
   */
  failureSpan: { type: "duration", default: "5s", max: "10m" },
  /**
   * Below this share of successes in the window an endpoint is taken out; 0: off.
   * - Reason: Linkerd, Finagle.
   * - Elsewhere: Envoy `failure_percentage_threshold` (100 minus it), gRPC
   *   `failurePercentageEjection`
   */
  successRatio: { type: "number", unit: "share of replies", default: 0.8, max: 1 },
  /**
   * How much worse than its peers the endpoint must also be.
   * - Reason: When all endpoints fail alike, ejecting one does not help.
   * - No effect when `breaker.successRatio` is 0
   * - Elsewhere: Envoy `success_rate_stdev_factor` has the same purpose
   */
  peerMargin: { type: "number", unit: "share of replies", default: 0.2, max: 1 },
  /**
   * Window of the success ratio.
   * - Reason: Long enough for sparse callers, short enough to forget an outage.
   * - No effect when `breaker.successRatio` is 0
   * - Elsewhere: Envoy `outlier_detection.interval`
   */
  window: { type: "duration", default: "10s", min: "1s", max: "10m" },
  /**
   * Replies in the window before the ratio says anything.
   * - Reason: Linkerd.
   * - No effect when `breaker.successRatio` is 0
   * - Elsewhere: Envoy `failure_percentage_request_volume`
   */
  minRequests: { type: "integer", unit: "replies", default: 5, min: 1, max: 10_000 },
  /**
   * How long an endpoint stays out at first.
   * - Reason: Stretched to about ten requests of the endpoint, at most 10 s.
   * - Elsewhere: Envoy `base_ejection_time`, Linkerd `failure-accrual-consecutive-min-penalty`
   */
  minOpen: { type: "duration", default: "1s", min: "10ms", max: "1h" },
  /**
   * The longest it stays out before it is probed again; not below `breaker.minOpen`.
   * - Reason: Linkerd's ceiling; probes are cheap.
   * - Elsewhere: Envoy `max_ejection_time`, Linkerd `failure-accrual-consecutive-max-penalty`
   */
  maxOpen: { type: "duration", default: "1m", min: "10ms", max: "24h", atLeast: "minOpen" },
  /**
   * Share of the endpoints that may be out; above it all are used again.
   * - Reason: Half of the fleet failing is more likely our own fault.
   * - Elsewhere: Envoy `max_ejection_percent`
   */
  maxEjectedRatio: { type: "number", unit: "share of endpoints", default: 0.5, max: 1 },
} as const;

export type BreakerConfig = ParsedOptions<typeof BREAKER>;
