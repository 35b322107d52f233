/** Shares of a weighted split, with everything available and with destinations missing. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { compileSplit } from "./split.ts";

const always = () => true;

function refsOf(weights: readonly number[]): { weight: number; value: number }[] {
  return weights.map((weight, value) => ({ weight, value }));
}

/** How often each destination was chosen in `draws` draws. */
function count(choose: (u: number) => number, size: number, draws: number): readonly number[] {
  const runtime = new SimRuntime(7);
  const counts = Array.from<number>({ length: size }).fill(0);
  for (let draw = 0; draw < draws; draw++) {
    const chosen = choose(runtime.random());
    counts[chosen] = (counts[chosen] ?? 0) + 1;
  }
  return counts;
}

describe("compileSplit", () => {
  it.each([
    { weights: [1, 1], missing: [] },
    { weights: [80, 15, 5], missing: [] },
    { weights: [80, 15, 5], missing: [0] },
    { weights: [80, 15, 5], missing: [1] },
    { weights: [80, 15, 5], missing: [0, 2] },
    { weights: [0, 3, 0, 7, 0], missing: [] },
    { weights: [1, 2, 3, 4, 5], missing: [4, 1] },
    { weights: [80, 15, 5], missing: [0, 1, 2] },
    { weights: [0.5, 0.25, 1000], missing: [2] },
  ])("$weights without $missing: shares within 3 sigma", ({ weights, missing }) => {
    const draws = 50_000;
    const isAvailable = (value: number) => !missing.includes(value);
    const counts = count(compileSplit(refsOf(weights), isAvailable), weights.length, draws);

    const noneLeft = weights.every((weight, value) => weight === 0 || missing.includes(value));
    const effective = weights.map((weight, value) => (noneLeft || isAvailable(value) ? weight : 0));
    const total = effective.reduce((sum, weight) => sum + weight, 0);
    for (const [value, weight] of effective.entries()) {
      const share = weight / total;
      const sigma = Math.sqrt(draws * share * (1 - share));
      const deviation = Math.abs((counts[value] ?? 0) - draws * share);
      expect(deviation, `destination ${value}: ${counts.join(" ")}`).toBeLessThanOrEqual(3 * sigma);
    }
  });

  it("is constant with one destination, and does not ask about it", () => {
    const choose = compileSplit(refsOf([0, 5, 0]), () => {
      throw new Error("asked");
    });
    expect([0, 0.5, 0.999].map(choose)).toEqual([1, 1, 1]);
  });

  it("asks once while the chosen destination is available", () => {
    const asked: number[] = [];
    const choose = compileSplit(refsOf([1, 1, 1]), (value) => asked.push(value) > 0);
    expect(choose(0.5)).toBe(1);
    expect(asked).toEqual([1]);
  });

  it("moves only what would have gone to the missing destination", () => {
    const all = compileSplit(refsOf([80, 15, 5]), always);
    const without = compileSplit(refsOf([80, 15, 5]), (value) => value !== 1);
    for (let u = 0; u < 1; u += 1 / 512) {
      if (all(u) !== 1) expect(without(u)).toBe(all(u));
    }
  });

  it("follows availability as it changes", () => {
    const down = new Set<number>();
    const choose = compileSplit(refsOf([1, 1]), (value) => !down.has(value));
    expect(choose(0)).toBe(0);
    down.add(0);
    expect(choose(0)).toBe(1);
    down.clear();
    expect(choose(0)).toBe(0);
  });

  it.each([[[]], [[0]], [[0, 0]], [[1, -1]], [[1, Number.NaN]], [[1, Infinity]]])(
    "refuses the weights %j",
    (weights) => {
      expect(() => compileSplit(refsOf(weights), always)).toThrow(RangeError);
    },
  );

  it("never chooses weight 0, nor what is missing while something is not", () => {
    const ref = fc.record({ weight: fc.nat({ max: 5 }), up: fc.boolean() });
    const unit = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    fc.assert(
      fc.property(fc.array(ref, { minLength: 1, maxLength: 6 }), unit, (refs, u) => {
        fc.pre(refs.some(({ weight }) => weight > 0));
        const choices = refs.map((value) => ({ weight: value.weight, value }));
        const chosen = compileSplit(choices, ({ up }) => up)(u);
        expect(chosen.weight).toBeGreaterThan(0);
        if (refs.some(({ weight, up }) => weight > 0 && up)) expect(chosen.up).toBe(true);
      }),
      { seed: 3, numRuns: 2000 },
    );
  });
});
