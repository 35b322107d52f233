/**
 * For D21: a mesh whose services are found by DNS, and a process in which libuv's threads are all
 * blocked, in `open` of a pipe without a writer (which costs no processor time).
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, open, stat, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createMesh, type Mesh } from "@inmesh/core";
import { NodeRuntime } from "@inmesh/core/spi";
import { dnsDiscovery } from "../../../core/src/discovery/dns/dns.ts";
import { StubResolver } from "../../../core/src/discovery/dns/resolver.ts";
import { DnsServer } from "../../../core/src/testing/dns-server.ts";

/** As many as there are: start the process with UV_THREADPOOL_SIZE=4. */
const THREADS = 4;

/** Services `orders` and `stock`, both of them at `port` of this machine. */
export async function dnsMesh(
  port: number,
  folder: string,
): Promise<{ mesh: Mesh; dns: DnsServer }> {
  const dns = await DnsServer.start();
  for (const name of ["orders.test", "stock.test"]) {
    dns.set(name, "A", { answers: [{ name, type: "A", ttl: 5, data: "127.0.0.1" }] });
    dns.set(name, "AAAA", {});
  }
  const resolvConfPath = join(folder, "resolv.conf");
  writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${dns.port}\n`);
  const runtime = new NodeRuntime();
  const resolver = new StubResolver(runtime, { resolvConfPath, hostsPath: "/dev/null" });
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
      discovery.kind === "dns" ? dnsDiscovery(discovery, { runtime, resolver }) : undefined,
  });
  return { mesh, dns };
}

/** Calls with a pool that works, then with one that does not; prints what became of them. */
export async function callThroughFamine(
  folder: string,
  orders: () => Promise<string>,
  stock: () => Promise<string>,
): Promise<void> {
  const before = await orders();
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
    during.push(await orders());
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
  }
  // Its first lookup and its first connection fall into the famine.
  const another = await stock();
  const starved = poolAnswered;
  const writer = openSync(pipe, "r+");
  for (const descriptor of await Promise.all(opened)) closeSync(descriptor);
  closeSync(writer);
  await asked;
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
}
