import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { TwoChoices } from "../balance/two-choices.ts";
import { Attempt, Call, type Outcome } from "../call.ts";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubReply, type StubRequest } from "../testing/stub-transport.ts";
import type { Connection } from "../transport.ts";
import { Cluster } from "./cluster.ts";
import type { Endpoint } from "./endpoint.ts";

const info = (i: number, more: Partial<EndpointInfo> = {}): EndpointInfo => ({
  host: `10.0.${i >> 8}.${i & 255}`,
  port: 80,
  ...more,
});
const infos = (n: number): EndpointInfo[] => Array.from({ length: n }, (_, i) => info(i));

function setUp(first: readonly EndpointInfo[], probe = (): boolean => true, seed = 1) {
  const runtime = new SimRuntime(seed);
  const closed: string[] = [];
  const updates: (readonly [number, number])[] = [];
  const connect = (to: EndpointInfo): Connection<StubRequest, StubReply> => ({
    send: () => new Promise(() => {}),
    probe: () => Promise.resolve(probe()),
    close: () => Promise.resolve(void closed.push(to.host)),
  });
  const cluster = new Cluster<StubRequest, StubReply>(
    "orders",
    { ...DEFAULT_POLICIES, maxEndpoints: 10_000 },
    { connect },
    {
      transition() {},
      suppressed() {},
      panic() {},
      changed: () => {},
      updated: (added, removed) => void updates.push([added, removed]),
      excess() {},
      answered() {},
      failed() {},
      forgotten() {},
      waited() {},
      connected() {},
      handedOver() {},
    },
    runtime,
  );
  cluster.replace(first);
  const cost = (one: Endpoint<StubRequest, StubReply>, now: number): number =>
    one.cost(now, cluster.peerMedian(now));
  const picker = new TwoChoices(cluster.lists, cost, 0, runtime);
  const attemptOf = (): Attempt<StubRequest> =>
    new Attempt(new Call<StubRequest>("orders", undefined as never, true, true), 1, "first");
  const at = (i: number): Endpoint<StubRequest, StubReply> =>
    [...cluster.endpoints.values()].find(({ info: { host } }) => host === info(i).host)!;
  const begin = (to: Endpoint<StubRequest, StubReply>): Attempt<StubRequest> => {
    const attempt = attemptOf();
    cluster.begin(attempt, to, runtime.now());
    return attempt;
  };
  const fail = (to: Endpoint<StubRequest, StubReply>, times: number): void => {
    for (let i = 0; i < times; i++) begin(to).settle("failure");
  };
  const pick = (): Attempt<StubRequest> => {
    const attempt = attemptOf();
    cluster.begin(attempt, picker.pick(attempt, runtime.now())!, runtime.now());
    return attempt;
  };
  return { runtime, cluster, closed, updates, at, begin, fail, pick };
}

