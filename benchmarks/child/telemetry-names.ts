/**
 * What outside names cost the metrics: calls and requests, each with a host, a path and a user agent of its own, and
 * with methods and statuses as a hostile peer would choose them. argv is how many. Prints `NamesRun` as JSON.
 */
import { once } from "node:events";
import { Call } from "@inmesh/core/spi";
import { stubProtocol } from "@inmesh/core/testing";
import { HTTP, HttpRequest } from "@inmesh/http/spi";
import { createMesh, meshServer } from "inmesh";
import inject from "light-my-request";
import { settledHeap } from "../child.ts";

export interface NamesRun {
  /** Lines of a page, when the first three tenths were made, and at the end. */
  readonly series: readonly [before: number, after: number];
  /** By how much the resident memory has grown meanwhile. */
  readonly rssGrowthMb: number;
}

/** Of all names, when the heap of the process has grown to its size: Node takes memory for garbage first. */
const SETTLED = 0.3;
const METHODS = ["GET", "POST", "PROPFIND", "X"];

const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: ["10.0.0.1:80"] } } } },
});
let made = 0;
const { transport } = stubProtocol(({ attempt, reply }) => {
  attempt.wireVersion = 1;
  reply("success", 200 + (made % 800));
});
const service = mesh.service("orders", { ...HTTP, transport } as unknown as typeof HTTP);
const server = meshServer(
  (request, response) => {
    response.statusCode = 200 + (made % 400);
    request.resume().on("end", () => response.end());
  },
  { mesh, limits: { maxLoopDelayMs: Infinity } },
);
server.server.listen(0, "127.0.0.1");
await once(server.server, "listening");
const emit = (...messages: Parameters<inject.DispatchFunc>): void =>
  void server.server.emit("request", ...messages);

async function one(): Promise<void> {
  const headers = { host: `host-${made}.example`, "user-agent": `agent ${made}` };
  const path = `/users/${made}?q=${made}`;
  const method = METHODS[Math.floor(made / 800) % METHODS.length]!;
  // Most through the client, which is quicker; every tenth is served as well.
  const request = new HttpRequest(path, method, { "x-host": headers.host }, null);
  (await service.current(new Call("orders", request, true, true))).discard();
  if (made % 10 === 0) await inject(emit, { method: "GET", url: path, headers });
  made++;
}

async function until(count: number): Promise<void> {
  while (made < count) await one();
}

function sizeOf(): number {
  const found = mesh.metrics().find(({ name }) => name === "inmesh.metrics.series")!;
  return "value" in found ? found.value : 0;
}

const count = Number(process.argv[2] ?? 1_000_000);
await until(count * SETTLED);
settledHeap();
const [before, rssBefore] = [sizeOf(), process.memoryUsage.rss()];
await until(count);
settledHeap();
const run: NamesRun = {
  series: [before, sizeOf()],
  rssGrowthMb: (process.memoryUsage.rss() - rssBefore) / 1_048_576,
};
process.stdout.write(JSON.stringify(run));
process.exit();
