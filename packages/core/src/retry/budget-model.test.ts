import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { RetryBudget } from "./budget.ts";

class Clock extends SimRuntime {
  ms = 0;
  override now(): number {
    return this.ms;
  }
}

describe("RetryBudget", () => {
  it.each([
    [0.2, 1000, 5000],
    [0.1, 1000, 10_000],
    [0.3, 1000, 3333],
    [1, 1000, 1000],
    [2, 1000, 500],
    [0.01, 1000, 100_000],
    [0, 0, 1],
  ])("at ratio %d a call deposits %d and a retry costs %d", (ratio, deposit, cost) => {
    for (const calls of [1, 7, 10, 100, 250]) {
      const clock = new Clock();
      const budget = new RetryBudget({ ratio, minPerSecond: 0, windowMs: 10_000 }, clock);
      for (let i = 0; i < calls; i++) budget.deposit(0);
      let taken = 0;
      while (budget.withdraw()) taken++;
      expect(taken).toBe(Math.floor((calls * deposit) / cost));
    }
  });

  it("agrees with a list of everything that happened, and is never below zero", () => {
    const step = fc.oneof(
      fc.constant(["deposit", 0] as const),
      fc.constant(["withdraw", 0] as const),
      fc.tuple(fc.constant("wait" as const), fc.integer({ min: 1, max: 30_000 })),
      fc.tuple(fc.constant("wait" as const), fc.integer({ min: 1, max: 500 })),
    );
    const options = fc.record({
      ratio: fc.constantFrom(0, 0.1, 0.2, 0.3, 1, 2),
      minPerSecond: fc.constantFrom(0, 1, 10),
      windowMs: fc.constantFrom(1000, 10_000),
    });
    fc.assert(
      fc.property(options, fc.array(step, { maxLength: 200 }), (given, steps) => {
        const clock = new Clock();
        const budget = new RetryBudget(given, clock);
        const cost = given.ratio === 0 ? 1 : Math.floor(1000 / given.ratio);
        const reserve = (given.minPerSecond * given.windowMs * cost) / 1000;
        const slot = (ms: number): number => Math.floor((ms * 10) / given.windowMs);
        const events: { at: number; units: number }[] = [];
        const left = (): number =>
          events
            .filter(({ at }) => slot(clock.ms) - slot(at) < 10)
            .reduce((sum, { units }) => sum + units, reserve);
        for (const [what, ms] of steps) {
          if (what === "wait") clock.ms += ms;
          else if (what === "deposit") {
            budget.deposit(clock.ms);
            events.push({ at: clock.ms, units: given.ratio === 0 ? 0 : 1000 });
          } else {
            const paid = left() >= cost;
            expect(budget.withdraw()).toBe(paid);
            if (paid) events.push({ at: clock.ms, units: -cost });
          }
          expect(budget.balance()).toBe(Math.max(0, Math.floor(left() / cost)));
          expect(budget.balance()).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});
