/**
 * The contract of a balancing algorithm: a pure choice among the endpoints that may be picked now.
 * Counters live on the endpoints, so a picker can be replaced at any time and nothing is lost.
 */
import type { Attempt, Reply } from "../call.ts";
import { RANK_BUSY, type Endpoint } from "../cluster/endpoint.ts";
import type { EndpointLists } from "../cluster/lists.ts";

export interface Picker<Req, R extends Reply> {
  /** Never blocks or allocates. undefined: there is nothing to pick. */
  pick(attempt: Attempt<Req>, now: number): Endpoint<Req, R> | undefined;
}

/** Times an endpoint was tried by this call; the list is short and usually absent. */
export function timesTried(attempt: Attempt, endpoint: Endpoint): number {
  const tried = attempt.call.tried;
  if (tried === undefined) return 0;
  let times = 0;
  for (const one of tried) if (one === endpoint) times++;
  return times;
}

/**
 * The slow way, from a random offset: the least often tried, then the lowest rank, then the lowest
 * cost. It is taken when a pair of draws cannot decide, so a bad majority costs O(n) once.
 */
export function scan<Req, R extends Reply>(
  endpoints: readonly Endpoint<Req, R>[],
  attempt: Attempt<Req>,
  now: number,
  offset: number,
  cost: (endpoint: Endpoint<Req, R>, now: number) => number,
): Endpoint<Req, R> | undefined {
  let best: Endpoint<Req, R> | undefined;
  let bestTried = 0;
  let bestRank = 0;
  let bestCost = 0;
  for (let i = 0; i < endpoints.length; i++) {
    const endpoint = endpoints[(i + offset) % endpoints.length]!;
    const tried = timesTried(attempt, endpoint);
    const rank = endpoint.rank(now, attempt);
    const load = cost(endpoint, now);
    if (
      best === undefined ||
      tried < bestTried ||
      (tried === bestTried && (rank < bestRank || (rank === bestRank && load < bestCost)))
    ) {
      best = endpoint;
      bestTried = tried;
      bestRank = rank;
      bestCost = load;
    }
  }
  return best;
}

/** `picked`, or one of the reserve where that one is half-open and its probe is under way. */
export function orReserve<Req, R extends Reply>(
  picked: Endpoint<Req, R> | undefined,
  { reserve }: EndpointLists<Req, R>,
  attempt: Attempt<Req>,
  now: number,
  cost: (endpoint: Endpoint<Req, R>, now: number) => number,
): Endpoint<Req, R> | undefined {
  if (picked === undefined || reserve.length === 0) return picked;
  if (picked.rank(now, attempt) <= RANK_BUSY) return picked;
  return scan(reserve, attempt, now, 0, cost);
}
