/** Metrics for OpenTelemetry: the SDK's own readers and exporters, and what arrives at the other end. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { OTLPMetricExporter as JsonExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtobufExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type IMetricReader,
  MeterProvider,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from "@opentelemetry/sdk-metrics";
import { createMesh, type HttpMesh, meshClient, type MeshClient, type Series } from "inmesh";
import { metricProducer } from "inmesh/metrics";
import { expect, it, onTestFinished } from "vitest";
import { decodeMetrics, type Point, type Request } from "./otlp-decoder.ts";

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Four calls, one of which is answered with 404. */
async function usedMesh(): Promise<{ mesh: HttpMesh; client: MeshClient }> {
  const url = await listen((request, response) => {
    response.writeHead(request.url === "/missing" ? 404 : 200).end("x");
  });
  const mesh = createMesh({ env: {}, config: { services: { orders: { url } } } });
  onTestFinished(() => mesh.close(0));
  const client = meshClient("orders", { mesh });
  for (const path of ["/", "/missing", "/", "/"]) await (await client.fetch(path)).text();
  return { mesh, client };
}

async function receiver(): Promise<{ url: string; requests: Request[] }> {
  const requests: Request[] = [];
  const read = async (request: IncomingMessage): Promise<void> => {
    const body = await buffer(request);
    const isJson = request.headers["content-type"] === "application/json";
    requests.push(isJson ? (JSON.parse(body.toString()) as Request) : decodeMetrics(body));
  };
  const address = await listen((request, response) => {
    void read(request).then(() => response.end());
  });
  return { url: `${address}/v1/metrics`, requests };
}

function provider(reader: IMetricReader): MeterProvider {
  const meters = new MeterProvider({ readers: [reader] });
  onTestFinished(() => meters.shutdown().catch(() => {}));
  return meters;
}

function periodic(exporter: PushMetricExporter, mesh: HttpMesh, timeoutMs = 5_000) {
  return new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: 60_000,
    exportTimeoutMillis: timeoutMs,
    metricProducers: [metricProducer(mesh)],
  });
}

const attributesOf = ({ attributes }: Point): Record<string, string | undefined> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]));

it.each([
  ["JSON", JsonExporter],
  ["protobuf", ProtobufExporter],
])("OTLP over HTTP with %s brings every series, beside those of the SDK", async (_, Exporter) => {
  const { mesh } = await usedMesh();
  const { url, requests } = await receiver();
  const reader = periodic(new Exporter({ url }), mesh);
  provider(reader).getMeter("app").createCounter("app.orders").add(2);
  await reader.forceFlush();

  const [{ resource, scopeMetrics } = expect.fail("nothing arrived")] =
    requests[0]!.resourceMetrics;
  expect(resource.attributes.map(({ key }) => key)).toContain("telemetry.sdk.name");
  expect(scopeMetrics.map(({ scope }) => scope.name)).toEqual(["app", "inmesh"]);
  const metrics = new Map(scopeMetrics[1]!.metrics.map((one) => [one.name, one]));
  const series = mesh.metrics();
  expect([...metrics.keys()]).toEqual([...new Set(series.map(({ name }) => name))]);

  const calls = metrics.get("inmesh.calls")!;
  expect(calls).toMatchObject({
    unit: "{call}",
    description: "Calls that ended, as the application saw them.",
    sum: { aggregationTemporality: 2, isMonotonic: true },
  });
  const byStatus = calls.sum!.dataPoints.map((point) => [
    attributesOf(point)["inmesh.status"],
    point.asDouble,
  ]);
  expect(byStatus.toSorted()).toEqual([
    ["2xx", 3],
    ["4xx", 1],
  ]);
  expect(attributesOf(calls.sum!.dataPoints[0]!)).toMatchObject({
    "inmesh.service": "orders",
    "inmesh.direction": "outbound",
  });

  // Standard metrics have their attributes as they are.
  const standard = metrics.get("http.client.request.duration")!;
  expect(standard).toMatchObject({ unit: "s", description: "Duration of HTTP client requests." });
  expect(standard.histogram!.dataPoints.map(attributesOf)).toEqual([
    {
      "http.request.method": "GET",
      "http.response.status_code": "200",
      "network.protocol.version": "1.1",
      "server.address": "orders",
      "server.port": expect.stringMatching(/^\d+$/),
      "url.scheme": "http",
    },
    expect.objectContaining({ "http.response.status_code": "404", "error.type": "404" }),
  ]);

  expect(metrics.get("inmesh.discovery.endpoints")!.gauge!.dataPoints[0]!.asDouble).toBe(1);

  const duration = metrics.get("inmesh.call.duration")!;
  const mine = series.find(({ name }) => name === duration.name) as Series & { kind: "histogram" };
  expect(duration).toMatchObject({ unit: "s", histogram: { aggregationTemporality: 2 } });
  const [point] = duration.histogram!.dataPoints;
  expect(point!.sum).toBe(mine.sum);
  expect(point!.explicitBounds).toEqual(mine.bounds);
  expect(point!.bucketCounts!.map(Number)).toEqual(mine.counts);
  const startedAtNs = Number(point!.startTimeUnixNano);
  expect(Math.abs(startedAtNs / 1e6 - mine.startedAtWallMs)).toBeLessThan(1);
  expect(Number(point!.timeUnixNano)).toBeGreaterThanOrEqual(startedAtNs);
});

