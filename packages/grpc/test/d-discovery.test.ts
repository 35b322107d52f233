/** Sections D and K of the fault matrix, gRPC client: what discovery and configuration do to calls under way. */
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import type { EndpointInfo } from "@inmesh/core/spi";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { infoOf, TestDiscovery } from "../../http/test/support/discovery.ts";
import { counted, get } from "./support/bench.ts";
import { runChild } from "./support/children.ts";
import { Orders, type Order, type OrdersServer } from "./support/orders.ts";
import { answer, ScriptedServer } from "./support/scripted-server.ts";
import {
  clientOf,
  failed,
  serverOf,
  sleep,
  until,
  type Caller,
  expectNothingLeft,
} from "./support/wire.ts";

/** A client of what the test says there is. */
function discovered(
  first: readonly EndpointInfo[] | undefined,
  input: ServiceInput = {},
): Caller & { readonly discovery: TestDiscovery } {
  const discovery = new TestDiscovery((sink) => void (first && sink.replace(first)));
  return { ...clientOf(["127.0.0.1:1"], input, { discovery: () => discovery }), discovery };
}

const infosOf = (servers: readonly OrdersServer[]): EndpointInfo[] =>
  servers.map(({ address }) => infoOf(address));

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "inmesh-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const NO_ENDPOINTS = {
  code: Status.UNAVAILABLE,
  cause: { code: "no_endpoint", reason: "no_endpoints", progress: "not-sent" },
};

expectNothingLeft();

