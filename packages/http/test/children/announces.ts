/** A server with a name that announces itself as INMESH_REGISTRY says; with `calls` it asks another one and ends by itself. */
import { createMesh, meshClient, meshServer } from "@inmesh/http";

const [name = "orders", calls] = process.argv.slice(2);
const server = meshServer((_request, response) => response.end(String(process.pid)), { name });
await server.listen(0, "127.0.0.1");
if (calls !== undefined) {
  // Neither the client nor the announcement may keep this process alive.
  const client = meshClient(calls, { mesh: createMesh() });
  const reply = await client.fetch("/");
  process.stdout.write(`answered by ${await reply.text()}\n`);
  server.server.unref();
} else process.stdout.write(`${process.pid}\n`);
process.on("SIGTERM", () => void server.drain(400));
