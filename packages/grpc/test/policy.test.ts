/** The powers of the mesh over gRPC: balancing, retries, deadlines, cancellation, routes, what is inherited. */
import { AsyncLocalStorage } from "node:async_hooks";
import {
  Metadata,
  status as Status,
  type ClientReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { context, ServedRequest } from "@inmesh/core";
import { callInfo } from "@inmesh/grpc";
import { describe, expect, it } from "vitest";
import { counted, get } from "./support/bench.ts";
import type { Order, OrdersHandlers } from "./support/orders.ts";
import { bench, clientOf, failed, serverOf, until } from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const refuse = (code: Status, pushback?: string): OrdersHandlers["get"] => {
  return (_, callback) => {
    const metadata = new Metadata();
    if (pushback !== undefined) metadata.set("grpc-retry-pushback-ms", pushback);
    callback({ code, details: "as asked", metadata });
  };
};
const vouched = {
  routes: [{ name: "vouched", idempotent: true }],
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
  balancer: { kind: "round-robin" },
} as const;

describe("balancing and breaking", () => {
  it("calls of one client spread over all endpoints, one connection each", async () => {
    const { client, servers } = await bench([{}, {}, {}]);
    await Promise.all(Array.from({ length: 60 }, (_, count) => get(client, { count })));
    for (const { calls } of servers) expect(calls).toBeGreaterThan(5);
  });

  it("C1 GC: an endpoint that goes away is left, and no caller sees it", async () => {
    const { client, servers } = await bench([{}, {}]);
    for (let count = 0; count < 20; count++) await get(client, { count });
    servers[0]!.stop();
    for (let count = 0; count < 20; count++) expect((await get(client, {})).id).toBe("b");
  });

  it("C1 GC: a burst of which half meets no server is answered by the other endpoint, whatever the budget", async () => {
    const server = await serverOf();
    const { client, mesh } = clientOf([await freeAddress(), server.address]);
    const replies = await Promise.all(Array.from({ length: 200 }, () => get(client, {})));
    expect(replies).toHaveLength(200);
    expect(counted(mesh, "inmesh.attempts", { kind: "resend" })).toBeGreaterThan(50);
    expect(mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(0);
  });

  it("UNAVAILABLE in a row opens the breaker; NOT_FOUND does not", async () => {
    const { client, mesh } = await bench([{ get: refuse(Status.NOT_FOUND) }, {}]);
    for (let i = 0; i < 40; i++) await get(client, {}).catch(() => {});
    const states = () => mesh.snapshot().services[0]!.endpoints.map(({ breaker }) => breaker);
    expect(JSON.stringify(states())).not.toContain("open");
    const other = await bench([{ get: refuse(Status.UNAVAILABLE) }, {}], {
      balancer: { kind: "round-robin" },
    });
    for (let i = 0; i < 60; i++) await get(other.client, {}).catch(() => {});
    expect(counted(other.mesh, "inmesh.breaker.transitions", { state: "open" })).toBe(1);
  });
});

describe("retries", () => {
  it("a failure of an idempotent route is tried elsewhere, and the server learns the attempt's number", async () => {
    const { client, servers } = await bench([{ get: refuse(Status.UNAVAILABLE) }, {}], vouched);
    for (let i = 0; i < 10; i++) expect((await get(client, {})).id).toBe("b");
    expect(servers[0]!.calls).toBeGreaterThan(0);
  });

  it("grpc-previous-rpc-attempts counts, and callInfo says so", async () => {
    const seen: unknown[] = [];
    const flaky: OrdersHandlers["get"] = (call, callback) => {
      seen.push(call.metadata.get("grpc-previous-rpc-attempts"));
      if (seen.length % 2 === 1) callback({ code: Status.UNAVAILABLE, details: "once" });
      else callback(null, { id: "x" });
    };
    const { client, servers } = await bench({ get: flaky }, vouched);
    let info: ReturnType<typeof callInfo>;
    await get(client, {}, {}, new Metadata(), (call) => {
      call.on("status", (status) => {
        info = callInfo(status);
      });
    });
    expect(seen).toEqual([[], ["1"]]);
    await until(() => info !== undefined);
    expect(info).toMatchObject({ attempts: 2, tried: [servers[0]!.address] });
  });

  it("without a route that vouches, what may have been processed is not sent again", async () => {
    const { client, servers } = await bench({ get: refuse(Status.UNAVAILABLE) });
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      details: "as asked",
    });
    expect(servers[0]!.calls).toBe(1);
  });

  it("client streaming: messages so far are sent again, in order, once", async () => {
    let calls = 0;
    const got: number[][] = [];
    const add: OrdersHandlers["add"] = (call, callback) => {
      const mine: number[] = [];
      got.push(mine);
      calls++;
      const fails = calls === 1;
      call.on("data", (order: Order) => {
        mine.push(order.count!);
        if (fails && mine.length === 3) {
          callback({ code: Status.UNAVAILABLE, details: "in the middle" });
        }
      });
      call.on("end", () => {
        if (!fails) callback(null, { count: mine.length });
      });
    };
    const { client } = await bench({ add }, vouched);
    const reply = await new Promise<Order>((resolve, reject) => {
      const stream = client.add((error, order) => (error ? reject(error) : resolve(order!)));
      for (let count = 0; count < 3; count++) stream.write({ count });
      void until(() => calls === 2).then(() => {
        for (let count = 3; count < 6; count++) stream.write({ count });
        stream.end();
      });
    });
    expect(reply.count).toBe(6);
    expect(got[1]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("what does not fit the buffer is sent once", async () => {
    let calls = 0;
    const add: OrdersHandlers["add"] = (call, callback) => {
      calls++;
      let bytes = 0;
      call.on("data", (order: Order) => {
        bytes += order.blob!.length;
        if (bytes > 2_000_000) callback({ code: Status.UNAVAILABLE, details: "late" });
      });
    };
    const { client, mesh } = await bench({ add }, vouched);
    const blob = Buffer.alloc(100_000);
    const error = await new Promise<ServiceError | null>((resolve) => {
      const stream = client.add(resolve);
      stream.on("error", () => {});
      const write = (): void => {
        for (let i = 0; i < 30; i++)
          if (!stream.write({ blob })) return void stream.once("drain", write);
      };
      write();
    });
    expect(error).toMatchObject({ code: Status.UNAVAILABLE, details: "late" });
    expect(calls).toBe(1);
    expect(counted(mesh, "inmesh.retry.decisions", { decision: "not_replayable" })).toBe(1);
  });

  it("server streaming: tried elsewhere before the head, never after it", async () => {
    const early: OrdersHandlers["list"] = (call) =>
      void call.emit("error", { code: Status.UNAVAILABLE, details: "early" });
    const first = await bench([{ list: early }, {}], vouched);
    for (let i = 0; i < 6; i++) {
      const counts: number[] = [];
      for await (const order of first.client.list({ count: 3 }))
        counts.push((order as Order).count!);
      expect(counts).toEqual([0, 1, 2]);
    }
    expect(first.servers[0]!.calls).toBeGreaterThan(0);

    const late: OrdersHandlers["list"] = (call) => {
      call.write({ count: 0 });
      call.emit("error", { code: Status.UNAVAILABLE, details: "late" });
    };
    const second = await bench({ list: late }, vouched);
    const counts: number[] = [];
    const read = async (): Promise<void> => {
      for await (const order of second.client.list({})) counts.push((order as Order).count!);
    };
    expect(await failed(read())).toMatchObject({ code: Status.UNAVAILABLE, details: "late" });
    expect(counts).toEqual([0]);
    expect(second.servers[0]!.calls).toBe(1);
  });
});

describe("deadlines", () => {
  it("G7 GC: grpc-timeout is what remains", async () => {
    const { client, servers } = await bench({}, { timeouts: { requestMs: 5_000 } });
    await get(client, {});
    expect(servers[0]!.lastTimeoutMs).toBeGreaterThan(4_000);
    expect(servers[0]!.lastTimeoutMs).toBeLessThanOrEqual(5_000);
    await get(client, {}, { deadline: new Date(Date.now() + 1_000) });
    expect(servers[0]!.lastTimeoutMs).toBeGreaterThan(500);
    expect(servers[0]!.lastTimeoutMs).toBeLessThanOrEqual(1_000);
  });

  it("its call ends with it, and the server learns of it", async () => {
    const { client, servers, mesh } = await bench({ get: () => {} });
    const error = await failed(get(client, {}, { deadline: Date.now() + 100 }));
    expect(error.code).toBe(Status.DEADLINE_EXCEEDED);
    await until(() => servers[0]!.cancelled === 1);
    expect(counted(mesh, "inmesh.attempts", { outcome: "timeout" })).toBe(1);
  });

  it("a deadline in the past sends nothing", async () => {
    const { client, servers } = await bench();
    const error = await failed(get(client, {}, { deadline: Date.now() - 10 }));
    expect(error.code).toBe(Status.DEADLINE_EXCEEDED);
    expect(servers[0]!.calls).toBe(0);
  });

  it("what is left of the request being served, its trace and hops go along", async () => {
    const { client, servers } = await bench();
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const served = new ServedRequest({
      deadlineAt: performance.now() + 800,
      traceparent: trace,
      priority: "critical",
      hops: 2,
    });
    await context.run(served, () => get(client, {}));
    const { lastMetadata } = servers[0]!;
    expect(servers[0]!.lastTimeoutMs).toBeLessThanOrEqual(800);
    expect(servers[0]!.lastTimeoutMs).toBeGreaterThan(300);
    expect(lastMetadata!.get("traceparent")).toEqual([trace]);
    expect(lastMetadata!.get("x-mesh-priority")).toEqual(["critical"]);
    expect(lastMetadata!.get("x-mesh-hops")).toEqual(["3"]);
  });

  it("when the caller is gone, so is the call", async () => {
    const { client, servers } = await bench({ get: () => {} });
    const served = new ServedRequest();
    const call = context.run(served, () => failed(get(client, {})));
    await until(() => servers[0]!.calls === 1);
    served.leave();
    expect((await call).code).toBe(Status.CANCELLED);
    await until(() => servers[0]!.cancelled === 1);
  });
});

describe("cancellation", () => {
  it("reaches the server within 100 ms", async () => {
    const { client, servers, mesh } = await bench({
      get: () => {},
      list: () => {},
      chat: () => {},
    });
    let cancel = (): void => {};
    const unary = failed(
      get(client, {}, {}, new Metadata(), (call) => {
        cancel = () => call.cancel();
      }),
    );
    const list = client.list({});
    const chat = client.chat();
    const codes: number[] = [];
    for (const stream of [list, chat]) {
      stream.on("error", (error) => codes.push((error as ServiceError).code));
    }
    await until(() => servers[0]!.calls === 3);
    const startedAt = performance.now();
    cancel();
    list.cancel();
    chat.cancel();
    await until(() => servers[0]!.cancelled === 3);
    expect(performance.now() - startedAt).toBeLessThan(100);
    expect(await unary).toMatchObject({ code: Status.CANCELLED, details: "Cancelled on client" });
    await until(() => codes.length === 2);
    expect(codes).toEqual([Status.CANCELLED, Status.CANCELLED]);
    expect(counted(mesh, "inmesh.attempts", { outcome: "abandoned" })).toBe(3);
    expect(counted(mesh, "inmesh.call.active")).toBe(0);
  });

  it("a call cancelled before it began is sent nowhere", async () => {
    const { client, servers } = await bench();
    const error = failed(get(client, {}, {}, new Metadata(), (call) => call.cancel()));
    expect((await error).code).toBe(Status.CANCELLED);
    await get(client, {});
    expect(servers[0]!.calls).toBeLessThanOrEqual(2);
  });
});

describe("routes", () => {
  it("by service, method and metadata", async () => {
    const slow: Partial<OrdersHandlers> = { get: () => {} };
    const { client } = await bench(slow, {
      routes: [
        {
          name: "quick",
          matches: [
            {
              path: { type: "Exact", value: "/shop.Orders/Get" },
              headers: [{ name: "x-kind", value: "quick" }],
            },
          ],
          timeouts: { requestMs: 50 },
        },
        {
          name: "orders",
          matches: [{ path: { type: "PathPrefix", value: "/shop.Orders" } }],
          timeouts: { requestMs: 120 },
        },
      ],
    });
    const metadata = new Metadata();
    metadata.set("x-kind", "quick");
    expect(callInfo(await failed(get(client, {}, {}, metadata)))!.route).toBe("quick");
    expect(callInfo(await failed(get(client, {})))!.route).toBe("orders");
  });

  it("in the words of GRPCRoute: service, method, metadata, a split, filters, a policy of its own", async () => {
    const [own, canary] = [await serverOf(), await serverOf()];
    const { client, mesh } = clientOf([own.address]);
    const filter = { requestHeaderModifier: { set: [{ name: "x-by", value: "route" }] } };
    mesh.update({
      services: {
        canary: { discovery: { static: [canary.address] } },
        orders: {
          discovery: { static: [own.address] },
          routes: [
            { name: "service", matches: [{ method: { service: "shop.Orders" } }] },
            {
              name: "try",
              matches: [
                {
                  method: { service: "shop.Orders", method: "Get" },
                  headers: [{ name: "x-try", value: "[a-z]+", type: "RegularExpression" }],
                },
              ],
              filters: [{ type: "RequestHeaderModifier", ...filter }],
              timeouts: { requestMs: 5_000 },
              backendRefs: [
                { name: "orders", weight: 0 },
                { name: "canary", weight: 1 },
              ],
            },
            {
              name: "method",
              matches: [{ method: { method: "L.st", type: "RegularExpression" } }],
            },
          ],
        },
      },
    });
    const metadata = new Metadata();
    metadata.set("x-try", "yes");
    expect((await get(client, {}, {}, metadata)).id).toBe(canary.name);
    expect(canary.lastMetadata!.get("x-by")).toEqual(["route"]);
    expect(canary.lastTimeoutMs).toBeLessThanOrEqual(5_000);
    expect((await get(client, {})).id).toBe(own.name);
    expect(own.lastMetadata!.get("x-by")).toEqual([]);
    const routeOf = (call: ClientReadableStream<Order>): Promise<string> =>
      new Promise((resolve) => {
        call.on("data", () => {});
        call.on("status", (status: object) => resolve(callInfo(status)!.route));
      });
    expect(await routeOf(client.list({ count: 1 }))).toBe("service");
    client.close();
  });
});

describe("metadata hygiene", () => {
  it("keys of the connection are refused, too much is refused, nothing is sent", async () => {
    const { client, servers } = await bench();
    const host = new Metadata();
    host.set("host", "elsewhere");
    expect(await failed(get(client, {}, {}, host))).toMatchObject({
      code: Status.INTERNAL,
      cause: { reason: "bad_header" },
    });
    const large = new Metadata();
    large.set("x-large", "y".repeat(9_000));
    const error = await failed(get(client, {}, {}, large));
    expect(error).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      cause: { reason: "header_too_large" },
    });
    expect(error.details).not.toContain("yyy");
    expect(servers[0]!.calls).toBe(0);
  });
});

describe("async context", () => {
  it("B11 GC: callbacks run in the context of their own call", async () => {
    const store = new AsyncLocalStorage<number>();
    const { client } = await bench();
    const one = (i: number): Promise<(number | undefined)[]> =>
      store.run(
        i,
        () =>
          new Promise((resolve) => {
            const seen: (number | undefined)[] = [];
            const call = client.get({}, () => seen.push(store.getStore()));
            call.on("metadata", () => seen.push(store.getStore()));
            call.on("status", () => {
              seen.push(store.getStore());
              resolve(seen);
            });
          }),
      );
    // All of them wait for the connection that the first one opens.
    const all = await Promise.all(Array.from({ length: 5 }, (_, i) => one(i)));
    all.push(await one(5));
    all.forEach((seen, i) => expect(seen).toEqual([i, i, i]));
  });
});

describe("verdicts of the application's own", () => {
  it("classify decides, and one that throws leaves it to the rule", async () => {
    const asked: string[] = [];
    const { client, mesh } = await bench(
      { get: refuse(Status.NOT_FOUND) },
      {},
      {
        classify: (code, path) => {
          asked.push(`${path} ${code}`);
          if (asked.length > 1) throw new Error("not today");
          return "failure";
        },
      },
    );
    await failed(get(client, {}));
    expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
    expect((await failed(get(client, {}))).code).toBe(Status.NOT_FOUND);
    expect(counted(mesh, "inmesh.attempts", { outcome: "success" })).toBe(1);
    expect(asked).toEqual(["/shop.Orders/Get 5", "/shop.Orders/Get 5"]);
  });
});
