/** Series of several processes as one: what is added up, what is not, and what stays of a process that has ended. */
import { describe, expect, it } from "vitest";
import { INSTRUMENTS } from "../telemetry/instruments.ts";
import type { Exemplar, Series } from "../telemetry/telemetry.ts";
import { LARGEST, MergedSeries } from "./merge.ts";

const common = { description: "A test.", labels: {}, startedAtWallMs: 5 };

const counter = (name: string, value: number, more: Partial<Series> = {}): Series =>
  ({ ...common, kind: "counter", name, unit: "{call}", value, ...more }) as Series;
const gauge = (name: string, unit: string, value: number): Series => ({
  ...common,
  kind: "gauge",
  name,
  unit,
  value,
});
const histogram = (counts: number[], sum: number, exemplars?: Exemplar[]): Series => ({
  ...common,
  kind: "histogram",
  name: "took",
  unit: "s",
  bounds: [1],
  counts,
  count: counts[0]! + counts[1]!,
  sum,
  ...(exemplars !== undefined && { exemplars }),
});

/** What one reading of these processes gives, by names. */
function mergedOf(...all: Series[][]): Record<string, Series> {
  const merged = new MergedSeries().add(new Map(all.map((series, i) => [i, series])), []);
  return Object.fromEntries(merged.map((one) => [one.name, one]));
}

describe("series of several processes", () => {
  it("add counters and histograms up, with the last exemplar, by their labels", () => {
    const old: Exemplar = { traceId: "a".repeat(32), value: 1, atWallMs: 1 };
    const late: Exemplar = { traceId: "b".repeat(32), value: 2, atWallMs: 2 };
    const { calls, took, other } = mergedOf(
      [
        counter("calls", 2, { exemplar: late, startedAtWallMs: 3 } as Partial<Series>),
        histogram([1, 2], 4, [old]),
      ],
      [
        counter("calls", 3, { exemplar: old } as Partial<Series>),
        histogram([10, 0], 5, [late]),
        counter("other", 1),
      ],
    );
    expect(calls).toMatchObject({ value: 5, exemplar: late, startedAtWallMs: 3 });
    expect(took).toMatchObject({
      counts: [11, 2],
      count: 13,
      sum: 9,
      exemplars: [late, undefined],
    });
    expect(other).toMatchObject({ value: 1 });
    const labelled = new MergedSeries().add(
      new Map([
        [1, [counter("calls", 1, { labels: { a: "1", b: "2" } })]],
        [2, [counter("calls", 1, { labels: { b: "2", a: "1" } })]],
        [3, [counter("calls", 1, { labels: { a: "12" } })]],
      ]),
      [],
    );
    expect(labelled.map((one) => (one as { value: number }).value)).toEqual([2, 1]);
  });

  it("take of gauges the sum, the largest or the earliest, and none that cannot be read", () => {
    const merged = mergedOf(
      [
        gauge("active", "{call}", 2),
        gauge("stale", "{state}", 0),
        gauge("busy", "1", 0.9),
        gauge("cert.expiry.timestamp", "s", 100),
        gauge("broken", "{call}", Number.NaN),
      ],
      [
        gauge("active", "{call}", 3),
        gauge("stale", "{state}", 1),
        gauge("busy", "1", 0.1),
        gauge("cert.expiry.timestamp", "s", 50),
        gauge("broken", "{call}", 7),
      ],
    );
    const values = Object.entries(merged).map(([name, one]) => [
      name,
      (one as { value: number }).value,
    ]);
    expect(Object.fromEntries(values)).toEqual({
      active: 5,
      stale: 1,
      busy: 0.9,
      "cert.expiry.timestamp": 50,
      broken: 7,
    });
  });

  it("never fall because a process ends, is late, or begins anew", () => {
    const merged = new MergedSeries();
    const read = (readings: Record<string, number>, silent: string[] = []): number | undefined => {
      const given = Object.entries(readings).map(([of, value]): [string, Series[]] => [
        of,
        [counter("calls", value)],
      ]);
      const [calls] = merged.add(new Map(given), silent);
      return (calls as { value: number } | undefined)?.value;
    };
    expect(read({ a: 5, b: 7 })).toBe(12);
    expect(read({ a: 6 }, ["b"])).toBe(13); // b is late
    expect(read({ a: 6, b: 9 })).toBe(15);
    expect(read({ a: 6 })).toBe(15); // b has ended
    expect(read({ a: 6, c: 1 })).toBe(16); // c is in its place
    expect(read({ c: 2 })).toBe(17);
    expect(read({ c: 2 })).toBe(17);
    // Nothing counts it any more: what is counted later begins at 0, as that of a process that was restarted.
    expect(read({})).toBeUndefined();
    expect(read({ d: 1 })).toBe(1);
  });

  it("do not fall in the last digit because a process that ends comes at another place of the sum", () => {
    const merged = new MergedSeries();
    const sumsOf = (all: readonly Series[]): unknown[] =>
      all.map((one) => (one.kind === "histogram" ? one.sum : one.value));
    const of = (value: number): Series[] => [counter("time", value), histogram([1, 0], value)];
    const readings = new Map([
      ["a", of(0.1)],
      ["b", of(0.2)],
      ["c", of(0.3)],
    ]);
    expect(sumsOf(merged.add(readings, []))).toEqual([0.1 + 0.2 + 0.3, 0.1 + 0.2 + 0.3]);
    readings.delete("a");
    expect(0.2 + 0.3 + 0.1).toBeLessThan(0.1 + 0.2 + 0.3);
    expect(sumsOf(merged.add(readings, []))).toEqual([0.1 + 0.2 + 0.3, 0.1 + 0.2 + 0.3]);
    // What began anew is shown so.
    readings.set("b", of(0.1));
    expect(sumsOf(merged.add(readings, []))).toEqual([0.3 + 0.1 + 0.1, 0.3 + 0.1 + 0.1]);
  });

  it("keep what a series had counted that one of them has no more", () => {
    const merged = new MergedSeries();
    const both = [counter("calls", 4)];
    merged.add(
      new Map([
        [1, both],
        [2, both],
      ]),
      [],
    );
    const [calls] = merged.add(
      new Map([
        [1, both],
        [2, []],
      ]),
      [],
    );
    expect(calls).toMatchObject({ value: 8 });
  });

  it("have a rule for the unit of every gauge of ours", () => {
    // A new unit has to be looked at: is it an amount, or the same in each process?
    const units = new Set(INSTRUMENTS.map(({ unit }) => unit).filter((unit) => !LARGEST.has(unit)));
    expect([...units].sort()).toEqual([
      "By",
      "{attempt}",
      "{call}",
      "{change}",
      "{connection}",
      "{decision}",
      "{error}",
      "{event}",
      "{glitch}",
      "{handle}",
      "{handshake}",
      "{line}",
      "{lookup}",
      "{pick}",
      "{record}",
      "{report}",
      "{request}",
      "{restart}",
      "{retry}",
      "{series}",
      "{stream}",
      "{transition}",
      "{update}",
      "{worker}",
    ]);
  });
});