describe("D: discovery, gRPC client", () => {
  it("D1 GC: a lookup that fails keeps the last good set", async () => {
    const server = await serverOf();
    const { client, mesh, discovery } = discovered(infosOf([server]));
    await get(client, {});
    discovery.sink!.failed(new Error("SERVFAIL"));
    for (let i = 0; i < 3; i++) expect((await get(client, {})).id).toBe(server.name);
    expect(mesh.snapshot().services[0]!.discovery).toMatchObject({ state: "stale" });
  });

  it("D1 GC: before the first good answer calls wait, no longer than their deadline", async () => {
    const server = await serverOf();
    const { client, discovery } = discovered(undefined);
    const patient = get(client, {});
    const chat = client.chat();
    const said = new Promise<Order>((resolve) => chat.once("data", resolve));
    chat.write({ count: 7 });
    discovery.sink!.failed(new Error("SERVFAIL"));
    expect(await failed(get(client, {}, { deadline: Date.now() + 60 }))).toMatchObject({
      code: Status.DEADLINE_EXCEEDED,
      cause: { progress: "not-sent" },
    });
    discovery.sink!.replace(infosOf([server]));
    expect((await patient).id).toBe(server.name);
    expect((await said).count).toBe(7);
    await endOf(chat);
  });

  it("D2 GC: an authoritative none: UNAVAILABLE at once, and the process goes on", async () => {
    const { client, discovery } = discovered([]);
    for (let i = 0; i < 20; i++) expect(await failed(get(client, {}))).toMatchObject(NO_ENDPOINTS);
    const stream = client.list({});
    expect(await failed(stream.toArray())).toMatchObject(NO_ENDPOINTS);
    const server = await serverOf();
    discovery.sink!.replace(infosOf([server]));
    await calledUntil(client, server);
  });

  it("D10 GC: an endpoint that comes and goes keeps its state and its connection; calls succeed", async () => {
    const [one, two] = [await scripted(), await scripted()];
    const infos = [infoOf(one.address), infoOf(two.address)];
    const { client, mesh, discovery } = discovered(infos, { balancer: { kind: "round-robin" } });
    await get(client, {});
    for (let i = 0; i < 60; i++) {
      if (i % 6 === 0) discovery.sink!.change([], [infos[1]!]);
      if (i % 6 === 3) discovery.sink!.change([infos[1]!], []);
      await get(client, {});
      await sleep(1);
    }
    expect(two.seen.size).toBeGreaterThan(0);
    expect([one.accepted, two.accepted]).toEqual([1, 1]);
    expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(0);
  });

  it("D11 GC: endpoints that did not change keep their connections through updates of a list of 9,994", async () => {
    const servers = await Promise.all(Array.from({ length: 4 }, () => scripted()));
    const real = servers.map(({ address }) => infoOf(address));
    // Drained, so that no call goes there, and part of every list.
    const others = Array.from({ length: 9_990 }, (_, i) =>
      infoOf(`10.${i >> 8}.${i & 255}.1:80`, { weight: 0 }),
    );
    const { client, mesh, discovery } = discovered([...real, ...others], {
      balancer: { kind: "round-robin" },
    });
    const size = (): number => mesh.snapshot().services[0]!.endpoints.length;
    const call = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 20 }, () => get(client, {})));
    };
    await call();
    for (let update = 1; update <= 6; update++) {
      discovery.sink!.replace([...real, ...others.slice(update)]);
      const expected = 4 + others.length - update;
      for (let i = 0; i < 200 && size() !== expected; i++) {
        await get(client, {});
        await sleep(10);
      }
      expect(size()).toBe(expected);
      await call();
    }
    expect(servers.map(({ accepted }) => accepted)).toEqual([1, 1, 1, 1]);
    expect(counted(mesh, "inmesh.attempts", { outcome: "success" })).toBe(
      counted(mesh, "inmesh.attempts"),
    );
  });

  it.each([
    ["all 0: equal", [0, 0], [20, 20]],
    ["one 0 beside another: only the other", [0, 3], [0, 40]],
  ])("D15 GC: weights %s", async (_, weights, calls) => {
    const servers = [await serverOf(), await serverOf()];
    const infos = servers.map(({ address }, i) => infoOf(address, { weight: weights[i]! }));
    const { client } = discovered(infos, { balancer: { kind: "round-robin" } });
    for (let i = 0; i < 40; i++) await get(client, {});
    for (const [i, server] of servers.entries()) {
      expect(Math.abs(server.calls - calls[i]!)).toBeLessThanOrEqual(2);
    }
  });

  it("D14 GC: a zone that loses its last endpoint is left at once, and no call fails", async () => {
    const [near, far] = [await serverOf(), await serverOf()];
    const inZone = [infoOf(near.address, { zone: "a" })];
    const others = [infoOf(far.address, { zone: "b" })];
    const discovery = new TestDiscovery((sink) => sink.replace([...inZone, ...others]));
    const input = { zones: { minEndpoints: 2 } };
    const options = { zone: "a", discovery: () => discovery };
    const { client, mesh } = clientOf(["127.0.0.1:1"], input, options);
    const answers = async (count: number): Promise<string[]> => {
      const ids: string[] = [];
      for (let i = 0; i < count; i++) ids.push((await get(client, {})).id ?? "");
      return ids;
    };
    expect((await answers(50)).filter((id) => id === near.name).length).toBeGreaterThan(40);
    discovery.sink!.change([], inZone);
    await until(() => mesh.snapshot().services[0]!.endpoints.length === 1);
    expect([...new Set(await answers(20))]).toEqual([far.name]);
  });

  it("D15 GC: weights that are no weights are refused, and the last good ones stay", async () => {
    const server = await serverOf();
    const { client, mesh } = clientOf([server.address]);
    for (const weight of [-1, NaN, 2 ** 32]) {
      const endpoint = { host: "127.0.0.1", port: server.port, weight };
      const orders = { discovery: { static: [endpoint] } };
      expect(() => mesh.update({ services: { orders } })).toThrow(/weight/);
      await get(client, {});
    }
  });

  it("D16 GC: calls in flight finish when the service goes, and new ones fail at once", async () => {
    const waiting: (() => void)[] = [];
    const server = await serverOf({
      get: (_call, done) => void waiting.push(() => done(null, { id: "late" })),
    });
    const { client, mesh, discovery } = discovered(infosOf([server]));
    const calls = Array.from({ length: 10 }, () => get(client, {}));
    const chat = client.chat();
    const said = new Promise<Order>((resolve) => chat.once("data", resolve));
    await until(() => server.calls === 11);
    discovery.sink!.replace([]);
    await until(() => mesh.snapshot().services[0]!.endpoints.length === 0);
    expect(await failed(get(client, {}))).toMatchObject(NO_ENDPOINTS);
    for (const answerOne of waiting) answerOne();
    expect((await Promise.all(calls)).map(({ id }) => id)).toEqual(
      Array.from({ length: 10 }, () => "late"),
    );
    chat.write({ count: 5 });
    expect((await said).count).toBe(5);
    await endOf(chat);
    expect(server.calls).toBe(11);
  });

  it("D21 GC: with libuv's thread pool starved, lookups and calls go on", async () => {
    const server = await serverOf();
    const seen = await runChild<Record<string, unknown>>("starved-pool.ts", [
      String(server.port),
      folder(),
    ]);
    expect(seen).toMatchObject({
      before: "OK",
      // It was starved all the time: this is what would have waited.
      poolAnswered: false,
      during: Array.from({ length: 20 }, () => "OK"),
      another: "OK",
      poolAnsweredAfter: true,
    });
  });

  it("D22 GC: calls that waited go oldest first, within the limits; the expired ones are never sent", async () => {
    const order: number[] = [];
    const server = await serverOf({
      get: (call, done) => {
        order.push(call.request.count!);
        done(null, {});
      },
    });
    const { client, discovery, mesh } = discovered(undefined, {
      limits: { maxInFlight: 1_000, maxConnectionsPerEndpoint: 1 },
    });
    const gone: Promise<ServiceError>[] = [];
    const calls: Promise<Order>[] = [];
    for (let count = 0; count < 1_000; count++) {
      // Every tenth is too impatient for the first endpoint.
      if (count % 10 === 9)
        gone.push(failed(get(client, { count }, { deadline: Date.now() + 50 })));
      else calls.push(get(client, { count }));
    }
    const refused = failed(get(client, { count: 1_000 }));
    expect(await refused).toMatchObject({ cause: { reason: "concurrency", progress: "not-sent" } });
    for (const error of await Promise.all(gone)) {
      expect(error).toMatchObject({
        code: Status.DEADLINE_EXCEEDED,
        cause: { progress: "not-sent" },
      });
    }
    discovery.sink!.replace(infosOf([server]));
    await Promise.all(calls);
    expect(order).toEqual(Array.from({ length: 1_000 }, (_, i) => i).filter((i) => i % 10 !== 9));
    expect(counted(mesh, "inmesh.attempts")).toBe(900);
  });
});

