import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Breaker, ejectionCap, ratioTrips } from "./breaker.ts";
import { SuccessWindow } from "./window.ts";

const options = {
  consecutiveFailures: 7,
  failureSpanMs: 5000,
  successRatio: 0.8,
  peerMargin: 0.2,
  windowMs: 10_000,
  minRequests: 5,
  minOpenMs: 1000,
  maxOpenMs: 60_000,
};

describe("SuccessWindow", () => {
  it("counts ten whole buckets", () => {
    const window = new SuccessWindow(10_000);
    for (const [at, ok] of [
      [0, 1],
      [500, 0],
      [999, 0],
      [1000, 1],
      [5000, 0],
      [9500, 1],
    ] as const) {
      window.add(at, ok === 1);
    }
    for (const [at, total, success] of [
      [9999, 6, 3],
      [10_000, 3, 2],
      [10_999, 3, 2],
      [11_000, 2, 1],
      [15_000, 1, 1],
      [19_999, 0, 0],
    ] as const) {
      window.advance(at);
      expect([window.total, window.success], `at ${at}`).toEqual([total, success]);
    }
  });

  it("equals a list of samples that is filtered by bucket", () => {
    const steps = fc.array(fc.tuple(fc.nat(4000), fc.boolean()), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (list) => {
        const window = new SuccessWindow(10_000);
        const samples: { bucket: number; ok: boolean }[] = [];
        let now = 0;
        for (const [gap, ok] of list) {
          now += gap;
          window.add(now, ok);
          samples.push({ bucket: Math.floor(now / 1000), ok });
          const kept = samples.filter(({ bucket }) => Math.floor(now / 1000) - bucket < 10);
          expect(window.total).toBe(kept.length);
          expect(window.success).toBe(kept.filter((one) => one.ok).length);
        }
      }),
    );
  });
});

describe("Breaker", () => {
  it("opens at the seventh failure in a row; a success starts the count again", () => {
    const breaker = new Breaker({ ...options, successRatio: 0, failureSpanMs: 0 });
    const peers = new SuccessWindow(10_000);
    const tripped = [..."FFFFFFSFFFFFFF"].map((outcome) =>
      outcome === "S" ? breaker.success(0) : breaker.failure(0, peers),
    );
    expect(tripped.findIndex((trigger) => trigger === "streak")).toBe(13);
  });

  it.each([
    [5000, false, "streak"],
    [4999, false, undefined],
    [9000, true, undefined],
  ])("two failures %d ms apart, success between: %s", (at, between, trigger) => {
    const breaker = new Breaker({ ...options, successRatio: 0 });
    const peers = new SuccessWindow(10_000);
    expect(breaker.failure(0, peers)).toBeUndefined();
    if (between) breaker.success(1);
    expect(breaker.failure(at, peers)).toBe(trigger);
  });

  it.each([
    [5, 3, 0.98, true],
    [5, 4, 0.98, false],
    [4, 0, 0.98, false],
    [10, 7, 0.85, false],
    [10, 7, undefined, true],
    [20, 15, 0.96, true],
    [20, 15, 0.95, false],
  ])("of %d calls %d succeed, peers at %s: trips %s", (total, success, peers, trips) => {
    expect(ratioTrips(total, success, peers, options)).toBe(trips);
  });

  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
    [5, 2],
    [9, 4],
    [10, 5],
    [11, 5],
    [19, 9],
    [20, 10],
    [21, 10],
    [25, 12],
  ])("of %d endpoints at most %d are out on a verdict", (endpoints, cap) => {
    expect(ejectionCap(endpoints, 0.5)).toBe(cap);
  });
});
