import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rampFactor } from "./endpoint.ts";
import { Latency, peerMedian } from "./latency.ts";

const options = {
  decayMs: 10_000,
  seedMs: 30,
  penaltyFactor: 10,
  callerFaultFactor: 3,
  penaltyDecayMs: 5000,
  penaltyMaxMs: 5000,
};
function at(estimate: number): Latency {
  const latency = new Latency(options);
  latency.observe(0, estimate, false, 30);
  return latency;
}

describe("Latency", () => {
  it.each([
    [100, 20, 10_000, 49.430_355_29],
    [10, 20, 10_000, 16.321_205_59],
    [100, 20, 0, 100],
    [100, 100, 5000, 100],
    [1000, 30, 46_052, 39.699_710_81],
  ])("an estimate of %d among peers at %d is, %d ms later, %d", (e, g, dt, expected) => {
    expect(at(e).projected(dt, g)).toBeCloseTo(expected, 6);
  });

  it.each([
    [100, 1000, 50, 95.241_870_9],
    [100, 1000, 200, 200],
    [100, 1000, 100, 100],
    [100, 0, 50, 100],
    [1000, 6931.471_806, 499, 749.5],
    [1000, 6931.471_806, 501, 750.5],
    [1000, 6931.471_806, 1001, 1001],
  ])("%d, %d ms later a sample of %d, makes %d", (e, dt, sample, expected) => {
    const latency = at(e);
    latency.observe(dt, sample, false, 30);
    expect(latency.estimate).toBeCloseTo(expected, 5);
  });

  it("a censored sample may raise the estimate, never lower it", () => {
    const latency = at(100);
    latency.observe(1000, 5, true, 30);
    expect(latency.estimate).toBe(100);
    latency.observe(1000, 1000, true, 30);
    expect(latency.estimate).toBe(1000);
  });

  it("penalties are bounded, do not compound, decay, and are halved by a success", () => {
    const latency = at(20);
    for (let i = 0; i < 3; i++) latency.penalise(0, 10, 20);
    expect(latency.penalty(0)).toBe(200);
    expect(latency.penalty(5000)).toBeCloseTo(73.575_888_23, 6);
    latency.forgive(5000);
    expect(latency.penalty(5000)).toBeCloseTo(36.787_944_12, 6);
    latency.penalise(5000, 10, 800);
    expect(latency.penalty(5000)).toBe(5000);
  });

  it("is monotone in the sample, and reads change nothing", () => {
    const ms = fc.double({ min: 0, max: 60_000, noNaN: true });
    fc.assert(
      fc.property(ms, ms, ms, ms, (e, dt, x, y) => {
        const low = at(e);
        const high = at(e);
        low.observe(dt, Math.min(x, y), false, 30);
        high.observe(dt, Math.max(x, y), false, 30);
        expect(low.estimate).toBeLessThanOrEqual(high.estimate + 1e-6);
        const before = low.projected(dt + 5, 30);
        low.projected(dt + 5000, 30);
        low.penalty(dt + 5000);
        expect(low.projected(dt + 5, 30)).toBe(before);
      }),
    );
  });

  it.each([
    [[10, 20, 30, 40], 20],
    [[5000, 5], 5],
    [[7], 7],
    [[3, 9, 6], 6],
    [[], 30],
  ])("the lower median of %j is %d", (estimates, g) => {
    expect(peerMedian([...estimates], 30)).toBe(g);
  });

  it.each([
    [0, 0.1],
    [1500, 0.1],
    [3000, 0.1],
    [7500, 0.25],
    [15_000, 0.5],
    [30_000, 1],
  ])("%d ms after joining, the share is %d", (age, share) => {
    expect(rampFactor(age, 30_000)).toBeCloseTo(share, 9);
  });
});
