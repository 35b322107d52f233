/**
 * How many retries the recent traffic has paid for. Limits on attempts bound one call; only a
 * budget bounds the whole: when everything fails, a fleet that retries each call once doubles the
 * load on servers that are down because of load.
 *
 * A leaky bucket after Finagle's RetryBudget, in integers: every call deposits 1000 units, a retry
 * withdraws 1000/ratio, both are forgotten after the window, and a reserve allows a few retries per
 * second to callers with little traffic. Example: ratio 0.2 and 50 calls in the window pay for ten.
 */
import type { Runtime } from "../runtime/runtime.ts";

const SLOTS = 10;
const DEPOSIT = 1000;

export interface BudgetOptions {
  /** Retries per call, 0–1000. 0: only the reserve pays. */
  readonly ratio: number;
  /** Retries per second without traffic, ≥ 0. */
  readonly minPerSecond: number;
  /** Milliseconds. */
  readonly windowMs: number;
}

export class RetryBudget {
  readonly #deposit: number;
  readonly #cost: number;
  readonly #reserve: number;
  readonly #slotMs: number;
  readonly #runtime: Runtime;
  /** Deposits minus withdrawals per slot; slot s is used for the times s·slotMs ≤ t < (s+1)·slotMs. */
  readonly #slots = new Float64Array(SLOTS);
  #slot = 0;
  #sum = 0;
  #slotEndsAt = 0;
  /** Withdrawals refused so far. */
  refused = 0;
  withdrawn = 0;

  constructor(options: BudgetOptions, runtime: Runtime) {
    this.#deposit = options.ratio === 0 ? 0 : DEPOSIT;
    this.#cost = options.ratio === 0 ? 1 : Math.floor(DEPOSIT / options.ratio);
    this.#reserve = (options.minPerSecond * options.windowMs * this.#cost) / 1000;
    this.#slotMs = options.windowMs / SLOTS;
    this.#runtime = runtime;
    this.#slot = Math.floor(runtime.now() / this.#slotMs);
    this.#slotEndsAt = (this.#slot + 1) * this.#slotMs;
  }

  /** Once per call, never per attempt. `now` saves the caller's clock read. */
  deposit(now: number): void {
    if (now >= this.#slotEndsAt) this.#advance(now);
    this.#slots[this.#slot % SLOTS]! += this.#deposit;
    this.#sum += this.#deposit;
  }

  /** Takes the price of one retry, or refuses. */
  withdraw(): boolean {
    this.#advance(this.#runtime.now());
    if (this.#reserve + this.#sum < this.#cost) {
      this.refused++;
      return false;
    }
    this.#slots[this.#slot % SLOTS]! -= this.#cost;
    this.#sum -= this.#cost;
    this.withdrawn++;
    return true;
  }

  /** Retries that would be paid for now. Reading changes nothing. */
  balance(): number {
    const slot = Math.floor(this.#runtime.now() / this.#slotMs);
    let sum = this.#sum;
    for (let s = this.#slot + 1; s <= Math.min(slot, this.#slot + SLOTS); s++) {
      sum -= this.#slots[s % SLOTS]!;
    }
    return Math.max(0, Math.floor((this.#reserve + sum) / this.#cost));
  }

  #advance(now: number): void {
    const slot = Math.floor(now / this.#slotMs);
    for (let s = this.#slot + 1; s <= Math.min(slot, this.#slot + SLOTS); s++) {
      this.#sum -= this.#slots[s % SLOTS]!;
      this.#slots[s % SLOTS] = 0;
    }
    if (slot > this.#slot) {
      this.#slot = slot;
      this.#slotEndsAt = (slot + 1) * this.#slotMs;
    }
  }
}
