/**
 * D21: blocks all of libuv's threads, in `open` of a pipe that nobody writes to (which costs no
 * processor time), and goes on calling a service found by DNS; prints what became of it.
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, open, stat, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createMesh } from "@inmesh/core";
import { NodeRuntime } from "@inmesh/core/spi";
import { dnsDiscovery } from "../../../core/src/discovery/dns/dns.ts";
import { StubResolver } from "../../../core/src/discovery/dns/resolver.ts";
import { DnsServer } from "../../../core/src/testing/dns-server.ts";
import { meshClient } from "../../src/index.ts";

const THREADS = 4;
const port = Number(process.argv[2]);
const folder = process.argv[3]!;
const dns = await DnsServer.start();
for (const name of ["orders.test", "stock.test"]) {
  dns.set(name, "A", { answers: [{ name, type: "A", ttl: 5, data: "127.0.0.1" }] });
  dns.set(name, "AAAA", {});
}
const resolvConfPath = join(folder, "resolv.conf");
writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${dns.port}\n`);

const runtime = new NodeRuntime();
const mesh = createMesh({
  env: {},
  runtime,
  config: {
    services: {
      orders: { discovery: { dns: "orders.test", port } },
      stock: { discovery: { dns: "stock.test", port } },
    },
  },
  discovery: ({ discovery }) =>
    discovery.kind === "dns"
      ? dnsDiscovery(discovery, {
          runtime,
          resolver: new StubResolver(runtime, { resolvConfPath, hostsPath: "/dev/null" }),
        })
      : undefined,
});
const orders = meshClient("orders", { mesh });
const stock = meshClient("stock", { mesh });
const text = async (client: typeof orders): Promise<string> =>
  (await client.fetch("/", { timeoutMs: 3_000 })).text();

const before = await text(orders);

const pipe = join(folder, "pipe");
execFileSync("mkfifo", [pipe]);
const opened: Promise<number>[] = [];
for (let i = 0; i < THREADS; i++) {
  opened.push(
    new Promise((resolve) => open(pipe, "r", (_error, descriptor) => resolve(descriptor))),
  );
}
let poolAnswered = false;
const asked = new Promise<void>((resolve) => {
  stat(folder, () => {
    poolAnswered = true;
    resolve();
  });
});
const during: string[] = [];
let slowestMs = 0;
for (let i = 0; i < 20; i++) {
  const startedAt = performance.now();
  during.push(await text(orders));
  slowestMs = Math.max(slowestMs, performance.now() - startedAt);
}
// Its first lookup and its first connection fall into the famine.
const another = await text(stock);
const starved = poolAnswered;

const writer = openSync(pipe, "r+");
for (const descriptor of await Promise.all(opened)) closeSync(descriptor);
closeSync(writer);
await asked;
await mesh.close(0);
await dns.close();
process.stdout.write(
  JSON.stringify({
    before,
    poolAnswered: starved,
    during,
    slowestMs,
    another,
    poolAnsweredAfter: poolAnswered,
  }),
);
