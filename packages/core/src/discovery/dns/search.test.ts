/** The search list when some of its domains have no name server that answers, against a real DNS server. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Call } from "../../call.ts";
import type { MeshError } from "../../errors.ts";
import { createMesh } from "../../mesh.ts";
import { NodeRuntime } from "../../runtime/node-runtime.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type DnsReply, DnsServer } from "../../testing/dns-server.ts";
import { StubRequest, stubProtocol } from "../../testing/stub-transport.ts";
import { dnsDiscovery } from "./dns.ts";
import { MAX_TTL_MS, StubResolver } from "./resolver.ts";

const SERVFAIL: DnsReply = { rcode: 2 };
const REFUSED: DnsReply = { rcode: 5 };
const NXDOMAIN: DnsReply = { rcode: 3 };
const NODATA: DnsReply = {};

let server: DnsServer;
let directory: string;

beforeEach(async () => {
  server = await DnsServer.start();
  directory = mkdtempSync(join(tmpdir(), "dns-search-"));
});

afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

function resolver(search: string, runtime: Runtime = new NodeRuntime()): StubResolver {
  const resolvConfPath = join(directory, "resolv.conf");
  writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${server.port}\nsearch ${search}\n`);
  const hostsPath = join(directory, "hosts");
  writeFileSync(hostsPath, "");
  return new StubResolver(runtime, { resolvConfPath, hostsPath, tryTimeoutMs: 100 });
}

function set(name: string, reply: DnsReply): void {
  for (const type of ["A", "AAAA", "SRV"]) server.set(name, type, reply);
}

function setHost(name: string, data: string): void {
  server.set(name, "A", { answers: [{ type: "A", name, data, ttl: 60, class: "IN" }] });
  server.set(name, "AAAA", NODATA);
}

it.each([
  ["SERVFAIL", SERVFAIL],
  ["REFUSED", REFUSED],
  ["NOTIMP", { rcode: 4 }],
])("R31 CO: %s of one search domain does not hide the others", async (_, reply) => {
  set("orders.one.test", reply);
  setHost("orders.two.test", "10.0.0.2");
  expect((await resolver("one.test two.test").addresses("orders")).addresses).toEqual(["10.0.0.2"]);
  const target = "_http._tcp.orders";
  set(`${target}.one.test`, reply);
  const data = { target: "a.test", port: 80 };
  const name = `${target}.two.test`;
  server.set(name, "SRV", { answers: [{ type: "SRV", name, data, ttl: 60, class: "IN" }] });
  const { services } = await resolver("one.test two.test").services(target);
  expect(services.map((one) => one.target)).toEqual(["a.test"]);
});

it("R31 CO: all of the search list fails, the name as it is has an address", async () => {
  for (const domain of ["one.test", "two.test"]) set(`orders.${domain}`, REFUSED);
  setHost("orders", "10.0.0.3");
  expect((await resolver("one.test two.test").addresses("orders")).addresses).toEqual(["10.0.0.3"]);
});

it("R31 CO: where no domain gives an address, the failure is reported and not 'there are none'", async () => {
  set("orders.one.test", REFUSED);
  set("orders.two.test", SERVFAIL);
  set("orders", NXDOMAIN);
  await expect(resolver("one.test two.test").addresses("orders")).rejects.toMatchObject({
    code: "refused",
    message: expect.stringMatching(
      new RegExp(`^dns A{1,4} orders\\.one\\.test → 127\\.0\\.0\\.1#${server.port}: REFUSED$`),
    ),
  });
});

it("R31 CO: silence ends the search: the other candidates have the same servers", async () => {
  set("orders.one.test", { silent: true });
  setHost("orders.two.test", "10.0.0.2");
  await expect(resolver("one.test two.test").addresses("orders")).rejects.toMatchObject({
    code: "timeout",
  });
  expect(server.queries.some(({ name }) => name === "orders.two.test")).toBe(false);
});

it("R31 CO: a candidate that had an address is not passed over for five minutes: the next may be another service", async () => {
  const clock = { aheadMs: 0 };
  const inner = new NodeRuntime();
  const runtime = Object.assign(Object.create(inner) as NodeRuntime, {
    now: () => inner.now() + clock.aheadMs,
    after: inner.after.bind(inner),
  });
  const own = resolver("one.test two.test", runtime);
  setHost("orders.one.test", "10.0.0.1");
  setHost("orders.two.test", "10.0.0.66");
  const ask = async (): Promise<readonly string[]> =>
    (await own.addresses("orders", { fresh: true })).addresses;
  expect(await ask()).toEqual(["10.0.0.1"]);
  set("orders.one.test", SERVFAIL);
  clock.aheadMs = 61_000;
  await expect(ask()).rejects.toMatchObject({ code: "servfail" });
  clock.aheadMs = MAX_TTL_MS + 1_000;
  expect(await ask()).toEqual(["10.0.0.66"]);
});

it.each([
  ["NXDOMAIN", NXDOMAIN, NXDOMAIN],
  ["NODATA", NXDOMAIN, NODATA],
  ["NODATA", NODATA, NXDOMAIN],
])("R31 CO: there are none: %s", async (why, searched, asIs) => {
  set("orders.one.test", searched);
  set("orders", asIs);
  expect(await resolver("one.test").addresses("orders")).toMatchObject({
    addresses: [],
    why: `dns orders → 127.0.0.1#${server.port}: ${why}`,
  });
});

it.each([
  [
    "no_endpoints",
    NXDOMAIN,
    "discovery found no endpoint for orders: dns no-such-host → SERVER: NXDOMAIN",
  ],
  [
    "discovery_pending",
    REFUSED,
    "discovery has no answer for orders yet (dns A no-such-host → SERVER: REFUSED)",
  ],
])("R31 CO: a call that fails with %s says what DNS said", async (reason, reply, message) => {
  set("no-such-host", reply);
  const runtime = new NodeRuntime();
  const target = { kind: "dns", host: "no-such-host.", port: 80 } as const;
  await using mesh = createMesh({
    env: {},
    runtime,
    discovery: () => dnsDiscovery(target, { runtime, resolver: resolver("one.test", runtime) }),
  });
  const service = mesh.service(
    "orders",
    stubProtocol((exchange) => exchange.reply()),
    { discovery: { dns: "no-such-host", port: 80 } },
  );
  const call = new Call("orders", new StubRequest("/", "GET"), true, true);
  const error = await service.current(call).then(
    () => undefined,
    (failure: MeshError) => failure,
  );
  expect(error?.reason).toBe(reason);
  expect(error?.message.replace("AAAA", "A")).toBe(
    `orders: ${message.replace("SERVER", `127.0.0.1#${server.port}`)}`,
  );
});
