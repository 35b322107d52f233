/** The clients people use, each generated or made as they do it, each through the mesh. */
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import {
  ChannelCredentials,
  InterceptingCall,
  status as Status,
  type Client,
  type ClientDuplexStream,
  type ClientWritableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { GrpcTransport } from "@protobuf-ts/grpc-transport";
import { callInfo, meshChannel, meshGrpc } from "@inmesh/grpc";
import { createClient, Metadata, type CallOptions, type CompatServiceDefinition } from "nice-grpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open, type Bench } from "./support/bench.ts";
import { generate } from "./support/generate.ts";
import { Orders, type Order } from "./support/orders.ts";

const folder: string = join(import.meta.dirname, `../../../.tmp/grpc-clients-${process.pid}`);
let bench: Bench;
beforeAll(async () => {
  bench = await open([{}, {}]);
});
afterAll(async () => {
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}
async function* some(count: number): AsyncGenerator<{ count: number }> {
  for (let i = 0; i < count; i++) yield { count: i };
}

describe("clients", () => {
  it("ts-proto, with services for grpc-js", async () => {
    const into = join(folder, "ts-proto");
    await generate(
      "protoc-gen-ts_proto",
      "outputServices=grpc-js,esModuleInterop=true,env=node",
      into,
    );
    const { OrdersClient } = (await import(/* @vite-ignore */ join(into, "orders.ts"))) as {
      OrdersClient: new (...given: ReturnType<typeof meshGrpc>) => Client & {
        get(order: Order, done: (error: unknown, order: Order) => void): void;
        list(order: Order): AsyncIterable<Order>;
      };
    };
    const client = new OrdersClient(...meshGrpc("orders", { mesh: bench.mesh }));
    const order = await new Promise<Order>((resolve, reject) =>
      client.get({ id: "", count: 1, blob: Buffer.alloc(0) }, (error, reply) =>
        error === null ? resolve(reply) : reject(error as Error),
      ),
    );
    expect(order.count).toBe(2);
    const list = await all(client.list({ id: "", count: 3, blob: Buffer.alloc(0) }));
    expect(list.map(({ count }) => count)).toEqual([0, 1, 2]);
  });

  it("@protobuf-ts/grpc-transport", async () => {
    const into = join(folder, "protobuf-ts");
    await generate("protoc-gen-ts", "", into);
    const { OrdersClient } = (await import(/* @vite-ignore */ join(into, "orders.client.ts"))) as {
      OrdersClient: new (transport: GrpcTransport) => {
        get(order: object): Promise<{ response: Order }>;
        list(order: object): { responses: AsyncIterable<Order> };
        chat(): {
          requests: { send(order: object): Promise<void>; complete(): Promise<void> };
          responses: AsyncIterable<Order>;
        };
      };
    };
    const transport = new GrpcTransport({
      host: "orders",
      channelCredentials: ChannelCredentials.createInsecure(),
      clientOptions: { channelOverride: meshChannel("orders", { mesh: bench.mesh }) },
    });
    const client = new OrdersClient(transport);
    const given = { id: "", count: 3, blob: Buffer.alloc(0) };
    const { response } = await client.get(given);
    expect(response.count).toBe(4);
    const list = await all(client.list(given).responses);
    expect(list.map(({ count }) => count)).toEqual([0, 1, 2]);
    const chat = client.chat();
    await chat.requests.send(given);
    await chat.requests.complete();
    expect((await all(chat.responses)).map(({ count }) => count)).toEqual([3]);
    transport.close();
  });

  it("grpc-tools, with the messages of google-protobuf", async () => {
    interface Message {
      setCount(count: number): Message;
      getCount(): number;
    }
    const require = createRequire(import.meta.url);
    const { Order: Made } = require("./fixtures/grpc-tools/orders_pb.js") as {
      Order: new () => Message;
    };
    const { OrdersClient } = require("./fixtures/grpc-tools/orders_grpc_pb.js") as {
      OrdersClient: new (...given: ReturnType<typeof meshGrpc>) => Client & {
        get(order: Message, done: (error: ServiceError | null, reply: Message) => void): void;
        add(
          done: (error: ServiceError | null, reply: Message) => void,
        ): ClientWritableStream<Message>;
        list(order: Message): AsyncIterable<Message>;
        chat(): ClientDuplexStream<Message, Message>;
      };
    };
    const order = (count: number): Message => new Made().setCount(count);
    const client = new OrdersClient(...meshGrpc("orders", { mesh: bench.mesh }));
    const counted = (
      begin: (done: (error: ServiceError | null, reply: Message) => void) => void,
    ): Promise<number> =>
      new Promise((resolve, reject) => {
        begin((error, reply) => (error === null ? resolve(reply.getCount()) : reject(error)));
      });
    expect(await counted((done) => client.get(order(1), done))).toBe(2);
    const added = counted((done) => {
      const stream = client.add(done);
      for (let i = 0; i < 5; i++) stream.write(order(i));
      stream.end();
    });
    expect(await added).toBe(5);
    const list = await all(client.list(order(3)));
    expect(list.map((one) => one.getCount())).toEqual([0, 1, 2]);
    const chat = client.chat();
    chat.write(order(7));
    chat.end();
    expect((await all<Message>(chat)).map((one) => one.getCount())).toEqual([7]);
    client.close();
  });

  it("nice-grpc", async () => {
    interface NiceClient {
      get(order: Order, options?: CallOptions): Promise<Order>;
      add(orders: AsyncIterable<Order>): Promise<Order>;
      list(order: Order): AsyncIterable<Order>;
      chat(orders: AsyncIterable<Order>): AsyncIterable<Order>;
    }
    const into = join(folder, "nice-grpc");
    const services = "outputServices=nice-grpc,outputServices=generic-definitions";
    await generate("protoc-gen-ts_proto", `${services},esModuleInterop=true,env=node`, into);
    const { OrdersDefinition } = (await import(/* @vite-ignore */ join(into, "orders.ts"))) as {
      OrdersDefinition: CompatServiceDefinition;
    };
    const channel = meshChannel("orders", { mesh: bench.mesh });
    const client = createClient(OrdersDefinition, channel) as unknown as NiceClient;
    let header: string | undefined;
    const reply = await client.get(
      { count: 1 },
      {
        metadata: new Metadata({ "x-id": "7" }),
        onHeader: (head) => {
          header = head.get("content-type");
        },
      },
    );
    expect(reply.count).toBe(2);
    expect(header).toMatch(/^application\/grpc/);
    expect((await client.add(some(5))).count).toBe(5);
    expect((await all(client.list({ count: 4 }))).length).toBe(4);
    expect((await all(client.chat(some(4)))).map(({ count }) => count)).toEqual([0, 1, 2, 3]);
    const aborter = new AbortController();
    aborter.abort();
    await expect(client.get({}, { signal: aborter.signal })).rejects.toThrow();
  });

  it("proto-loader, with an interceptor of the application's own", async () => {
    const [address, credentials, options] = meshGrpc("orders", { mesh: bench.mesh });
    let seen = 0;
    const client = new Orders(address, credentials, {
      ...options,
      interceptors: [
        (given, next) => {
          seen++;
          return new InterceptingCall(next(given));
        },
      ],
    });
    const info = await new Promise<ReturnType<typeof callInfo>>((resolve) => {
      client
        .get({ count: 1 }, () => {})
        .on("status", (status: object) => resolve(callInfo(status)));
    });
    expect(seen).toBe(1);
    expect(info).toMatchObject({ service: "orders", attempts: 1 });
    await new Promise<void>((resolve, reject) => {
      client.waitForReady(Date.now() + 1_000, (error) => (error ? reject(error) : resolve()));
    });
    client.close();
    expect(() => client.get({}, () => {})).toThrow("shut down");
    // The mesh and its other clients go on.
    const status = await new Promise((resolve) => {
      bench.client.get({}, () => {}).once("status", resolve);
    });
    expect(status).toMatchObject({ code: Status.OK });
  });
});
