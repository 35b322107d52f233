/** A process of its own that computes where it should not: its event loop is late, and its metrics say so. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh } from "inmesh";
import { metricsPage } from "inmesh/metrics";
import type { FromScenario } from "./truth.ts";

const EVERY_MS = 400;
const COMPUTES_MS = 160;

const mesh = createMesh({ env: {} });
const page = createServer(async (request, response) => {
  const { contentType, body } = await metricsPage(mesh, request.headers.accept);
  response.setHeader("content-type", contentType).end(body);
}).listen(0, "127.0.0.1");
await once(page, "listening");
setInterval(() => {
  const until = performance.now() + COMPUTES_MS;
  while (performance.now() < until);
}, EVERY_MS);
process.once("disconnect", () => process.exit(0));
const address = `127.0.0.1:${(page.address() as AddressInfo).port}`;
process.send?.({ type: "page", address } satisfies FromScenario);
