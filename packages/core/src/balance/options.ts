/** How an endpoint is chosen. See option.ts. */
import type { ParsedOptions } from "../option.ts";

export const BALANCER = {
  /**
   * How an endpoint is chosen.
   * - Reason: Reacts to peaks at once, and beats counting where callers are many.
   * - No effect when the service has one endpoint
   * - Elsewhere: Envoy `lb_policy`, gRPC `loadBalancingConfig`
   */
  kind: {
    type: "choice",
    choices: ["peak-ewma", "least-request", "round-robin", "random"],
    default: "peak-ewma",
  },
  /**
   * Decay time of the latency estimate toward the peers.
   * - Reason: 1 s forgets too fast for sparse callers, 30 s brings nothing.
   * - No effect when `balancer.kind` is not `peak-ewma`
   * - Elsewhere: Linkerd `decay`, Finagle `decayTime`
   */
  decay: { type: "duration", default: "10s", min: "100ms", max: "10m" },
  /**
   * Latency estimate of an endpoint without data.
   * - Reason: Linkerd; only used while no endpoint has data.
   * - No effect when `balancer.kind` is not `peak-ewma`
   * - Elsewhere: Linkerd `default_rtt`
   */
  seed: { type: "duration", default: "30ms", min: "1ms", max: "1m" },
  /**
   * What a failure costs an endpoint.
   * - Reason: Bounded: a healed endpoint is back within seconds.
   * - No effect when `balancer.kind` is not `peak-ewma`
   */
  penaltyFactor: {
    type: "number",
    unit: "times the peers' median",
    default: 10,
    min: 1,
    max: 1_000,
  },
  /**
   * What a reply that blames the caller (4xx) counts at most as latency.
   * - Reason: 4xx is the caller's fault, but fast 4xx must not attract traffic.
   * - No effect when `balancer.kind` is not `peak-ewma`
   */
  callerFaultFactor: {
    type: "number",
    unit: "times the peers' median",
    default: 3,
    min: 1,
    max: 1_000,
  },
  /**
   * Decay time of a penalty.
   * - Reason: Long enough to outlast a burst of failures, short enough for a healed endpoint.
   * - No effect when `balancer.kind` is not `peak-ewma`
   */
  penaltyDecay: { type: "duration", default: "5s", min: "100ms", max: "10m" },
  /**
   * The most that penalties can add to an estimate.
   * - Reason: A slow service must not make one failure cost minutes.
   * - No effect when `balancer.kind` is not `peak-ewma`
   */
  penaltyMax: { type: "duration", default: "5s", min: "1ms", max: "1m" },
  /**
   * A new endpoint reaches its full share after this long; `0s`: at once.
   * - Reason: p99 is 1.1 s instead of 2.6 s with 10 s when a cold endpoint joins.
   * - No effect when all endpoints are new
   * - Elsewhere: Envoy `slow_start_config.slow_start_window`
   */
  slowStart: { type: "duration", default: "30s", max: "1h" },
} as const;

export type BalancerConfig = ParsedOptions<typeof BALANCER>;
