/** The server half: what is read, refused, inherited and counted; grpc-js's own client asks. */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { context, type ServedRequest } from "@inmesh/core";
import { createMesh, meshGrpcServer } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { counted } from "./support/bench.ts";
import { Http2Caller } from "./support/http2-caller.ts";
import { Orders, type Order, type OrdersHandlers } from "./support/orders.ts";
import { message } from "./support/raw-grpc-client.ts";
import { ask, bareClient, metadataOf, served } from "./support/served.ts";
import { PUBLIC_ONLY } from "../../http/test/support/public-only.ts";
import { until } from "./support/wire.ts";

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("what the caller says", () => {
  const seen = async (
    said: Record<string, string>,
    posture: "edge" | "local" | "mesh",
  ): Promise<{ request: ServedRequest; keys: string[] }> => {
    let request: ServedRequest | undefined;
    let keys: string[] = [];
    const { client } = await served(
      {
        get: (call, done) => {
          request = context.getStore();
          keys = Object.keys(call.metadata.getMap());
          done(null, {});
        },
      },
      { posture },
    );
    expect((await ask(client, said, { deadline: Date.now() + 5_000 })).error).toBeNull();
    return { request: request!, keys };
  };
  const SAID = {
    "grpc-previous-rpc-attempts": "2",
    "x-mesh-priority": "critical",
    "x-mesh-hops": "3",
    traceparent: TRACE,
    tracestate: "a=b",
    baggage: "who=me",
    "x-mesh-client-id": "root",
    "x-envoy-internal": "true",
    "x-shop": "kept",
  };

  it("mesh: is believed, and kept from the handler", async () => {
    const { request, keys } = await seen(SAID, "mesh");
    expect(request).toMatchObject({
      attempt: 3,
      priority: "critical",
      hops: 3,
      traceparent: TRACE,
      tracestate: "a=b",
      untrustedDeadline: false,
    });
    expect(keys.toSorted()).toEqual([
      "baggage",
      "grpc-previous-rpc-attempts",
      "traceparent",
      "tracestate",
      "user-agent",
      "x-shop",
    ]);
  });

  it("edge: may ask for less, not for more", async () => {
    const { request, keys } = await seen(SAID, "edge");
    expect(request).toMatchObject({ attempt: 3, priority: "normal", untrustedDeadline: true });
    expect(keys).not.toContain("baggage");
    expect((await seen({ "x-mesh-priority": "sheddable" }, "edge")).request.priority).toBe(
      "sheddable",
    );
  });

  it("local: attempts of others are not believed, their hops are", async () => {
    const { request } = await seen(SAID, "local");
    expect(request).toMatchObject({ attempt: 1, hops: 3, priority: "critical" });
  });

  it("what is not understood counts as not said", async () => {
    const { request } = await seen(
      {
        "grpc-previous-rpc-attempts": "-1",
        "x-mesh-priority": "highest",
        "x-mesh-hops": "1e3",
        traceparent: `${TRACE}x`,
        tracestate: "a=b",
      },
      "mesh",
    );
    expect(request).toMatchObject({ attempt: 1, priority: "normal", hops: 0 });
    expect(request.traceparent).toBeUndefined();
    expect(request.tracestate).toBeUndefined();
  });

  it("a claim stays when something in front vouches for it", async () => {
    let value: unknown;
    const { client } = await served(
      {
        get: (call, done) => {
          value = call.metadata.get("x-forwarded-client-cert")[0];
          done(null, {});
        },
      },
      { keepMetadata: ["X-Forwarded-Client-Cert"] },
    );
    await ask(client, { "x-forwarded-client-cert": "By=spiffe://a" });
    expect(value).toBe("By=spiffe://a");
  });

  it("G7 GS: the deadline is inherited; an expired call does not reach its handler", async () => {
    let leftMs = 0;
    const { client, orders, server } = await served({
      get: (call, done) => {
        const { deadlineAt } = context.getStore()!;
        leftMs = deadlineAt - performance.now();
        done(null, {});
      },
    });
    await ask(client, {}, { deadline: Date.now() + 10_000 });
    expect(leftMs).toBeGreaterThan(8_000);
    expect(leftMs).toBeLessThanOrEqual(10_000);
    const before = orders.calls;
    const { error } = await ask(client, { "grpc-timeout": "1n" });
    expect(error?.code).toBe(Status.DEADLINE_EXCEEDED);
    expect(orders.calls).toBe(before);
    expect(server.snapshot().refused).toEqual({ expired_on_arrival: 1 });
  });
});

