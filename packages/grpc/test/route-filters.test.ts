/** Header filters of routes over gRPC: metadata that goes out, and the head of what comes back. */
import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http2";
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import type { RouteInput } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Order, OrdersClient } from "./support/orders.ts";
import {
  framed,
  HEAD,
  ScriptedServer,
  trailersOnly,
  type Script,
} from "./support/scripted-server.ts";
import { clientOf, expectNothingLeft, until } from "./support/wire.ts";

expectNothingLeft();

const ORDER = framed(Buffer.from([10, 1, 120])); // { id: "x" }
const ROUTE: RouteInput = {
  name: "marked",
  matches: [{ headers: [{ name: "x-tier", value: "gold" }] }],
  idempotent: true,
  retry: { attempts: 3, backoff: "1ms" },
  filters: [
    {
      requestHeaderModifier: {
        set: [{ name: "X-Tier", value: "7" }],
        add: [{ name: "x-via", value: "route" }],
        remove: ["X-Debug"],
      },
    },
    {
      responseHeaderModifier: {
        set: [{ name: "x-by", value: "mesh" }],
        add: [{ name: "x-note", value: "b" }],
        remove: ["x-powered-by"],
      },
    },
  ],
};

const FIELDS = { "x-by": "server", "x-note": "a", "x-powered-by": "php" };

