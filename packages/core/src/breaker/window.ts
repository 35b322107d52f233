/**
 * Exact counts over the last window, in ten buckets. Exact, because an average that decays with
 * time gives a burst after a quiet spell almost no weight, which is when verdicts matter.
 * A sample of bucket j counts at a time in bucket i if i - j < 10.
 */
const BUCKETS = 10;

export class SuccessWindow {
  readonly #bucketMs: number;
  readonly #total = new Uint32Array(BUCKETS);
  readonly #success = new Uint32Array(BUCKETS);
  #bucket = 0;
  #bucketEndsAt = -1;
  total = 0;
  success = 0;

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS;
  }

  add(now: number, success: boolean): void {
    if (now >= this.#bucketEndsAt) this.advance(now);
    const i = this.#bucket % BUCKETS;
    this.#total[i]!++;
    this.total++;
    if (success) {
      this.#success[i]!++;
      this.success++;
    }
  }

  /** Forgets what is too old at `now`. `total` and `success` are right until the bucket ends. */
  advance(now: number): void {
    const bucket = Math.floor(now / this.#bucketMs);
    for (let b = this.#bucket + 1; b <= Math.min(bucket, this.#bucket + BUCKETS); b++) {
      this.#drop(b % BUCKETS);
    }
    this.#bucket = bucket;
    this.#bucketEndsAt = (bucket + 1) * this.#bucketMs;
  }

  /** Takes another window's samples out of this one: an endpoint leaves the pool of its peers. */
  subtract(other: SuccessWindow, now: number): void {
    this.advance(now);
    other.advance(now);
    for (let i = 0; i < BUCKETS; i++) {
      const total = Math.min(this.#total[i]!, other.#total[i]!);
      const success = Math.min(this.#success[i]!, other.#success[i]!);
      this.#total[i]! -= total;
      this.#success[i]! -= success;
      this.total -= total;
      this.success -= success;
    }
  }

  clear(): void {
    for (let i = 0; i < BUCKETS; i++) this.#drop(i);
  }

  #drop(i: number): void {
    this.total -= this.#total[i]!;
    this.success -= this.#success[i]!;
    this.#total[i] = this.#success[i] = 0;
  }
}
