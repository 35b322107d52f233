/**
 * Where this process stands: its zone, and the pods of its own service. A person says it (`createMesh({ zone })`,
 * `INMESH_ZONE`), or a kind of discovery finds it.
 */

/** What a kind of discovery has found out about this process. */
export interface FoundPlace {
  /** The zone of the node. */
  readonly zone?: string | undefined;
  /** Of the ready pods of this process's own service, how many stand in each zone, this one among them. */
  readonly podsPerZone?: ReadonlyMap<string, number> | undefined;
  /** Which of these pods this one is, by name, from 0. */
  readonly rank?: number | undefined;
}

export interface PlaceSnapshot {
  /** Undefined: it is not known. */
  readonly zone: string | undefined;
  /** Who says so: `code`, `environment`, or the name of a kind of discovery. */
  readonly zoneFrom: string | undefined;
  /** Pods of this process's own service, by zone; undefined: not known. */
  readonly podsPerZone: Readonly<Record<string, number>> | undefined;
  /** Which of them this one is, from 0; undefined: not known. */
  readonly rank: number | undefined;
}

export class Place {
  readonly #said: { readonly zone: string; readonly from: string } | undefined;
  #found: FoundPlace = {};
  #finder: string | undefined = undefined;
  readonly #listeners = new Set<() => void>();

  /** `code` and `environment`: the zone that each of them says, the former before the latter. */
  constructor(code?: string, environment?: string) {
    if (code !== undefined && code !== "") this.#said = { zone: code, from: "code" };
    else if (environment !== undefined && environment.trim() !== "") {
      this.#said = { zone: environment.trim(), from: "environment" };
    }
  }

  /** Undefined: it is not known. */
  get zone(): string | undefined {
    return this.#said?.zone ?? this.#found.zone;
  }

  get podsPerZone(): ReadonlyMap<string, number> | undefined {
    return this.#found.podsPerZone;
  }

  get rank(): number | undefined {
    return this.#found.rank;
  }

  /**
   * For a kind of discovery: what it knows now, in the place of all it has said before. What a person has said about
   * the zone stays.
   */
  found(finder: string, facts: FoundPlace): void {
    this.#finder = finder;
    this.#found = facts;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each change, until the function that it gives is called. */
  follow(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  snapshot(): PlaceSnapshot {
    const { zone, podsPerZone, rank } = this;
    return {
      zone,
      zoneFrom: zone === undefined ? undefined : (this.#said?.from ?? this.#finder),
      podsPerZone: podsPerZone === undefined ? undefined : Object.fromEntries(podsPerZone),
      rank,
    };
  }
}
