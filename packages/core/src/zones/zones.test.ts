/** Where calls go by zone, through the whole mesh, in virtual time. */
import { describe, expect, it } from "vitest";
import type { EndpointSink } from "../discovery/discovery.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import { createMesh } from "../mesh.ts";
import { Scenario, type ScenarioOptions } from "../testing/scenario.ts";
import type { ZonesSnapshot } from "./zone-balance.ts";

const at = (zone: string | undefined, host: string, rest: object = {}): EndpointInfo => ({
  host,
  port: 80,
  ...(zone !== undefined && { zone }),
  ...rest,
});
/** `count` endpoints of a zone: `10.a.0.1:80`, with the letter as a number. */
const many = (zone: string, count: number, rest: object = {}): EndpointInfo[] =>
  Array.from({ length: count }, (_, i) => at(zone, `10.${zone.charCodeAt(0)}.0.${i + 1}`, rest));

interface Caller {
  readonly scenario: Scenario;
  readonly sink: EndpointSink;
}

/** A caller in the zone `a`, unless `options` say another. */
async function caller(
  infos: readonly EndpointInfo[],
  options: Partial<ScenarioOptions> = {},
): Promise<Caller> {
  let sink: EndpointSink | undefined;
  const scenario = new Scenario({
    seed: 1,
    endpoints: 0,
    zone: "a",
    discovery: () => ({
      source: "test",
      watch(to) {
        sink = to;
        to.replace(infos);
        return { refresh() {}, stop() {} };
      },
    }),
    ...options,
  });
  scenario.call();
  await scenario.runtime.advance(1_000);
  scenario.picks.length = 0;
  return { scenario, sink: sink! };
}

const zonesOf = ({ mesh }: Scenario): ZonesSnapshot => mesh.snapshot().services[0]!.zones;

/** Share of the picks since `from` by the second number of the address, which stands for the zone. */
function shares({ picks }: Scenario, from = 0): Record<string, number> {
  const counts: Record<string, number> = {};
  const recent = picks.filter((one) => one.at >= from);
  for (const { address } of recent) {
    const zone = String.fromCharCode(Number(address.split(".")[1]));
    counts[zone] = (counts[zone] ?? 0) + 1 / recent.length;
  }
  return counts;
}

