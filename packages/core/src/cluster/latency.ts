/**
 * How loaded an endpoint looks from here: Peak EWMA in our form, plus a bounded penalty for
 * failures. Derived from Finagle's PeakEwma, with the defects of that form mended: reads change
 * nothing, an idle endpoint drifts toward its peers instead of toward perfection, a fast failure
 * cannot make an endpoint look fast, and a penalty never multiplies an earlier one.
 *
 * All instants are monotonic milliseconds; `g` is the peers' median (see peerMedian).
 */
import { ScoreRow, ESTIMATE, LOAD, OLDEST, STAMP } from "./scores.ts";

export interface LatencyOptions {
  readonly decayMs: number;
  readonly seedMs: number;
  readonly penaltyFactor: number;
  readonly callerFaultFactor: number;
  readonly penaltyDecayMs: number;
  readonly penaltyMaxMs: number;
}

/** A success takes back half of the penalty. */
const FORGIVE = 0.5;

export class Latency {
  #penalty = 0;
  #penaltyAt = 0;
  #options: LatencyOptions;

  readonly #row: ScoreRow;

  constructor(options: LatencyOptions, row: ScoreRow = new ScoreRow()) {
    this.#options = options;
    this.#row = row;
  }

  /** New settings; what was learned stays. */
  configure(options: LatencyOptions): void {
    this.#options = options;
  }

  /** The stored estimate; -1 while there is no data. */
  get estimate(): number {
    return this.#row.numbers[this.#row.at + ESTIMATE]!;
  }

  /** When it was stored. */
  get #stamp(): number {
    return this.#row.numbers[this.#row.at + STAMP]!;
  }

  /** There is a penalty, maybe one that time has made small. */
  get penalised(): boolean {
    return this.#penalty !== 0;
  }

  /** The estimate as of `now`. Pure. */
  projected(now: number, g: number): number {
    const { numbers, at } = this.#row;
    return drift(numbers[at + ESTIMATE]!, numbers[at + STAMP]!, now, g, this.#options.decayMs);
  }

  /** What is left of the penalty. Pure. */
  penalty(now: number): number {
    if (this.#penalty === 0) return 0;
    return this.#penalty * Math.exp(-(now - this.#penaltyAt) / this.#options.penaltyDecayMs);
  }

  /**
   * A sample. Compared with the stored estimate, so the result is monotone in the sample. A
   * censored one (the answer was not a real one) may raise the estimate, never lower it.
   */
  observe(now: number, sample: number, censored: boolean, g: number): void {
    const { estimate } = this;
    if (estimate < 0) this.#set(now, censored ? Math.max(g, sample) : sample);
    else if (sample > estimate) this.#set(now, sample);
    else if (!censored) {
      const w = Math.exp(-(now - this.#stamp) / this.#options.decayMs);
      this.#set(now, estimate * w + sample * (1 - w));
    }
  }

  forgive(now: number): void {
    if (this.#penalty === 0) return;
    const left = this.penalty(now) * FORGIVE;
    this.#penalty = left < 0.01 ? 0 : left;
    this.#penaltyAt = now;
  }

  /** `factor` times the peers' median, at most the cap: the larger of it and what is left. */
  penalise(now: number, factor: number, g: number): void {
    this.#penalty = Math.max(this.penalty(now), Math.min(factor * g, this.#options.penaltyMaxMs));
    this.#penaltyAt = now;
    const { numbers, at } = this.#row;
    numbers[at + LOAD] = -Math.abs(numbers[at + LOAD]!);
  }

  /** Forgets everything: a recovered endpoint starts where its peers are. */
  reset(): void {
    this.#set(0, -1);
    this.#penalty = 0;
  }

  #set(now: number, estimate: number): void {
    const { numbers, at } = this.#row;
    numbers[at + ESTIMATE] = estimate;
    numbers[at + STAMP] = now;
  }
}

/** An estimate drifts toward the peers as it ages. */
function drift(estimate: number, stamp: number, now: number, g: number, decayMs: number): number {
  if (estimate < 0) return g;
  const age = now - stamp;
  return age <= 0 ? estimate : g + (estimate - g) * Math.exp(-age / decayMs);
}

/** Endpoint.cost without a penalty, from the numbers in its row alone. */
export function rowCost(
  numbers: Float64Array,
  at: number,
  now: number,
  g: number,
  decayMs: number,
): number {
  const estimate = drift(numbers[at + ESTIMATE]!, numbers[at + STAMP]!, now, g, decayMs);
  const age = now - numbers[at + OLDEST]!;
  return (age > estimate ? age : estimate) * numbers[at + LOAD]!;
}

/** Lower median of the estimates that exist; the seed when there is none. */
export function peerMedian(estimates: number[], seedMs: number): number {
  if (estimates.length === 0) return seedMs;
  estimates.sort((a, b) => a - b);
  return estimates[(estimates.length - 1) >> 1]!;
}
