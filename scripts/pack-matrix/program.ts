/**
 * What an application does on its first day: it calls a service by name, through both ways of calling,
 * with a route that needs the lazily loaded parts, and looks at an error. It prints one line.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh, defaultMesh, meshClient, MeshError, meshServer } from "inmesh";

async function main(): Promise<void> {
  const served = meshServer(
    createServer((request, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ path: request.url }));
    }),
    { discoveryWaitMs: 0, idleWaitMs: 0 },
  );
  await new Promise<void>((listening) => {
    served.server.listen(0, "127.0.0.1", () => listening());
  });
  const { port } = served.server.address() as AddressInfo;
  const mesh = createMesh({
    config: {
      services: {
        orders: {
          discovery: { static: [{ host: "127.0.0.1", port }] },
          routes: [
            {
              name: "versions",
              matches: [{ path: { type: "RegularExpression", value: "/v[0-9]+/.*" } }],
            },
          ],
        },
        // Its discovery is loaded when it is first called.
        gone: { url: "http://localhost:1" },
      },
    },
  });
  const orders = meshClient("orders", { mesh });
  // As SDKs ask for it.
  const meshFetch: typeof globalThis.fetch = mesh.fetch;
  const said: unknown[] = [];
  said.push(((await (await orders.fetch("/v1/client")).json()) as { path: string }).path);
  said.push(((await (await meshFetch("http://orders/v1/fetch")).json()) as { path: string }).path);
  try {
    await meshClient("gone", { mesh }).fetch("/", { timeoutMs: 2_000 });
  } catch (error) {
    said.push(error instanceof MeshError && error instanceof Error);
  }
  await mesh.close();
  await served.close();
  said.push(defaultMesh() === defaultMesh());
  console.log(JSON.stringify(said));
}

void main();
