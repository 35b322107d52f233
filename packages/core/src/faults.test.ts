/** Rows of the fault matrix that run on the core alone, in virtual time. */
import { describe, expect, it } from "vitest";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Call } from "./call.ts";
import { context, inheritedDeadlineAt, ServedRequest } from "./context.ts";
import { GATHER_MS } from "./discovery/coalesce.ts";
import type { EndpointSink } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { MeshError } from "./errors.ts";
import { createMesh } from "./mesh.ts";
import type { Timer } from "./runtime/runtime.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { Scenario, type ScenarioOptions } from "./testing/scenario.ts";
import { StubRequest, stubProtocol, type StubServer } from "./testing/stub-transport.ts";

const SEEDS = [1, 2, 3];
const ONE = "10.0.0.1:80";
const info = (n: number, uid?: string): EndpointInfo =>
  uid === undefined ? { host: `10.0.0.${n}`, port: 80 } : { host: `10.0.0.${n}`, port: 80, uid };
const infos = (n: number): EndpointInfo[] => Array.from({ length: n }, (_, i) => info(i + 1));

/** A scenario whose endpoints the test reports itself. */
function discovered(options: ScenarioOptions) {
  let sink: EndpointSink | undefined;
  const scenario = new Scenario({
    ...options,
    discovery: () => ({
      source: "test",
      watch(to) {
        sink = to;
        if (options.endpoints > 0) to.replace(infos(options.endpoints));
        return { refresh() {}, stop() {} };
      },
    }),
  });
  return { scenario, sink: () => sink! };
}

/** Time passes as in `sim`, but its clocks show another one. */
class OtherMachine extends SimRuntime {
  readonly #sim: SimRuntime;
  readonly #aheadMs: number;

  constructor(sim: SimRuntime, aheadMs: number) {
    super(sim.seed);
    this.#sim = sim;
    this.#aheadMs = aheadMs;
  }

  override now(): number {
    return this.#sim.now() + this.#aheadMs;
  }

  override after<A>(delayMs: number, run: (arg: A) => void, arg: A): Timer {
    return this.#sim.after(delayMs, run, arg);
  }
}

