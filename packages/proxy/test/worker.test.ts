/** One of several workers, as the process that starts them sees it. */
import { join } from "node:path";
import { NodeRuntime } from "@inmesh/core/spi/transport";
import { expect, it, onTestFinished } from "vitest";
import { Worker, type WorkerEnd } from "../src/workers/worker.ts";

const CHILD = join(import.meta.dirname, "children/speaks-late.ts");

it("what a worker has said is not believed when it comes after its end", async () => {
  const ended = Promise.withResolvers<WorkerEnd>();
  let served = 0;
  const worker = new Worker({
    number: 1,
    runtime: new NodeRuntime(),
    command: process.execPath,
    args: [CHILD],
    env: { PATH: process.env["PATH"] },
    onServing: () => served++,
    onEnd: (_, end) => {
      ended.resolve(end);
      return true;
    },
  });
  onTestFinished(() => worker.leave("SIGKILL"));
  worker.start();
  expect(await ended.promise).toEqual({ code: 7, signal: null, served: false });
  // Its child writes into the same channel half a second later; another worker starts after a whole one.
  await expect.poll(() => worker.restarts, { timeout: 10_000 }).toBe(1);
  expect([served, worker.serving]).toEqual([0, undefined]);
});
