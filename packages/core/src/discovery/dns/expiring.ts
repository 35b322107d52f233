/**
 * A bounded memory of answers that expire. Values are kept in the order of their last use, which a Map
 * remembers by itself, so the one to forget is the first. (lru-cache does the same and more, in 3.4 MB of
 * installed files, a quarter of what an application would have got with inmesh.)
 */
import type { Runtime } from "../../runtime/runtime.ts";

interface Kept<V> {
  readonly value: V;
  readonly expiresAt: number;
}

export class Expiring<V> {
  readonly #runtime: Runtime;
  readonly #max: number;
  readonly #kept = new Map<string, Kept<V>>();

  /** `max`: how many values are kept; beyond it the least recently used one is forgotten. */
  constructor(max: number, runtime: Runtime) {
    this.#max = max;
    this.#runtime = runtime;
  }

  /** Undefined if it was never there, has expired, or was forgotten. */
  get(key: string): V | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    if (kept.expiresAt <= this.#runtime.now()) return undefined;
    this.#kept.set(key, kept);
    return kept.value;
  }

  set(key: string, value: V, ttlMs: number): void {
    this.#kept.delete(key);
    if (this.#kept.size >= this.#max) {
      for (const oldest of this.#kept.keys()) {
        this.#kept.delete(oldest);
        break;
      }
    }
    this.#kept.set(key, { value, expiresAt: this.#runtime.now() + ttlMs });
  }

  clear(): void {
    this.#kept.clear();
  }

  get size(): number {
    return this.#kept.size;
  }
}
