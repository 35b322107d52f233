/** How a gRPC server leaves: what it says, in which order, and that nothing is lost. */
import {
  credentials,
  makeGenericClientConstructor,
  status as Status,
  type ClientReadableStream,
} from "@grpc/grpc-js";
import { createMesh, meshGrpc, meshGrpcServer, type MeshGrpcServer } from "@inmesh/grpc";
import { expectNoLeak } from "@inmesh/core/testing";
import { afterEach, describe, expect, it } from "vitest";
import { GOAWAY, type Frame } from "../../http/test/support/h2-peer.ts";
import { HEALTH, type HealthRequest, type HealthResponse } from "../src/server/health-messages.ts";
import { get } from "./support/bench.ts";
import { Http2Caller } from "./support/http2-caller.ts";
import { message, RawGrpcClient } from "./support/raw-grpc-client.ts";
import { ask, bareClient, serve, served } from "./support/served.ts";
import { PUBLIC_ONLY, skipPublicOnly } from "../../http/test/support/public-only.ts";
import { Orders, OrdersServer, type Order } from "./support/orders.ts";
import { clientOf, until } from "./support/wire.ts";

const lastStreamOf = ({ payload }: Frame): number => payload.readUInt32BE(0);

const Health = makeGenericClientConstructor(HEALTH, "Health");
interface HealthClient {
  check(
    request: HealthRequest,
    done: (error: { code: number } | null, response?: HealthResponse) => void,
  ): void;
  watch(request: HealthRequest): ClientReadableStream<HealthResponse>;
  close(): void;
}
const healthClients: HealthClient[] = [];
function health(port: number): HealthClient {
  const client = new Health(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as HealthClient;
  healthClients.push(client);
  return client;
}
afterEach(() => {
  for (const client of healthClients.splice(0)) client.close();
});
/** A status, or the code of the refusal. */
function check(client: HealthClient, service = ""): Promise<number> {
  return new Promise((resolve) => {
    client.check({ service }, (error, response) =>
      resolve(error === null ? response!.status : -error.code),
    );
  });
}

describe("drain", () => {
  it("G1 GS: GOAWAY names the last call that is served; what crosses it its client sends again", async () => {
    const pending: (() => void)[] = [];
    const { orders, server } = await served(
      { get: (_call, done) => void pending.push(() => done(null, {})) },
      { discoveryWaitMs: 0 },
    );
    using raw = await RawGrpcClient.open(orders.port);
    raw.call(1);
    await until(() => pending.length === 1);
    const drained = server.drain();
    const first = await raw.until(({ type }) => type === GOAWAY, "GOAWAY");
    expect(lastStreamOf(first)).toBe(1);
    expect(first.payload.readUInt32BE(4)).toBe(0);
    raw.call(3);
    pending[0]!();
    await raw.replied(1);
    await raw.end();
    for (const frame of raw.frames.filter(({ type }) => type === GOAWAY)) {
      expect(lastStreamOf(frame)).toBe(1);
    }
    await drained;
    expect(orders.calls).toBe(1);
    expect(server.state).toBe("closed");
  });

  it("is not serving first, goes on serving, and ends what is in progress", async () => {
    const pending: (() => void)[] = [];
    const { orders, server, client } = await served(
      { get: (_call, done) => void pending.push(() => done(null, { id: "late" })) },
      { discoveryWaitMs: 200 },
    );
    const slow = ask(client);
    await until(() => pending.length === 1);
    const asked = health(orders.port);
    expect(await check(asked)).toBe(1);
    const drained = server.drain();
    expect(server.drain()).toBe(drained);
    expect(server.ready).toBe(false);
    expect(await check(asked)).toBe(2);
    const second = ask(client); // before the GOAWAY: as ever
    await until(() => pending.length === 2);
    await until(() => server.state === "closing");
    let over = false;
    void drained.then(() => (over = true));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(over).toBe(false);
    for (const end of pending) end();
    expect((await slow).order?.id).toBe("late");
    expect((await second).order?.id).toBe("late");
    await drained;
    await until(() => server.snapshot().sessions === 0);
    expect(server.snapshot()).toMatchObject({ state: "closed", callsInFlight: 0 });
  });

  it("L3 GS: what is left at the end of the grace is destroyed", async () => {
    const { server, client } = await served({ get: () => {} }, { discoveryWaitMs: 0 });
    const stuck = ask(client);
    await until(() => server.snapshot().callsInFlight === 1);
    await server.drain(200);
    const { error } = await stuck;
    expect([Status.UNAVAILABLE, Status.CANCELLED]).toContain(error?.code);
    expect(server.state).toBe("closed");
  });

  it("a client that keeps its half of an answered call open does not hold it up", async () => {
    const { orders, server } = await served({}, { discoveryWaitMs: 0 });
    using caller = new Http2Caller(orders.port);
    const stream = caller.open("Get");
    const ended = caller.ended(stream);
    stream.write(message(Buffer.alloc(1), 0, 0xffff_ffff)); // refused by its length, and never ended
    expect((await ended).status).toBe(Status.RESOURCE_EXHAUSTED);
    const startedAt = performance.now();
    await server.drain(60_000);
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  it("L1 GS: bursts that meet servers on their way out lose no call, whatever the budget", async () => {
    for (let round = 0; round < 3; round++) {
      const [leaving, staying] = [await served({}, { discoveryWaitMs: 0 }), await served()];
      const { client, mesh } = clientOf([leaving.orders.address, staying.orders.address]);
      const burst = (): Promise<Order[]> =>
        Promise.all(Array.from({ length: 100 }, () => get(client, {})));
      await burst();
      const drained = leaving.server.drain();
      expect(await burst()).toHaveLength(100);
      await drained;
      expect(mesh.snapshot().services[0]!.retryBudget.refused).toBe(0);
    }
  });

  it("L1 GS: servers that leave one after the other lose no call of a mesh", async () => {
    const servers: MeshGrpcServer[] = [];
    const start = async (address: string): Promise<string> => {
      const server = meshGrpcServer({ discoveryWaitMs: 20 });
      server.server.addService(Orders.service, {
        get: (_call: unknown, done: (error: null, order: Order) => void) => {
          setTimeout(() => done(null, {}), 2);
        },
      });
      servers.push(server);
      return `127.0.0.1:${await server.listen(address)}`;
    };
    const addresses = [await start("127.0.0.1:0"), await start("127.0.0.1:0")];
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: addresses } } } },
    });
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const load = { stopped: false };
    let calls = 0;
    const errors: unknown[] = [];
    const worker = async (): Promise<void> => {
      while (!load.stopped) {
        calls++;
        await get(client, {}).catch(async (error: unknown) => {
          errors.push(error);
          await new Promise((resolve) => setTimeout(resolve, 5));
        });
      }
    };
    const workers = Array.from({ length: 10 }, worker);
    for (let i = 0; i < 4; i++) {
      const at = i % 2;
      await servers[i]!.drain(5_000);
      addresses[at] = await start(addresses[at]!);
      servers[i + 2] = servers.pop()!;
      // The next one leaves when this one is in use again, as an orchestrator waits until it is ready.
      do await new Promise((resolve) => setTimeout(resolve, 200));
      while (
        mesh.snapshot().services[0]!.endpoints.some(({ breaker }) => breaker.state !== "closed")
      );
    }
    load.stopped = true;
    await Promise.all(workers);
    expect(errors.map(String)).toEqual([]);
    expect(calls).toBeGreaterThan(100);
    await mesh.close(0);
    for (const server of servers) await server.close(0);
  });

  it("gives back everything it took", async () => {
    await expectNoLeak(async () => {
      const { client, server } = await serve({}, { discoveryWaitMs: 0 });
      for (let i = 0; i < 20; i++) await ask(client);
      await server.drain();
      client.close();
      await server.close(0);
    });
  });

  it("a server without a connection leaves, one without an address too", async () => {
    const { server } = await served({}, { discoveryWaitMs: 0 });
    await server.drain();
    const unbound = meshGrpcServer();
    await unbound.drain(1_000);
    expect(unbound.state).toBe("closed");
  });
});