describe("how calls are spread over zones", () => {
  it("they stay in the zone that has its share, but for a few that show how loaded the others are", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 3), ...many("c", 3)]);
    await scenario.load(300, 20_000);
    const { a = 0, b = 0, c = 0 } = shares(scenario);
    expect(a).toBeGreaterThan(0.98);
    expect(b + c).toBeLessThan(0.02);
    expect(zonesOf(scenario)).toMatchObject({
      mode: "local",
      why: "the zone a has its share of the endpoints",
    });
    expect(zonesOf(scenario).shares.map(({ zone, endpoints }) => [zone, endpoints])).toEqual([
      ["a", 3],
      ["b", 3],
      ["c", 3],
    ]);
  });

  it("with spillByLoad false not one leaves for that, from the moment at which it is written", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 3), ...many("c", 3)]);
    await scenario.load(300, 5_000);
    expect(Object.keys(shares(scenario))).toContain("b");
    scenario.mesh.update({
      services: { orders: { url: "http://orders:80", zones: { spillByLoad: false } } },
    });
    const from = scenario.runtime.now();
    await scenario.load(300, 20_000);
    expect(Object.keys(shares(scenario, from))).toEqual(["a"]);
    expect(zonesOf(scenario)).toMatchObject({ mode: "local", shares: [{ share: 1 }, {}, {}] });
  });

  it.each(["peak-ewma", "least-request", "round-robin", "random"] as const)(
    "what is too much for the zone goes to the others, with %s",
    async (kind) => {
      const infos = [...many("a", 1), ...many("b", 4), ...many("c", 4)];
      const { scenario } = await caller(infos, { service: { balancer: { kind } } as never });
      await scenario.load(500, 10_000);
      const { a, b, c } = shares(scenario);
      // The vector zone.4: of three zones with as many callers, one has a ninth of the endpoints.
      expect(a).toBeCloseTo(1 / 3, 1);
      expect(b).toBeCloseTo(1 / 3, 1);
      expect(c).toBeCloseTo(1 / 3, 1);
      expect(zonesOf(scenario).mode).toBe("spill");
    },
  );

  it("the pods of the own service by zone count, where they are known", async () => {
    const { scenario } = await caller([...many("a", 4), ...many("b", 8), ...many("c", 8)]);
    const podsPerZone = new Map([
      ["a", 10],
      ["b", 5],
      ["c", 5],
    ]);
    scenario.mesh.place.found("test", { zone: "elsewhere", podsPerZone, rank: 3 });
    await scenario.runtime.advance(1_000);
    scenario.picks.length = 0;
    await scenario.load(500, 10_000);
    const { a, b, c } = shares(scenario);
    // The vector zone.1.
    expect(a).toBeCloseTo(0.4, 1);
    expect(b).toBeCloseTo(0.3, 1);
    expect(c).toBeCloseTo(0.3, 1);
    expect(scenario.mesh.snapshot().place).toEqual({
      zone: "a",
      zoneFrom: "code",
      podsPerZone: { a: 10, b: 5, c: 5 },
      rank: 3,
    });
  });

  it.each([
    ["the zone of the process is not known", many("a", 3), many("b", 3), { zone: undefined }],
    ["the endpoints are few", many("a", 2), many("b", 3), {}],
    ["it is switched off", many("a", 3), many("b", 3), { service: { zones: { prefer: false } } }],
    ["all endpoints stand in the zone", many("a", 6), [], {}],
  ])("zones are picked from alike where %s", async (_, here, there, options) => {
    const { scenario } = await caller([...here, ...there], options as object);
    await scenario.load(500, 4_000);
    const { a = 0 } = shares(scenario);
    expect(a).toBeCloseTo(here.length / (here.length + there.length), 1);
    expect(zonesOf(scenario).mode).toBe("all");
    expect(zonesOf(scenario).shares).toEqual([]);
  });

  it("a configuration that changes counts at once, in both directions", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 3)]);
    const since = async (prefer: boolean): Promise<number> => {
      scenario.mesh.update({
        services: { orders: { url: "http://orders:80", zones: { prefer } } },
      });
      const from = scenario.runtime.now();
      await scenario.load(300, 4_000);
      return shares(scenario, from)["a"] ?? 0;
    };
    const alike = await since(false);
    expect(alike).toBeGreaterThan(0.3);
    expect(alike).toBeLessThan(0.7);
    expect(await since(true)).toBeGreaterThan(0.97);
  });

  it("endpoints without a zone, and more zones than can be meant, are no reason to fail", async () => {
    const { scenario, sink } = await caller([
      ...many("a", 4),
      ...many("b", 3),
      at(undefined, "10.122.0.1"),
    ]);
    expect(zonesOf(scenario).shares.map(({ zone }) => zone)).toEqual(["a", "", "b"]);
    sink.replace(Array.from({ length: 40 }, (_, i) => at(`z${i}`, `10.1.0.${i}`)));
    await scenario.runtime.advance(2_000);
    expect(zonesOf(scenario).why).toBe("the endpoints stand in 40 zones, more than 32");
    await scenario.load(100, 1_000);
    expect(scenario.errors(0)).toBe(0);
  });

  it("static endpoints and INMESH_ZONE are enough", async () => {
    const endpoints = [...many("a", 3), ...many("b", 3)] as never;
    const mesh = createMesh({
      env: { INMESH_ZONE: " a\n" },
      config: { services: { orders: { discovery: { static: endpoints } } } },
    });
    expect(mesh.snapshot().place).toMatchObject({ zone: "a", zoneFrom: "environment" });
    await mesh.close();
    const { scenario } = await caller([], {
      discovery: undefined,
      service: { discovery: { static: endpoints } },
    } as never);
    await scenario.load(300, 3_000);
    expect(shares(scenario)["a"]).toBeGreaterThan(0.97);
  });
});

