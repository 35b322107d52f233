/** What a gRPC server does when its process runs out of memory. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { status as Status } from "@grpc/grpc-js";
import { expect, it, onTestFinished } from "vitest";
import { ask, bareClient } from "./support/served.ts";
import { sleep } from "./support/wire.ts";

const HEALTH = "/grpc.health.v1.Health/Check";
const SERVING = 1;
const NOT_SERVING = 2;

it("a heap that is nearly full refuses with UNAVAILABLE and a nack, is not serving, and recovers", async () => {
  const child = fork(join(import.meta.dirname, "children/heap.ts"), {
    execArgv: [
      "--conditions=inmesh-source",
      "--disable-warning=ExperimentalWarning",
      "--max-old-space-size=64",
      "--max-semi-space-size=4",
    ],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let exited = false;
  child.on("exit", () => (exited = true));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const client = bareClient(`127.0.0.1:${port}`);
  onTestFinished(() => client.close());
  const serving = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const bytes = (buffer: Buffer): Buffer => buffer;
      client.makeUnaryRequest(HEALTH, bytes, bytes, Buffer.alloc(0), (error, reply) => {
        if (error === null) resolve(reply?.[1]);
        else reject(error);
      });
    });
  expect(await serving()).toBe(SERVING);

  let held = 0;
  let { error } = await ask(client, {}, {}, { count: 1_000 });
  for (; error === null; held++) {
    await sleep(1); // a look comes every 20 ms
    ({ error } = await ask(client, {}, {}, { count: 1_000 }));
  }
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.metadata.get("x-mesh-nack")).toEqual(["1"]);
  expect(error.metadata.get("grpc-retry-pushback-ms")).toHaveLength(1);
  // Not from the start: some ten megabytes were let in.
  expect(held).toBeGreaterThan(100);
  expect(await serving()).toBe(NOT_SERVING);
  child.send("free");
  const [{ refused }] = (await once(child, "message")) as [{ refused: Record<string, number> }];
  expect(refused["heap"]).toBeGreaterThan(0);
  while ((await ask(client)).error !== null) await sleep(5);
  expect(await serving()).toBe(SERVING);
  expect(exited).toBe(false);
}, 120_000);
