/** The policy: when to ask again and what to believe. Virtual time, a resolver made of answers. */
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../../testing/sim-runtime.ts";
import type { EndpointSink } from "../discovery.ts";
import { addressOf, type EndpointInfo } from "../../endpoint-info.ts";
import { type DnsDiscoveryOptions, type DnsTarget, dnsDiscovery } from "./dns.ts";
import { DnsError } from "./dns-error.ts";
import type {
  AddressAnswer,
  LookupOptions,
  Resolver,
  ServiceAnswer,
  SrvRecord,
} from "./resolver.ts";

type Step<T> = T | Error | "hang";

class FakeResolver implements Resolver {
  /** The answer from now on, by name. */
  readonly hosts = new Map<string, Step<AddressAnswer>>();
  readonly srv = new Map<string, Step<ServiceAnswer>>();
  readonly asked: { name: string; at: number; fresh: boolean }[] = [];
  aborted = 0;
  readonly #runtime: SimRuntime;

  constructor(runtime: SimRuntime) {
    this.#runtime = runtime;
  }

  addresses(name: string, options: LookupOptions = {}): Promise<AddressAnswer> {
    return this.#next(this.hosts.get(name), name, options);
  }

  services(name: string, options: LookupOptions = {}): Promise<ServiceAnswer> {
    return this.#next(this.srv.get(name), name, options);
  }

  #next<T>(step: Step<T> | undefined, name: string, options: LookupOptions): Promise<T> {
    this.asked.push({ name, at: this.#runtime.now(), fresh: options.fresh === true });
    options.signal?.addEventListener("abort", () => this.aborted++);
    if (step === "hang") return new Promise(() => {});
    if (step === undefined) return Promise.reject(new DnsError("servfail", "not programmed"));
    return step instanceof Error ? Promise.reject(step) : Promise.resolve(step);
  }
}

class Log implements EndpointSink {
  readonly events: { at: number; set?: readonly string[]; error?: Error }[] = [];
  last: readonly EndpointInfo[] = [];
  readonly #runtime: SimRuntime;

  constructor(runtime: SimRuntime) {
    this.#runtime = runtime;
  }

  replace(endpoints: readonly EndpointInfo[]): void {
    this.last = endpoints;
    this.events.push({ at: this.#runtime.now(), set: endpoints.map(addressOf) });
  }

  change(): void {
    throw new Error("DNS knows no differences");
  }

  failed(error: Error): void {
    this.events.push({ at: this.#runtime.now(), error });
  }
}

const HOST: DnsTarget = { kind: "dns", host: "orders", port: 80 };
const SRV: DnsTarget = { kind: "srv", name: "_http._tcp.orders" };

function start(target: DnsTarget = HOST, options: Partial<DnsDiscoveryOptions> = {}, seed = 7) {
  const runtime = new SimRuntime(seed);
  const resolver = new FakeResolver(runtime);
  const sink = new Log(runtime);
  const watch = () => dnsDiscovery(target, { runtime, resolver, ...options }).watch(sink);
  return { runtime, resolver, sink, watch };
}

function askedAt(resolver: FakeResolver, index: number): number {
  return resolver.asked[index]?.at ?? Number.NaN;
}

function answer(ttlMs: number, ...addresses: string[]): AddressAnswer {
  return { addresses, ttlMs };
}

function srv(
  target: string,
  port: number,
  weight: number,
  more: Partial<SrvRecord> = {},
): SrvRecord {
  return { target, port, weight, priority: 0, addresses: [], ...more };
}

describe("dnsDiscovery", () => {
  it("D1 CO: an error keeps the last good set, and is retried with a bounded, jittered backoff", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", answer(10_000, "10.0.0.1"));
    watch();
    await runtime.advance(0);
    resolver.hosts.set("orders", new DnsError("servfail", "down"));
    await runtime.advance(600_000);

    expect(sink.events[0]?.set).toEqual(["10.0.0.1:80"]);
    const errors = sink.events.slice(1);
    expect(errors.every((event) => event.error instanceof DnsError)).toBe(true);
    const gaps = errors
      .slice(1)
      .map((event, index) => event.at - (errors[index]?.at ?? Number.NaN));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(30_000);
    expect(Math.max(...gaps)).toBeGreaterThan(8000);
    expect(new Set(gaps).size).toBe(gaps.length);
    expect(gaps[0]).toBeLessThanOrEqual(1000);
    expect(errors.length).toBeLessThan(120);

    resolver.hosts.set("orders", answer(10_000, "10.0.0.2"));
    await runtime.advance(30_000);
    expect(sink.events.at(-1)!.set).toEqual(["10.0.0.2:80"]);
  });

  it("D1 CO: a first lookup that fails reports the failure and no set", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", new DnsError("timeout", "silence"));
    watch();
    await runtime.advance(0);
    expect(sink.events).toHaveLength(1);
    expect(sink.events[0]?.error).toMatchObject({ code: "timeout" });
  });

  it("D2 CO: 'there are none' is held for 30 s, then reported", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", answer(5000, "10.0.0.1"));
    watch();
    await runtime.advance(0);
    resolver.hosts.set("orders", answer(5000));
    await runtime.advance(120_000);

    expect(sink.events.map((event) => event.set?.length)).toEqual(expect.arrayContaining([1, 0]));
    const firstEmptyAsk = askedAt(resolver, 1);
    const reported = sink.events.find((event) => event.set?.length === 0)!;
    expect(reported.at - firstEmptyAsk).toBeCloseTo(30_000, 0);
  });

  it("D2 CO: an answer within the hold-down ends it; errors neither end nor shorten it", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", answer(5000, "10.0.0.1"));
    watch();
    await runtime.advance(0);
    resolver.hosts.set("orders", answer(5000));
    await runtime.advance(20_000);
    resolver.hosts.set("orders", answer(5000, "10.0.0.2"));
    await runtime.advance(10_000);
    expect(sink.events.every((event) => event.set?.length === 1)).toBe(true);

    resolver.hosts.set("orders", answer(5000));
    await runtime.advance(10_000);
    resolver.hosts.set("orders", new DnsError("timeout", "silence"));
    await runtime.advance(300_000);
    expect(sink.events.some((event) => event.set?.length === 0)).toBe(false);
    resolver.hosts.set("orders", answer(5000));
    await runtime.advance(60_000);
    expect(sink.events.find((event) => event.set?.length === 0)).toBeDefined();
  });

  it("D2 CO: a first answer that is empty is reported at once", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", answer(5000));
    watch();
    await runtime.advance(0);
    expect(sink.events).toEqual([{ at: 0, set: [] }]);
  });

