/** Endpoints and connections of running backends, as plain data. */
import type { Reply } from "../call.ts";
import type { Endpoint } from "../cluster/endpoint.ts";
import { endpointState } from "../cluster/endpoint-state.ts";
import type { RoutedRequest } from "../route/facts.ts";
import type { RunningBackend } from "../running-backend.ts";
import { duration } from "../shown-time.ts";
import type { ConnectionCounts, EndpointCounts, EndpointView, OutboundConnections } from "./api.ts";

export type AnyBackend = RunningBackend<RoutedRequest, Reply>;
export type AnyEndpoint = Endpoint<RoutedRequest>;

/** In words, for people; undefined: there is nothing to say. */
export function whyOf(endpoint: AnyEndpoint, now: number): string | undefined {
  const { breaker } = endpoint;
  const ago = duration(Math.max(0, now - breaker.changedAt));
  switch (endpointState(endpoint, now)) {
    case "draining":
      return "discovery says that it is about to go";
    case "refusing":
      return `accepts no connection since ${duration(Math.max(0, now - breaker.outSince))}; next try ${soon(breaker.openUntil - now)}`;
    case "open":
      return `open since ${ago}: ${triggerOf(endpoint)}; next probe ${soon(breaker.openUntil - now)}`;
    case "half-open":
      return `half-open since ${ago}: ${endpoint.probe === undefined ? "the next call that can be repeated may try it" : "a call is trying it"}`;
    case "busy":
      return `asked to be spared for ${duration(endpoint.busyUntil - now)} more (429 or Retry-After)`;
    case "connecting":
      return `${endpoint.unsent} attempts wait for its first connection`;
    case "spare":
      return "weight 0: only where no other is";
    case "available":
      return endpoint.rampUntil > now
        ? `warms up for ${duration(endpoint.rampUntil - now)} more`
        : undefined;
  }
}

function triggerOf({ breaker }: AnyEndpoint): string {
  switch (breaker.trigger) {
    case "streak":
      return breaker.streak === 1 ? "a failure" : `${breaker.streak} failures in a row`;
    case "ratio":
      return "too many failures compared with its peers";
    case "connect":
      return "no connection";
    case "probe":
      return "the last probe failed";
    case undefined:
      return "failures";
  }
}

function soon(ms: number): string {
  return ms <= 0 ? "now" : `in ${duration(ms)}`;
}

export function endpointCounts(
  backends: Iterable<Pick<AnyBackend, "cluster">>,
  now: number,
): EndpointCounts {
  const counts = { total: 0, available: 0, open: 0, refusing: 0, halfOpen: 0, draining: 0 };
  for (const { cluster } of backends) {
    for (const endpoint of cluster.endpoints.values()) {
      counts.total++;
      const state = endpointState(endpoint, now);
      if (state === "half-open") counts.halfOpen++;
      else if (state === "open" || state === "refusing" || state === "draining") counts[state]++;
      else counts.available++;
    }
  }
  return counts;
}

/** One by one: there may be ten thousand. */
export function* endpointViews(
  { name, protocol, cluster, config }: AnyBackend,
  now: number,
): Iterable<EndpointView> {
  const g = cluster.peerMedian(now);
  const { slowStartMs } = config.balancer;
  const endpoints = [...cluster.endpoints.values()];
  let picks = 0;
  for (const endpoint of endpoints) picks += endpoint.picks;
  for (const endpoint of endpoints) {
    const { breaker, info } = endpoint;
    const { state, trigger, changedAt, streak } = breaker;
    yield {
      service: name,
      protocol,
      address: endpoint.address,
      host: info.host,
      port: info.port,
      zone: info.zone,
      weight: endpoint.weight,
      state: endpointState(endpoint, now),
      why: whyOf(endpoint, now),
      breaker: {
        state,
        trigger: state === "closed" ? undefined : trigger,
        changedAgoMs: changedAt === -Infinity ? undefined : Math.max(0, now - changedAt),
        nextProbeInMs: state === "open" ? Math.max(0, breaker.openUntil - now) : 0,
        consecutiveFailures: streak,
      },
      cost: endpoint.cost(now, g),
      inFlight: endpoint.inFlight,
      picks: endpoint.picks,
      share: picks === 0 ? 0 : endpoint.picks / picks,
      latencyMs: endpoint.latency.projected(now, g),
      penaltyMs: endpoint.latency.penalty(now),
      busyForMs: Math.max(0, endpoint.busyUntil - now),
      rampRatio: endpoint.ramp(now, slowStartMs),
      ageMs: Math.max(0, now - endpoint.knownSince),
      connections: openOf(endpoint),
    };
  }
}

/** Undefined: the protocol does not say. */
function openOf({ connection }: AnyEndpoint): number | undefined {
  return connection === undefined ? 0 : connection.describe?.().open;
}

/** `problem`: of the service's own backend. */
export function connectionCounts(
  backends: Iterable<AnyBackend>,
  problem: string | undefined,
): ConnectionCounts {
  let open: number | undefined = 0;
  for (const { cluster } of backends) {
    for (const { connection } of cluster.endpoints.values()) {
      if (connection === undefined || open === undefined) continue;
      const facts = connection.describe?.();
      open = facts === undefined ? undefined : open + facts.open;
    }
  }
  return { open, problem };
}

export function outboundConnections({
  name,
  protocol,
  cluster,
  config,
}: AnyBackend): OutboundConnections[] {
  return [...cluster.endpoints.values()].flatMap(({ address, connection, inFlight }) => {
    if (connection === undefined) return [];
    const facts = connection.describe?.();
    return {
      service: name,
      protocol,
      endpoint: address,
      open: facts?.open,
      maxOpen: config.limits.maxConnectionsPerEndpoint,
      application: facts?.application,
      tls: config.scheme === "https",
      inFlight,
      queued: facts?.queued,
      unread: facts?.unread,
    };
  });
}
