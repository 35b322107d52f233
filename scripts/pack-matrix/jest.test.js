/** jest with no configuration at all: CommonJS, each file in a vm context of its own. */
const { createServer } = require("node:http");
const { createMesh, meshClient, meshServer, MeshError } = require("inmesh");

test("calls a service, and knows an error", async () => {
  const served = meshServer(
    createServer((_request, response) => response.end("hello")),
    { discoveryWaitMs: 0, idleWaitMs: 0 },
  );
  await new Promise((listening) => served.server.listen(0, "127.0.0.1", listening));
  const { port } = served.server.address();
  const discovery = { static: [{ host: "127.0.0.1", port }] };
  const mesh = createMesh({ config: { services: { orders: { discovery } } } });
  const orders = meshClient("orders", { mesh });
  expect(await (await orders.fetch("/")).text()).toBe("hello");
  expect(await (await mesh.fetch("http://orders/")).text()).toBe("hello");
  const nowhere = meshClient("http://127.0.0.1:1", { mesh });
  await expect(nowhere.fetch("/")).rejects.toBeInstanceOf(MeshError);
  await mesh.close();
  await served.close();
});
