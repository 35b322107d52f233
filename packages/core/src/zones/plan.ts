/** Which endpoints belong together for a caller in a zone, and how much of its traffic each group gets. */
import type { Endpoint } from "../cluster/endpoint.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { ZonesConfig } from "./options.ts";
import { priorityLoads, zoneShares } from "./shares.ts";

/** More zones are a mistake of whatever names them, such as one for each host. */
const MAX_ZONES = 32;

export interface ZoneShare {
  /** Empty: the zone is not known, or, with hints, all other zones together. */
  readonly zone: string;
  /** Those whose breaker is closed, without the draining ones and those of weight 0. */
  readonly endpoints: number;
  /** Of the calls of this process, from 0 to 1. */
  readonly share: number;
}

export interface ZonePlan {
  /**
   * `all`: all zones alike; `local`: all calls stay in the zone; `spill`: what is too much for the zone goes to others;
   * `hints`: the source says which endpoints are for this zone.
   */
  readonly mode: "all" | "local" | "spill" | "hints";
  /** In words. */
  readonly why: string;
  readonly zones: readonly ZoneShare[];
  /** The group of an endpoint, for each of `zones`; undefined with `all`. */
  readonly groupOf: ((info: EndpointInfo) => number) | undefined;
  /** Equal for two plans whose groups are the same. */
  readonly groups: string;
}

/** What is known about the callers. */
export interface Callers {
  readonly zone: string | undefined;
  /** Undefined: not known. They are then taken to be as many in every zone. */
  readonly podsPerZone: ReadonlyMap<string, number> | undefined;
}

interface Zone {
  endpoints: number;
  /** Weights of the endpoints that can be picked, as far as they have warmed up. */
  capacity: number;
}

/** O(endpoints): once for each change of them, and at most once a second. */
export function planZones(
  endpoints: Iterable<Endpoint>,
  { zone: own, podsPerZone }: Callers,
  options: ZonesConfig,
  slowStartMs: number,
  now: number,
): ZonePlan {
  if (!options.prefer) return all("zones.prefer is false");
  if (own === undefined) return all("the zone of this process is not known");
  const zones = new Map<string, Zone>();
  const hinted = { named: 0, usable: 0, endpoints: 0 };
  const others = { named: 0, usable: 0, endpoints: 0 };
  let allHinted = true;
  let count = 0;
  for (const endpoint of endpoints) {
    const { info, weight } = endpoint;
    if (endpoint.draining || weight === 0) continue;
    const usable = endpoint.breaker.state === "closed";
    const forZones = info.forZones;
    if (forZones === undefined || forZones.length === 0) allHinted = false;
    else {
      const group = forZones.includes(own) ? hinted : others;
      group.named += weight;
      if (usable) {
        group.usable += weight;
        group.endpoints++;
      }
    }
    if (!usable) continue;
    count++;
    const name = info.zone ?? "";
    let zone = zones.get(name);
    if (zone === undefined) zones.set(name, (zone = { endpoints: 0, capacity: 0 }));
    zone.endpoints++;
    zone.capacity += weight * endpoint.ramp(now, slowStartMs);
  }
  if (allHinted && hinted.named > 0) return byHints(own, hinted, others);
  if (count < options.minEndpoints) {
    return all(
      `${count} endpoints can be picked, fewer than ${options.minEndpoints} (zones.minEndpoints)`,
    );
  }
  if (zones.size > MAX_ZONES)
    return all(`the endpoints stand in ${zones.size} zones, more than ${MAX_ZONES}`);
  if (zones.size === 1 && zones.has("")) return all("no endpoint has a zone");
  if (zones.size === 1 && zones.has(own))
    return all("all endpoints stand in the zone of this process");
  return byCapacity(own, zones, podsPerZone);
}

function all(why: string): ZonePlan {
  return { mode: "all", why, zones: [], groupOf: undefined, groups: "" };
}

function byHints(
  own: string,
  hinted: { readonly named: number; readonly usable: number; readonly endpoints: number },
  others: { readonly named: number; readonly usable: number; readonly endpoints: number },
): ZonePlan {
  // Hints do not know which endpoints work. Those of other zones take over by degree, as a lower priority does.
  const [mine = 0, rest = 0] = priorityLoads(
    [hinted.usable, others.usable],
    [hinted.named, others.named],
  );
  return {
    mode: "hints",
    why:
      mine === 100
        ? `the source has hints, and calls go to the endpoints that are meant for ${own}`
        : `the source has hints, and too few of the endpoints that are meant for ${own} can be picked`,
    zones: [
      { zone: own, endpoints: hinted.endpoints, share: mine / 100 },
      { zone: "", endpoints: others.endpoints, share: rest / 100 },
    ],
    groupOf: (info) => (info.forZones?.includes(own) === true ? 0 : 1),
    groups: `hints ${own}`,
  };
}

function byCapacity(
  own: string,
  zones: ReadonlyMap<string, Zone>,
  podsPerZone: ReadonlyMap<string, number> | undefined,
): ZonePlan {
  const others = [...zones.keys()].filter((zone) => zone !== own).toSorted();
  const names = [own, ...others];
  const callersIn = (zone: string): number => {
    if (podsPerZone === undefined) return 1;
    // This process is there, whatever a source says that has not heard of it yet.
    return Math.max(podsPerZone.get(zone) ?? 0, zone === own ? 1 : 0);
  };
  // Zones with callers and without endpoints count: their callers are somewhere.
  const callersOnly = [...(podsPerZone?.keys() ?? [])].filter((zone) => !names.includes(zone));
  const counted = [...names, ...callersOnly];
  const shares = zoneShares(
    counted.map(callersIn),
    counted.map((zone) => zones.get(zone)?.capacity ?? 0),
    0,
  );
  const index = new Map(names.map((zone, i) => [zone, i]));
  const isLocal = shares[0] === 1;
  return {
    mode: isLocal ? "local" : "spill",
    why: isLocal
      ? `the zone ${own} has its share of the endpoints`
      : `the zone ${own} has fewer endpoints than its callers need`,
    zones: names.map((zone, i) => ({
      zone,
      endpoints: zones.get(zone)?.endpoints ?? 0,
      share: shares[i]!,
    })),
    // A zone that comes before the next plan does is behind them.
    groupOf: (info) => index.get(info.zone ?? "") ?? names.length,
    groups: JSON.stringify(names),
  };
}