describe("the context of handlers", () => {
  it("covers all four kinds of call, their messages, ends and drains", async () => {
    const stores = new Map<string, Set<ServedRequest | undefined>>();
    const here = (where: string): void => {
      const set = stores.get(where) ?? new Set();
      stores.set(where, set.add(context.getStore()));
    };
    const blob = Buffer.alloc(100_000);
    let turns = 0;
    const { client } = await served({
      get: (_call, done) => {
        here("get");
        setTimeout(() => {
          here("get");
          done(null, {});
        }, 1);
      },
      add: (call, done) => {
        here("add");
        call.on("data", () => here("add"));
        call.on("end", () => {
          here("add");
          done(null, {});
        });
      },
      list: (call) => {
        here("list");
        let left = 40;
        const more = (): void => {
          here("list");
          turns++;
          while (left-- > 0) if (!call.write({ blob })) return void call.once("drain", more);
          call.end();
        };
        more();
      },
      chat: (call) => {
        here("chat");
        call.on("data", () => here("chat"));
        call.on("end", () => {
          here("chat");
          call.end();
        });
      },
    });
    await ask(client);
    await new Promise<void>((resolve) => {
      const add = client.add(() => resolve());
      for (let i = 0; i < 5; i++) add.write({ blob });
      add.end();
    });
    for await (const _ of client.list({}));
    const chat = client.chat();
    for (let i = 0; i < 5; i++) chat.write({ blob });
    chat.end();
    for await (const _ of chat);
    expect(turns).toBeGreaterThan(1);
    expect([...stores.keys()]).toEqual(["get", "add", "list", "chat"]);
    for (const [where, set] of stores) {
      expect(set.size, where).toBe(1);
      expect([...set][0], where).toBeDefined();
    }
  });

  it("calls at the same time have one each, also when they are cancelled", async () => {
    const stores: (ServedRequest | undefined)[] = [];
    const cancelled: (ServedRequest | undefined)[] = [];
    const { client } = await served({
      get: (call) => {
        stores.push(context.getStore());
        call.on("cancelled", () => cancelled.push(context.getStore()));
      },
    });
    const calls = Array.from({ length: 5 }, () => client.get({}, () => {}));
    await until(() => stores.length === 5);
    for (const call of calls) call.cancel();
    await until(() => cancelled.length === 5);
    expect(new Set(stores).size).toBe(5);
    expect(stores).not.toContain(undefined);
    expect(new Set(cancelled)).toEqual(new Set(stores));
  });

  it("G3 GS: a client that leaves ends what is done for it, within 100 ms", async () => {
    let request: ServedRequest | undefined;
    const { client, orders } = await served({
      get: () => void (request = context.getStore()),
    });
    const answer = ask(client, {}, {}, {}, (call) => {
      void until(() => request !== undefined).then(() => call.cancel());
    });
    expect((await answer).error?.code).toBe(Status.CANCELLED);
    const startedAt = performance.now();
    await until(() => request!.left);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(orders.cancelled).toBe(1);
  });

  it("work that outlives a reply is not ended with it", async () => {
    let request: ServedRequest | undefined;
    const { client, server } = await served({
      get: (_call, done) => {
        request = context.getStore();
        done(null, {});
      },
    });
    await ask(client);
    await until(() => server.snapshot().callsInFlight === 0);
    expect(request!.left).toBe(false);
  });
});

