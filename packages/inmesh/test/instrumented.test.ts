/** Beside the real instrumentations of OpenTelemetry each request is in a standard metric once: theirs or ours. */
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { createMesh, type HttpMesh, meshClient, meshServer, type Series } from "inmesh";
import { metricProducer } from "inmesh/metrics";
import { expect, it, onTestFinished } from "vitest";

const CLIENT = "http.client.request.duration";
const SERVER = "http.server.request.duration";

/** Those of the CommonJS world, which the instrumentation changes when they are first required behind it. */
const load: NodeJS.Require = createRequire(import.meta.url);

interface Counting {
  readonly mesh: HttpMesh;
  /** All that one reader collects, of every scope: how many requests of an instrument, by scope. */
  counts(name: string): Promise<Record<string, number>>;
}

function counting(
  instrumentations: readonly (HttpInstrumentation | UndiciInstrumentation)[],
  options: Parameters<typeof createMesh>[0] = {},
): Counting {
  const mesh = createMesh({ env: {}, ...options });
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: 3_600_000,
    metricProducers: [metricProducer(mesh)],
  });
  const provider = new MeterProvider({ readers: [reader] });
  for (const one of instrumentations) {
    one.setMeterProvider(provider);
    one.enable();
  }
  load("http");
  load("https");
  onTestFinished(async () => {
    for (const one of instrumentations) one.disable();
    await mesh.close(0);
    await provider.shutdown();
  });
  return {
    mesh,
    async counts(name) {
      exporter.reset();
      await reader.forceFlush();
      const counts: Record<string, number> = {};
      for (const { scopeMetrics } of exporter.getMetrics()) {
        for (const { scope, metrics } of scopeMetrics) {
          for (const metric of metrics) {
            if (metric.descriptor.name !== name) continue;
            if (metric.dataPointType !== DataPointType.HISTOGRAM) continue;
            const scopeName = scope.name.replace("@opentelemetry/instrumentation-", "");
            for (const { value } of metric.dataPoints) {
              counts[scopeName] = (counts[scopeName] ?? 0) + value.count;
            }
          }
        }
      }
      return counts;
    },
  };
}

async function target(): Promise<string> {
  const server = createServer((_, response) => void response.end("x")).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function viaAgent(mesh: HttpMesh, url: string): Promise<void> {
  const { get } = load("http") as typeof import("node:http");
  const [reply] = (await once(get(url, { agent: mesh.agent() }), "response")) as [IncomingMessage];
  await text(reply);
}

it("without any of them all requests are ours", async () => {
  const address = await target();
  const orders = { discovery: { static: [address] } };
  const { mesh, counts } = counting([], { config: { services: { orders } } });
  await (await meshClient("orders", { mesh }).fetch("/")).text();
  await viaAgent(mesh, "http://orders/");
  await expect.poll(() => counts(CLIENT)).toEqual({ inmesh: 2 });
});

it("instrumentation-undici records what undici sends, and the mesh what it does not", async () => {
  const address = await target();
  const h2 = meshServer((_, response) => void response.end("x"), { http2: true });
  onTestFinished(() => h2.close(0));
  const { port } = await h2.listen(0, "127.0.0.1");
  const services = {
    orders: { discovery: { static: [address] } },
    h2: { discovery: { static: [`127.0.0.1:${port}`] }, http2: true },
  };
  const { mesh, counts } = counting([new UndiciInstrumentation()], { config: { services } });
  for (let i = 0; i < 3; i++) await (await meshClient("orders", { mesh }).fetch("/")).text();
  await (await mesh.fetch("http://orders/")).text();
  await expect.poll(() => counts(CLIENT)).toEqual({ undici: 4 });
  await (await meshClient("h2", { mesh }).fetch("/")).text();
  await viaAgent(mesh, "http://orders/");
  await expect.poll(() => counts(CLIENT)).toEqual({ undici: 4, inmesh: 2 });
});

it("instrumentation-http records what node:http sends and serves, and the mesh the rest", async () => {
  const { mesh, counts } = counting([new HttpInstrumentation()]);
  const server = meshServer((_, response) => void response.end("x"), {
    mesh,
    limits: { maxLoopDelayMs: Infinity, maxHeaderCount: 20 },
  });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const url = `http://127.0.0.1:${port}`;
  const client = meshClient(url, { mesh });
  for (let i = 0; i < 3; i++) await (await client.fetch("/")).text();
  await expect.poll(() => counts(SERVER)).toEqual({ http: 3 });
  await expect.poll(() => counts(CLIENT)).toEqual({ inmesh: 3 });
  await viaAgent(mesh, `${url}/`);
  await expect.poll(() => counts(SERVER)).toEqual({ http: 4 });
  await expect.poll(() => counts(CLIENT)).toEqual({ http: 1, inmesh: 3 });
  // What is refused reaches no listener, and so not the instrumentation.
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`x-${i}`, "y"]));
  const reply = await client.fetch("/", { headers: many, idempotent: false });
  expect(reply.status).toBe(431);
  await reply.text();
  await expect.poll(() => counts(SERVER)).toEqual({ http: 4, inmesh: 1 });
  // HTTP/2 is not instrumented.
  const h2 = meshServer((_, response) => void response.end("x"), {
    mesh,
    http2: true,
    limits: { maxLoopDelayMs: Infinity },
  });
  onTestFinished(() => h2.close(0));
  const { port: h2Port } = await h2.listen(0, "127.0.0.1");
  const h2Client = meshClient(`http://127.0.0.1:${h2Port}`, { mesh, http2: true });
  await (await h2Client.fetch("/")).text();
  await expect.poll(() => counts(SERVER)).toEqual({ http: 4, inmesh: 2 });
});

it("`on` records all of them, also where an instrumentation does", async () => {
  const address = await target();
  const orders = { discovery: { static: [address] } };
  const { mesh, counts } = counting([new UndiciInstrumentation()], {
    config: { services: { orders } },
    standardMetrics: "on",
  });
  await (await meshClient("orders", { mesh }).fetch("/")).text();
  await expect.poll(() => counts(CLIENT)).toEqual({ undici: 1, inmesh: 1 });
  const own = mesh.metrics().find(({ name }) => name === CLIENT) as Series;
  expect(own.labels["server.address"]).toBe("orders");
});