/** A head and a trailer with the same fields. */
const replying: Script = (stream) => {
  stream.respond({ ...HEAD, ...FIELDS }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", ...FIELDS }));
  stream.end(ORDER);
};

async function scripted(script: Script): Promise<{ address: string; seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = [];
  const server = await ScriptedServer.start((stream, path, own, headers) => {
    seen.push(headers);
    script(stream, path, own, headers);
  });
  onTestFinished(() => server.close());
  return { address: server.address, seen };
}

interface Got {
  readonly head: Metadata | undefined;
  readonly trailers: Metadata;
  readonly order: Order | undefined;
  readonly error: ServiceError | null;
}

function sent(): Metadata {
  const metadata = new Metadata();
  metadata.set("x-tier", "gold");
  metadata.set("x-debug", "1");
  metadata.set("x-via", "caller");
  metadata.set("key-bin", Buffer.from([0, 255]));
  return metadata;
}

function unary(client: OrdersClient, metadata: Metadata = sent()): Promise<Got> {
  return new Promise((resolve) => {
    let head: Metadata | undefined;
    let last: [ServiceError | null, Order | undefined];
    const call = client.get({}, metadata, (error, order) => (last = [error, order]));
    call.on("metadata", (came: Metadata) => (head = came));
    call.on("status", ({ metadata: trailers }: { metadata: Metadata }) =>
      setImmediate(() => resolve({ head, trailers, error: last[0], order: last[1] })),
    );
  });
}

const CHANGED = { "x-by": "mesh", "x-note": "a, b" };

/** Several values as HTTP joins them. */
function joined(metadata: Metadata | undefined): Record<string, string> {
  const keys = Object.keys(metadata?.getMap() ?? {}).filter((key) => key.startsWith("x-"));
  return Object.fromEntries(keys.map((key) => [key, metadata!.get(key).join(", ")]));
}

describe("a unary call", () => {
  it("sends metadata as the route makes it, and its reply's head is changed, not its trailers", async () => {
    const { address, seen } = await scripted(replying);
    const { client } = clientOf([address], { routes: [ROUTE] });
    // The second goes past the channel, on the connection that stands.
    for (let n = 0; n < 2; n++) {
      const metadata = sent();
      const { head, trailers, order } = await unary(client, metadata);
      expect(order?.id).toBe("x");
      expect(seen[n]).toMatchObject({ "x-tier": "7", "x-via": "caller, route", "key-bin": "AP8=" });
      expect(seen[n]).not.toHaveProperty("x-debug");
      expect(joined(head)).toEqual(CHANGED);
      expect(joined(trailers)).toEqual(FIELDS);
      expect(metadata.getMap()).toEqual(sent().getMap());
    }
    client.close();
  });

  it("a call that another route takes keeps its own", async () => {
    const { address, seen } = await scripted(replying);
    const { client } = clientOf([address], { routes: [ROUTE] });
    const metadata = sent();
    metadata.set("x-tier", "silver");
    expect(joined((await unary(client, metadata)).head)).toEqual(FIELDS);
    expect(seen[0]).toMatchObject({ "x-tier": "silver", "x-debug": "1", "x-via": "caller" });
    client.close();
  });

  it("every attempt sends the same", async () => {
    let calls = 0;
    const { address, seen } = await scripted((stream, ...rest) => {
      if (++calls < 3) trailersOnly(stream, { "grpc-status": `${Status.UNAVAILABLE}` });
      else replying(stream, ...rest);
    });
    const { client } = clientOf([address], {
      routes: [ROUTE],
      retryBudget: { minPerSecond: 100 },
      breaker: { consecutiveFailures: 0, successRatio: 0 },
    });
    expect((await unary(client)).error).toBeNull();
    const of = seen.map((headers) => [headers["x-tier"], headers["x-via"], headers["x-debug"]]);
    expect(of).toEqual([1, 2, 3].map(() => ["7", "caller, route", undefined]));
    expect(seen.map((headers) => headers["grpc-previous-rpc-attempts"])).toEqual([
      undefined,
      "1",
      "2",
    ]);
    client.close();
  });

  it("what grpc-js writes into every head is still its own, whatever suits the service's HTTP", async () => {
    const { address, seen } = await scripted(replying);
    const set = [
      { name: "content-type", value: "application/json" },
      { name: "user-agent", value: "route" },
      { name: "accept-encoding", value: "br" },
    ];
    const { client } = clientOf([address], {
      routes: [
        { filters: [{ requestHeaderModifier: { set } }, { responseHeaderModifier: { set } }] },
      ],
    });
    for (let n = 0; n < 2; n++) {
      const { error, order, head } = await unary(client);
      expect([error, order?.id]).toEqual([null, "x"]);
      expect(seen[n]).toMatchObject({ "content-type": "application/grpc", te: "trailers" });
      expect(seen[n]!["accept-encoding"]).toBe("identity");
      expect(head!.get("content-type")).toEqual(["application/json"]);
    }
    client.close();
  });

  it("a reply that is nothing but trailers keeps them", async () => {
    const { address } = await scripted((stream) =>
      trailersOnly(stream, { "grpc-status": `${Status.NOT_FOUND}`, ...FIELDS }),
    );
    const { client } = clientOf([address], { routes: [ROUTE] });
    const { error, head, trailers } = await unary(client);
    expect(error?.code).toBe(Status.NOT_FOUND);
    expect([joined(head), joined(trailers)]).toEqual([{}, FIELDS]);
    client.close();
  });
});

it("a stream's head is changed before its reader has it, and its trailers are not", async () => {
  const { address, seen } = await scripted(replying);
  const { client } = clientOf([address], { routes: [ROUTE] });
  const call = client.chat(sent());
  const heads: Metadata[] = [];
  const trailers: Metadata[] = [];
  call.on("metadata", (head: Metadata) => heads.push(head));
  call.on("status", ({ metadata }: { metadata: Metadata }) => trailers.push(metadata));
  call.on("data", () => {});
  call.end({ id: "a" });
  await until(() => trailers.length === 1);
  expect(seen[0]).toMatchObject({ "x-tier": "7", "x-via": "caller, route" });
  expect([heads, trailers].map(([one]) => joined(one))).toEqual([CHANGED, FIELDS]);
  client.close();
});

it("a stream in progress keeps the filters it began with, over a change of configuration", async () => {
  const held: (() => void)[] = [];
  const { address, seen } = await scripted((stream, ...rest) => {
    held.push(() => replying(stream, ...rest));
  });
  const services = (version: string) => ({
    services: {
      orders: {
        discovery: { static: [address] },
        routes: [
          {
            filters: [
              { requestHeaderModifier: { set: [{ name: "x-version", value: version }] } },
              { responseHeaderModifier: { set: [{ name: "x-by", value: version }] } },
            ],
          },
        ],
      },
    },
  });
  const { client, mesh } = clientOf([address]);
  mesh.update(services("old"));
  const headOf = async (): Promise<unknown> => {
    const call = client.chat(new Metadata());
    let head: Metadata | undefined;
    call.on("metadata", (came: Metadata) => (head = came));
    call.on("data", () => {});
    call.end({ id: "a" });
    await once(call, "end");
    return head?.get("x-by");
  };
  const before = headOf();
  await until(() => held.length === 1);
  mesh.update(services("new"));
  const after = headOf();
  await until(() => held.length === 2);
  for (const reply of held) reply();
  expect(await Promise.all([before, after])).toEqual([["old"], ["new"]]);
  expect(seen.map((headers) => headers["x-version"])).toEqual(["old", "new"]);
  client.close();
});