describe("refusals", () => {
  it("B6 GS: above maxInFlight UNAVAILABLE, pushback and nack; the more important pass", async () => {
    const pending: (() => void)[] = [];
    const { client, server } = await served(
      { get: (_call, done) => void pending.push(() => done(null, {})) },
      { posture: "mesh", limits: { maxInFlight: 10 } },
    );
    const held = Array.from({ length: 10 }, () => ask(client));
    await until(() => pending.length === 10);
    expect(server.ready).toBe(false);
    const { error } = await ask(client);
    expect(error?.code).toBe(Status.UNAVAILABLE);
    const said = error!.metadata.getMap();
    expect(said).toMatchObject({
      "grpc-retry-pushback-ms": "1000",
      "x-mesh-nack": "1",
      "x-mesh-error": "concurrency",
    });
    const critical = ask(client, { "x-mesh-priority": "critical" });
    await until(() => pending.length === 11);
    for (const end of pending) end();
    for (const one of [...held, critical]) expect((await one).error).toBeNull();
    await until(() => server.snapshot().callsInFlight === 0);
    expect(server.ready).toBe(true);
    expect(server.snapshot().refused).toEqual({ concurrency: 1 });
  });

  it("callers that are not trusted get no reasons", async () => {
    const { client } = await served({}, { limits: { maxInFlight: 0 } });
    const { error } = await ask(client);
    expect(error?.code).toBe(Status.UNAVAILABLE);
    expect(error!.metadata.get("x-mesh-error")).toEqual([]);
    expect(error!.metadata.get("x-mesh-nack")).toEqual(["1"]);
  });

  it("H16 GS: a call that came through too many servers is refused", async () => {
    const { client, orders } = await served({}, { posture: "mesh" });
    expect((await ask(client, { "x-mesh-hops": "16" })).error).toBeNull();
    const { error } = await ask(client, { "x-mesh-hops": "17" });
    expect(error?.code).toBe(Status.INTERNAL);
    expect(orders.calls).toBe(1);
  });

  it("metadata bombs are RESOURCE_EXHAUSTED", async () => {
    const { client, orders } = await served();
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, "v"]));
    expect((await ask(client, many)).error?.code).toBe(Status.RESOURCE_EXHAUSTED);
    const { error } = await ask(client, { big: "v".repeat(17_000) });
    expect(error?.code).toBe(Status.RESOURCE_EXHAUSTED);
    const binary = new Metadata();
    for (let i = 0; i < 20; i++) binary.add("k-bin", Buffer.alloc(1_000));
    const bin = await new Promise<number | undefined>((resolve) => {
      client.get({}, binary, {}, (failed) => resolve(failed?.code));
    });
    expect(bin).toBe(Status.RESOURCE_EXHAUSTED);
    expect(orders.calls).toBe(0);
    expect((await ask(client, { big: "v".repeat(8_000) })).error).toBeNull();
  });
});

describe("what the reply says", () => {
  it("claims of another hop about itself are not passed on", async () => {
    const { client } = await served(
      {
        get: (_call, done) =>
          done({
            name: "",
            message: "",
            code: Status.UNAVAILABLE,
            details: "of the upstream",
            metadata: metadataOf({ "x-mesh-nack": "1", "x-mesh-final": "1", "x-shop": "closed" }),
          }),
      },
      { posture: "mesh" },
    );
    const { error } = await ask(client);
    expect(error?.details).toBe("of the upstream");
    expect(error!.metadata.get("x-mesh-nack")).toEqual([]);
    expect(error!.metadata.get("x-mesh-final")).toEqual([]);
    expect(error!.metadata.get("x-shop")).toEqual(["closed"]);
  });

  it("a failure after retries of this hop is final; a success is not", async () => {
    let fails = true;
    const { client } = await served({
      get: (_call, done) => {
        context.getStore()!.exhaust();
        if (fails) done({ name: "", message: "", code: Status.UNAVAILABLE, details: "no luck" });
        else done(null, {});
      },
    });
    expect((await ask(client)).error!.metadata.get("x-mesh-final")).toEqual(["1"]);
    fails = false;
    expect((await ask(client)).error).toBeNull();
  });
});

describe("records", () => {
  it("each call once, by method, outcome and reason", async () => {
    const mesh = createMesh({ env: {} });
    const { client, orders, server } = await served(
      {
        get: (call, done) => {
          const { id } = call.request;
          if (id === "missing") {
            done({ name: "", message: "", code: Status.NOT_FOUND, details: "" });
          } else if (id === "wrong") done(null, { id: Object.create(null) as string });
          else if (id !== "slow") done(null, {});
        },
      },
      { mesh, name: "orders", limits: { maxMetadataCount: 5 } },
    );
    const labels = { service: "orders", route: "/shop.Orders/Get", direction: "inbound" };
    const count = (more: Record<string, string>): number =>
      counted(mesh, "inmesh.calls", { ...labels, ...more });
    await ask(client);
    await ask(client, {}, {}, { id: "missing" });
    // This client does not look at the clock: the deadline passes at the server alone.
    using caller = new Http2Caller(orders.port);
    const slow = message(Buffer.from("\n\x04slow"));
    const { status } = await caller.call("Get", slow, { "grpc-timeout": "50m" });
    expect(status).toBe(Status.DEADLINE_EXCEEDED);
    // A reply that cannot be serialised: what its client gets counts, not what its handler said.
    const { error } = await ask(client, {}, {}, { id: "wrong" });
    expect(error?.code).toBe(Status.INTERNAL);
    const six = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`k${i}`, "v"]));
    await ask(client, six);
    let began = false;
    const gone = ask(client, {}, {}, { id: "slow" }, (call) => {
      void until(() => server.snapshot().callsInFlight === 1).then(() => {
        began = true;
        call.cancel();
      });
    });
    await gone;
    expect(began).toBe(true);
    await until(() => server.snapshot().callsInFlight === 0);
    expect(count({ outcome: "success", status: "2xx" })).toBe(1);
    expect(count({ outcome: "success", status: "4xx" })).toBe(1);
    expect(count({ outcome: "failure", status: "5xx" })).toBe(2);
    expect(count({ outcome: "abandoned" })).toBe(1);
    expect(count({ reason: "too_many_headers" })).toBe(1);
    expect(count({})).toBe(6);
    await mesh.close(0);
  });
});