describe("what goes wrong in a zone", () => {
  it("one slow pod gets fewer calls, and no call leaves the zone for it", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 3), ...many("c", 3)], {
      workers: 4,
    });
    scenario.set("10.97.0.1:80", { kind: "slow", factor: 20 });
    // Half of what the two others of the zone can carry.
    await scenario.load(400, 60_000);
    expect(shares(scenario, 10_000)["a"]).toBeGreaterThan(0.98);
    expect(scenario.share("10.97.0.1:80", 10_000)).toBeLessThan(0.1);
    expect(zonesOf(scenario).mode).toBe("local");
  });

  it("D14 CO: a zone that loses its last endpoint is left at once, without an error and without a pause", async () => {
    const { scenario, sink } = await caller([...many("a", 3), ...many("b", 3), ...many("c", 3)]);
    await scenario.load(200, 3_000);
    const before = scenario.runtime.now();
    sink.change([], many("a", 3));
    scenario.call();
    expect(scenario.picks.at(-1)!.address).not.toContain("10.97.");
    await scenario.load(200, 3_000);
    expect(shares(scenario, before)["a"]).toBeUndefined();
    expect(scenario.errors(0)).toBe(0);
    expect(scenario.p99(before)).toBeLessThan(100);
    // What comes back warms up, and the zone's share grows with it.
    const back = scenario.runtime.now();
    sink.change(many("a", 3, { uid: "new" }), []);
    await scenario.load(200, 35_000);
    const early = scenario.picks.filter((one) => one.at >= back + 1_000 && one.at < back + 6_000);
    const inZone = early.filter(({ address }) => address.startsWith("10.97.")).length;
    expect(inZone / early.length).toBeLessThan(0.6);
    expect(shares(scenario, back + 31_000)["a"]).toBeGreaterThan(0.97);
  });

  it("with all pods of the zone out by their breakers, calls go elsewhere, and come back with them", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 6), ...many("c", 6)]);
    for (const host of [1, 2, 3]) scenario.set(`10.97.0.${host}:80`, { kind: "refuse" });
    await scenario.load(200, 5_000);
    expect(scenario.errors(2_000)).toBe(0);
    expect(shares(scenario, 4_000)["a"] ?? 0).toBeLessThan(0.02);
    for (const host of [1, 2, 3]) scenario.set(`10.97.0.${host}:80`, { kind: "ok" });
    await scenario.load(200, 60_000);
    expect(shares(scenario, 45_000)["a"]).toBeGreaterThan(0.5);
  });

  it("in panic all endpoints are drawn from, whatever their zone", async () => {
    const { scenario } = await caller([...many("a", 2), ...many("b", 2), ...many("c", 2)]);
    for (const one of [...many("a", 2), ...many("b", 2)]) {
      scenario.set(`${one.host}:80`, { kind: "fail-fast" });
    }
    await scenario.load(300, 20_000);
    expect(scenario.mesh.snapshot().services[0]!.panic).toBe(true);
    expect(shares(scenario, 15_000)["c"]).toBeGreaterThan(0.6);
  });

  it("a zone whose endpoints ask to be spared gives its calls to the others", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 3), ...many("c", 3)]);
    for (const { host } of many("a", 3)) {
      scenario.set(`${host}:80`, { kind: "busy", retryAfterMs: 5_000 });
    }
    await scenario.load(100, 4_000);
    const { a = 0 } = shares(scenario, 2_000);
    expect(a).toBeLessThan(0.15);
  });

  it("a retry may go to any zone, because what has failed may have failed with its zone", async () => {
    const { scenario } = await caller([...many("a", 3), ...many("b", 9)], {
      service: { breaker: { consecutiveFailures: 1_000, minRequests: 10_000 } } as never,
    });
    for (const { host } of many("a", 3))
      scenario.set(`${host}:80`, { kind: "failing", share: 0.1 });
    await scenario.load(200, 10_000);
    const second = new Map<unknown, number>();
    let elsewhere = 0;
    for (const { call, address } of scenario.picks) {
      const times = (second.get(call) ?? 0) + 1;
      second.set(call, times);
      if (times === 2 && address.startsWith("10.98.")) elsewhere++;
    }
    const retried = [...second.values()].filter((times) => times > 1).length;
    expect(elsewhere / retried).toBeGreaterThan(0.6);
  });
});

