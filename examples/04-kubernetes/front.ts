/** The service `front`: it calls `orders` by the name of its Service, and says which pod has answered. */
import { createMesh, meshClient, meshServer } from "inmesh";

const mesh = createMesh({ log: (line) => process.stdout.write(`${JSON.stringify(line)}\n`) });
const orders = meshClient(process.env["ORDERS_URL"] ?? "http://orders.shop.svc", { mesh });
const server = meshServer(
  async (request, response) => {
    const reply = await orders
      .fetch(`/v1${request.url ?? "/"}`, { timeoutMs: 2_000 })
      .catch((error: unknown) => String(error));
    if (typeof reply === "string") {
      response.statusCode = 502;
      response.end(reply);
      return;
    }
    response.statusCode = reply.status;
    response.end(await reply.text());
  },
  { name: "front", mesh },
);
// `npx inmesh check --admin unix:/tmp/inmesh.sock --token-file /tmp/inmesh.token` in the pod asks it.
const folder = process.env["ADMIN_FOLDER"] ?? "/tmp";
await mesh.admin.listen({
  socketPath: `${folder}/inmesh.sock`,
  token: { file: `${folder}/inmesh.token` },
});
const { port } = await server.listen(Number(process.env["PORT"] ?? 8080), process.env["HOST"]);
process.stdout.write(`front listens on ${port}\n`);

process.on("SIGTERM", () => {
  void server
    .drain(30_000)
    .then(() => mesh.close())
    .then(() => process.exit(0));
});
