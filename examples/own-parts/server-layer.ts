/**
 * A server layer that serves each address so many requests a second, and answers 429 with `Retry-After`
 * to the rest. Run with `node --conditions=inmesh-source examples/own-parts/server-layer.ts`.
 */
import { meshServer, refusal, type ServerLayer } from "inmesh";

/** Addresses that are kept in mind at most: a peer must not make the table grow without end. */
const MAX_ADDRESSES = 10_000;

const tooFast = refusal({
  code: "resource_exhausted", // 429 over HTTP, RESOURCE_EXHAUSTED over gRPC
  reason: "too_fast",
  retryAfterMs: 1_000,
});

/** A token bucket for each address: `perSecond` requests a second, and as many at once. */
function limitTo(perSecond: number): ServerLayer {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return (inner) => (request) => {
    const now = performance.now();
    const { address = "" } = request.peer;
    let bucket = buckets.get(address);
    if (bucket === undefined) {
      const [oldest] = buckets.keys();
      if (oldest !== undefined && buckets.size === MAX_ADDRESSES) buckets.delete(oldest);
      buckets.set(address, (bucket = { tokens: perSecond, at: now }));
    }
    const refilled = bucket.tokens + ((now - bucket.at) / 1_000) * perSecond;
    bucket.tokens = Math.min(perSecond, refilled);
    bucket.at = now;
    if (bucket.tokens < 1) return tooFast;
    bucket.tokens--;
    return inner(request);
  };
}

const server = meshServer((_request, response) => void response.end("served"), {
  serverLayers: [limitTo(2)],
});
const { port } = await server.listen(0, "127.0.0.1");

// A client of the mesh would wait as long as it is asked to, and try again.
for (let i = 0; i < 3; i++) {
  const reply = await fetch(`http://127.0.0.1:${port}/v1/orders/42`);
  const after = reply.headers.get("retry-after");
  const wait = after === null ? "" : `, retry-after: ${after}`;
  process.stdout.write(`${reply.status} ${(await reply.text()).trim()}${wait}\n`);
}
process.stdout.write(`refused: ${JSON.stringify(server.snapshot().refused)}\n`);
await server.close();
