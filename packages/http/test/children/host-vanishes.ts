/** C6: a host vanishes with our connections open; prints what became of the calls. */
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient, type MeshClient } from "../../src/index.ts";
import { farFirst, OtherHost } from "./other-host.ts";

interface End {
  readonly end: string;
  readonly progress: string | undefined;
  readonly attempts: number;
  readonly tookMs: number;
}

const host = await OtherHost.start();
let posts = 0;
const near = createServer((request, response) => {
  if (request.method === "POST") posts++;
  response.end("near");
});
near.listen(0, "127.0.0.1");
await once(near, "listening");
const nearPort = (near.address() as AddressInfo).port;

const mesh = createMesh({
  env: {},
  config: {
    services: {
      both: farFirst(nearPort),
      patient: {
        discovery: { static: [host.address] },
        timeouts: { requestMs: 60_000, bodyIdleMs: 60_000 },
      },
    },
  },
});
const both = meshClient("both", { mesh });
const patient = meshClient("patient", { mesh });

async function call(client: MeshClient, path: string, method = "GET"): Promise<End> {
  const startedAt = performance.now();
  const tookMs = (): number => Math.round(performance.now() - startedAt);
  try {
    const body = method === "POST" ? "x" : null;
    const reply = await client.fetch(path, { method, body });
    const end = await reply.text();
    return { end, progress: undefined, attempts: reply.mesh.attempts, tookMs: tookMs() };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    const { reason, progress, attempts } = error;
    return { end: reason, progress, attempts, tookMs: tookMs() };
  }
}

const sockets = (): number =>
  process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;

// On a busy machine the first dials to the other host can take too long, and it is left out for a while.
for (let tries = 0; tries < 20; tries++) {
  const warm = await Promise.all(Array.from({ length: 4 }, () => call(both, "/warm", "POST")));
  if (warm.every(({ end }) => end === "1")) break;
  posts = 0;
  await new Promise((resolve) => setTimeout(resolve, 500));
}
// A reply whose head is here: nothing of ours limits it but TCP's own question whether they live.
const stream = await patient.fetch("/stream");
const iterator = stream.body[Symbol.asyncIterator]();
await iterator.next();

host.vanish();
const vanishedAt = performance.now();
const cut = iterator.next().then(
  () => "ended",
  (error: { reason: string }) => error.reason,
);
const [get, post] = await Promise.all([call(both, "/"), call(both, "/", "POST")]);
const again: End[] = [];
for (let i = 0; i < 20; i++) again.push(await call(both, "/"));
const streamEnd = await cut;
const streamMs = Math.round(performance.now() - vanishedAt);
// The idle ones have ended by their own age meanwhile.
const socketsLeft = sockets();
const breaker = mesh
  .snapshot()
  .services.find(({ name }) => name === "both")!
  .endpoints.find(({ address }) => address === host.address)!.breaker;

await mesh.close(0);
near.closeAllConnections();
near.close();
await host.stop();
process.stdout.write(
  JSON.stringify({ get, post, again, posts, socketsLeft, streamEnd, streamMs, breaker }),
);
