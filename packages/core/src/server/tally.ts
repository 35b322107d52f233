/** A count that forgets one at a time: bursts up to a limit, and beyond that a steady rate. */
export class Tally {
  #count = 0;
  #at = -Infinity;

  /** Counts one more. True: more than `max` are not forgotten yet; one is forgotten every `forgetMs`. */
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
