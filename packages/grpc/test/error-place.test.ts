/** Errors with a place, for gRPC: a failed call names its caller's line as one of grpc-js alone does. */
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import { callInfo, createMesh, meshGrpc } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, type OrdersClient } from "./support/orders.ts";
import { HEAD, ScriptedServer } from "./support/scripted-server.ts";
import { failed } from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

async function refusing(attempts: number): Promise<OrdersClient> {
  const orders = {
    discovery: { static: [await freeAddress()] },
    retry: { attempts, backoffMs: 1 },
  };
  const mesh = createMesh({ env: {}, config: { services: { orders } } });
  onTestFinished(() => mesh.close(0));
  return new Orders(...meshGrpc("orders", { mesh }));
}

describe("GC: the stack names the caller's line", () => {
  it.each([1, 3])("P20 GC: a unary call, with %i attempts allowed", async (attempts) => {
    const client = await refusing(attempts);
    async function thePlaceOfTheCall(): Promise<void> {
      await get(client, { id: "a" });
    }
    const error = await failed(thePlaceOfTheCall());
    expect(error.code).toBe(Status.UNAVAILABLE);
    // grpc-js: "for call at" and the stack of the call.
    expect(error.stack).toMatch(/for call at(\n.*)*thePlaceOfTheCall/);
  });

  it("P20 GC: a call that streams", async () => {
    const client = await refusing(1);
    const error = await new Promise<ServiceError>((resolve) => {
      function thePlaceOfTheCall(): void {
        client.list({ id: "a" }, new Metadata()).on("error", resolve as (error: Error) => void);
      }
      thePlaceOfTheCall();
    });
    expect(error.stack).toContain("thePlaceOfTheCall");
  });

  it("P20 GC: callInfo says why the call was not retried", async () => {
    const server = await ScriptedServer.start((stream) => {
      stream.respond({ ...HEAD, "grpc-status": "14" }, { endStream: true });
    });
    onTestFinished(() => server.close());
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [server.address] } } } },
    });
    onTestFinished(() => mesh.close(0));
    const client = new Orders(...meshGrpc("orders", { mesh }));
    const info = callInfo(await failed(get(client, { id: "a" })))!;
    expect(info.noRetry).toBe("not_idempotent");
    expect(info.why).toContain("; not retried: the call is not idempotent");
  });
});
