/**
 * How many retries the recent traffic has paid for. Limits on attempts bound one call; only a
 * budget bounds the whole: when everything fails, a fleet that retries each call once doubles the
 * load on servers that are down because of load.
 *
 * A leaky bucket after Finagle's RetryBudget, in integers: every call deposits 1000 units, a retry
 * withdraws 1000/ratio, both are forgotten after the window, and a reserve allows a few retries per
 * second to callers with little traffic. Example: ratio 0.2 and 50 calls in the window pay for ten.
 *
 * The budget is the service's, because the load on its servers is what it bounds. One route of several
 * spends at most what its own calls have paid, and half of the reserve: a path that fails all the time
 * leaves to the others what theirs have paid, and the other half (docs/decisions/0022-a-route-spends-its-own-retries.md).
 */
import type { Runtime } from "../runtime/runtime.ts";
import type { RetryBudgetConfig } from "./options.ts";

const SLOTS = 10;
const DEPOSIT = 1000;
/** How much of the reserve one route may have. */
const SHARE_RATIO = 0.5;

/** What the retry layer needs of a budget. */
export interface Budget {
  /** Once per call, never per attempt. `now` saves a clock read. */
  deposit(now: number): void;
  /** Takes the price of one retry, or refuses. */
  withdraw(): boolean;
}

/** Units that were added within the window. */
class Account {
  readonly #slotMs: number;
  /** Per slot; slot s is used for the times s·slotMs ≤ t < (s+1)·slotMs. */
  readonly #slots = new Float64Array(SLOTS);
  #slot: number;
  #slotEndsAt: number;
  #sum = 0;

  constructor(windowMs: number, now: number) {
    this.#slotMs = windowMs / SLOTS;
    this.#slot = Math.floor(now / this.#slotMs);
    this.#slotEndsAt = (this.#slot + 1) * this.#slotMs;
  }

  add(units: number, now: number): void {
    if (now >= this.#slotEndsAt) this.#advance(now);
    this.#slots[this.#slot % SLOTS]! += units;
    this.#sum += units;
  }

  sum(now: number): number {
    this.#advance(now);
    return this.#sum;
  }

  /** The same as `sum`, without advancing the window. */
  peek(now: number): number {
    const slot = Math.floor(now / this.#slotMs);
    let sum = this.#sum;
    for (let s = this.#slot + 1; s <= Math.min(slot, this.#slot + SLOTS); s++) {
      sum -= this.#slots[s % SLOTS]!;
    }
    return sum;
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

export class RetryBudget implements Budget {
  readonly #deposit: number;
  readonly #cost: number;
  readonly #reserve: number;
  readonly #windowMs: number;
  readonly #runtime: Runtime;
  readonly #account: Account;
  /** Withdrawals refused so far, those of routes included. */
  refused = 0;
  withdrawn = 0;

  constructor(options: RetryBudgetConfig, runtime: Runtime) {
    this.#deposit = options.ratio === 0 ? 0 : DEPOSIT;
    this.#cost = options.ratio === 0 ? 1 : Math.floor(DEPOSIT / options.ratio);
    this.#reserve = (options.minPerSecond * options.windowMs * this.#cost) / 1000;
    this.#windowMs = options.windowMs;
    this.#runtime = runtime;
    this.#account = new Account(options.windowMs, runtime.now());
  }

  deposit(now: number): void {
    this.#account.add(this.#deposit, now);
  }

  withdraw(): boolean {
    const now = this.#runtime.now();
    if (this.#reserve + this.#account.sum(now) < this.#cost) {
      this.refused++;
      return false;
    }
    this.#account.add(-this.#cost, now);
    this.withdrawn++;
    return true;
  }

  /** Retries that would be paid for now. Reading changes nothing. */
  balance(): number {
    const units = this.#reserve + this.#account.peek(this.#runtime.now());
    return Math.max(0, Math.floor(units / this.#cost));
  }

  /** What one of several routes may spend of it. */
  forRoute(): Budget {
    const own = new Account(this.#windowMs, this.#runtime.now());
    // A reserve of a single retry is not halved: half of one can never be used.
    const share = Math.max(this.#reserve * SHARE_RATIO, Math.min(this.#reserve, this.#cost));
    return {
      deposit: (now) => {
        own.add(this.#deposit, now);
        this.deposit(now);
      },
      withdraw: () => {
        const now = this.#runtime.now();
        if (share + own.sum(now) < this.#cost) {
          this.refused++;
          return false;
        }
        if (!this.withdraw()) return false;
        own.add(-this.#cost, now);
        return true;
      },
    };
  }
}
