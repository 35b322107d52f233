import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Attempt, Call } from "../call.ts";
import { Endpoint } from "../cluster/endpoint.ts";
import { EndpointLists, LIST_AVAILABLE, LIST_EJECTED, LIST_SPARE } from "../cluster/lists.ts";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { AliasTable } from "./alias.ts";
import { TwoChoices } from "./two-choices.ts";

/** Draws what the test says, again from the start when it runs out. */
class Scripted extends SimRuntime {
  readonly #draws: readonly number[];
  #next = 0;
  constructor(draws: readonly number[]) {
    super(1);
    this.#draws = draws;
  }
  override random(): number {
    return this.#draws[this.#next++ % this.#draws.length]!;
  }
}

/** An endpoint whose rank, load and share are given. */
class Given extends Endpoint {
  load = 1;
  given: number | undefined = undefined;
  share = 1;
  override rank(now: number, attempt: Attempt): number {
    return this.given ?? super.rank(now, attempt);
  }
  override ramp(): number {
    return this.share;
  }
}

function endpoints(n: number, weights: readonly number[] = []): Given[] {
  return Array.from({ length: n }, (_, i) => {
    const info = { host: `10.0.0.${i}`, port: 80, weight: weights[i] ?? 1 };
    return new Given(info.host, info, DEFAULT_POLICIES.balancer, DEFAULT_POLICIES.breaker);
  });
}

function listsOf(all: readonly Endpoint[], list = LIST_AVAILABLE): EndpointLists<unknown, never> {
  const lists = new EndpointLists<unknown, never>();
  for (const one of all) lists.put(one as Endpoint<unknown, never>, list);
  return lists;
}

const attemptOf = (): Attempt => new Attempt(new Call("orders", undefined, true, true), 1, "first");
const load = (one: Endpoint): number => (one as Given).load;

