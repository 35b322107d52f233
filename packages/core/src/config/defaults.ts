/**
 * Every default, with its unit and its reason. A default that stands anywhere else is a bug.
 * The evidence behind the algorithms' numbers is in docs/decisions/.
 */
import type { ServicePolicies } from "./types.ts";

export const DEFAULT_POLICIES: ServicePolicies = deepFreeze({
  timeouts: {
    requestMs: 15_000, // every call ends; longer than a slow page, shorter than a user's patience
    maxRequestMs: 0, // at most `request`: a caller cannot give itself more time
    backendRequestMs: Infinity, // in-flight age already moves traffic away from a slow endpoint
    connectMs: 1_000, // Linkerd's outbound value; the OS would wait about 127 s
    queueMs: 3_000, // who waits longer for a connection is better served by another endpoint
    bodyIdleMs: 30_000, // silence of the peer; while the reader pauses it does not run
  },
  retry: {
    attempts: 2, // one retry, as Linkerd and Envoy; idempotent and replayable calls only
    codes: [429, 500, 502, 503, 504], // "try elsewhere" and what a broken instance answers
    backoffBaseMs: 25, // full jitter over 25 ms · 2^n: short, because another endpoint is tried
    backoffMaxMs: 250, // Linkerd's ceiling
  },
  retryBudget: {
    ratio: 0.2, // Finagle, tower, Linkerd, Envoy
    minPerSecond: 1, // per process: 400 clients with 10/s each could double the load
    windowMs: 10_000, // Finagle, tower
  },
  balancer: {
    kind: "peak-ewma", // reacts to peaks at once, and beats counting where callers are many
    decayMs: 10_000, // 1 s forgets too fast for sparse callers, 30 s brings nothing
    seedMs: 30, // Linkerd; only used while no endpoint has data
    penaltyFactor: 10, // bounded: a healed endpoint is back within seconds
    callerFaultFactor: 3, // 4xx is the caller's fault, but fast 4xx must not attract traffic
    penaltyDecayMs: 5_000,
    penaltyMaxMs: 5_000,
    slowStartMs: 30_000, // p99 1.1 s instead of 2.6 s with 10 s when a cold endpoint joins
  },
  breaker: {
    consecutiveFailures: 7, // Linkerd
    failureSpanMs: 5_000, // a caller with one request a second would need 7 s of errors otherwise
    successRatio: 0.8, // Linkerd, Finagle
    peerMargin: 0.2, // when everybody fails alike, ejecting one helps nobody
    windowMs: 10_000,
    minRequests: 5, // Linkerd
    minOpenMs: 1_000, // stretched to about ten requests of the endpoint, at most 10 s
    maxOpenMs: 60_000,
    maxEjectedRatio: 0.5, // half of the fleet failing is more likely our own fault
  },
  limits: {
    maxInFlight: 4_096, // bounds memory; a caller that queues more is not served by waiting
    maxConnectionsPerEndpoint: 128, // one call at a time each: where answers take 250 ms, 32 carry 128 calls/s
    maxQueuedPerEndpoint: 1_000, // a queue that long is not worked off in queueMs
    maxEndpoints: 10_000,
    maxReplyHeaderBytes: 32_768,
    maxRequestHeaderBytes: 16_384, // what Node's servers and most others take
    maxConnectionAgeMs: 3_600_000, // connections outlive changes of addresses behind a name or a balancer
  },
  idleMs: 600_000, // ten minutes: low-rate callers keep their warm connections' addresses
  drainGraceMs: 30_000,
  trustNacks: false,
  peer: true, // a mesh is made of them; what is called by an https URL alone is none (target.ts)
  tls: {
    identity: "files", // the built-in source: ca, cert and key
    ca: undefined, // the public roots, as every client
    cert: undefined,
    key: undefined,
    serverName: undefined,
    minVersion: "TLSv1.2", // 1.3 where both sides are ours; public services may not have it
  },
  http2: false, // HTTP/1.1 costs half the CPU, and one lost connection loses one call
});

export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
