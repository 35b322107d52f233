/** Where endpoints come from, and what happens when they change or are not there. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { staticDiscovery } from "@inmesh/core/spi";
import { freeAddress } from "../../../../../scripts/free-port.ts";
import { until, type Bench } from "../bench.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";

const good = (request: Arrived): void => request.reply(200, "good");

/** Addresses of the endpoints that the mesh knows. */
const known = ({ mesh }: Bench): string[] =>
  mesh.snapshot().services[0]?.endpoints.map(({ address }) => address) ?? [];

export const DISCOVERY: readonly Scenario[] = [
  {
    id: "discovery: a fixed list",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("a", good), await bench.upstream("b", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "discovery: a file that changes",
    kind: "outbound",
    run: async (bench) => {
      const folder = mkdtempSync(join(tmpdir(), "parity-"));
      try {
        const file = join(folder, "orders.json");
        const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
        writeFileSync(file, JSON.stringify([a.address]));
        bench.named("file", file);
        await bench.start({ services: { orders: bench.service([], { discovery: { file } }) } });
        await bench.askTimes(2);
        writeFileSync(file, JSON.stringify([b.address]));
        await until(() => known(bench).join() === b.address);
        await bench.askTimes(2);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  },
  {
    id: "discovery: names by DNS, of which one family has no server",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", good);
      const discovery = { dns: "localhost", port: server.port };
      bench.named("other family", `[::1]:${server.port}`);
      const authority = "orders.shop:8080";
      await bench.start({ services: { orders: bench.service([], { discovery, authority }) } });
      await bench.askTimes(2);
    },
  },
  {
    id: "discovery: a name that DNS does not know",
    kind: "outbound",
    run: async (bench) => {
      const discovery = { dns: "none.invalid", port: 80 };
      await bench.start({ services: { orders: bench.service([], { discovery }) } });
      await bench.ask();
    },
  },
  {
    id: "discovery: an empty list",
    kind: "outbound",
    run: async (bench) => {
      const discovery = { static: [await freeAddress()] };
      await bench.start({
        services: { orders: bench.service([], { discovery }) },
        mesh: { discovery: () => staticDiscovery([]) },
      });
      await bench.ask();
    },
  },
  {
    id: "discovery: an endpoint that drains gets nothing",
    kind: "outbound",
    run: async (bench) => {
      const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
      const leaving = { host: "127.0.0.1", port: a.port, draining: true };
      const discovery = { static: [leaving, b.address] };
      await bench.start({ services: { orders: bench.service([], { discovery }) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "discovery: the configuration names another endpoint while the mesh runs",
    kind: "outbound",
    run: async (bench) => {
      const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
      await bench.start({ services: { orders: bench.service([a]) } });
      await bench.ask();
      await bench.mesh.update({ services: { orders: bench.service([b]) } } as never);
      await until(() => known(bench).join() === b.address);
      await bench.ask();
    },
  },
  {
    id: "discovery: the configuration in force names the service no longer",
    kind: "outbound",
    run: async (bench) => {
      const a = await bench.upstream("a", good);
      const others = bench.service([a]);
      await bench.start({ services: { orders: bench.service([a]), others } });
      await bench.ask();
      await bench.mesh.update({ services: { others } } as never);
      await bench.ask();
    },
  },
];