describe("TwoChoices", () => {
  function pair(n: number, u1: number, u2: number): [number, number] {
    const all = endpoints(n);
    const compared: number[] = [];
    const cost = (one: Endpoint): number => {
      compared.push(one.slot);
      return 1;
    };
    const picker = new TwoChoices(listsOf(all), cost, 0, new Scripted([u1, u2]));
    const picked = picker.pick(attemptOf(), 0)!;
    // Equal costs: the first draw is taken.
    return [picked.slot, compared.find((slot) => slot !== picked.slot)!];
  }

  it.each([
    [5, 0, 0, 0, 1],
    [5, 0.99, 0.99, 4, 3],
    [5, 0.4, 0.5, 2, 3],
    [5, 0.4, 0.4, 2, 1],
    [3, 0.34, 0.5, 1, 2],
    [2, 0.7, 0.9, 1, 0],
    [2, 0.2, 0.9, 0, 1],
  ])("of %d endpoints, draws %d and %d are the pair (%d, %d)", (n, u1, u2, a, b) => {
    expect(pair(n, u1, u2)).toEqual([a, b]);
  });

  it("all ordered pairs of distinct endpoints are equally likely", () => {
    const seen = new Map<string, number>();
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 3; j++) {
        const key = pair(4, (i + 0.5) / 4, (j + 0.5) / 3).join();
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
    }
    expect(seen.size).toBe(12);
    expect([...seen.values()].every((count) => count === 1)).toBe(true);
  });

  it.each([
    [0, 900, 2, 1, 0],
    [1, 1, 0, 900, 1],
    [0, 5, 0, 5, 0],
    [0, 6, 0, 5, 1],
    [-1, 1e9, 0, 1, 0],
    // Nothing but ejected ones: after its redraws, the scan decides by load.
    [2, 3, 2, 2, 1],
  ])("rank %d load %d against rank %d load %d: number %d", (rankA, loadA, rankB, loadB, pick) => {
    const all = endpoints(2);
    Object.assign(all[0]!, { given: rankA, load: loadA });
    Object.assign(all[1]!, { given: rankB, load: loadB });
    const picker = new TwoChoices(listsOf(all), load, 0, new Scripted([0, 0]));
    expect(picker.pick(attemptOf(), 0)).toBe(all[pick]);
  });

  it.each([
    [0.1, 1, 0.05, "winner"],
    [0.1, 1, 0.1, "other"],
    [0.1, 0.1, 0.99, "winner"],
    [0.5, 1, 0.49, "winner"],
    [0.5, 1, 0.5, "other"],
    [1, 0.1, 0.99, "winner"],
  ])("slow start: share %d against %d, draw %d: the %s", (own, others, u, expected) => {
    const [winner, other] = endpoints(2) as [Given, Given];
    Object.assign(winner, { share: own, rampUntil: own < 1 ? 30_000 : 0 });
    Object.assign(other, { share: others, rampUntil: others < 1 ? 30_000 : 0, load: 2 });
    const picker = new TwoChoices(listsOf([winner, other]), load, 30_000, new Scripted([0, 0, u]));
    expect(picker.pick(attemptOf(), 0)).toBe(expected === "winner" ? winner : other);
  });

  it("in panic the least cost of the draws wins, penalty included", () => {
    const all = endpoints(3);
    for (const [i, [estimate, penalty, pending]] of [
      [10, 100, 0],
      [12, 0, 7],
      [11, 110, 0],
    ].entries()) {
      const one = all[i]!;
      one.latency.observe(0, estimate!, false, 30);
      if (penalty! > 0) one.latency.penalise(0, penalty!, 1);
      one.inFlight = pending!;
    }
    expect(all.map((one) => one.cost(0, 30))).toEqual([110, 96, 121]);
    const lists = listsOf(all, LIST_EJECTED);
    lists.panic = true;
    for (const u of [0, 0.4, 0.9]) {
      const picker = new TwoChoices(lists, (one) => one.cost(0, 30), 0, new Scripted([u]));
      const attempt = attemptOf();
      expect(picker.pick(attempt, 0)).toBe(all[1]);
      expect(attempt.rule).toBe("panic");
    }
  });

  it("weights 1 and 3 share the picks 25 to 75", () => {
    const all = endpoints(2, [1, 3]);
    const picker = new TwoChoices(listsOf(all), load, 0, new SimRuntime(5));
    let light = 0;
    for (let i = 0; i < 10_000; i++) if (picker.pick(attemptOf(), 0) === all[0]) light++;
    expect(light / 10_000).toBeGreaterThan(0.23);
    expect(light / 10_000).toBeLessThan(0.27);
  });

  it("weight 0 is picked only when there is nothing else", () => {
    const all = endpoints(3, [1, 0, 0]);
    const lists = listsOf(all.slice(1), LIST_SPARE);
    const picker = new TwoChoices(lists, load, 0, new SimRuntime(3));
    const picks = (): Set<unknown> =>
      new Set(Array.from({ length: 100 }, () => picker.pick(attemptOf(), 0)));
    expect(picks()).toEqual(new Set(all.slice(1)));
    lists.put(all[0] as Endpoint<unknown, never>, LIST_AVAILABLE);
    expect(picks()).toEqual(new Set([all[0]]));
  });

  it("an endpoint tried by the call is left out while another is untried", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), (n, seed) => {
        const all = endpoints(n);
        const picker = new TwoChoices(listsOf(all), load, 0, new SimRuntime(seed));
        const attempt = attemptOf();
        const tried = (attempt.call.tried = [] as Endpoint[]);
        for (let i = 0; i < n; i++) tried.push(picker.pick(attempt, 0)!);
        expect(new Set(tried).size).toBe(n);
      }),
    );
  });

  it("nothing to pick gives undefined", () => {
    const lists = listsOf([]);
    const picker = new TwoChoices(lists, load, 0, new SimRuntime(1));
    expect(picker.pick(attemptOf(), 0)).toBeUndefined();
    lists.panic = true;
    expect(picker.pick(attemptOf(), 0)).toBeUndefined();
  });
});

describe("AliasTable", () => {
  it("gives every index its share, by the area of a fine grid", () => {
    const weight = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(fc.array(weight, { minLength: 1, maxLength: 12 }), (weights) => {
        const table = new AliasTable(weights);
        const perColumn = 2000;
        const draws = perColumn * weights.length;
        const counts = weights.map(() => 0);
        for (let k = 0; k < draws; k++) counts[table.draw((k + 0.5) / draws)]!++;
        const sum = weights.reduce((a, b) => a + b, 0);
        // Each column is cut once: at most one cell of the grid is wrong in each.
        for (const [i, count] of counts.entries()) {
          const off = Math.abs(count / draws - weights[i]! / sum);
          expect(off).toBeLessThanOrEqual((weights.length + 1) / draws);
        }
      }),
    );
  });
});
