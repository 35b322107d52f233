/** The resolver against a real DNS server over real sockets. */
import dns from "node:dns";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Answer } from "dns-packet";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NodeRuntime } from "../../runtime/node-runtime.ts";
import { type DnsReply, DnsServer } from "../../testing/dns-server.ts";
import { StubResolver, type StubResolverOptions } from "./resolver.ts";

const runtime = new NodeRuntime();
let server: DnsServer;
let directory: string;

beforeEach(async () => {
  server = await DnsServer.start();
  directory = mkdtempSync(join(tmpdir(), "dns-test-"));
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

/** `conf` and `hosts` are the files' lines; `conf` gets the server of the test if it names none. */
function resolver(conf = "", hosts = "", options: StubResolverOptions = {}): StubResolver {
  const nameserver = conf.includes("nameserver") ? "" : `nameserver 127.0.0.1#${server.port}\n`;
  const resolvConfPath = join(directory, "resolv.conf");
  const hostsPath = join(directory, "hosts");
  writeFileSync(resolvConfPath, nameserver + conf);
  writeFileSync(hostsPath, hosts);
  return new StubResolver(runtime, {
    resolvConfPath,
    hostsPath,
    tryTimeoutMs: 100,
    recheckMs: 0,
    ...options,
  });
}

function a(name: string, data: string, ttl = 60): Answer {
  return { type: "A", name, data, ttl, class: "IN" };
}

function aaaa(name: string, data: string, ttl = 60): Answer {
  return { type: "AAAA", name, data, ttl, class: "IN" };
}

function cname(name: string, data: string, ttl = 60): Answer {
  return { type: "CNAME", name, data, ttl, class: "IN" };
}

function soa(ttl: number, minimum: number): Answer {
  return {
    type: "SOA",
    name: "test",
    ttl,
    class: "IN",
    data: { mname: "ns", rname: "x", minimum },
  };
}

/** NODATA, for the family a test is not about. */
const NODATA: DnsReply = { authorities: [soa(60, 60)] };

function setHost(name: string, ...answers: Answer[]): void {
  server.set(name, "A", { answers });
  server.set(name, "AAAA", NODATA);
}

function asked(type = "A"): readonly string[] {
  return server.queries.filter((query) => query.type === type).map(({ name }) => name);
}

describe("answers", () => {
  it("gives A and AAAA together, with EDNS0 and the smallest TTL", async () => {
    server.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.1", 40)] });
    server.set("orders.test", "AAAA", { answers: [aaaa("orders.test", "2001:DB8::1", 30)] });
    const answer = await resolver().addresses("orders.test.");
    expect([...answer.addresses].sort()).toEqual(["10.0.0.1", "2001:db8::1"]);
    expect(answer.ttlMs).toBeGreaterThan(29_000);
    expect(answer.ttlMs).toBeLessThanOrEqual(30_000);
    expect(server.queries.map((query) => query.udpPayloadBytes)).toEqual([1232, 1232]);
  });

  it("D1 CO: an error of one family with success of the other is success", async () => {
    server.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.1")] });
    server.set("orders.test", "AAAA", { rcode: 2 });
    expect((await resolver().addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
  });

  it("D1 CO: a family that stays silent delays the other by the grace only", async () => {
    server.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.1")] });
    server.set("orders.test", "AAAA", { silent: true });
    const patient = resolver("", "", { tryTimeoutMs: 2000, familyGraceMs: 50 });
    const from = runtime.now();
    expect((await patient.addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
    expect(runtime.now() - from).toBeLessThan(1000);
  });

  it("D1 CO: an error of one family beside 'none' of the other is an error, not 'none'", async () => {
    server.set("orders.test", "A", { rcode: 2 });
    server.set("orders.test", "AAAA", NODATA);
    await expect(resolver().addresses("orders.test.")).rejects.toMatchObject({ code: "servfail" });
  });

  it("D1 CO: SERVFAIL, REFUSED, silence and garbage are errors with a code each", async () => {
    const cases: [string, DnsReply][] = [
      ["servfail", { rcode: 2 }],
      ["refused", { rcode: 5 }],
      ["timeout", { silent: true }],
      ["malformed", { raw: (right) => [right.subarray(0, 14)] }],
    ];
    for (const [code, reply] of cases) {
      for (const type of ["A", "AAAA"]) server.set(`${code}.test`, type, reply);
      await expect(resolver().addresses(`${code}.test.`)).rejects.toMatchObject({
        name: "DnsError",
        code,
      });
    }
    await expect(resolver().addresses("a..b")).rejects.toMatchObject({ code: "malformed" });
    await expect(resolver().addresses(`${"x".repeat(64)}.test`)).rejects.toThrow();
    const refusing = resolver("nameserver 127.0.0.1#1\n");
    await expect(refusing.addresses("x.test.")).rejects.toMatchObject({ code: "unreachable" });
  });

  it("D2 CO: NXDOMAIN and NODATA are an empty answer; its TTL is min(SOA TTL, minimum)", async () => {
    for (const type of ["A", "AAAA"]) {
      server.set("gone.test", type, { rcode: 3, authorities: [soa(20, 40)] });
      server.set("bare.test", type, { authorities: [soa(40, 30)] });
      server.set("short.test", type, { authorities: [soa(40, 1)] });
    }
    const ttl = async (name: string): Promise<number> => {
      const answer = await resolver().addresses(name);
      expect(answer.addresses).toEqual([]);
      return Math.round(answer.ttlMs / 1000);
    };
    expect(await ttl("gone.test.")).toBe(20);
    expect(await ttl("bare.test.")).toBe(30);
    expect(await ttl("short.test.")).toBe(5);
    expect(await ttl("unknown.test.")).toBe(5);
  });

  it("D3 CO: TTLs are clamped to 5–300 s, 2^31 and more counts as 0", async () => {
    for (const [ttl, seconds] of [
      [0, 5],
      [31_536_000, 300],
      [2 ** 31, 5],
      [2 ** 32 - 1, 5],
    ] as const) {
      setHost("orders.test", a("orders.test", "10.0.0.1", ttl));
      const answer = await resolver().addresses("orders.test.");
      expect(Math.round(answer.ttlMs / 1000)).toBe(seconds);
    }
  });

  it("D3 CO: thousands of records, and a name of 253 characters", async () => {
    const name = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`;
    const many = Array.from({ length: 240 }, (_, index) => a(name, `10.0.0.${index}`));
    setHost(name, ...many);
    expect((await resolver().addresses(name)).addresses).toHaveLength(240);

    // As many as fit 64 KiB: the encoder does not compress names.
    const most = Array.from({ length: 3800 }, (_, index) =>
      a("o", `10.0.${index >> 8}.${index & 255}`),
    );
    setHost("o", ...most);
    expect((await resolver().addresses("o.")).addresses).toHaveLength(3800);
  });

  it("D3 CO: alias loops and chains of more than 8 end with an error", async () => {
    const loop = [cname("loop.test", "pool.test"), cname("pool.test", "loop.test")];
    const chain = (length: number): Answer[] => [
      ...Array.from({ length }, (_, index) => cname(`c${index}.test`, `c${index + 1}.test`)),
      a(`c${length}.test`, "10.0.0.1"),
    ];
    for (const type of ["A", "AAAA"]) {
      server.set("loop.test", type, { answers: loop });
      // Never in one reply: the loop goes through new queries.
      server.set("one.test", type, { answers: [cname("one.test", "two.test")] });
      server.set("two.test", type, { answers: [cname("two.test", "one.test")] });
    }
    await expect(resolver().addresses("loop.test.")).rejects.toMatchObject({ code: "malformed" });
    await expect(resolver().addresses("one.test.")).rejects.toMatchObject({ code: "malformed" });
    setHost("c0.test", ...chain(8));
    expect((await resolver().addresses("c0.test.")).addresses).toEqual(["10.0.0.1"]);
    for (const type of ["A", "AAAA"]) server.set("c0.test", type, { answers: chain(9) });
    await expect(resolver().addresses("c0.test.")).rejects.toMatchObject({ code: "malformed" });
  });

  it("follows aliases within a reply and by new queries, with the smallest TTL on the way", async () => {
    setHost("x.test", cname("x.test", "y.test", 90), a("Y.test", "10.0.0.1", 80));
    const near = await resolver().addresses("x.test.");
    expect(near.addresses).toEqual(["10.0.0.1"]);
    expect(Math.round(near.ttlMs / 1000)).toBe(80);

    for (const type of ["A", "AAAA"]) {
      server.set("far.test", type, { answers: [cname("far.test", "x.test", 20)] });
    }
    const far = await resolver().addresses("far.test.");
    expect(far.addresses).toEqual(["10.0.0.1"]);
    expect(Math.round(far.ttlMs / 1000)).toBe(20);
  });

  it("SRV: glue, targets without glue, and '.'", async () => {
    const srv = (target: string, port: number): Answer => ({
      type: "SRV",
      name: "_http._tcp.test",
      ttl: 60,
      class: "IN",
      data: { target, port, priority: 1, weight: 2 },
    });
    server.set("_http._tcp.test", "SRV", {
      answers: [srv("a.test", 80), srv("b.test", 81), srv(".", 0)],
      additionals: [a("A.test", "10.0.0.1", 10), aaaa("a.test", "::ffff:10.0.0.3")],
    });
    const answer = await resolver().services("_http._tcp.test.");
    expect(answer.services).toEqual([
      { target: "a.test", port: 80, priority: 1, weight: 2, addresses: ["10.0.0.1", "10.0.0.3"] },
      { target: "b.test", port: 81, priority: 1, weight: 2, addresses: [] },
      { target: "", port: 0, priority: 1, weight: 2, addresses: [] },
    ]);
    expect(Math.round(answer.ttlMs / 1000)).toBe(10);
  });
});

describe("transport", () => {
  it("D20 CO: a truncated reply is asked again over TCP, also one cut within a record", async () => {
    setHost("orders.test", a("orders.test", "10.0.0.1"));
    server.set("orders.test", "A", {
      answers: [a("orders.test", "10.0.0.1")],
      truncated: true,
    });
    expect((await resolver().addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
    server.set("orders.test", "A", {
      answers: [a("orders.test", "10.0.0.2")],
      raw: (right, { transport }) => {
        if (transport === "tcp") return [right];
        const cut = Buffer.from(right.subarray(0, right.length - 3));
        cut.writeUInt16BE(cut.readUInt16BE(2) | 0x0200, 2);
        return [cut];
      },
    });
    expect((await resolver().addresses("orders.test.")).addresses).toEqual(["10.0.0.2"]);
    const transports = server.queries.filter(({ type }) => type === "A").map((q) => q.transport);
    expect(transports).toEqual(["udp", "tcp", "udp", "tcp"]);
  });

  it("D20 CO: replies with a wrong id, question or type are ignored, the right one still counts", async () => {
    const forged = (right: Buffer, change: (copy: Buffer) => void): Buffer => {
      const copy = Buffer.from(right);
      change(copy);
      // The last byte is the last one of the address.
      copy[copy.length - 1] = 66;
      return copy;
    };
    setHost("orders.test", a("orders.test", "10.0.0.1"));
    server.set("orders.test", "A", {
      answers: [a("orders.test", "10.0.0.1")],
      raw: (right) => [
        forged(right, (copy) => copy.writeUInt16BE(copy.readUInt16BE(0) ^ 1, 0)),
        forged(right, (copy) => copy.write("q", 13)),
        forged(right, (copy) => copy.writeUInt16BE(28, 12 + 13)),
        forged(right, (copy) => copy.writeUInt16BE(copy.readUInt16BE(2) & 0x7fff, 2)),
        Buffer.from("garbage"),
        right,
        forged(right, () => {}),
      ],
    });
    expect((await resolver().addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
  });

  it("D20 CO: every query has an id and a port of its own", async () => {
    for (let index = 0; index < 20; index++) {
      await resolver().addresses(`n${index}.test.`);
    }
    expect(new Set(server.queries.map(({ id }) => id)).size).toBeGreaterThan(35);
    expect(new Set(server.queries.map(({ clientPort }) => clientPort)).size).toBeGreaterThan(20);
  });

  it("D21 CO: getaddrinfo is not used, and the whole lookup is bounded", async () => {
    const lookup = vi.spyOn(dns, "lookup");
    server.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.1")], truncated: true });
    server.set("orders.test", "AAAA", NODATA);
    await resolver().addresses("orders.test.");
    for (const type of ["A", "AAAA"]) server.set("silent.test", type, { silent: true });
    const slow = resolver("options attempts:5\nsearch a.test b.test", "", {
      tryTimeoutMs: 5000,
      lookupTimeoutMs: 300,
    });
    const from = runtime.now();
    await expect(slow.addresses("silent.test.")).rejects.toMatchObject({ code: "timeout" });
    expect(runtime.now() - from).toBeLessThan(1000);
    expect(lookup).not.toHaveBeenCalled();
    lookup.mockRestore();
  });

  it("goes on to the next server after silence, SERVFAIL, REFUSED and a closed port", async () => {
    const second = await DnsServer.start();
    try {
      second.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.2")] });
      second.set("orders.test", "AAAA", NODATA);
      for (const reply of [{ silent: true }, { rcode: 2 }, { rcode: 5 }] satisfies DnsReply[]) {
        for (const type of ["A", "AAAA"]) server.set("orders.test", type, reply);
        const both = resolver(
          `nameserver 127.0.0.1#${server.port}\nnameserver 127.0.0.1#${second.port}\n`,
        );
        expect((await both.addresses("orders.test.")).addresses).toEqual(["10.0.0.2"]);
      }
      const closed = resolver(`nameserver 127.0.0.1#1\nnameserver 127.0.0.1#${second.port}\n`);
      expect((await closed.addresses("orders.test.")).addresses).toEqual(["10.0.0.2"]);
    } finally {
      await second.close();
    }
  });

  it("repeats a lost packet, and asks without EDNS0 who does not know it", async () => {
    let lost = 0;
    server.set("lost.test", "A", () =>
      lost++ === 0 ? { silent: true } : { answers: [a("lost.test", "10.0.0.1")] },
    );
    server.set("lost.test", "AAAA", NODATA);
    expect((await resolver().addresses("lost.test.")).addresses).toEqual(["10.0.0.1"]);
    server.set("old.test", "A", (query) =>
      query.udpPayloadBytes === undefined
        ? { answers: [a("old.test", "10.0.0.1")] }
        : { rcode: 1, raw: (right) => [Buffer.concat([right.subarray(0, 4), Buffer.alloc(8)])] },
    );
    server.set("old.test", "AAAA", NODATA);
    expect((await resolver().addresses("old.test.")).addresses).toEqual(["10.0.0.1"]);
  });

  it("a signal calls a lookup off at once and leaves no socket open", async () => {
    for (const type of ["A", "AAAA"]) server.set("silent.test", type, { silent: true });
    const controller = new AbortController();
    const patient = resolver("", "", { tryTimeoutMs: 5000 });
    const lookup = patient.addresses("silent.test.", { signal: controller.signal });
    await vi.waitFor(() => expect(server.queries.length).toBe(2));
    const sockets = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === "UDPWrap").length;
    const during = sockets();
    expect(during).toBeGreaterThanOrEqual(3);
    controller.abort();
    await expect(lookup).rejects.toMatchObject({ code: "cancelled" });
    await vi.waitFor(() => expect(sockets()).toBe(during - 2));
  });
});

describe("system files", () => {
  it("ndots and search: few dots go through the list first, many are tried as they are first", async () => {
    const conf = "search shop.svc.test svc.test.\noptions ndots:2 timeout:1 attempts:1 rotate\n";
    setHost("orders.svc.test", a("orders.svc.test", "10.0.0.1"));
    expect((await resolver(conf).addresses("orders")).addresses).toEqual(["10.0.0.1"]);
    expect(asked()).toEqual(["orders.shop.svc.test", "orders.svc.test"]);

    server.queries.length = 0;
    expect((await resolver(conf).addresses("a.b.c")).addresses).toEqual([]);
    expect(asked()).toEqual(["a.b.c", "a.b.c.shop.svc.test", "a.b.c.svc.test"]);

    server.queries.length = 0;
    await resolver(conf).addresses("orders.");
    expect(asked()).toEqual(["orders"]);

    server.queries.length = 0;
    await resolver(conf).services("_http._tcp.orders");
    expect(asked("SRV")[0]).toBe("_http._tcp.orders");
  });

  it("the hosts file and localhost are answered without a query", async () => {
    const own = resolver("", "10.1.1.1 Orders orders.test # note\n::ffff:10.1.1.2 orders\nbad x\n");
    expect((await own.addresses("ORDERS")).addresses).toEqual(["10.1.1.1", "10.1.1.2"]);
    expect((await own.addresses("orders.test.")).addresses).toEqual(["10.1.1.1"]);
    expect((await own.addresses("localhost")).addresses).toEqual(["127.0.0.1", "::1"]);
    expect(server.queries).toEqual([]);
  });

  it("re-reads resolv.conf when it changes, and drops what the old servers said", async () => {
    const second = await DnsServer.start();
    try {
      setHost("orders.test", a("orders.test", "10.0.0.1"));
      second.set("orders.test", "A", { answers: [a("orders.test", "10.0.0.2")] });
      const own = resolver();
      expect((await own.addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
      const path = join(directory, "resolv.conf");
      // A file without a server is one that is just being written: it changes nothing.
      writeFileSync(path, "");
      expect((await own.addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
      writeFileSync(`${path}.new`, `nameserver 127.0.0.1#${second.port}\n`);
      renameSync(`${path}.new`, path);
      expect((await own.addresses("orders.test.")).addresses).toEqual(["10.0.0.2"]);
    } finally {
      await second.close();
    }
  });
});

describe("cache", () => {
  it("shares identical questions under way and keeps answers, also negative ones", async () => {
    setHost("orders.test", a("orders.test", "10.0.0.1"));
    const own = resolver();
    await Promise.all([1, 2, 3].map(() => own.addresses("orders.test.")));
    await own.addresses("ORDERS.test.");
    // Fresh enough: a second has not passed.
    await own.addresses("orders.test.", { fresh: true });
    await own.addresses("gone.test.");
    await own.addresses("gone.test.");
    expect(asked()).toEqual(["orders.test", "gone.test"]);
  });

  it("keeps no errors", async () => {
    for (const type of ["A", "AAAA"]) server.set("orders.test", type, { rcode: 2 });
    const own = resolver();
    await expect(own.addresses("orders.test.")).rejects.toThrow();
    setHost("orders.test", a("orders.test", "10.0.0.1"));
    expect((await own.addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
  });

  it("one caller that gives up does not take the answer from another", async () => {
    let release = 0;
    server.set("orders.test", "A", () =>
      release++ === 0 ? { silent: true } : { answers: [a("orders.test", "10.0.0.1")] },
    );
    server.set("orders.test", "AAAA", NODATA);
    const own = resolver();
    const controller = new AbortController();
    const first = own.addresses("orders.test.", { signal: controller.signal });
    const second = own.addresses("orders.test.");
    controller.abort();
    await expect(first).rejects.toMatchObject({ code: "cancelled" });
    expect((await second).addresses).toEqual(["10.0.0.1"]);
  });
});
