/** Whether calls stay in the zone of their caller. See option.ts. */
import type { ParsedOptions } from "../option.ts";

export const ZONES = {
  /**
   * Whether calls stay in the zone of this process while that zone has its share of the endpoints.
   * - Reason: Traffic between zones costs latency and money.
   * - No effect when the zone of this process is not known, or the endpoints have none
   * - Elsewhere: Envoy `zone_aware_lb_config`, Kubernetes `trafficDistribution: PreferSameZone`
   */
  prefer: { type: "boolean", default: true },
  /**
   * With fewer endpoints that can be picked, all zones are picked from alike. Hints of the source count from two.
   * - Reason: Of a few endpoints, one that goes moves the shares of zones by too much.
   * - No effect when `zones.prefer` is `false`
   * - Elsewhere: Envoy `min_cluster_size`
   */
  minEndpoints: { type: "integer", unit: "endpoints", default: 6, min: 2, max: 10_000 },
  /**
   * Whether a zone whose endpoints answer later than those of the others gives calls away. To know it, 1 % of the
   * calls that could all stay go to the others, up to 5 % of few; false keeps those in the zone too.
   * - Reason: Shares by the number of endpoints are wrong where the callers of one zone send more.
   * - No effect when `zones.prefer` is `false`, or the source gives hints
   */
  spillByLoad: { type: "boolean", default: true },
} as const;

export type ZonesConfig = ParsedOptions<typeof ZONES>;
