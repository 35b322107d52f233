/** What two configurations of one service have in common: whatever is equal survives a change. */
import { isDeepStrictEqual } from "node:util";
import type { ServiceConfig } from "./types.ts";

/**
 * Connections made for `a` serve `b` as well. Named here is what connections do not look at;
 * everything else, also what is added one day, is theirs.
 */
export function sameConnections(a: ServiceConfig, b: ServiceConfig): boolean {
  return isDeepStrictEqual(ofConnections(a), ofConnections(b));
}

export function sameDiscovery(a: ServiceConfig, b: ServiceConfig): boolean {
  return isDeepStrictEqual(a.discovery, b.discovery);
}

function ofConnections(config: ServiceConfig): object {
  const {
    name: _name,
    discovery: _discovery,
    routes: _routes,
    retry: _retry,
    retryBudget: _budget,
    balancer: _balancer,
    breaker: _breaker,
    idleMs: _idle,
    drainGraceMs: _drain,
    timeouts: { requestMs: _request, maxRequestMs: _max, backendRequestMs: _attempt, ...timeouts },
    limits: { maxInFlight: _calls, maxEndpoints: _endpoints, ...limits },
    ...rest
  } = config;
  return { ...rest, timeouts, limits };
}
