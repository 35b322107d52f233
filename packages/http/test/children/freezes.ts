/** L7: calls ten times a second and prints each end; its parent stops it, and lets it go on. */
import { createMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient } from "../../src/index.ts";

const [, , address = "", version] = process.argv;
const mesh = createMesh({
  env: {},
  config: {
    services: {
      svc: {
        scheme: "http",
        authority: "svc",
        discovery: { static: [address] },
        http2: version === "h2",
        retry: { attempts: 1 },
        timeouts: { connectMs: 1_000 },
      },
    },
  },
});
const client = meshClient("svc", { mesh });

async function call(path: string, timeoutMs: number): Promise<void> {
  const startedAt = performance.now();
  const end = await client
    .fetch(path, { method: "POST", body: "x", timeoutMs })
    .then((reply) => reply.text())
    .catch((error: unknown) => (error instanceof MeshError ? error.reason : String(error)));
  const tookMs = performance.now() - startedAt;
  const { breaker } = mesh.snapshot().services[0]!.endpoints[0]!;
  process.stdout.write(`${JSON.stringify({ path, end, tookMs, breaker: breaker.state })}\n`);
}

await call("/first", 10_000);
void call("/slow", 4_000);
for (;;) {
  await call("/", 5_000);
  await new Promise((resolve) => setTimeout(resolve, 100));
}
