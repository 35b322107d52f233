/** A CommonJS Express service that calls another one. */
const express = require("express");
const { meshClient, meshServer, createMesh } = require("inmesh");

async function main() {
  const app = express();
  app.get("/hello", (_request, response) => response.json({ hello: "mesh" }));
  const served = meshServer(app, { discoveryWaitMs: 0, idleWaitMs: 0 });
  await served.listen({ port: 0, host: "127.0.0.1" });
  const { port } = served.server.address();
  const mesh = createMesh({ config: {} });
  const reply = await meshClient(`http://127.0.0.1:${port}`, { mesh }).fetch("/hello");
  console.log(JSON.stringify([await reply.json()]));
  await mesh.close();
  await served.close();
}
main();
