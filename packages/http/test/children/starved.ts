/** C16: makes more calls at once than this process may have sockets; prints what became of them. */
import { createMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient } from "../../src/index.ts";

const address = process.argv[2]!;
const mesh = createMesh({
  env: {},
  config: {
    services: {
      svc: {
        scheme: "http",
        authority: "svc",
        discovery: { static: [address] },
        limits: { maxConnectionsPerEndpoint: 200 },
        timeouts: { requestMs: 4_000 },
      },
    },
  },
});
const client = meshClient("svc", { mesh });
const seen: Record<string, number> = {};
const count = (what: string): void => {
  seen[what] = (seen[what] ?? 0) + 1;
};
const one = async (): Promise<void> => {
  try {
    count(await (await client.fetch("/slow", { method: "POST" })).text());
  } catch (error) {
    count(error instanceof MeshError ? `${error.reason} ${error.progress}` : String(error));
  }
};
await Promise.all(Array.from({ length: 80 }, one));
const first = { ...seen };
const breaker = mesh.snapshot().services[0]!.endpoints[0]!.breaker;
const after: string[] = [];
for (let i = 0; i < 5; i++) {
  after.push(
    await client.fetch("/").then(
      (reply) => reply.text(),
      (error: unknown) => String(error),
    ),
  );
}
process.stdout.write(
  JSON.stringify({ first, state: breaker.state, streak: breaker.consecutiveFailures, after }),
);
await mesh.close(0);
