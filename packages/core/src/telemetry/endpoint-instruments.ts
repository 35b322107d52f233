/** What is measured of endpoints, of what keeps calls waiting, and of who says which endpoints there are, by name. */
import { OVERHEAD_SECONDS, SECONDS, UPDATE_SECONDS, type Histogrammed } from "./buckets.ts";
import type { Instrument } from "./telemetry.ts";

export const QUEUE_DURATION: Histogrammed = {
  name: "inmesh.queue.duration",
  unit: "s",
  description: "Wait for an endpoint, a connection or a stream, of attempts that had to wait.",
  bounds: SECONDS,
};
export const QUEUE_DEPTH: Instrument = {
  name: "inmesh.queue.depth",
  unit: "{attempt}",
  description: "Attempts that wait for an endpoint, a connection or a stream.",
};
export const OVERHEAD_DURATION: Histogrammed = {
  name: "inmesh.overhead.duration",
  unit: "s",
  description: "What the mesh takes of a call before it is sent, or served; of one in 64.",
  bounds: OVERHEAD_SECONDS,
};
export const DEADLINE_EXPIRED: Instrument = {
  name: "inmesh.deadline.expired",
  unit: "{call}",
  description: "Calls refused on arrival because their time was over.",
};
export const SHED: Instrument = {
  name: "inmesh.shed",
  unit: "{call}",
  description: "Calls refused for load before any work was done for them.",
};
export const CONCURRENCY_LIMIT: Instrument = {
  name: "inmesh.concurrency.limit",
  unit: "{call}",
  description: "Calls that may be in progress (limits.maxInFlight).",
};
export const OVERLOAD_LEVEL: Instrument = {
  name: "inmesh.overload.level",
  unit: "{level}",
  description:
    "Which requests a server refuses for load: 0 none, 1 sheddable ones, 2 normal ones too, 3 critical ones too.",
};
export const REQUESTS_REJECTED: Instrument = {
  name: "inmesh.requests.rejected",
  unit: "{request}",
  description: "Requests refused because of what they are: malformed, too large, misdirected.",
};
export const GLITCHES: Instrument = {
  name: "inmesh.glitches",
  unit: "{glitch}",
  description: "Irregularities that were tolerated.",
};
export const ENDPOINTS: Instrument = {
  name: "inmesh.endpoints",
  unit: "{endpoint}",
  description: "Endpoints, by what may be done with them.",
};
export const ENDPOINT_LATENCY: Instrument = {
  name: "inmesh.endpoint.latency",
  unit: "s",
  description: "The balancer's estimate of an endpoint's latency (peak EWMA).",
};
export const ENDPOINT_COST: Instrument = {
  name: "inmesh.endpoint.cost",
  unit: "{score}",
  description: "What the balancer compares: the lower one is picked.",
};
export const ENDPOINT_IN_FLIGHT: Instrument = {
  name: "inmesh.endpoint.in_flight",
  unit: "{attempt}",
  description: "Attempts in progress at an endpoint.",
};
export const ENDPOINT_PICKS: Instrument = {
  name: "inmesh.endpoint.picks",
  unit: "{pick}",
  description: "Attempts that were sent to an endpoint.",
};
export const ENDPOINT_STATE: Instrument = {
  name: "inmesh.endpoint.state",
  unit: "{state}",
  description: "1 for the state in which an endpoint's breaker is, 0 for the others.",
};
export const BALANCER_PICKS: Instrument = {
  name: "inmesh.balancer.picks",
  unit: "{pick}",
  description: "Attempts by where the picked endpoint stands.",
};
export const DISCOVERY_LAST_UPDATE: Instrument = {
  name: "inmesh.discovery.last_update.timestamp",
  unit: "s",
  description: "When discovery last named endpoints, in seconds since 1970.",
};
export const DISCOVERY_RESTARTS: Instrument = {
  name: "inmesh.discovery.watch.restarts",
  unit: "{restart}",
  description: "Times a discovery was asked again because its watch had failed.",
};
export const DISCOVERY_UPDATE_DURATION: Histogrammed = {
  name: "inmesh.discovery.update.duration",
  unit: "s",
  description: "Time that it takes to apply what discovery says.",
  bounds: UPDATE_SECONDS,
};
export const DNS_LOOKUPS: Instrument = {
  name: "inmesh.dns.lookups",
  unit: "{lookup}",
  description: "Questions to DNS servers that ended, by what came of them.",
};

export const ENDPOINT_INSTRUMENTS: readonly Instrument[] = [
  QUEUE_DURATION,
  QUEUE_DEPTH,
  OVERHEAD_DURATION,
  DEADLINE_EXPIRED,
  SHED,
  CONCURRENCY_LIMIT,
  OVERLOAD_LEVEL,
  REQUESTS_REJECTED,
  GLITCHES,
  ENDPOINTS,
  ENDPOINT_LATENCY,
  ENDPOINT_COST,
  ENDPOINT_IN_FLIGHT,
  ENDPOINT_PICKS,
  ENDPOINT_STATE,
  BALANCER_PICKS,
  DISCOVERY_LAST_UPDATE,
  DISCOVERY_RESTARTS,
  DISCOVERY_UPDATE_DURATION,
  DNS_LOOKUPS,
];
