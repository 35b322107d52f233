/**
 * The slices that are known, by name and by service. What an older API server says of an object changes nothing, and
 * an object that was deleted does not come back in an older version (the "stale" and "unobserved" perturbations of
 * Sieve, faults.md D6 and D7).
 */
import type { Runtime } from "@inmesh/core/spi/discovery";
import type { Slice } from "./slice.ts";
import { compareVersions, isOlder } from "./versions.ts";

/** How long the version in which an object was deleted is remembered. */
const DELETED_MS = 600_000;
const MAX_DELETED = 10_000;

export class SliceStore {
  readonly #runtime: Runtime;
  readonly #slices = new Map<string, Slice>();
  readonly #services = new Map<string, Map<string, Slice>>();
  /** Oldest first. */
  readonly #deleted = new Map<string, { readonly version: string; readonly at: number }>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  get size(): number {
    return this.#slices.size;
  }

  /** A list, which may be read more than once: a Service has a subscriber for each of its ports. */
  of(service: string): readonly Slice[] {
    return [...(this.#services.get(service)?.values() ?? [])];
  }

  /** Those that have slices. */
  services(): Iterable<string> {
    return this.#services.keys();
  }

  /** The whole set, as it was at `version`. Gives the services that have changed. */
  replace(slices: ReadonlyMap<string, Slice>, version: string): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const known of this.#slices.values()) {
      if (!slices.has(known.name) && !isOlder(version, known.version)) {
        this.#remove(known, version, changed);
      }
    }
    for (const slice of slices.values()) this.#put(slice, changed);
    return changed;
  }

  upsert(slice: Slice): ReadonlySet<string> {
    const changed = new Set<string>();
    this.#put(slice, changed);
    return changed;
  }

  /** `version`: that of the deletion. */
  delete(name: string, version: string): ReadonlySet<string> {
    const changed = new Set<string>();
    const known = this.#slices.get(name);
    if (known === undefined) this.#remember(name, version);
    else if (!isOlder(version, known.version)) this.#remove(known, version, changed);
    return changed;
  }

  /** For the case that the API server was set back to an older state, where all versions are older. */
  forgetVersions(): void {
    this.#deleted.clear();
    for (const [name, slice] of this.#slices) {
      const old: Slice = { ...slice, version: "0" };
      this.#slices.set(name, old);
      this.#services.get(old.service)?.set(name, old);
    }
  }

  #put(slice: Slice, changed: Set<string>): void {
    const known = this.#slices.get(slice.name);
    if (known !== undefined && (compareVersions(slice.version, known.version) ?? 1) <= 0) return;
    const deleted = this.#deleted.get(slice.name);
    if (deleted !== undefined) {
      const again = (compareVersions(slice.version, deleted.version) ?? 1) > 0;
      if (!again && this.#runtime.now() - deleted.at < DELETED_MS) return;
      this.#deleted.delete(slice.name);
    }
    if (known !== undefined && known.service !== slice.service) {
      this.#leave(known);
      changed.add(known.service);
    }
    this.#slices.set(slice.name, slice);
    let service = this.#services.get(slice.service);
    if (service === undefined) this.#services.set(slice.service, (service = new Map()));
    service.set(slice.name, slice);
    changed.add(slice.service);
  }

  #remove(slice: Slice, version: string, changed: Set<string>): void {
    this.#slices.delete(slice.name);
    this.#leave(slice);
    this.#remember(slice.name, version);
    changed.add(slice.service);
  }

  #leave(slice: Slice): void {
    const service = this.#services.get(slice.service);
    service?.delete(slice.name);
    if (service?.size === 0) this.#services.delete(slice.service);
  }

  #remember(name: string, version: string): void {
    this.#deleted.delete(name);
    this.#deleted.set(name, { version, at: this.#runtime.now() });
    if (this.#deleted.size <= MAX_DELETED) return;
    for (const oldest of this.#deleted.keys()) return void this.#deleted.delete(oldest);
  }
}
