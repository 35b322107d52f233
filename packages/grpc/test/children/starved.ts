/**
 * C16: a process that has no descriptors left, and then some again; prints what its calls ended with.
 * Started with few of them, it opens files until there are none.
 */
import { closeSync, openSync } from "node:fs";
import { MeshError } from "@inmesh/core/spi";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { get } from "../support/bench.ts";
import { Orders } from "../support/orders.ts";

const [address = ""] = process.argv.slice(2);
const endpoint = { discovery: { static: [address] } };
const mesh = createMesh({ env: {}, config: { services: { early: endpoint, late: endpoint } } });
const early = new Orders(...meshGrpc("early", { mesh }));
const late = new Orders(...meshGrpc("late", { mesh }));
const call = (client: typeof early): Promise<string> =>
  get(client, {}).then(
    () => "ok",
    (error: Error) =>
      error.cause instanceof MeshError
        ? `${error.cause.reason} ${error.cause.progress}`
        : String(error),
  );

const before = await call(early);
const files: number[] = [];
try {
  for (;;) files.push(openSync("/dev/null", "r"));
} catch {
  // There are none left.
}
const starved: string[] = [];
const startedAt = performance.now();
while (performance.now() - startedAt < 250) {
  starved.push(await call(late));
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const open = await call(early);
const service = mesh.snapshot().services.find(({ name }) => name === "late")!;
const { breaker } = service.endpoints[0]!;
for (const file of files) closeSync(file);
await new Promise((resolve) => setTimeout(resolve, 120));
const after = [await call(late), await call(late)];
await mesh.close(0);
process.stdout.write(
  JSON.stringify({
    before,
    starved: [...new Set(starved)],
    open,
    breaker: { state: breaker.state, consecutiveFailures: breaker.consecutiveFailures },
    after,
  }),
);
