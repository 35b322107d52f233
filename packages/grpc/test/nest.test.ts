/** NestJS makes its gRPC server itself; one line of its options puts our half around it. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { status as Status } from "@grpc/grpc-js";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import { skipPublicOnly } from "../../http/test/support/public-only.ts";
import { get } from "./support/bench.ts";
import { Orders } from "./support/orders.ts";
import { ask, bareClient } from "./support/served.ts";
import { freePort } from "../../../scripts/free-port.ts";

async function start(): Promise<{ child: ChildProcess; address: string }> {
  const port = await freePort();
  const path = fileURLToPath(new URL("fixtures/nest-server.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--conditions=inmesh-source", "--no-warnings", path, String(port)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return { child, address: `127.0.0.1:${port}` };
}

it("L1 GS: NestJS: the context arrives, refusals come first, and a drain loses no call", async (context) => {
  skipPublicOnly(
    context,
    "NestJS binds its address before it shows its server (Server.interceptors)",
  );
  const [one, two] = await Promise.all([start(), start()]);
  const bare = bareClient(one.address);
  const { order } = await ask(
    bare,
    { "x-mesh-hops": "2", "grpc-previous-rpc-attempts": "1" },
    {},
    { id: "7" },
  );
  expect(order).toMatchObject({ id: "7: hops 2", count: 2 });
  const { error } = await ask(bare, { "x-mesh-hops": "99" });
  expect(error?.code).toBe(Status.INTERNAL);
  bare.close();

  const mesh = createMesh({
    env: {},
    config: {
      services: {
        orders: { discovery: { static: [one.address, two.address] }, trustNacks: true },
      },
    },
  });
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const load = { stopped: false };
  const errors: string[] = [];
  let calls = 0;
  const worker = async (): Promise<void> => {
    while (!load.stopped) {
      calls++;
      await get(client, {}).catch(async (failed: unknown) => {
        errors.push(String(failed));
        await new Promise((resolve) => setTimeout(resolve, 5));
      });
    }
  };
  const workers = Array.from({ length: 5 }, worker);
  await new Promise((resolve) => setTimeout(resolve, 200));
  one.child.kill("SIGTERM");
  expect(await once(one.child, "exit")).toEqual([0, null]);
  load.stopped = true;
  await Promise.all(workers);
  expect(errors).toEqual([]);
  expect(calls).toBeGreaterThan(20);
  await mesh.close(0);
});
