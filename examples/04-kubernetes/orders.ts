/** The service `orders`: a server that leaves without losing a request when Kubernetes ends its pod. */
import { createMesh, meshServer } from "inmesh";

const mesh = createMesh({ log: (line) => process.stdout.write(`${JSON.stringify(line)}\n`) });
const server = meshServer(
  (request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ path: request.url, pod: process.env["HOSTNAME"] }));
  },
  // Only this cluster reaches it, and its callers are of the mesh.
  { name: "orders", posture: "mesh", mesh },
);
const { port } = await server.listen(Number(process.env["PORT"] ?? 8080), process.env["HOST"]);
process.stdout.write(`orders listens on ${port}\n`);

// `on`: a second SIGTERM while it drains changes nothing.
process.on("SIGTERM", () => {
  void server
    .drain(30_000)
    .then(() => mesh.close())
    .then(() => process.exit(0));
});
