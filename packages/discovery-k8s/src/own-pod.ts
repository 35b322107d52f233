/**
 * Where this pod stands, by the slices of its own Service: its zone, how many pods of the Service there are in each
 * zone, and which of them it is. That takes no right on nodes or pods, because slices name the zone of each endpoint.
 */
import type { DiscoveryMesh, FoundPlace } from "@inmesh/core/spi/discovery";
import type { SliceEndpoint } from "./slice.ts";
import type { SliceStore } from "./slice-store.ts";

export interface PodIdentity {
  readonly name: string;
  /** Its own Service, where that is said; empty: the first by name that the pod belongs to. */
  readonly service: string;
}

export class OwnPod {
  readonly #pod: PodIdentity;
  readonly #place: DiscoveryMesh["place"];
  #service: string;
  #said = "";
  /** Kept while the pod is in no slice, as while it is not ready yet or leaves. */
  #zone: string | undefined = undefined;

  constructor(pod: PodIdentity, place: DiscoveryMesh["place"]) {
    this.#pod = pod;
    this.#place = place;
    this.#service = pod.service;
  }

  /** `changed`: the services whose slices have changed; undefined: all of them. */
  heard(store: SliceStore, changed: ReadonlySet<string> | undefined): void {
    if (this.#service === "") {
      const found = [...(changed ?? store.services())].filter((one) => this.#isIn(store, one));
      if (found.length === 0) return;
      this.#service = found.toSorted()[0]!;
    } else if (changed?.has(this.#service) === false) return;
    this.#say(this.#look(store));
  }

  #isIn(store: SliceStore, service: string): boolean {
    for (const { endpoints } of store.of(service)) {
      if (endpoints.some(({ pod }) => pod === this.#pod.name)) return true;
    }
    return false;
  }

  #look(store: SliceStore): FoundPlace {
    // A pod of a dual-stack Service stands in a slice of each family.
    const pods = new Map<string, SliceEndpoint>();
    for (const { endpoints } of store.of(this.#service)) {
      for (const endpoint of endpoints) {
        const { pod, ready, terminating } = endpoint;
        if (pod === undefined) continue;
        if (pod === this.#pod.name) this.#zone = endpoint.zone ?? this.#zone;
        if (ready && !terminating) pods.set(pod, endpoint);
      }
    }
    const podsPerZone = new Map<string, number>();
    for (const { zone = "" } of pods.values()) {
      podsPerZone.set(zone, (podsPerZone.get(zone) ?? 0) + 1);
    }
    const rank = [...pods.keys()].toSorted(byOrdinal).indexOf(this.#pod.name);
    return {
      zone: this.#zone,
      podsPerZone: podsPerZone.size === 0 ? undefined : podsPerZone,
      rank: rank < 0 ? undefined : rank,
    };
  }

  #say(facts: FoundPlace): void {
    const { zone, podsPerZone, rank } = facts;
    const text = JSON.stringify([zone, [...(podsPerZone ?? [])].map(String).toSorted(), rank]);
    if (text === this.#said) return;
    this.#said = text;
    this.#place.found("kubernetes", facts);
  }
}

/** Pods of a StatefulSet end with a number: `db-10` stands behind `db-9`. */
function byOrdinal(a: string, b: string): number {
  const [, nameA, ordinalA] = ORDINAL.exec(a) ?? [];
  const [, nameB, ordinalB] = ORDINAL.exec(b) ?? [];
  if (nameA !== undefined && nameA === nameB) return Number(ordinalA) - Number(ordinalB);
  return a < b ? -1 : 1;
}

const ORDINAL = /^(.+)-(\d{1,9})$/;