describe("where it listens", () => {
  it.each([
    ["[::1]:0", ["[::1]"], /^\[?::1\]?:/],
    // One socket for both families: who comes over IPv4 has a mapped address.
    ["[::]:0", ["[::1]", "127.0.0.1"], /^\[?(?:::1|::ffff:127\.0\.0\.1)\]?:/],
  ])("C18 GS: %s, and who calls is known by address", async (address, hosts, wanted) => {
    const peers: string[] = [];
    const server = meshGrpcServer({ discoveryWaitMs: 0 });
    const get: OrdersHandlers["get"] = (call, done) => {
      peers.push(call.getPeer());
      done(null, { id: "here" });
    };
    server.server.addService(Orders.service, { get } as unknown as OrdersHandlers);
    onTestFinished(() => server.close(0));
    const port = await server.listen(address);
    for (const host of hosts) {
      const client = bareClient(`${host}:${port}`);
      expect((await ask(client)).order?.id).toBe("here");
      client.close();
    }
    expect(peers).toHaveLength(hosts.length);
    for (const peer of peers) expect(peer).toMatch(wanted);
    await server.drain(2_000);
    await until(() => server.snapshot().sessions === 0);
  });

  it("C18 GS: an authority with brackets is taken, as is one of any other name", async () => {
    const { orders } = await served();
    using caller = new Http2Caller(orders.port);
    for (const authority of ["[::1]:50051", "orders.shop", "[fe80::1]"]) {
      const { status } = await caller.call("Get", message(), { ":authority": authority });
      expect(status, authority).toBe(Status.OK);
    }
  });
});

describe("whose server it is", () => {
  it("a made one keeps our limits, a given one says which it does not", async () => {
    const made = meshGrpcServer({ limits: { maxMessageBytes: 1_000 } });
    expect(made.snapshot().weaker).toEqual([]);
    await made.close(0);
    const { server } = await served();
    const weaker = [
      "maxConcurrentStreams",
      "maxConnectionAgeMs",
      "maxConnectionAgeGraceMs",
      "pingIntervalMs",
    ];
    // What a server was made with is read of `Server.options`.
    expect(server.snapshot().weaker.map(({ name }) => name)).toEqual(PUBLIC_ONLY ? [] : weaker);
  });

  it("options that cannot work are errors", () => {
    expect(() => meshGrpcServer({ posture: "trusted" as never })).toThrow(/no posture "trusted"/);
    expect(() => meshGrpcServer({ limits: { maxInflight: 1 } as never })).toThrow(/is not known/);
    expect(() => meshGrpcServer({ limits: { maxInFlight: -1 } })).toThrow(/from 0 up/);
  });

  it("interceptors of the application run behind ours", async () => {
    const order: string[] = [];
    const { ServerInterceptingCall } = await import("@grpc/grpc-js");
    const server = meshGrpcServer({
      channelOptions: {
        interceptors: [
          (_method, call) => {
            order.push("interceptor");
            const where = (what: string): void => {
              order.push(`${what} ${context.getStore() === undefined ? "nowhere" : "inside"}`);
            };
            return new ServerInterceptingCall(call, {
              start: (next) =>
                next({
                  onReceiveMetadata: (metadata, pass) => {
                    where("metadata");
                    pass(metadata);
                  },
                  onReceiveMessage: (request, pass) => {
                    where("message");
                    pass(request);
                  },
                }),
              sendStatus: (status, next) => {
                order.push(`status ${status.code}`);
                next(status);
              },
            });
          },
        ],
      },
    });
    server.server.addService(Orders.service, {
      get: (_call: unknown, done: (error: null, order: Order) => void) => {
        order.push(context.getStore() === undefined ? "nowhere" : "handler");
        done(null, {});
      },
    });
    const port = await server.listen("127.0.0.1:0");
    const client = bareClient(`127.0.0.1:${port}`);
    expect((await ask(client)).error).toBeNull();
    expect(order).toEqual([
      "interceptor",
      "metadata inside",
      "message inside",
      "handler",
      "status 0",
    ]);
    client.close();
    await server.close(0);
  });
});
