/** What the peers of `npm run interop` taught: unusual ends of calls, and options of the connections. */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { NodeRuntime, type Runtime, type Timer } from "@inmesh/core/spi";
import { createMesh, meshGrpc, type GrpcOptions } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { failed } from "./support/wire.ts";
import { Orders, type Order, type OrdersClient } from "./support/orders.ts";
import { answer, framed, HEAD, ScriptedServer, type Script } from "./support/scripted-server.ts";

const ORDER = framed(Buffer.from([10, 1, 120])); // { id: "x" }

async function calling(
  script: Script,
  runtime: Runtime = new NodeRuntime(),
): Promise<{ server: ScriptedServer; client: (options?: GrpcOptions) => OrdersClient }> {
  const server = await ScriptedServer.start(script);
  onTestFinished(() => server.close());
  const mesh = createMesh({
    env: {},
    runtime,
    config: { services: { orders: { discovery: { static: [server.address] } } } },
  });
  onTestFinished(() => mesh.close(0));
  return { server, client: (options) => new Orders(...meshGrpc("orders", { ...options, mesh })) };
}

function add(client: OrdersClient): Promise<Order> {
  return new Promise((resolve, reject) => {
    const call = client.add(new Metadata(), {}, (error, reply) =>
      error === null ? resolve(reply!) : reject(error),
    );
    call.end({ id: "a" });
  });
}

describe("two answers where one belongs", () => {
  const twice: Script = (stream) => {
    stream.respond(HEAD, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat([ORDER, ORDER]));
  };

  it("a unary call ends, with UNIMPLEMENTED", async () => {
    const { client } = await calling(twice);
    expect((await failed(get(client(), {}))).code).toBe(Status.UNIMPLEMENTED);
  });

  it("so does one that streams its requests", async () => {
    const { client } = await calling(twice);
    expect((await failed(add(client()))).code).toBe(Status.UNIMPLEMENTED);
  });
});

it("a server that resets the stream at the deadline was late, not cancelled", async () => {
  const CANCEL = 8;
  const DEADLINE_MS = 40;
  /** Its timers come so late that the reset is always there first. */
  class Late extends NodeRuntime {
    override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer {
      return super.after(delayMs + 100, run, arg, hold);
    }
  }
  const { client } = await calling(
    (stream) => void setTimeout(() => stream.close(CANCEL), DEADLINE_MS),
    new Late(),
  );
  const error = await failed(get(client(), {}, { deadline: Date.now() + DEADLINE_MS }));
  expect(error.code, error.details).toBe(Status.DEADLINE_EXCEEDED);
});

describe("options of the connections", () => {
  const LARGE = { "grpc.max_receive_message_length": 8 * 1024 * 1024 };
  const order = Buffer.concat([
    // { blob: 5 MiB of zeros }, more than grpc-js takes by itself
    Buffer.from([0x1a, 0x80, 0x80, 0xc0, 0x02]),
    Buffer.alloc(5 * 1024 * 1024),
  ]);

  it("reach grpc-js", async () => {
    const { client } = await calling((stream) => answer(stream, order));
    expect((await failed(get(client(), {}))).code).toBe(Status.RESOURCE_EXHAUSTED);
    const { blob } = await get(client({ channelOptions: LARGE }), {});
    expect(blob!.length).toBe(5 * 1024 * 1024);
  });

  it("make connections of their own, which clients with equal ones share", async () => {
    const { client, server } = await calling((stream) => answer(stream, ORDER.subarray(5)));
    await get(client(), {});
    await get(client(), {});
    expect(server.sessions.size).toBe(1);
    await get(client({ channelOptions: LARGE }), {});
    await get(client({ channelOptions: { ...LARGE } }), {});
    expect(server.sessions.size).toBe(2);
  });
});
