/**
 * Calls on a connection that stands go past grpc-js's channel, others through it. Neither side may notice:
 * the first call of a client is one of the second kind, the next is one of the first.
 */
import type { IncomingHttpHeaders } from "node:http2";
import { gzipSync } from "node:zlib";
import { Channel, connectivityState, credentials, Metadata, status as Status } from "@grpc/grpc-js";
import { createMesh, meshGrpc, type GrpcOptions } from "@inmesh/grpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { standingOf } from "../src/internals.ts";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer, type OrdersClient } from "./support/orders.ts";
import { skipPublicOnly } from "../../http/test/support/public-only.ts";
import { framed, HEAD, ScriptedServer, type Script } from "./support/scripted-server.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function scripted(script: Script, options: GrpcOptions = {}): Promise<OrdersClient> {
  const server = await ScriptedServer.start(script);
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: [server.address] } } } },
  });
  cleanups.push(
    () => server.close(),
    () => mesh.close(0),
  );
  return new Orders(...meshGrpc("orders", { ...options, mesh }));
}

/** An Order with that count. */
const order = (count: number): Buffer => Buffer.from([0x10, count]);

describe("the connection below a channel, by private members", () => {
  beforeEach((context) => skipPublicOnly(context, "Channel.internalChannel is its subject"));

  it("is found when it stands, and reports when it is gone", async () => {
    const server = await new OrdersServer("a").listen();
    cleanups.push(() => server.stop());
    const channel = new Channel(server.address, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    cleanups.push(() => channel.close());
    expect(standingOf(channel)).toBeUndefined();
    const ready = async (): Promise<void> => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return;
      await new Promise((resolve) => channel.watchConnectivityState(state, Infinity, resolve));
      await ready();
    };
    await ready();
    const standing = standingOf(channel);
    expect(standing?.ready).toBe(true);
    server.stop();
    await new Promise((resolve) =>
      channel.watchConnectivityState(connectivityState.READY, Infinity, resolve),
    );
    expect(standing?.ready).toBe(false);
    expect(standingOf(channel)).toBeUndefined();
  });

  it("is not looked for where a channel is another", () => {
    expect(standingOf({} as Channel)).toBeUndefined();
  });
});

describe("both ways", () => {
  it("send the same head, by either way", async () => {
    const heads: IncomingHttpHeaders[] = [];
    const client = await scripted((stream, _path, _server, headers) => {
      heads.push(headers);
      stream.respond(HEAD, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(framed(order(1)));
    });
    const metadata = new Metadata();
    metadata.set("tenant", "a");
    metadata.add("tenant", "b");
    metadata.set("key-bin", Buffer.from([1, 2, 3]));
    metadata.set("accept-encoding", "br");
    for (let i = 0; i < 3; i++) {
      await get(client, {}, { deadline: Infinity, host: "elsewhere" }, metadata);
    }
    for (const head of heads) delete head["grpc-timeout"];
    const [first, second, third] = heads.map((head) => Object.entries(head).toSorted());
    expect(first).toContainEqual(["grpc-accept-encoding", "identity,deflate,gzip"]);
    expect(second).toEqual(first);
    expect(third).toEqual(first);
  });

  it("read messages that are packed, in their order, and their status behind them", async () => {
    const client = await scripted((stream) => {
      stream.respond({ ...HEAD, "grpc-encoding": "gzip" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      for (let i = 1; i < 40; i++) {
        const bytes = order(i);
        // Every third is as it is: it must not overtake those that are unpacked.
        stream.write(i % 3 === 0 ? framed(bytes) : framed(gzipSync(bytes), 1));
      }
      stream.end(framed(gzipSync(order(40)), 1));
    });
    for (let i = 0; i < 3; i++) {
      const counts: unknown[] = [];
      const heads: Metadata[] = [];
      const call = client.list({});
      call.on("metadata", (head: Metadata) => heads.push(head));
      for await (const { count } of call as AsyncIterable<{ count?: number }>) counts.push(count);
      expect(counts).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
      expect(heads.map((head) => head.get("grpc-encoding"))).toEqual([[]]);
    }
  });

  it("end with INTERNAL what cannot be unpacked", async () => {
    for (const encoding of ["gzip", "identity", "snappy"]) {
      const client = await scripted((stream) => {
        stream.respond({ ...HEAD, "grpc-encoding": encoding }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(framed(Buffer.from("what is this"), 1));
      });
      for (let i = 0; i < 3; i++) {
        await expect(get(client, {})).rejects.toMatchObject({ code: Status.INTERNAL });
      }
    }
  });

  it("pack what goes out when a client asks for it, and keep its limit", async () => {
    const flags: (number | undefined)[] = [];
    const client = await scripted(
      (stream) => {
        stream.once("data", (bytes: Buffer) => flags.push(bytes[0]));
        stream.respond(HEAD, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.on("end", () => stream.end(framed(order(1))));
      },
      {
        channelOptions: {
          "grpc.default_compression_algorithm": 2,
          "grpc.max_send_message_length": 100,
        },
      },
    );
    for (let i = 0; i < 3; i++) await get(client, { id: "some" });
    expect(flags).toEqual([1, 1, 1]);
    await expect(get(client, { id: "a".repeat(200) })).rejects.toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
    });
  });

  it("refuse two authorizations", async () => {
    const client = await scripted((stream) => {
      stream.respond(HEAD, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(framed(order(1)));
    });
    const metadata = new Metadata();
    metadata.add("authorization", "Bearer a");
    await get(client, {}, {}, metadata);
    metadata.add("authorization", "Bearer b");
    await expect(get(client, {}, {}, metadata)).rejects.toMatchObject({ code: Status.INTERNAL });
  });
});
