import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { backoffMs } from "./backoff.ts";
import { RetryBudget } from "./budget.ts";

describe("backoffMs", () => {
  it.each([
    [0, 0, 0],
    [0, 0.999, 24.975],
    [1, 0.5, 25],
    [3, 0.5, 100],
    [4, 0.2, 50],
    [9, 0.999, 249.75],
  ])("retry %d with draw %d pauses %d ms", (retry, u, expected) => {
    expect(backoffMs(retry, 25, 250, u)).toBeCloseTo(expected, 9);
  });

  it("stays between 0 and its cap", () => {
    fc.assert(
      fc.property(fc.nat(60), fc.double({ min: 0, max: 0.999_999, noNaN: true }), (retry, u) => {
        const ms = backoffMs(retry, 25, 250, u);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(250);
      }),
    );
  });
});

function drain(budget: RetryBudget): number {
  let taken = 0;
  while (budget.withdraw()) taken++;
  return taken;
}

describe("RetryBudget", () => {
  it("pays 10 in reserve and one retry per five calls", async () => {
    const runtime = new SimRuntime(1);
    const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 1, windowMs: 10_000 }, runtime);
    expect(budget.balance()).toBe(10);
    for (let i = 0; i < 50; i++) {
      await runtime.runUntil(i * 100);
      budget.deposit(runtime.now());
    }
    await runtime.runUntil(5000);
    expect(budget.balance()).toBe(20);
    expect(drain(budget)).toBe(20);
  });

  it("forgets deposits and withdrawals after the window", async () => {
    const runtime = new SimRuntime(1);
    const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 10, windowMs: 10_000 }, runtime);
    expect(budget.balance()).toBe(100);
    await runtime.runUntil(500);
    for (let i = 0; i < 100; i++) budget.deposit(runtime.now());
    expect(budget.balance()).toBe(120);
    await runtime.runUntil(1000);
    expect(drain(budget)).toBe(120);
    for (const [at, left] of [
      [9900, 0],
      [10_000, 0],
      [11_000, 100],
    ] as const) {
      await runtime.runUntil(at);
      expect(budget.balance(), `at ${at}`).toBe(left);
    }
  });
});
