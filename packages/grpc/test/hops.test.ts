/** Hops in either mixture, on real sockets: what a call learns of the one it is made for, and its end. */
import { status as Status } from "@grpc/grpc-js";
import { context, type Mesh, type ServedRequest } from "@inmesh/core";
import { createMesh, meshGrpc, meshGrpcServer, type MeshGrpcServer } from "@inmesh/grpc";
import { meshClient, meshServer, type MeshClient, type MeshServer } from "@inmesh/http";
import { afterEach, describe, expect, it } from "vitest";
import { get } from "./support/bench.ts";
import {
  OrdersServer,
  Orders,
  type Order,
  type OrdersClient,
  type OrdersHandlers,
} from "./support/orders.ts";
import { ask, bareClient } from "./support/served.ts";
import { until } from "./support/wire.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});
/** Busy machines shed nothing here. */
const OPTIONS = { posture: "mesh", limits: { maxLoopDelayMs: Infinity } } as const;
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async function grpcServer(
  handlers: Partial<OrdersHandlers>,
): Promise<{ address: string; server: MeshGrpcServer; orders: OrdersServer }> {
  const orders = new OrdersServer("grpc", handlers);
  const server = meshGrpcServer(orders.server, OPTIONS);
  await orders.listen();
  ends.push(() => server.close(0));
  return { address: orders.address, server, orders };
}

async function httpServer(
  handler: Parameters<typeof meshServer>[0],
): Promise<{ address: string; server: MeshServer }> {
  const server = meshServer(handler, OPTIONS);
  const { port } = await server.listen(0, "127.0.0.1");
  ends.push(() => server.close(0));
  return { address: `127.0.0.1:${port}`, server };
}

function meshTo(services: Record<string, string>, retries = 0): Mesh {
  const mesh = createMesh({
    env: {},
    config: {
      services: Object.fromEntries(
        Object.entries(services).map(([name, address]) => [
          name,
          {
            discovery: { static: [address] },
            retry: { attempts: retries + 1, codes: [503], backoff: "1ms", maxBackoff: "1ms" },
            routes: [{ name: "all", idempotent: true }],
          },
        ]),
      ),
    },
  });
  ends.push(() => mesh.close(0));
  return mesh;
}

function grpcClient(mesh: Mesh): OrdersClient {
  return new Orders(...meshGrpc("orders", { mesh }));
}

type Done = Parameters<OrdersHandlers["get"]>[1];

/** Answers with what the work comes to. */
async function replyWith(done: Done, work: () => Promise<Order>): Promise<void> {
  let order: Order;
  try {
    order = await work();
  } catch (error) {
    done({ code: Status.UNAVAILABLE, details: String(error) });
    return;
  }
  done(null, order);
}

const inherited = {
  hops: 2,
  attempt: 3,
  priority: "sheddable",
  traceparent: TRACE,
};
const httpHeaders = {
  "x-mesh-timeout-ms": "5000",
  "x-mesh-attempt": "3",
  "x-mesh-hops": "1",
  "x-mesh-priority": "sheddable",
  traceparent: TRACE,
};

function expectInherited(served: ServedRequest | undefined): void {
  expect(served).toMatchObject(inherited);
  const leftMs = served!.deadlineAt - performance.now();
  expect(leftMs).toBeGreaterThan(1_000);
  expect(leftMs).toBeLessThan(5_000);
}

