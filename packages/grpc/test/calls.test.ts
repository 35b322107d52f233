/** The four kinds of call through the mesh: values, order, flow control, ends. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { status as Status, Metadata, type ServiceError } from "@grpc/grpc-js";
import { callInfo, createMesh, meshGrpc } from "@inmesh/grpc";
import { describe, expect, it } from "vitest";
import { Orders, OrdersServer, type Order, type OrdersClient } from "./support/orders.ts";
import { get } from "./support/bench.ts";
import { HAS_AUTH_CONTEXT } from "./support/served.ts";
import { bench } from "./support/wire.ts";

const COUNT = 1_000;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("four kinds of call", () => {
  it("unary", async () => {
    const { client } = await bench();
    expect(await get(client, { count: 4 })).toMatchObject({ id: "a", count: 5 });
  });

  it("client streaming: all messages, once", async () => {
    const { client } = await bench();
    const added = await new Promise<Order>((resolve, reject) => {
      const call = client.add((error, order) => (error ? reject(error) : resolve(order!)));
      for (let count = 0; count < COUNT; count++) call.write({ count });
      call.end();
    });
    expect(added.count).toBe(COUNT);
  });

  it("server streaming: in order", async () => {
    const { client } = await bench();
    const counts: number[] = [];
    for await (const order of client.list({ count: COUNT })) counts.push((order as Order).count!);
    expect(counts).toEqual(upTo(COUNT));
  });

  it("bidirectional: each in its order, and both ends", async () => {
    const { client } = await bench();
    const chat = client.chat();
    for (let count = 0; count < COUNT; count++) chat.write({ count });
    chat.end();
    const counts: number[] = [];
    for await (const order of chat) counts.push((order as Order).count!);
    expect(counts).toEqual(upTo(COUNT));
  });

  it("bidirectional, in turns: nothing is held back", async () => {
    const { client } = await bench();
    const chat = client.chat();
    for (let count = 0; count < 20; count++) {
      const back = new Promise<Order>((resolve) => chat.once("data", resolve));
      chat.write({ count });
      expect((await back).count).toBe(count);
    }
    const over = new Promise((resolve) => chat.once("status", resolve));
    chat.end();
    chat.resume();
    expect(await over).toMatchObject({ code: Status.OK });
  });

  it("a reader that pauses holds the server back, a server that pauses holds the writer back", async () => {
    const blob = Buffer.alloc(65_536);
    let written = 0;
    const { client } = await bench({
      list: (call) => {
        const more = (): void => {
          while (written < 1_000) {
            written++;
            if (!call.write({ blob })) return void call.once("drain", more);
          }
          call.end();
        };
        more();
      },
      // Never reads.
      add: (call) => void call.pause(),
    });
    const list = client.list({});
    list.on("error", () => {});
    // grpc-js holds nothing back before the first read.
    await new Promise((resolve) => list.once("data", resolve));
    list.pause();
    const add = client.add(() => {});
    add.on("error", () => {});
    let taken = 0;
    const write = (): void => {
      for (; taken < 1_000; taken++) if (!add.write({ blob })) return void add.once("drain", write);
    };
    write();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(100);
    expect(taken).toBeLessThan(100);
    list.cancel();
    add.cancel();
  });

  it("streams have no default timeout, unary calls do", async () => {
    const { client } = await bench(
      {
        get: () => {},
        list: (call) => {
          setTimeout(() => {
            call.write({ count: 7 });
            call.end();
          }, 400);
        },
      },
      { timeouts: { requestMs: 150 } },
    );
    await expect(get(client, {})).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    const counts: number[] = [];
    for await (const order of client.list({})) counts.push((order as Order).count!);
    expect(counts).toEqual([7]);
  });
});

describe("metadata, status, errors", () => {
  it("metadata goes both ways, trailers too", async () => {
    const { client, servers } = await bench({
      get: (call, callback) => {
        const head = new Metadata();
        head.set("x-head", "1");
        call.sendMetadata(head);
        const trailers = new Metadata();
        trailers.set("x-trailer", "2");
        callback(null, {}, trailers);
      },
    });
    const metadata = new Metadata();
    metadata.set("x-id", "7");
    metadata.set("x-mesh-nack", "forged");
    metadata.set("grpc-previous-rpc-attempts", "9");
    const seen: unknown[] = [];
    await new Promise<void>((resolve) => {
      const call = client.get({}, metadata, () => {});
      call.on("metadata", (head: Metadata) => seen.push(head.get("x-head")));
      call.on("status", (status) => {
        seen.push(status.metadata.get("x-trailer"));
        resolve();
      });
    });
    expect(seen).toEqual([["1"], ["2"]]);
    const received = servers[0]!.lastMetadata!;
    expect(received.get("x-id")).toEqual(["7"]);
    expect(received.get("x-mesh-nack")).toEqual([]);
    expect(received.get("grpc-previous-rpc-attempts")).toEqual([]);
    expect(metadata.get("x-mesh-nack")).toEqual(["forged"]);
  });

  it("a status of the server arrives as it was sent", async () => {
    const { client } = await bench({
      get: (_, callback) => {
        const metadata = new Metadata();
        metadata.set("x-why", "because");
        callback({ code: Status.FAILED_PRECONDITION, details: "not now", metadata });
      },
    });
    const error = await get(client, {}).catch((reason: ServiceError) => reason);
    expect(error).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      details: "not now",
      message: "9 FAILED_PRECONDITION: not now",
    });
    expect((error as ServiceError).metadata.get("x-why")).toEqual(["because"]);
  });

  it("where a call went, and why", async () => {
    const { client, servers } = await bench();
    let call: ReturnType<OrdersClient["get"]> | undefined;
    const status = await new Promise((resolve) => {
      call = client.get({}, () => {});
      call.on("status", resolve);
    });
    const info = {
      service: "orders",
      route: "default",
      endpoint: servers[0]!.address,
      zone: undefined,
      attempts: 1,
      tried: [],
      why: `route default → ${servers[0]!.address}: the only one to choose from`,
    };
    expect(callInfo(status)).toEqual(info);
    expect(callInfo(call)).toEqual(HAS_AUTH_CONTEXT ? info : undefined);
    expect(call!.getPeer()).toBe(servers[0]!.address);
    expect(callInfo({})).toBe(undefined);
  });

  it("no server listens: UNAVAILABLE, with the reason and the call's way", async () => {
    const gone = await new OrdersServer("gone").listen();
    gone.stop();
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [gone.address] } } } },
    });
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const error = await get(client, {}).catch((reason: ServiceError) => reason);
    expect(error).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { name: "MeshError", code: "connect_failed", reason: "connect_refused" },
    });
    expect(callInfo(error)!.endpoint).toBe(gone.address);
    await mesh.close(0);
  });
});

describe("what the application throws", () => {
  it("in a callback is an uncaught exception, as without a mesh", async () => {
    const script = `
      import { createMesh, meshGrpc } from "@inmesh/grpc";
      import { Orders, OrdersServer } from "./support/orders.ts";
      const server = await new OrdersServer("a").listen();
      const mesh = createMesh({ env: {}, config: { services: { orders: { discovery: { static: [server.address] } } } } });
      process.on("unhandledRejection", () => process.stdout.write("rejection "));
      process.on("uncaughtException", ({ message }) => process.stdout.write(message + " "));
      const client = new Orders(...meshGrpc("orders", { mesh }));
      client.get({}, () => {
        setTimeout(() => process.exit(), 50);
        throw new Error("mine");
      });`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        "--no-warnings",
        "--conditions=inmesh-source",
        "--input-type=module-typescript",
        "-e",
        script,
      ],
      { cwd: import.meta.dirname, timeout: 10_000 },
    );
    expect(stdout).toBe("mine ");
  });
});
