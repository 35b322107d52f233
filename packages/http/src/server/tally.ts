/** How often something was done lately. */

/** Counts, and forgets one at a time. */
export class Tally {
  #count = 0;
  #at = -Infinity;

  /** True: more than `max` are not forgotten yet. */
  add(now: number, max: number, forgetMs: number): boolean {
    const forgotten = Math.floor((now - this.#at) / forgetMs);
    if (forgotten >= this.#count) {
      this.#count = 0;
      this.#at = now;
    } else if (forgotten > 0) {
      this.#count -= forgotten;
      this.#at += forgotten * forgetMs;
    }
    return ++this.#count > max;
  }
}