describe("a zone that is loaded more than the others", () => {
  /** Callers in three zones with as many endpoints; those in `a` send twice as much. */
  async function uneven(ms: number): Promise<readonly Scenario[]> {
    const infos = [...many("a", 3), ...many("b", 3), ...many("c", 3)];
    const { scenario } = await caller(infos, { workers: 1, serviceMs: 20, seed: 7 });
    const callers = [scenario];
    for (let i = 1; i < 9; i++) {
      const { scenario: next } = await caller(infos, { zone: "abc"[i % 3]!, fleet: scenario });
      callers.push(next);
    }
    const from = scenario.runtime.now();
    for (const [i, one] of callers.entries()) one.arrive(i % 3 === 0 ? 52 : 26, ms);
    await scenario.runtime.runUntil(from + ms);
    return callers;
  }

  it("gives a part of its calls away until it takes as long to answer as they do, and the others keep theirs", async () => {
    // 0.7 of what all can carry, and 1.05 of what the zone a can.
    const callers = await uneven(60_000);
    const [a, b] = callers;
    expect(shares(a!, 30_000)["a"]).toBeLessThan(0.8);
    expect(shares(b!, 30_000)["b"]).toBeGreaterThan(0.9);
    // Without it the queues of the zone grow without end: more than a second after half a minute.
    expect(a!.p99(30_000)).toBeLessThan(500);
    expect(zonesOf(a!)).toMatchObject({
      mode: "spill",
      why: "the zone a has its share of the endpoints, and takes longer to answer than the others",
    });
  });
});

describe("hints of the source", () => {
  const hinted = (zone: string, count: number, ...forZones: string[]): EndpointInfo[] =>
    many(zone, count, { forZones });

  it("are followed where all endpoints have them, also across zones and for few endpoints", async () => {
    const { scenario } = await caller([
      ...hinted("a", 1, "a"),
      ...hinted("b", 1, "a"),
      ...hinted("c", 2, "c"),
    ]);
    await scenario.load(300, 5_000);
    const { a, b, c } = shares(scenario);
    expect(a).toBeCloseTo(0.5, 1);
    expect(b).toBeCloseTo(0.5, 1);
    expect(c).toBeUndefined();
    expect(zonesOf(scenario)).toEqual({
      mode: "hints",
      why: "the source has hints, and calls go to the endpoints that are meant for a",
      shares: [
        { zone: "a", endpoints: 2, share: 1 },
        { zone: "", endpoints: 2, share: 0 },
      ],
    });
  });

  it("D14 CO: are ignored if one endpoint lacks them, or none is meant for this zone", async () => {
    const { scenario } = await caller([...hinted("a", 1, "a"), ...many("b", 2)]);
    expect(zonesOf(scenario).mode).toBe("all");
    const other = await caller([...hinted("a", 1, "b"), ...hinted("b", 2, "b")]);
    expect(zonesOf(other.scenario).mode).toBe("all");
  });

  it("give way by degree when endpoints that are meant for the zone are out", async () => {
    const { scenario } = await caller([...hinted("a", 4, "a"), ...hinted("b", 8, "b")]);
    for (const host of [1, 2]) scenario.set(`10.97.0.${host}:80`, { kind: "refuse" });
    await scenario.load(300, 8_000);
    // Half of them with 1.4 times their share.
    expect(zonesOf(scenario).shares.map(({ share }) => share)).toEqual([0.7, 0.3]);
    expect(shares(scenario, 4_000)["b"]).toBeCloseTo(0.3, 1);
  });
});