describe("faults, core alone", () => {
  it("B2 CO: 1 of 10 endpoints 10 times slower gets ≤ 2 % of picks after 1 s", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 10 });
      await s.load(300, 5000);
      s.set(ONE, { kind: "slow", factor: 10 });
      await s.load(300, 10_000);
      await s.runtime.advance(2000);
      expect(s.share(ONE, 6000), `seed ${seed}`).toBeLessThanOrEqual(0.02);
      const healthy = s.p99(0, 5000);
      expect(s.p99(6000), `seed ${seed}`).toBeLessThanOrEqual(1.2 * healthy);
    }
  });

  it("B2 CO: 1 of 3 endpoints 20 times slower from the first call on gets ≤ 0.35 % of picks on average", async () => {
    const shares: number[] = [];
    for (let seed = 1; seed <= 30; seed++) {
      const s = new Scenario({ seed, endpoints: 3, workers: 1000, serviceMs: 10, floorMs: 10 });
      s.set(ONE, { kind: "slow", factor: 20 });
      await s.load(200, 12_000);
      await s.runtime.advance(2000);
      shares.push(s.share(ONE, 0));
    }
    // A third of them are first calls, when nothing is known; the others ask whether it has healed.
    const mean = shares.reduce((a, b) => a + b) / shares.length;
    expect(mean, String(shares)).toBeLessThanOrEqual(0.0035);
    expect(Math.max(...shares), String(shares)).toBeLessThanOrEqual(0.01);
  });

  it("B3 CO: one that fails fast is out by the 7th failure; < 1 % of picks and no errors after", async () => {
    for (const endpoints of [3, 10]) {
      for (const seed of SEEDS) {
        const why = `seed ${seed}, ${endpoints} endpoints`;
        const s = new Scenario({ seed, endpoints });
        await s.load(200, 3000);
        s.set(ONE, { kind: "fail-fast" });
        let openedAt = 0;
        for (let i = 0; i < 1500 && openedAt === 0; i++) {
          await s.load(200, 20);
          if (s.endpoint(ONE)!.breaker.state === "open") openedAt = s.runtime.now();
        }
        expect(openedAt, why).toBeGreaterThan(0);
        const failed = s.picks.filter(({ at, address }) => at >= 3000 && address === ONE).length;
        expect(failed, why).toBeLessThanOrEqual(7 + 1);
        await s.load(200, 10_000);
        await s.runtime.advance(1000);
        expect(s.share(ONE, openedAt), why).toBeLessThan(0.01);
        expect(s.errors(openedAt), why).toBe(0);
      }
    }
  });

  it("B4 CO: all fail: verdicts are ignored and load is even; all refused: 503 at once", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 4, service: { retry: { attempts: 1 } } });
      for (const address of s.addresses) s.set(address, { kind: "fail-fast" });
      s.set(ONE, { kind: "refuse" });
      await s.load(100, 5000, "POST");
      await s.load(100, 10_000, "POST");
      expect(s.share(ONE, 5000), `seed ${seed}`).toBeLessThan(0.02);
      for (const address of s.addresses.slice(1)) {
        expect(s.share(address, 5000), `seed ${seed} ${address}`).toBeGreaterThan(0.2);
      }
      // From the start: an endpoint out for its answers is found to refuse only by its next probe.
      const none = new Scenario({ seed, endpoints: 4 });
      for (const address of none.addresses) none.set(address, { kind: "refuse" });
      await none.load(100, 2000);
      const last = none.results.slice(-20);
      expect(
        last.some(({ reason }) => reason === "all_open"),
        `seed ${seed}`,
      ).toBe(true);
      for (const one of last) expect(one.endedAt - one.startedAt).toBeLessThanOrEqual(5);
    }
  });

  it("B9 CO: 429 with Retry-After: it cools down, the breaker stays closed, others serve", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 5, service: { retry: { attempts: 1 } } });
      await s.load(100, 3000);
      s.set(ONE, { kind: "busy", retryAfterMs: 2000 });
      await s.load(100, 10_000);
      await s.runtime.advance(1000);
      expect(s.share(ONE, 3000), `seed ${seed}`).toBeLessThan(0.01);
      expect(s.endpoint(ONE)!.breaker.state, `seed ${seed}`).toBe("closed");
      expect(s.errors(3000), `seed ${seed}`).toBeLessThan(0.01);
    }
  });

  it("B15 CO: a new endpoint gets ≤ 2 times its fair share in any second", async () => {
    for (const seed of SEEDS) {
      const { scenario: s, sink } = discovered({ seed, endpoints: 5 });
      await s.load(300, 5000);
      sink().change([info(6)], []);
      await s.load(300, 15_000);
      for (let at = 5000; at < 20_000; at += 1000) {
        const share = s.share("10.0.0.6:80", at, at + 1000);
        expect(share, `seed ${seed} at ${at}`).toBeLessThanOrEqual(2 / 6);
      }
    }
  });

  it("B16 CO: a healed endpoint has ≥ 70 % of its fair share within 10 s of closing", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 5 });
      await s.load(200, 3000);
      s.set(ONE, { kind: "fail-fast" });
      await s.load(200, 5000);
      s.set(ONE, { kind: "ok" });
      for (let i = 0; i < 300 && s.endpoint(ONE)!.breaker.state !== "closed"; i++) {
        await s.load(200, 100);
      }
      const closedAt = s.runtime.now();
      await s.load(200, 13_000);
      const share = s.share(ONE, closedAt + 10_000) / (1 / 5);
      expect(share, `seed ${seed}`).toBeGreaterThanOrEqual(0.7);
    }
  });

  it("B17 CO: one that fails 30 % of calls: < 2 % errors without retries", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 10, service: { retry: { attempts: 1 } } });
      await s.load(200, 3000);
      s.set(ONE, { kind: "failing", share: 0.3 });
      await s.load(200, 20_000, "POST");
      await s.runtime.advance(1000);
      expect(s.errors(3000), `seed ${seed}`).toBeLessThan(0.02);
    }
  });

  it("B13 CO: three hops that may retry: ≤ 1.2 × at the last hop", async () => {
    for (const seed of SEEDS) {
      const runtime = new SimRuntime(seed);
      const [a, b, c] = [1, 2, 3].map(() => new Scenario({ seed, endpoints: 3, runtime }));
      for (const address of a!.addresses) {
        a!.set(address, { kind: "forward", to: b! });
        b!.set(address, { kind: "forward", to: c! });
        c!.set(address, { kind: "fail-fast" });
      }
      await a!.load(100, 20_000);
      await runtime.advance(2000);
      // The hop before the last retries within its budget and says so; those above leave it at that.
      const reserve = 21;
      expect(c!.picks.length, `seed ${seed}`).toBeGreaterThan(a!.results.length * 1.1);
      const factor = (c!.picks.length - reserve) / a!.results.length;
      expect(factor, `seed ${seed}`).toBeLessThanOrEqual(1.2);
      expect(b!.picks.length - reserve, `seed ${seed}`).toBeLessThanOrEqual(a!.results.length);
    }
  });

  it("C7 CO: a frozen endpoint gets ≤ 2 % of picks after 500 ms", async () => {
    for (const seed of SEEDS) {
      const s = new Scenario({ seed, endpoints: 5 });
      await s.load(300, 3000);
      s.set(ONE, { kind: "silent" });
      await s.load(300, 8000);
      expect(s.share(ONE, 3500), `seed ${seed}`).toBeLessThanOrEqual(0.02);
    }
  });

  it("D2 CO: empty means no_endpoints at once; an error keeps the last good set", async () => {
    const { scenario: s, sink } = discovered({ seed: 1, endpoints: 2 });
    await s.load(50, 500);
    sink().failed(new Error("SERVFAIL"));
    await s.load(50, 500);
    await s.runtime.advance(200);
    expect(s.errors(0)).toBe(0);
    sink().replace([]);
    s.call();
    await s.runtime.advance(0);
    expect(s.results.at(-1)).toMatchObject({ reason: "no_endpoints", endedAt: 1200 });
  });

  it("D10 CO: an endpoint that flaps at 10 Hz keeps its breaker; another uid starts afresh", async () => {
    const { scenario: s, sink } = discovered({ seed: 1, endpoints: 3 });
    s.set(ONE, { kind: "fail-fast" });
    for (let i = 0; i < 1500 && s.endpoint(ONE)?.breaker.state !== "open"; i++) {
      await s.load(200, 20);
    }
    expect(s.endpoint(ONE)!.breaker.state).toBe("open");
    for (let i = 0; i < 5; i++) {
      sink().change([], [info(1)]);
      await s.runtime.advance(50);
      sink().change([info(1)], []);
      await s.runtime.advance(50);
    }
    expect(s.endpoint(ONE)!.breaker.state).toBe("open");
    sink().change([info(1, "other-pod")], [info(1)]);
    await s.runtime.advance(100);
    expect(s.endpoint(ONE)!.breaker.state).toBe("closed");
  });

  it("D16 CO: calls in flight finish when the service goes; new ones get no_endpoints", async () => {
    const { scenario: s, sink } = discovered({ seed: 1, endpoints: 2, serviceMs: 500 });
    for (let i = 0; i < 10; i++) s.call();
    await s.runtime.advance(1);
    sink().replace([]);
    await s.runtime.advance(100);
    s.call();
    await s.runtime.advance(10_000);
    expect(s.results.filter(({ code }) => code === 200)).toHaveLength(10);
    expect(s.results.find(({ number }) => number === 11)!.reason).toBe("no_endpoints");
  });

  it("D17 CO: an address's port changes: the new one at once, the old one drains and is not dialled", async () => {
    const { scenario: s, sink } = discovered({ seed: 1, endpoints: 2, serviceMs: 300 });
    const moved = (n: number): EndpointInfo => ({ host: `10.0.0.${n}`, port: 81 });
    for (let i = 0; i < 20; i++) s.call();
    await s.runtime.advance(1);
    sink().change([moved(1), moved(2)], [info(1), info(2)]);
    await s.runtime.advance(GATHER_MS);
    const changedAt = s.runtime.now();
    await s.load(50, 5000);
    await s.runtime.advance(5000);
    expect(s.errors(0)).toBe(0);
    expect(s.results.length).toBeGreaterThan(200);
    for (const { at, address } of s.picks) {
      expect(address.endsWith(":81"), address).toBe(at >= changedAt);
    }
  });

  it("D17 CO: who refused before it moved is not dialled any more, and at once when it is back", async () => {
    const probes: number[] = [];
    const runtime = new SimRuntime(3);
    let sink: EndpointSink | undefined;
    const refused = new MeshError({
      code: "connect_failed",
      reason: "connect_refused",
      message: "refused",
      progress: "not-sent",
    });
    let down = true;
    const protocol = stubProtocol(
      (exchange, address) =>
        address === ONE && down ? exchange.fail(refused, "failure", true) : exchange.reply(),
      () => {
        probes.push(runtime.now());
        return Promise.resolve(!down);
      },
    );
    const mesh = createMesh({
      env: {},
      runtime,
      discovery: () => ({
        source: "test",
        watch(to) {
          sink = to;
          to.replace(infos(1));
          return { refresh() {}, stop() {} };
        },
      }),
    });
    const service = mesh.service("orders", protocol, { discovery: { static: [ONE] } });
    const call = (): Promise<unknown> =>
      service.current(new Call("orders", new StubRequest("/"), true, true));
    await expect(call()).rejects.toThrow("refused");
    await runtime.advance(2000);
    expect(probes.length).toBeGreaterThan(1);
    sink!.change([{ host: "10.0.0.1", port: 81 }], [info(1)]);
    await runtime.advance(GATHER_MS);
    const before = probes.length;
    await runtime.advance(20_000);
    expect(probes).toHaveLength(before);
    await call();
    // The same one again within a minute: it is still out, until a handshake says otherwise.
    down = false;
    sink!.change([info(1)], [{ host: "10.0.0.1", port: 81 }]);
    await runtime.advance(GATHER_MS + 10);
    expect(probes).toHaveLength(before + 1);
    expect(mesh.snapshot().services[0]!.endpoints).toMatchObject([
      { address: ONE, breaker: { state: "closed" } },
    ]);
    await call();
  });

  it("D22 CO: waiting calls go oldest first; expired ones are answered without being sent", async () => {
    const { scenario: s, sink } = discovered({ seed: 1, endpoints: 0, workers: 1000 });
    const calls: unknown[] = [];
    for (let i = 0; i < 1000; i++) {
      s.call("GET", (call) => {
        calls.push(call);
        call.deadlineAt = i < 100 ? 500 : Infinity;
      });
    }
    await s.runtime.advance(1000);
    expect(s.results.map(({ number }) => number)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    sink().replace(infos(1));
    await s.runtime.advance(1000);
    expect(s.picks).toHaveLength(900);
    expect(s.picks.every(({ call }, i) => call === calls[100 + i])).toBe(true);
    expect(s.results.filter(({ code }) => code === 200)).toHaveLength(900);
  });

  it("G7 CO: deadlines shrink from hop to hop, whatever the clocks; an expired one is not sent", async () => {
    const sim = new SimRuntime(1);
    const HOUR_MS = 3_600_000;
    const received: number[] = [];
    const ends: { hop: number; at: number; reason: string }[] = [];
    const hops = [0, HOUR_MS, -HOUR_MS].map((aheadMs, hop) => {
      const runtime = new OtherMachine(sim, aheadMs);
      /** What the wire carries is what is left, in milliseconds. */
      const serve: StubServer = ({ attempt }) => {
        const leftMs = Math.round(attempt.call.deadlineAt - runtime.now());
        received.push(leftMs);
        // 100 ms of its own work, then the next hop; the last one never answers.
        sim.after(100, () => hops[hop + 1]?.(leftMs - 100), undefined);
      };
      const mesh = createMesh({ env: {}, runtime });
      const service = mesh.service("orders", stubProtocol(serve), {
        discovery: { static: [ONE] },
      });
      return (leftMs: number): void => {
        const served = new ServedRequest({ deadlineAt: runtime.now() + leftMs });
        context.run(served, () => {
          const deadlineAt = inheritedDeadlineAt(served, runtime.now());
          const call = new Call("orders", new StubRequest("/"), true, true, deadlineAt);
          service.current(call).catch(({ reason }: MeshError) => {
            ends.push({ hop, at: sim.now(), reason });
          });
        });
      };
    });
    hops[0]!(1000);
    await sim.advance(5000);
    expect(received).toEqual([990, 880, 770]);
    // From the inside out, and each before its caller gives up: all the answers arrive.
    expect(ends).toEqual([
      { hop: 2, at: 970, reason: "call_deadline" },
      { hop: 1, at: 980, reason: "call_deadline" },
      { hop: 0, at: 990, reason: "call_deadline" },
    ]);
    hops[1]!(0);
    hops[2]!(-HOUR_MS);
    await sim.advance(0);
    expect(received).toHaveLength(3);
    expect(ends.slice(3)).toMatchObject([
      { hop: 1, reason: "call_deadline" },
      { hop: 2, reason: "call_deadline" },
    ]);
  });

  it("L8 CO: a wall clock that jumps changes nothing", async () => {
    const run = async (): Promise<string> => {
      const s = new Scenario({ seed: 5, endpoints: 3 });
      s.set(ONE, { kind: "failing", share: 0.5 });
      await s.load(100, 5000);
      return s.transcript();
    };
    const steady = await run();
    const { now } = Date;
    let n = 0;
    Date.now = () => (n++ % 2 === 0 ? 0 : 4e12);
    try {
      expect(await run()).toBe(steady);
    } finally {
      Date.now = now;
    }
  });

  it("P15: the same seed gives the same transcript, another one a different one", async () => {
    const run = async (seed: number): Promise<string> => {
      const s = new Scenario({ seed, endpoints: 5 });
      s.set(ONE, { kind: "failing", share: 0.3 });
      await s.load(100, 5000);
      return s.transcript();
    };
    expect(await run(1)).toBe(await run(1));
    expect(await run(1)).not.toBe(await run(2));
  });

  it("P15: other Node versions give the same transcripts", async () => {
    const root = join(import.meta.dirname, "../../..");
    const run = async (node: string): Promise<string> => {
      const file = join(import.meta.dirname, "../test/fixtures/transcripts.ts");
      const { stdout } = await promisify(execFile)(node, [
        "--disable-warning=ExperimentalWarning",
        file,
      ]);
      return stdout;
    };
    // The tests run on three versions; the one of the repository's scripts is there on each of them.
    const [here, pinned] = await Promise.all([
      run(process.execPath),
      run(join(root, "node_modules/node/bin/node")),
    ]);
    expect(here).toMatch(/^(?:[0-9a-f]{64}\n){4}$/);
    expect(here).toBe(pinned);
  }, 20_000);
});