  it("D3 CO: TTLs of 0, a year and NaN are clamped; the refresh comes at 80–100 % of them", async () => {
    for (const [ttlMs, clampedMs] of [
      [0, 5000],
      [Number.NaN, 5000],
      [60_000, 60_000],
      [31_536_000_000, 300_000],
    ] as const) {
      const delays = new Set<number>();
      for (let seed = 1; seed <= 20; seed++) {
        const { runtime, resolver, watch } = start(HOST, {}, seed);
        resolver.hosts.set("orders", answer(ttlMs, "10.0.0.1"));
        watch();
        await runtime.advance(clampedMs);
        expect(resolver.asked.length).toBe(2);
        delays.add(askedAt(resolver, 1));
        expect(resolver.asked[1]).toMatchObject({ fresh: true });
      }
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(clampedMs * 0.8);
      expect(Math.max(...delays)).toBeLessThanOrEqual(clampedMs);
      expect(delays.size).toBeGreaterThan(15);
    }
  });

  it("D3 CO: of 4096 records 1000 are used, always the same ones, and the rest is counted", async () => {
    let excess = 0;
    const options = { onExcess: (records: number) => (excess += records) };
    const { runtime, resolver, sink, watch } = start(HOST, options);
    const all = Array.from({ length: 4096 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
    resolver.hosts.set("orders", answer(5000, ...all));
    watch();
    await runtime.advance(0);
    resolver.hosts.set("orders", answer(5000, ...all.toReversed()));
    await runtime.advance(5000);
    expect(sink.events).toHaveLength(2);
    expect(sink.events[0]?.set).toHaveLength(1000);
    expect(sink.events[1]?.set).toEqual(sink.events[0]?.set);
    expect(excess).toBe(2 * 3096);
  });

  it("each address stands once: mapped IPv4 and other spellings of IPv6 are the same", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set(
      "orders",
      answer(5000, "10.0.0.1", "::ffff:10.0.0.1", "2001:DB8:0:0::1", "2001:db8::1"),
    );
    watch();
    await runtime.advance(0);
    expect(sink.events[0]?.set).toEqual(["10.0.0.1:80", "[2001:db8::1]:80"]);
  });

  it("an IP literal is a static answer", () => {
    const { resolver, sink, watch } = start({ kind: "dns", host: "::FFFF:10.0.0.9", port: 81 });
    watch();
    expect(sink.events).toEqual([{ at: 0, set: ["10.0.0.9:81"] }]);
    expect(resolver.asked).toEqual([]);
  });

  it("refresh() asks again soon, once a second at most", async () => {
    const { runtime, resolver, watch } = start();
    resolver.hosts.set("orders", answer(300_000, "10.0.0.1"));
    const running = watch();
    await runtime.advance(0);
    for (let tick = 0; tick < 50; tick++) {
      running.refresh();
      await runtime.advance(100);
    }
    expect(resolver.asked.map(({ at }) => at)).toEqual([0, 1000, 2000, 3000, 4000, 5000]);
    await runtime.advance(100_000);
    expect(resolver.asked.length).toBe(6);
  });

  it("a resolver that never answers counts as a timeout after 5 s; its late answer is ignored", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", "hang");
    watch();
    await runtime.advance(4999);
    expect(sink.events).toEqual([]);
    await runtime.advance(1);
    expect(sink.events[0]?.error).toMatchObject({ code: "timeout" });
    expect(resolver.aborted).toBe(1);
  });

