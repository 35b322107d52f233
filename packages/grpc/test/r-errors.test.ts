/** R23: what loggers print of an error holds nothing that its caller sent. */
import { inspect } from "node:util";
import { Metadata, status as Status, type ClientUnaryCall } from "@grpc/grpc-js";
import type { MeshError } from "@inmesh/core";
import { callInfo, createMesh, meshGrpc } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer } from "./support/orders.ts";
import { HAS_AUTH_CONTEXT } from "./support/served.ts";
import { failed } from "./support/wire.ts";

const SECRET = "Bearer c2VjcmV0";

/** As serializers of loggers do: every enumerable field of an error, and those of its causes. */
function fields(error: unknown): object {
  const all: Record<string | symbol, unknown> = {};
  for (const key of Reflect.ownKeys(error as object)) {
    const value: unknown = (error as Record<string | symbol, unknown>)[key];
    all[key] = value instanceof Error ? fields(value) : value;
  }
  return all;
}

function printed(value: unknown): string {
  const deep = { depth: Infinity, showHidden: true, getters: true } as const;
  return [inspect(value), inspect(value, deep), JSON.stringify(value), inspect(fields(value), deep)]
    .concat(JSON.stringify(fields(value)))
    .join("\n");
}

describe("R23: an error that is logged", () => {
  const refusing = async (): Promise<string> => {
    const server = await new OrdersServer("a", {
      get: (_call, done) => {
        const metadata = new Metadata();
        metadata.set("reason", "of the peer");
        done({ code: Status.INVALID_ARGUMENT, details: "no", metadata });
      },
    }).listen();
    onTestFinished(() => server.stop());
    return server.address;
  };

  it.for([
    ["a server's answer", refusing, Status.INVALID_ARGUMENT],
    ["a failure of the mesh's", () => Promise.resolve("127.0.0.1:1"), Status.UNAVAILABLE],
  ] as const)("R23 GC: %s: nothing of the caller's metadata", async ([, address, code]) => {
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [await address()] } } } },
    });
    const client = new Orders(...meshGrpc("orders", { mesh }));
    onTestFinished(async () => {
      client.close();
      await mesh.close(0);
    });
    const metadata = new Metadata();
    metadata.set("authorization", SECRET);
    // The first goes through the channel, the second past it.
    for (let i = 0; i < 2; i++) {
      let call!: ClientUnaryCall;
      const error = await failed(get(client, {}, {}, metadata, (one) => (call = one)));
      expect(error.code).toBe(code);
      for (const value of [error, (error as { cause?: MeshError }).cause, call]) {
        if (value !== undefined) expect(printed(value)).not.toContain(SECRET);
      }
      if (HAS_AUTH_CONTEXT) expect(printed(call.getAuthContext())).not.toContain(SECRET);
      expect(callInfo(error)).toMatchObject({ service: "orders" });
      expect(callInfo(call)).toEqual(HAS_AUTH_CONTEXT ? callInfo(error) : undefined);
      if (code !== Status.INVALID_ARGUMENT) continue;
      expect(error.metadata.get("reason")).toEqual(["of the peer"]);
      expect(inspect(error, { depth: 5 })).toContain("of the peer");
    }
  });
});