describe("Cluster", () => {
  it("attempts settle once and nothing stays in flight, whatever the order of events", async () => {
    const outcome = fc.constantFrom<Outcome>(
      "success",
      "failure",
      "timeout",
      "overloaded",
      "abandoned",
    );
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.record({ what: fc.constant("begin" as const) }) },
      {
        weight: 6,
        arbitrary: fc.record({
          what: fc.constant("settle" as const),
          which: fc.nat(),
          outcome,
          refused: fc.boolean(),
        }),
      },
      fc.record({ what: fc.constant("answer" as const), which: fc.nat() }),
      fc.record({ what: fc.constant("remove" as const), which: fc.nat(3) }),
      fc.record({ what: fc.constant("add" as const), which: fc.nat(3) }),
      fc.record({ what: fc.constant("wait" as const), ms: fc.nat(20_000) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 80 }), fc.nat(), async (events, seed) => {
        const { runtime, cluster, pick } = setUp(infos(4), () => seed % 2 === 0, seed);
        const begun: Attempt[] = [];
        const settled = new Map<Attempt, number>();
        const pending = (): Attempt[] => begun.filter((one) => one.outcome === undefined);
        for (const next of events) {
          if (next.what === "begin" && cluster.usable) {
            const attempt = pick();
            attempt.recorder = {
              settled: (one) => void settled.set(one, (settled.get(one) ?? 0) + 1),
            };
            begun.push(attempt);
          } else if (next.what === "settle" && begun.length > 0) {
            const attempt = begun[next.which % begun.length]!;
            attempt.connectFailed = next.refused && attempt.outcome === undefined;
            attempt.settle(next.outcome);
          } else if (next.what === "answer" && begun.length > 0) {
            begun[next.which % begun.length]!.answered(runtime.now());
          } else if (next.what === "remove") cluster.change([], [info(next.which)]);
          else if (next.what === "add") cluster.change([info(next.which)], []);
          else if (next.what === "wait") await runtime.advance(next.ms);
          for (const one of cluster.endpoints.values()) {
            const own = pending().filter(({ endpoint }) => endpoint === one).length;
            expect(one.inFlight).toBe(own);
          }
        }
        for (const attempt of begun) attempt.settle("success");
        expect(cluster.inFlight).toBe(0);
        for (const attempt of begun) expect(settled.get(attempt)).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it("remembers a removed endpoint for 60 s, and then forgets it", async () => {
    const { runtime, cluster, closed, at, begin, fail } = setUp(infos(3));
    const before = at(0);
    fail(before, 3);
    begin(before).settle("abandoned");
    cluster.replace([info(1), info(2)]);
    await runtime.advance(59_999);
    cluster.replace(infos(3));
    expect(at(0)).toBe(before);
    expect([before.breaker.streak, before.picks]).toEqual([3, 4]);

    cluster.replace([info(1), info(2)]);
    await runtime.advance(59_999);
    expect(closed).toEqual([]);
    await runtime.advance(1);
    expect(closed).toEqual([info(0).host]);
    cluster.replace(infos(3));
    expect(at(0)).not.toBe(before);
    expect([at(0).breaker.streak, at(0).picks]).toEqual([0, 0]);
  });

  it("a refused endpoint comes back by a handshake, one failure from out again", async () => {
    let reachable = false;
    const { runtime, cluster, at, begin, fail } = setUp(infos(3), () => reachable);
    const attempt = begin(at(0));
    attempt.connectFailed = true;
    attempt.settle("failure");
    expect([at(0).breaker.state, at(0).breaker.hard]).toEqual(["open", true]);
    expect(cluster.lists.down).toEqual([at(0)]);
    await runtime.advance(30_000);
    expect(at(0).breaker.state).toBe("open");
    reachable = true;
    await runtime.advance(10_000);
    expect([at(0).breaker.state, at(0).breaker.streak]).toEqual(["closed", 6]);
    fail(at(0), 1);
    expect([at(0).breaker.state, at(0).breaker.trigger]).toEqual(["open", "streak"]);
  });

  it("half-open lets one probe through; an abandoned one frees the slot", async () => {
    const { runtime, at, fail, pick } = setUp(infos(3));
    fail(at(0), 7);
    expect(at(0).breaker.state).toBe("open");
    await runtime.advance(at(0).breaker.openUntil - 1);
    for (let i = 0; i < 100; i++) expect(pick().endpoint).not.toBe(at(0));
    await runtime.advance(1);
    expect(at(0).breaker.state).toBe("half-open");
    const probes = (): Attempt[] =>
      Array.from({ length: 100 }, pick).filter(({ endpoint }) => endpoint === at(0));
    const [probe, ...others] = probes();
    expect(others).toEqual([]);
    probe!.settle("abandoned");
    expect(at(0).breaker.state).toBe("half-open");
    const second = probes();
    expect(second).toHaveLength(1);
    second[0]!.settle("success");
    expect(at(0).breaker.state).toBe("closed");
  });

  it("half-open beside an endpoint of weight 0 lets one probe through too", async () => {
    const { runtime, at, fail, pick } = setUp([info(0), info(1, { weight: 0 })]);
    fail(at(0), 7);
    await runtime.advance(at(0).breaker.openUntil);
    expect(at(0).breaker.state).toBe("half-open");
    const probes = Array.from({ length: 50 }, pick).filter(({ endpoint }) => endpoint === at(0));
    expect(probes).toHaveLength(1);
  });

  it.each([
    [1, 1, false],
    [2, 1, true],
    [2, 2, false],
    [3, 1, true],
    [3, 2, false],
    [4, 2, true],
    [4, 3, false],
    [10, 5, true],
    [10, 6, false],
  ])("of %d endpoints %d fail: the verdicts are enforced: %s", (n, bad, enforced) => {
    const { cluster, at, fail, pick } = setUp(infos(n));
    for (let i = 0; i < bad; i++) fail(at(i), 7);
    expect(cluster.lists.ejected).toHaveLength(bad);
    expect(cluster.lists.panic).toBe(!enforced);
    const ejected = new Set(cluster.lists.ejected);
    const picked = Array.from({ length: 200 }, pick).map(({ endpoint }) => endpoint as Endpoint);
    expect(picked.some((one) => ejected.has(one as never))).toBe(!enforced);
  });

  it("D11 CO: one of 10,000 endpoints that changes costs only itself", () => {
    const all = infos(10_000);
    const { cluster, updates } = setUp(all);
    const before = new Map(cluster.endpoints);
    const put = vi.spyOn(cluster.lists, "put");
    const renewed = [...all.slice(0, 5000), info(10_000), ...all.slice(5001)];
    cluster.replace(renewed);
    expect(put.mock.calls.map(([one]) => one.address)).toEqual(["10.0.19.136:80", "10.0.39.16:80"]);
    cluster.change([info(5000)], [info(10_000)]);
    expect(put).toHaveBeenCalledTimes(4);
    cluster.change([info(7, { weight: 2 })], []);
    expect(put.mock.calls.slice(4).every(([one]) => one === before.get("10.0.0.7:80"))).toBe(true);
    expect(updates).toEqual([
      [10_000, 0],
      [1, 1],
      [1, 1],
    ]);
    for (const [key, one] of before) expect(cluster.endpoints.get(key)).toBe(one);
  });

  it("D15 CO: weights that are all 0 still serve, and all alike", () => {
    const { cluster, pick } = setUp(infos(4).map((one) => ({ ...one, weight: 0 })));
    expect(cluster.usable).toBe(true);
    for (let i = 0; i < 400; i++) pick();
    for (const one of cluster.endpoints.values()) expect(one.picks).toBeGreaterThan(50);
  });

  it("what settles after the cluster has rested opens no breaker and arms no timer", async () => {
    let handshakes = 0;
    const { runtime, cluster, at, begin } = setUp(infos(3), () => {
      handshakes++;
      return false;
    });
    const attempt = begin(at(0));
    await cluster.rest(0);
    attempt.connectFailed = true;
    attempt.settle("failure");
    await runtime.advance(60_000);
    expect(handshakes).toBe(0);
  });
});