it("the SDK's exporter for Prometheus has the same numbers", async () => {
  const { mesh } = await usedMesh();
  const reader = new PrometheusExporter({
    preventServerStart: true,
    metricProducers: [metricProducer(mesh)],
  });
  provider(reader);
  const url = await listen((request, response) =>
    reader.getMetricsRequestHandler(request, response),
  );
  const page = await (await fetch(url)).text();
  expect(page).toMatch(/^inmesh_calls_total\{.*inmesh_status="2xx".*\} 3( \d+)?$/m);
  expect(page).toMatch(/^inmesh_call_duration_count\{.*inmesh_service="orders".*\} 4( \d+)?$/m);
  expect(page).toMatch(/^inmesh_call_duration_bucket\{.*le="\+Inf".*\} 4( \d+)?$/m);
});

it("P2 LC: an exporter that hangs, or throws, costs no call anything", async () => {
  const { mesh, client } = await usedMesh();
  const hangs = await listen(() => {});
  const throws: PushMetricExporter = {
    export: () => {
      throw new Error("an exporter that throws");
    },
    forceFlush: () => Promise.reject(new Error("a flush that fails")),
    shutdown: () => Promise.resolve(),
  };
  for (const exporter of [new JsonExporter({ url: hangs, timeoutMillis: 400 }), throws]) {
    const reader = periodic(exporter, mesh, 300);
    provider(reader);
    const flushed = reader.forceFlush().then(
      () => "flushed",
      () => "failed",
    );
    const replies = await Promise.all(Array.from({ length: 50 }, () => client.fetch("/")));
    for (const reply of replies) {
      expect(reply.status).toBe(200);
      await reply.text();
    }
    expect(["flushed", "failed"]).toContain(await flushed);
  }
  expect(mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(0);
});

it("is a MetricProducer, whose values are finite and whose faults are in its result", async () => {
  const { mesh } = await usedMesh();
  // Assigned, so that the compiler compares it with the SDK's interface.
  const producer: MetricProducer = metricProducer(mesh);
  const acme = { name: "acme.level", unit: "1", description: "A level." };
  for (const [room, value] of Object.entries({ nan: Number.NaN, inf: Infinity, good: 0.5 })) {
    mesh.telemetry.gauge(acme, { room }, () => value);
  }
  mesh.telemetry.counter({ ...acme, name: "acme.back" }, {}).add(-1);
  const { resourceMetrics, errors }: CollectionResult = await producer.collect();
  expect(errors).toEqual([]);
  const { metrics } = resourceMetrics.scopeMetrics[0]!;
  const level = metrics.find(({ descriptor }) => descriptor.name === "acme.level")!;
  expect(level).toMatchObject({
    dataPointType: DataPointType.GAUGE,
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: [{ attributes: { room: "good" }, value: 0.5 }],
  });
  expect(metrics.some(({ descriptor }) => descriptor.name === "acme.back")).toBe(false);

  const { runtime } = mesh;
  const broken = metricProducer({
    runtime,
    metrics: () => {
      throw undefined as unknown as Error;
    },
  });
  expect(await broken.collect()).toMatchObject({
    errors: [new Error("undefined")],
    resourceMetrics: { scopeMetrics: [] },
  });
  const own = createMesh({ env: {}, telemetry: mesh.telemetry });
  onTestFinished(() => own.close(0));
  expect((await metricProducer(own).collect()).resourceMetrics.scopeMetrics).toEqual([]);
});

it("a wall clock that was set back gives no series that begins after its end", async () => {
  const { mesh } = await usedMesh();
  const runtime = Object.assign(Object.create(mesh.runtime) as typeof mesh.runtime, {
    wallNow: () => 1_000.5,
  });
  const producer: MetricProducer = metricProducer({ runtime, metrics: () => mesh.metrics() });
  const { resourceMetrics } = await producer.collect();
  for (const { dataPoints } of resourceMetrics.scopeMetrics[0]!.metrics) {
    for (const { startTime, endTime } of dataPoints) {
      expect({ startTime, endTime }).toEqual({ startTime: [1, 500_000], endTime: [1, 500_000] });
    }
  }
});