async function scripted(): Promise<ScriptedServer> {
  const server = await ScriptedServer.start((stream) => answer(stream, Buffer.alloc(0)));
  onTestFinished(() => server.close());
  return server;
}

/** Ends a conversation, and waits for the status that follows. */
async function endOf(chat: ReturnType<Caller["client"]["chat"]>): Promise<void> {
  const over = once(chat, "status");
  chat.resume();
  chat.end();
  expect(await over).toMatchObject([{ code: Status.OK }]);
}

/** News of discovery within 100 ms of others wait for it to be over. */
async function calledUntil(client: Caller["client"], server: OrdersServer): Promise<void> {
  for (let i = 0; i < 500 && server.calls === 0; i++) {
    await get(client, {}).catch(() => sleep(5));
  }
  expect(server.calls).toBe(1);
}

describe("K: configuration, gRPC client", () => {
  it("K1 GC: a start without its file serves what was good last, and follows the file again", async () => {
    const servers = [await serverOf(), await serverOf()];
    const configFile = join(folder(), "mesh.json");
    const snapshotFile = join(folder(), "last-good.json");
    const write = (server: OrdersServer): void => {
      const services = { orders: { discovery: { static: [server.address] } } };
      writeFileSync(`${configFile}.new`, JSON.stringify({ services }));
      renameSync(`${configFile}.new`, configFile);
    };
    write(servers[0]!);
    await createMesh({ env: {}, configFile, snapshotFile }).close();
    rmSync(configFile);
    const mesh = createMesh({ env: {}, configFile, snapshotFile });
    onTestFinished(() => mesh.close(0));
    const client = new Orders(...meshGrpc("orders", { mesh }));
    expect((await get(client, {})).id).toBe(servers[0]!.name);
    expect(mesh.snapshot().config.state).toBe("refused");
    write(servers[1]!);
    const names = servers.map(({ name }) => name);
    const end = performance.now() + 20_000;
    while (mesh.snapshot().config.state !== "current" && performance.now() < end) {
      expect(names).toContain((await get(client, {})).id);
    }
    expect((await get(client, {})).id).toBe(names[1]);
  });

  it("K4 GC: no call sees half a change of address and authority, and none fails", async () => {
    const seen = new Map<string, number>();
    const start = (name: string): Promise<OrdersServer> =>
      serverOf({
        get: (call, done) => {
          // Refuses what is not meant for it: address and authority must change together.
          const said = `${name} as ${call.getHost()}`;
          seen.set(said, (seen.get(said) ?? 0) + 1);
          setTimeout(done, 5, null, {});
        },
      });
    const servers = [await start("a"), await start("b")];
    const config = (n: number) => ({
      services: {
        orders: {
          discovery: { static: [servers[n % 2]!.address] },
          authority: n % 2 === 0 ? "a" : "b",
        },
      },
    });
    const mesh = createMesh({ env: {}, config: config(0) });
    onTestFinished(() => mesh.close(0));
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const calls: Promise<Order>[] = [];
    for (let n = 1; n <= 40; n++) {
      calls.push(get(client, {}), get(client, {}));
      await sleep(2);
      mesh.update(config(n));
      calls.push(get(client, {}), get(client, {}));
    }
    await Promise.all(calls);
    expect([...seen.keys()].toSorted()).toEqual(["a as a", "b as b"]);
  });

  it("D16 GC: a removed service refuses calls before a connection is touched, and comes back", async () => {
    const server = await serverOf({ get: (_call, done) => void setTimeout(done, 20, null, {}) });
    const config = { services: { orders: { discovery: { static: [server.address] } } } };
    const mesh = createMesh({ env: {}, config });
    onTestFinished(() => mesh.close(0));
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const before = get(client, {});
    await sleep(1);
    mesh.update({});
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNIMPLEMENTED,
      cause: { code: "no_route", progress: "not-sent" },
    });
    await before;
    mesh.update(config);
    await get(client, {});
    expect(server.calls).toBe(2);
  });
});
