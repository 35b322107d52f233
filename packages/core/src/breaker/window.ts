/**
 * Exact counts over the last window, in ten buckets. Exact, because an average that decays with
 * time gives a burst after a quiet spell almost no weight, which is when verdicts matter.
 * A sample of bucket j counts at a time in bucket i if i - j < 10.
 */
const BUCKETS = 10;
/** Of a window without samples: of ten thousand endpoints most have none. Nothing but 0 is ever written here. */
const EMPTY = new Uint32Array(BUCKETS);

export class SuccessWindow {
  readonly #bucketMs: number;
  #total: Uint32Array = EMPTY;
  #success: Uint32Array = EMPTY;
  #bucket = 0;
  #bucketEndsAt = -1;
  total = 0;
  success = 0;

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS;
  }

  add(now: number, success: boolean): void {
    if (now >= this.#bucketEndsAt) this.#begin(now);
    const i = this.#bucket % BUCKETS;
    this.#total[i]!++;
    this.total++;
    if (success) {
      this.#success[i]!++;
      this.success++;
    }
  }

  #begin(now: number): void {
    if (this.#total === EMPTY) {
      this.#total = new Uint32Array(BUCKETS);
      this.#success = new Uint32Array(BUCKETS);
    }
    this.advance(now);
  }

  /** Forgets what is too old at `now`. `total` and `success` are right until the bucket ends. */
  advance(now: number): void {
    // The first sample finds a bucket that has ended, and makes room.
    if (this.#total === EMPTY) return;
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
