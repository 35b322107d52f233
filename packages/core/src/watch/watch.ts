/** A value that changes over time. Read `current` once per use, and stay with what was read. */
export interface Watch<T> {
  readonly current: T;
  /** Returns the function that ends the subscription. A listener that throws does not stop others. */
  subscribe(listener: (next: T, previous: T) => void): () => void;
}

/** A Watch that is set from outside. Only the newest value counts: there is no queue per subscriber. */
export class Cell<T> implements Watch<T> {
  #current: T;
  readonly #listeners = new Set<(next: T, previous: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  set(next: T): void {
    const previous = this.#current;
    if (Object.is(next, previous)) return;
    this.#current = next;
    for (const listener of this.#listeners) {
      try {
        listener(next, previous);
      } catch {
        // One consumer's fault must not keep the news from the others.
      }
    }
  }

  subscribe(listener: (next: T, previous: T) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
