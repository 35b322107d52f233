/**
 * What an application does on its first day: it calls a service by name, through both ways of calling,
 * with a route that needs the lazily loaded parts, and looks at an error. It prints one line.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kubernetes } from "@inmesh/discovery-k8s";
import { createMesh, defaultMesh, meshClient, MeshError, meshServer } from "inmesh";

/** The name of a Kubernetes Service, by an API server with one slice: it loads the whole watch. */
async function callService(port: number): Promise<string> {
  const slice = {
    metadata: {
      name: "a",
      resourceVersion: "1",
      labels: { "kubernetes.io/service-name": "orders" },
    },
    addressType: "IPv4",
    ports: [{ name: "http", port }],
    endpoints: [{ addresses: ["127.0.0.1"] }],
  };
  const api = createServer((request, response) => {
    const { url = "" } = request;
    response.statusCode = url.includes("sendInitialEvents") ? 422 : 200;
    if (url.includes("watch=true") && response.statusCode === 200) response.flushHeaders();
    else response.end(JSON.stringify({ metadata: { resourceVersion: "1" }, items: [slice] }));
  });
  await new Promise<void>((listening) => api.listen(0, "127.0.0.1", () => listening()));
  const server = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  const kubeconfig = join(mkdtempSync(join(tmpdir(), "inmesh-matrix-")), "config");
  const config = {
    "current-context": "a",
    contexts: [{ name: "a", context: { cluster: "a" } }],
    clusters: [{ name: "a", cluster: { server } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const mesh = createMesh({ discoveries: [kubernetes({ kubeconfig })] });
  const reply = await meshClient("http://orders.shop.svc", { mesh }).fetch("/v1/pod");
  const { path } = (await reply.json()) as { path: string };
  const [service] = mesh.snapshot().services;
  await mesh.close();
  api.closeAllConnections();
  await new Promise((closed) => api.close(closed));
  return `${path} by ${service?.discovery.source}`;
}

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
  said.push(await callService(port));
  await served.close();
  said.push(defaultMesh() === defaultMesh());
  console.log(JSON.stringify(said));
}

void main();
