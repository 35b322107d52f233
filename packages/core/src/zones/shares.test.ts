/** Reference vectors of the zone and priority arithmetic, and what holds for any numbers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { priorityLoads, zoneShares } from "./shares.ts";

describe("shares by zone", () => {
  it.each([
    ["zone.1", [10, 5, 5], [4, 8, 8], 0, [0.4, 0.3, 0.3]],
    ["zone.2", [5, 5, 5], [6, 6, 6], 0, [1, 0, 0]],
    ["zone.3", [4, 4, 2], [5, 10, 5], 0, [0.625, 0.25, 0.125]],
    ["zone.4", [2, 2, 2], [1, 4, 4], 0, [1 / 3, 1 / 3, 1 / 3]],
    ["zone.5", [3, 3], [0, 6], 0, [0, 1]],
  ])("%s: callers %j, capacity %j", (_, callers, capacity, local, expected) => {
    const shares = zoneShares(callers, capacity, local);
    for (const [i, share] of shares.entries()) expect(share).toBeCloseTo(expected[i]!, 9);
  });

  const zones = fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 8 });

  it("are 1 together, and give nothing to a zone without capacity", () => {
    fc.assert(
      fc.property(zones, (given) => {
        const callers = given.map(([one], i) => (i === 0 ? one + 1 : one));
        const capacity = given.map(([, one]) => one);
        const shares = zoneShares(callers, capacity, 0);
        const all = capacity.reduce((a, b) => a + b, 0);
        expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(all === 0 ? 0 : 1, 9);
        for (const [i, share] of shares.entries()) {
          if (capacity[i] === 0) expect(share).toBeCloseTo(0, 9);
          expect(share).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  it("load every endpoint alike if the callers of all zones follow them", () => {
    fc.assert(
      fc.property(zones, (given) => {
        const callers = given.map(([one]) => one + 1);
        const capacity = given.map(([, one]) => one + 1);
        const all = capacity.reduce((a, b) => a + b, 0);
        const allCallers = callers.reduce((a, b) => a + b, 0);
        const load = capacity.map(() => 0);
        for (const [local, count] of callers.entries()) {
          for (const [i, share] of zoneShares(callers, capacity, local).entries()) {
            load[i]! += share * count;
          }
        }
        for (const [i, one] of load.entries()) {
          expect(one / allCallers).toBeCloseTo(capacity[i]! / all, 9);
        }
      }),
    );
  });
});

describe("loads of priorities", () => {
  it.each([
    ["priority.1", [100, 100], [100, 100], [100, 0]],
    ["priority.2", [72, 72], [100, 100], [100, 0]],
    ["priority.3", [71, 71], [100, 100], [99, 1]],
    ["priority.4", [50, 50], [100, 100], [70, 30]],
    ["priority.5", [36, 100], [100, 100], [50, 50]],
    ["priority.6", [25, 100], [100, 100], [35, 65]],
    ["priority.7", [25, 25], [100, 100], [50, 50]],
    ["priority.8", [10, 100], [100, 100], [14, 86]],
    ["priority.9", [25, 25, 100], [100, 100, 100], [35, 35, 30]],
    ["priority.10", [25, 25, 20], [100, 100, 100], [36, 36, 28]],
    ["priority.11", [3, 3], [5, 3], [84, 16]],
    ["none healthy", [0, 0], [5, 3], [0, 0]],
    ["no second one", [3, 0], [5, 0], [100, 0]],
  ])("%s: %j of %j", (_, healthy, total, expected) => {
    expect(priorityLoads(healthy, total)).toEqual(expected);
  });
});