describe("HTTP in, gRPC out", () => {
  it("deadline, trace, priority, attempt and hops pass on by themselves", async () => {
    let served: ServedRequest | undefined;
    const last = await grpcServer({
      get: (_call, done) => {
        served = context.getStore();
        done(null, {});
      },
    });
    const client = grpcClient(meshTo({ orders: last.address }));
    const middle = await httpServer((_request, response) => {
      void get(client, {}).then(() => response.end("ok"));
    });
    const response = await fetch(`http://${middle.address}/`, { headers: httpHeaders });
    expect(await response.text()).toBe("ok");
    expectInherited(served);
  });

  it("a caller that leaves ends the call two hops below, within 100 ms", async () => {
    const last = await grpcServer({ get: () => {} });
    const client = grpcClient(meshTo({ orders: last.address }));
    const middle = await httpServer((_request, response) => {
      get(client, {}).then(
        () => response.end(),
        () => response.destroy(),
      );
    });
    const leaving = new AbortController();
    const response = fetch(`http://${middle.address}/`, { signal: leaving.signal });
    await until(() => last.orders.calls === 1);
    leaving.abort();
    await expect(response).rejects.toThrow();
    const startedAt = performance.now();
    await until(() => last.orders.cancelled === 1);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

describe("gRPC in, HTTP out", () => {
  const said = {
    "grpc-previous-rpc-attempts": "2",
    "x-mesh-hops": "1",
    "x-mesh-priority": "sheddable",
    traceparent: TRACE,
  };

  it("deadline, trace, priority, attempt and hops pass on by themselves", async () => {
    let served: ServedRequest | undefined;
    const last = await httpServer((_request, response) => {
      served = context.getStore();
      response.end("ok");
    });
    const stock = meshClient("stock", { mesh: meshTo({ stock: last.address }) });
    const middle = await grpcServer({
      get: (_call, done) => {
        void replyWith(done, async () => ({ id: await (await stock.fetch("/")).text() }));
      },
    });
    const client = bareClient(middle.address);
    ends.push(() => client.close());
    const answer = await ask(client, said, { deadline: Date.now() + 5_000 });
    expect(answer.order?.id).toBe("ok");
    expectInherited(served);
  });

  /** A client of a server whose handler asks this one over HTTP. */
  const hopTo = async (address: string): Promise<OrdersClient> => {
    const stock = meshClient("stock", { mesh: meshTo({ stock: address }) });
    const middle = await grpcServer({
      get: (_call, done) => {
        void replyWith(done, async () => {
          await stock.fetch("/");
          return {};
        });
      },
    });
    const client = bareClient(middle.address);
    ends.push(() => client.close());
    return client;
  };

  it("a caller that leaves ends the request two hops below, within 100 ms", async () => {
    let asked = false;
    let closed = false;
    const last = await httpServer((_request, response) => {
      asked = true;
      response.on("close", () => (closed = true));
    });
    const client = await hopTo(last.address);
    const answer = ask(client, {}, {}, {}, (call) => {
      void until(() => asked).then(() => call.cancel());
    });
    expect((await answer).error?.code).toBe(Status.CANCELLED);
    const startedAt = performance.now();
    await until(() => closed);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("the deadline of the caller ends the request two hops below", async () => {
    let closed = false;
    const last = await httpServer((_request, response) => {
      response.on("close", () => (closed = true));
    });
    const client = await hopTo(last.address);
    const { error } = await ask(client, {}, { deadline: Date.now() + 300 });
    // What is left for the hop below is a little less, so that its failure can still be answered.
    expect([Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE]).toContain(error?.code);
    await until(() => closed);
  });
});

const fetchOnce = (client: MeshClient) => async (): Promise<void> => {
  (await client.fetch("/")).discard();
};
const getOnce = (client: OrdersClient) => (): Promise<unknown> => get(client, {}).catch(() => {});

describe("three hops", () => {
  it.each([
    ["grpc", "grpc"],
    ["http", "grpc"],
    ["grpc", "http"],
  ] as const)(
    "B13 GC, B13 GS: %s, then %s, may all retry, and load the last ≤ 1.2 times",
    async (first, second) => {
      let asked = 0;
      const fails: Partial<OrdersHandlers> = {
        get: (_call, done) => {
          asked++;
          done({ name: "", message: "", code: Status.UNAVAILABLE, details: "down" });
        },
      };
      const passOn =
        (client: OrdersClient): OrdersHandlers["get"] =>
        (_call, done) =>
          void client.get({}, (error, order) => done(error, order));
      const callHttp =
        (mesh: Mesh): OrdersHandlers["get"] =>
        (_call, done) =>
          void replyWith(done, async () => {
            const reply = await meshClient("orders", { mesh }).fetch("/");
            reply.discard();
            if (reply.status >= 500) throw new Error("above");
            return {};
          });
      const serveHttp = (client: OrdersClient) =>
        httpServer((_request, response) => {
          client.get({}, (error) => {
            response.statusCode = error === null ? 200 : 503;
            response.end();
          });
        });
      const last = await grpcServer(fails);
      const toLast = grpcClient(meshTo({ orders: last.address }, 2));
      const middle =
        second === "grpc" ? await grpcServer({ get: passOn(toLast) }) : await serveHttp(toLast);
      const meshToMiddle = meshTo({ orders: middle.address }, 2);
      const edge =
        first === "http"
          ? await serveHttp(grpcClient(meshToMiddle))
          : await grpcServer({
              get: second === "grpc" ? passOn(grpcClient(meshToMiddle)) : callHttp(meshToMiddle),
            });
      const meshToEdge = meshTo({ orders: edge.address }, 2);
      const once =
        first === "http"
          ? fetchOnce(meshClient("orders", { mesh: meshToEdge }))
          : getOnce(grpcClient(meshToEdge));
      const calls = 400;
      const startedAt = performance.now();
      for (let i = 0; i < calls; i += 20) await Promise.all(Array.from({ length: 20 }, once));
      // The reserve of one hop: one retry per second, and the window's ten.
      const reserve = 12 + (performance.now() - startedAt) / 1000;
      expect(asked).toBeLessThanOrEqual(calls * 1.2 + reserve);
      expect(asked).toBeGreaterThan(calls * 1.05);
    },
  );
});