describe("health", () => {
  it("answers for the whole and for its services; the application may say no", async () => {
    let ready = true;
    const { orders } = await served(
      {},
      { health: { isReady: (service) => service !== "shop.Orders" || ready } },
    );
    const client = health(orders.port);
    expect(await check(client)).toBe(1);
    expect(await check(client, "shop.Orders")).toBe(1);
    // Which services a server has is read of `Server.handlers`; without it each is as the whole server.
    expect(await check(client, "shop.Order")).toBe(PUBLIC_ONLY ? 1 : -Status.NOT_FOUND);
    ready = false;
    expect(await check(client, "shop.Orders")).toBe(2);
    expect(await check(client)).toBe(1);
  });

  it("an application's condition that throws is a no", async () => {
    const { orders } = await served(
      {},
      {
        health: {
          isReady: () => {
            throw new Error("no database");
          },
        },
      },
    );
    expect(await check(health(orders.port))).toBe(2);
  });

  it("is answered by a server that refuses calls", async () => {
    const { orders, client } = await served({}, { limits: { maxInFlight: 0 } });
    expect((await ask(client)).error?.code).toBe(Status.UNAVAILABLE);
    expect(await check(health(orders.port))).toBe(2);
  });

  it("watchers get every change, and are sent away at the end", async () => {
    let ready = true;
    const { orders, server } = await served(
      {},
      { discoveryWaitMs: 100, health: { isReady: () => ready } },
    );
    const watch = health(orders.port).watch({ service: "" });
    const statuses: number[] = [];
    watch.on("data", ({ status }: HealthResponse) => statuses.push(status));
    const ended = new Promise<{ code: number }>((resolve) => watch.on("error", resolve as never));
    await until(() => statuses.length === 1);
    ready = false;
    await until(() => statuses.length === 2);
    ready = true;
    await until(() => statuses.length === 3);
    const drained = server.drain();
    expect((await ended).code).toBe(Status.UNAVAILABLE);
    expect(statuses).toEqual([1, 2, 1, 2]);
    await drained;
  });

  it("an unknown service may come to be known to who watches it", async (context) => {
    skipPublicOnly(context, "without Server.handlers each service is as the whole server");
    const { orders } = await served();
    const watch = health(orders.port).watch({ service: "late.Service" });
    const statuses: number[] = [];
    watch.on("data", ({ status }: HealthResponse) => statuses.push(status));
    watch.on("error", () => {});
    await until(() => statuses.length === 1);
    orders.server.addService(
      { ping: { ...Orders.service["get"]!, path: "/late.Service/Ping" } },
      { ping: () => {} },
    );
    await until(() => statuses.length === 2);
    expect(statuses).toEqual([3, 1]);
  });

  it("watchers are bounded", async () => {
    const { orders } = await served({}, { limits: { maxWatchers: 1 } });
    const client = health(orders.port);
    const watch = client.watch({ service: "late.Service" });
    const statuses: number[] = [];
    watch.on("data", ({ status }: HealthResponse) => statuses.push(status));
    watch.on("error", () => {});
    await until(() => statuses.length === 1);
    const second = client.watch({ service: "" });
    second.resume();
    const refused = await new Promise<{ code: number }>((resolve) =>
      second.on("error", resolve as never),
    );
    expect(refused.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(statuses).toHaveLength(1);
  });

  it("a server that has a health service keeps it; false answers none", async () => {
    const { orders } = await served({}, { health: false });
    expect(await check(health(orders.port))).toBe(-Status.UNIMPLEMENTED);
    const own = new OrdersServer("a");
    const check1 = HEALTH["check"]!;
    own.server.register(
      check1.path,
      ((_call: unknown, done: (error: null, response: HealthResponse) => void) =>
        done(null, { status: 3 })) as never,
      check1.responseSerialize as never,
      check1.requestDeserialize,
      "unary",
    );
    const server = meshGrpcServer(own.server);
    await own.listen();
    expect(await check(health(own.port))).toBe(3);
    await server.close(0);
  });

  it("a request that is no message is refused", async () => {
    const { orders } = await served();
    using raw = await RawGrpcClient.open(orders.port);
    const { callHead } = await import("./support/raw-grpc-client.ts");
    const { data } = await import("../../http/test/support/h2-peer.ts");
    const bad = [Buffer.from([0x0a, 200]), Buffer.from([0x80]), Buffer.alloc(20, 0xff)];
    for (const [i, bytes] of bad.entries()) {
      const id = 2 * i + 1;
      raw.send(callHead(id, {}, "/grpc.health.v1.Health/Check"), data(id, message(bytes), true));
      await raw.replied(id);
    }
    const client = bareClient(orders.address);
    expect((await ask(client)).error).toBeNull();
    client.close();
  });
});
