/** What two readings say of the time between them. */
import { describe, expect, it } from "vitest";
import type { Traffic } from "./api.ts";
import { TrafficTable } from "./traffic.ts";
import { attemptsPerCall, histogramOf, quantileMs, since, successRatio } from "./window.ts";

const BOUNDS = [0.1, 0.2, 0.4];
const none = { total: 0, success: 0, failure: 0, timeout: 0, overloaded: 0, abandoned: 0 };

function traffic(success: number, failure: number, retries: number): Traffic {
  const total = success + failure;
  const calls = { ...none, total, success, failure };
  const latency = histogramOf([success, failure, 0, 0], total * 0.1, BOUNDS);
  return {
    calls,
    callLatency: latency,
    attempts: { ...calls, total: total + retries },
    attemptLatency: latency,
    attemptKinds: { first: total, retry: retries, resend: 0, hedge: 0 },
    retryDecisions: retries === 0 ? {} : { sent: retries },
    callReasons: failure === 0 ? {} : { reset: failure },
    attemptReasons: {},
    callStatuses: { "2xx": success },
  };
}

describe("since", () => {
  it("subtracts what was there before, and leaves out what did not happen", () => {
    const window = since(traffic(100, 5, 10), traffic(90, 5, 4), BOUNDS);
    expect(window.calls).toEqual({ ...none, total: 10, success: 10 });
    expect(window.attemptKinds).toEqual({ first: 10, retry: 6, resend: 0, hedge: 0 });
    expect(window.retryDecisions).toEqual({ sent: 6 });
    expect(window.callReasons).toEqual({});
    expect(window.callStatuses).toEqual({ "2xx": 10 });
    expect(window.callLatency).toMatchObject({ count: 10, counts: [10, 0, 0, 0] });
    expect(window.callLatency.sumSeconds).toBeCloseTo(1);
    expect(attemptsPerCall(window)).toBe(1.6);
    expect(successRatio(window.calls)).toBe(1);
  });

  it("takes all where there is no earlier reading, or counters have begun anew", () => {
    expect(since(traffic(7, 1, 0), undefined, BOUNDS).calls.total).toBe(8);
    const restarted = since(traffic(7, 1, 0), traffic(90, 5, 4), BOUNDS);
    expect(restarted.calls).toMatchObject({ total: 8, success: 7 });
    expect(restarted.callLatency.count).toBe(8);
  });
});

it("what callers gave up does not count against a service", () => {
  expect(successRatio({ ...none, total: 4, success: 3, abandoned: 1 })).toBe(1);
  expect(successRatio({ ...none, total: 2, abandoned: 2 })).toBeUndefined();
});

it.each([
  [[10, 0, 0, 0], 0.5, 50],
  [[5, 5, 0, 0], 0.5, 100],
  [[5, 5, 0, 0], 0.75, 150],
  [[0, 0, 4, 0], 0.5, 300],
  [[0, 0, 0, 4], 0.5, 400],
  [[1, 0, 0, 1], 1, 400],
])("of %j the quantile %d is %d ms", (counts, share, ms) => {
  expect(quantileMs(counts, BOUNDS, share)).toBeCloseTo(ms);
});

it("a service whose name is longer than a label is found all the same", () => {
  const table = new TrafficTable();
  const name = "a".repeat(300);
  table.add({
    kind: "counter",
    name: "inmesh.calls",
    unit: "{call}",
    description: "",
    startedAtWallMs: 0,
    value: 3,
    labels: {
      service: name.slice(0, 128),
      route: "default",
      protocol: "http",
      direction: "outbound",
      outcome: "success",
      status: "2xx",
      reason: "none",
    },
  });
  const key = { direction: "outbound", protocol: "http", service: name };
  expect(table.of(key).calls).toMatchObject({ total: 3, success: 3 });
  expect(table.of(key, "default").callStatuses).toEqual({ "2xx": 3 });
  expect(table.of(key, "other").calls.total).toBe(0);
});
