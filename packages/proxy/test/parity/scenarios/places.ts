/** Where endpoints are and who announces them: SRV records, the registry, zones, servers that drain; and requests that come around. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, meshServer } from "@inmesh/http";
import { dnsDiscovery } from "../../../../core/src/discovery/dns/dns.ts";
import { StubResolver } from "../../../../core/src/discovery/dns/resolver.ts";
import { DnsServer } from "../../../../core/src/testing/dns-server.ts";
import { meshGrpcServer } from "../../../../grpc/src/index.ts";
import { freeAddress } from "../../../../../scripts/free-port.ts";
import { until } from "../bench.ts";
import { GrpcApplication } from "../grpc.ts";
import type { Scenario } from "../scenario.ts";
import { Application, type Arrived, type Upstream } from "../upstream.ts";

const good = (request: Arrived): void => request.reply(200, "good");
const once = { retry: { attempts: 1 } };

/** Endpoints of a list, each with more than its address. */
const listed = (servers: readonly Upstream[], more: (name: string) => object): object => ({
  static: servers.map(({ name, port }) => ({ host: "127.0.0.1", port, ...more(name) })),
});

/** A folder for the time of `act`. */
async function inFolder(act: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parity-"));
  try {
    await act(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A look at the heap comes 20 ms behind a request. */
const looked = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 100));

export const PLACES: readonly Scenario[] = [
  {
    id: "discovery: an endpoint that drains is the last choice",
    kind: "outbound",
    run: async (bench) => {
      const leaving = await bench.upstream("leaving", good);
      const address = await freeAddress();
      bench.named("none", address);
      const discovery = {
        static: [{ host: "127.0.0.1", port: leaving.port, draining: true }, address],
      };
      const breaker = { minOpen: "1m" };
      await bench.start({ services: { orders: bench.service([], { discovery, breaker }) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "discovery: all endpoints drain",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("a", good), await bench.upstream("b", good)];
      const discovery = listed(servers, () => ({ draining: true }));
      await bench.start({ services: { orders: bench.service([], { discovery }) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "discovery: weights, and a spare",
    kind: "outbound",
    run: async (bench) => {
      const servers = [
        await bench.upstream("heavy", good),
        await bench.upstream("light", good),
        await bench.upstream("spare", good),
      ];
      const weights: Record<string, number> = { heavy: 3, light: 1, spare: 0 };
      const discovery = listed(servers, (name) => ({ weight: weights[name] }));
      await bench.start({ services: { orders: bench.service([], { discovery }) } });
      await bench.askTimes(8);
    },
  },
  {
    id: "zones: calls stay in the own one",
    kind: "outbound",
    run: async (bench) => {
      const servers: Upstream[] = [];
      for (const name of ["a1", "a2", "a3", "b1", "b2", "b3"]) {
        servers.push(await bench.upstream(name, good));
      }
      const discovery = listed(servers, (name) => ({ zone: name[0] }));
      await bench.start({
        services: { orders: bench.service([], { discovery }) },
        mesh: { zone: "a" },
      });
      await bench.askTimes(9);
      bench.note("zones", JSON.stringify(bench.mesh.snapshot().services[0]!.zones));
    },
  },
  {
    id: "discovery: SRV records, with weights",
    kind: "outbound",
    run: (bench) =>
      inFolder(async (folder) => {
        const a = await bench.upstream("a", good);
        // DNS has no order: endpoints are in that of their addresses.
        let b = await bench.upstream("b", good);
        while (b.address < a.address) b = await bench.upstream("b", good);
        const servers = [a, b];
        const dns = await DnsServer.start();
        const name = "_http._tcp.orders.test";
        const record = { name, type: "SRV", class: "IN", ttl: 60 } as const;
        dns.set(name, "SRV", {
          answers: servers.map(({ port }, i) => ({
            ...record,
            data: { target: `${i}.test`, port, priority: 1, weight: i + 1 },
          })),
          additionals: servers.map((_, i) => ({
            name: `${i}.test`,
            type: "A",
            class: "IN",
            ttl: 60,
            data: "127.0.0.1",
          })),
        });
        const resolvConfPath = join(folder, "resolv.conf");
        writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${dns.port}\n`);
        const { runtime } = bench;
        const resolver = new StubResolver(runtime, { resolvConfPath });
        await bench.start({
          services: { orders: bench.service([], { discovery: { srv: name } }) },
          mesh: { discovery: () => dnsDiscovery({ kind: "srv", name }, { runtime, resolver }) },
        });
        await bench.askTimes(6);
        await dns.close();
      }),
  },
  {
    id: "discovery: a server that announces itself in the registry of the machine",
    kind: "outbound",
    up: [1],
    // Its connections end while the registry says that it has gone.
    varies: /^metric inmesh\.connection\.closed/,
    run: (bench) =>
      inFolder(async (registry) => {
        const host = createMesh({ env: {}, registry });
        const app = new Application("a", good, bench.order);
        const server = meshServer(app.listener as never, { mesh: host, name: "orders" });
        const { port } = await server.listen(0, "127.0.0.1");
        bench.named("a", `127.0.0.1:${port}`);
        bench.named("registry", registry);
        const discovery = { registry };
        await bench.start({ services: { orders: bench.service([], { discovery, ...once }) } });
        await bench.askTimes(2);
        await server.close(0);
        await until(() => bench.mesh.snapshot().services[0]!.endpoints.length === 0);
        await bench.ask();
        await host.close(0);
      }),
  },
  {
    id: "gRPC: a server that announces itself in the registry of the machine",
    kind: "grpc",
    run: (bench) =>
      inFolder(async (registry) => {
        const host = createMesh({ env: {}, registry });
        const app = new GrpcApplication("a", (call) => call.reply(["good"]), bench.order);
        const server = meshGrpcServer(app.server, { mesh: host, name: "orders" });
        const port = await server.listen("127.0.0.1:0");
        // Of the same name, for another protocol: it gets nothing.
        const other = meshServer((_, response) => void response.end("HTTP"), {
          mesh: host,
          name: "orders",
        });
        await other.listen(0, "127.0.0.1");
        bench.named("a", `127.0.0.1:${port}`);
        bench.named("registry", registry);
        const discovery = { registry };
        await bench.start({ services: { orders: bench.service([], { discovery, ...once }) } });
        await bench.askTimes(2);
        await server.close(0);
        // What the log says of the registry then depends on who has left it.
        await until(() => bench.mesh.snapshot().services[0]!.endpoints.length === 0);
        await other.close(0);
        await host.close(0);
      }),
  },
  {
    id: "heads: a request that comes around ends",
    kind: "hop",
    run: async (bench) => {
      const nowhere = await freeAddress();
      await bench.start({
        posture: "mesh",
        limits: { maxHops: 3 },
        services: { orders: bench.service([{ address: nowhere }], once) },
      });
      bench.named("itself", bench.address);
      const http2 = bench.way.down === 2;
      await bench.mesh.update({
        ...bench.config,
        services: {
          orders: bench.service([{ address: bench.address }], {
            ...once,
            http2,
            authority: "orders",
          }),
        },
      } as never);
      await bench.ask();
      await bench.ask({ headers: { "x-mesh-hops": "2" } });
    },
  },
  {
    id: "served: too little memory is left",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh", limits: { maxHeapRatio: 0.000_001 } }, good);
      // The first one is looked at, and those behind the look are refused.
      await bench.ask();
      await looked();
      await bench.ask();
      await bench.ask({ headers: { "x-mesh-priority": "critical" } });
    },
  },
  {
    id: "served gRPC: too little memory is left",
    kind: "grpc-inbound",
    run: async (bench) => {
      await bench.startGrpc({ posture: "mesh", limits: { maxHeapRatio: 0.000_001 } }, (call) =>
        call.reply(["good"]),
      );
      await bench.ask();
      await looked();
      await bench.ask();
    },
  },
];