  it("no call to the sink follows stop(), and a lookup under way is called off", async () => {
    const { runtime, resolver, sink, watch } = start();
    resolver.hosts.set("orders", answer(5000, "10.0.0.1"));
    const first = watch();
    first.stop();
    first.stop();
    first.refresh();
    await runtime.advance(60_000);
    expect(sink.events).toEqual([]);
    expect(resolver.aborted).toBe(1);
    expect(resolver.asked).toHaveLength(1);
  });

  it("a sink that throws does not end the watch", async () => {
    const { runtime, resolver, sink } = start();
    resolver.hosts.set("orders", answer(5000, "10.0.0.1"));
    let calls = 0;
    const broken: EndpointSink = {
      replace() {
        calls++;
        throw new Error("sink");
      },
      change() {},
      failed: (error) => sink.failed(error),
    };
    dnsDiscovery(HOST, { runtime, resolver }).watch(broken);
    await runtime.advance(20_000);
    expect(calls).toBeGreaterThan(3);
    expect(sink.events).toEqual([]);
  });
});

describe("dnsDiscovery of SRV records", () => {
  it("D15 CO: weights that are all 0 mean equal; 0 beside others stays 0", async () => {
    const { runtime, resolver, sink, watch } = start(SRV);
    const a = srv("a", 80, 0, { addresses: ["10.0.0.1"] });
    const b = srv("b", 80, 0, { addresses: ["10.0.0.2"] });
    resolver.srv.set(SRV.name, { services: [a, b], ttlMs: 5000 });
    watch();
    await runtime.advance(0);
    expect(sink.last.map(({ weight }) => weight)).toEqual([1, 1]);
    resolver.srv.set(SRV.name, { services: [a, { ...b, weight: 7 }], ttlMs: 5000 });
    await runtime.advance(5000);
    expect(sink.last.map(({ weight }) => weight)).toEqual([0, 7]);
  });

  it("uses the lowest priority only, divides a weight by the target's addresses, keeps ports", async () => {
    const { runtime, resolver, sink, watch } = start(SRV);
    const services = [
      srv("backup", 80, 9, { priority: 20, addresses: ["10.0.9.9"] }),
      srv("a", 8080, 10, { priority: 10, addresses: ["10.0.0.1", "2001:db8::1"] }),
      srv("b", 8081, 30, { priority: 10, addresses: ["10.0.0.2"] }),
      srv("b", 8081, 30, { priority: 10, addresses: ["10.0.0.2"] }),
    ];
    resolver.srv.set(SRV.name, { services, ttlMs: 5000 });
    watch();
    await runtime.advance(0);
    expect(sink.last).toEqual([
      { host: "10.0.0.1", port: 8080, weight: 5 },
      { host: "10.0.0.2", port: 8081, weight: 30 },
      { host: "2001:db8::1", port: 8080, weight: 5 },
    ]);
  });

  it("target '.' means none", async () => {
    const { runtime, resolver, sink, watch } = start(SRV);
    resolver.srv.set(SRV.name, { services: [srv("", 0, 0)], ttlMs: 5000 });
    watch();
    await runtime.advance(0);
    expect(sink.events).toEqual([{ at: 0, set: [] }]);
  });

  it("targets without glue are looked up as absolute names; the smallest TTL counts", async () => {
    const { runtime, resolver, sink, watch } = start(SRV);
    resolver.srv.set(SRV.name, {
      services: [srv("a.x", 80, 1), srv("b.x", 80, 1)],
      ttlMs: 300_000,
    });
    resolver.hosts.set("a.x.", answer(20_000, "10.0.0.1"));
    resolver.hosts.set("b.x.", answer(10_000, "10.0.0.2"));
    watch();
    await runtime.advance(0);
    expect(sink.events[0]?.set).toEqual(["10.0.0.1:80", "10.0.0.2:80"]);
    await runtime.advance(10_000);
    expect(sink.events).toHaveLength(2);
  });

  it("D1 CO: a target that cannot be looked up keeps its addresses; all of them failing is an error", async () => {
    const { runtime, resolver, sink, watch } = start(SRV);
    resolver.srv.set(SRV.name, { services: [srv("a.x", 80, 1), srv("b.x", 80, 1)], ttlMs: 5000 });
    resolver.hosts.set("a.x.", answer(5000, "10.0.0.1"));
    const down = new DnsError("servfail", "down");
    resolver.hosts.set("b.x.", down);
    watch();
    await runtime.advance(0);
    expect(sink.events[0]?.set).toEqual(["10.0.0.1:80"]);
    resolver.hosts.set("b.x.", answer(5000, "10.0.0.2"));
    await runtime.advance(5000);
    resolver.hosts.set("b.x.", down);
    await runtime.advance(5000);
    expect(sink.events.at(-1)!.set).toEqual(["10.0.0.1:80", "10.0.0.2:80"]);

    const other = start(SRV);
    other.resolver.srv.set(SRV.name, { services: [srv("a.x", 80, 1)], ttlMs: 5000 });
    other.resolver.hosts.set("a.x.", down);
    other.watch();
    await other.runtime.advance(0);
    expect(other.sink.events[0]?.error).toBe(down);
  });
});
