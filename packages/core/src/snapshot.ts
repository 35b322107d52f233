/** What `mesh.snapshot()` gives: the state behind every decision, as plain data for people and tools. */
import type { Backend } from "./balance/balance.ts";
import type { BreakerState, BreakerTrigger } from "./breaker/breaker.ts";
import type { Reply } from "./call.ts";
import type { ConfigSourceSnapshot } from "./config-sources.ts";
import type { Mistake } from "./config/mistakes.ts";
import type { IdentitySnapshot } from "./tls/identities.ts";
import type { ZonesSnapshot } from "./zones/zone-balance.ts";

import type { ObserversSnapshot } from "./observe/observers.ts";
import type { PlaceSnapshot } from "./place.ts";

export interface MeshSnapshot {
  readonly config: ConfigSnapshot;
  readonly state: "open" | "closing" | "closed";
  readonly services: readonly ServiceSnapshot[];
  /** The identity sources from outside. */
  readonly identities: readonly IdentitySnapshot[];
  /** Where this process stands, as far as that is known. */
  readonly place: PlaceSnapshot;
  readonly observers: ObserversSnapshot;
  /**
   * What works less well in this process because a private member of Node or of a library is not where
   * it was: one line for each, with what is lost. Empty with the versions that inmesh is tested with.
   */
  readonly degraded: readonly string[];
}

export interface ConfigSnapshot {
  /** Of the configuration in force; goes up by one with each change. */
  readonly version: number;
  /** Path of the configuration file; undefined without one. */
  readonly file: string | undefined;
  /** `refused`: what a source says now is not in force, because of `mistakes`; its last good layer is. */
  readonly state: "current" | "refused";
  /** The mistakes of all sources. */
  readonly mistakes: readonly Mistake[];
  /** Environment, file and those of the application, where they have something to say. */
  readonly sources: readonly ConfigSourceSnapshot[];
}

export interface ServiceSnapshot {
  readonly name: string;
  readonly protocol: string;
  readonly routes: readonly string[];
  readonly callsInFlight: number;
  readonly retryBudget: {
    readonly balance: number;
    readonly refused: number;
    readonly withdrawn: number;
  };
  readonly discovery: {
    readonly source: string;
    /** `pending` before the first answer, `stale` while the last good set is served after an error. */
    readonly state: "pending" | "current" | "stale" | "idle";
    readonly error: string | undefined;
  };
  readonly connections: {
    /** Why new certificates are not used; the last good ones are. */
    readonly problem: string | undefined;
  };
  /** Verdicts on failures are ignored because there are too many of them. */
  readonly panic: boolean;
  /** How much of its calls goes to which zone, and why. */
  readonly zones: ZonesSnapshot;
  readonly endpoints: readonly EndpointSnapshot[];
}

export interface EndpointSnapshot {
  /** `host:port`, or `unix:path`. */
  readonly address: string;
  readonly zone: string | undefined;
  readonly weight: number;
  /** Discovery says that it is about to go: it gets no new attempts. */
  readonly draining: boolean;
  readonly inFlight: number;
  readonly picks: number;
  /** What the picker compares; milliseconds times attempts in flight. */
  readonly cost: number;
  readonly latencyMs: number;
  readonly penaltyMs: number;
  /** The endpoint asked to be spared for this long. */
  readonly busyForMs: number;
  readonly breaker: {
    readonly state: BreakerState;
    readonly trigger: BreakerTrigger | undefined;
    /** Until the next probe; 0 when none is planned. */
    readonly nextProbeInMs: number;
    readonly consecutiveFailures: number;
  };
}

export function snapshotEndpoints<Req, R extends Reply>(
  { cluster }: Backend<Req, R>,
  now: number,
): EndpointSnapshot[] {
  const g = cluster.peerMedian(now);
  return [...cluster.endpoints.values()].map((endpoint) => ({
    address: endpoint.address,
    zone: endpoint.info.zone,
    weight: endpoint.weight,
    draining: endpoint.draining,
    inFlight: endpoint.inFlight,
    picks: endpoint.picks,
    cost: endpoint.cost(now, g),
    latencyMs: endpoint.latency.projected(now, g),
    penaltyMs: endpoint.latency.penalty(now),
    busyForMs: Math.max(0, endpoint.busyUntil - now),
    breaker: {
      state: endpoint.breaker.state,
      trigger: endpoint.breaker.trigger,
      nextProbeInMs:
        endpoint.breaker.state === "open" ? Math.max(0, endpoint.breaker.openUntil - now) : 0,
      consecutiveFailures: endpoint.breaker.streak,
    },
  }));
}
