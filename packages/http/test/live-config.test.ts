/** Configuration that changes under real calls to real servers. */
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { expectNoLeak } from "@inmesh/core/testing";
import { createMesh, meshClient } from "../src/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "inmesh-live-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Refuses what is not meant for it: address and Host must change together. */
async function start(name: string): Promise<{ server: Server; address: string }> {
  const server = createServer((request, response) => {
    response.statusCode = request.headers.host === name ? 200 : 421;
    request.resume();
    request.once("end", () => setTimeout(() => response.end(name), 5));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function stop(servers: readonly { server: Server }[]): Promise<void> {
  for (const { server } of servers) {
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }
}

it("K4 LC: no call sees half a change of address and authority, and none fails", async () => {
  await expectNoLeak(async () => {
    const servers = [await start("a"), await start("b")];
    const config = (n: number) => {
      const name = n % 2 === 0 ? "a" : "b";
      const discovery = { static: [servers[n % 2]!.address] };
      return { services: { orders: { discovery, authority: name } } };
    };
    const mesh = createMesh({ env: {}, config: config(0) });
    const orders = meshClient("orders", { mesh });
    const seen = new Map<string, number>();
    const call = async (method: string): Promise<void> => {
      const reply = await orders.fetch("/", { method, body: method === "POST" ? "x" : null });
      const said = `${reply.status} ${await reply.text()}`;
      seen.set(said, (seen.get(said) ?? 0) + 1);
    };
    const calls: Promise<void>[] = [];
    for (let n = 1; n <= 40; n++) {
      calls.push(call("GET"), call("POST"));
      await new Promise((resolve) => setTimeout(resolve, 2));
      mesh.update(config(n));
      calls.push(call("GET"), call("POST"));
    }
    await Promise.all(calls);
    expect([...seen.keys()].toSorted()).toEqual(["200 a", "200 b"]);
    await mesh.close();
    await stop(servers);
  });
});

it("K1 LC: a start without its file serves what was good last, and follows the file again", async () => {
  const servers = [await start("a"), await start("b")];
  const configFile = join(folder, "mesh.json");
  const snapshotFile = join(folder, "last-good.json");
  const write = (n: number): void => {
    const discovery = { static: [servers[n]!.address] };
    const services = { orders: { discovery, authority: n === 0 ? "a" : "b" } };
    writeFileSync(`${configFile}.new`, JSON.stringify({ services }));
    renameSync(`${configFile}.new`, configFile);
  };
  write(0);
  await createMesh({ env: {}, configFile, snapshotFile }).close();
  rmSync(configFile);
  const mesh = createMesh({ env: {}, configFile, snapshotFile });
  const orders = meshClient("orders", { mesh });
  const call = async (): Promise<string> => await (await orders.fetch("/")).text();
  expect(await call()).toBe("a");
  expect(mesh.snapshot().config.state).toBe("refused");
  write(1);
  const end = performance.now() + 10_000;
  while (mesh.snapshot().config.state !== "current" && performance.now() < end) {
    expect(await call()).toMatch(/^[ab]$/);
  }
  expect(await call()).toBe("b");
  await mesh.close();
  await stop(servers);
});

it("D16 LC: a removed service refuses calls before a connection is touched, and comes back", async () => {
  const servers = [await start("a")];
  const config = {
    services: { orders: { discovery: { static: [servers[0]!.address] }, authority: "a" } },
  };
  const mesh = createMesh({ env: {}, config });
  const orders = meshClient("orders", { mesh });
  const before = orders.fetch("/");
  await new Promise((resolve) => setTimeout(resolve, 1));
  mesh.update({});
  await expect(orders.fetch("/")).rejects.toMatchObject({ code: "no_route", progress: "not-sent" });
  expect(await (await before).text()).toBe("a");
  mesh.update(config);
  expect(await (await orders.fetch("/")).text()).toBe("a");
  await mesh.close();
  await stop(servers);
});
