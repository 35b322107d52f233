/** The page about metrics and the instruments of the code say the same. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import {
  type EndpointSink,
  INSTRUMENTS,
  type Instrument,
  type Labels,
  NodeRuntime,
  staticDiscovery,
  type Telemetry,
} from "@inmesh/core/spi";
import { accessLog, type IdentitySink, type IdentityWatch, type Mesh } from "@inmesh/core";
import { meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { createMesh, meshClient, meshServer } from "@inmesh/http";
import { Client, Metadata } from "@grpc/grpc-js";
import { startProxy } from "mesh-proxy";
import { expect, onTestFinished, test } from "vitest";
import { measureWorkers } from "../packages/proxy/src/workers/measure.ts";
import { measuredResolver } from "../packages/core/src/discovery/dns/measured.ts";
import { DnsServer } from "../packages/core/src/testing/dns-server.ts";
import { TestCa } from "../packages/http/test/support/ca.ts";

interface Row {
  readonly name: string;
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

const page: string = readFileSync(new URL("reference/metrics.md", import.meta.url), "utf8");
const allRows: Row[] = [
  ...page.matchAll(/^\| `((?:inmesh|http|rpc)\.[^`]+)` \|([^\n]+)\|$/gm),
].flatMap(([, name = "", rest = ""]) => {
  const cells = rest.split("|").map((cell) => cell.trim());
  if (cells.length < 4) return [];
  const row: Row = {
    name,
    unit: (cells[1] ?? "").replaceAll("`", ""),
    labels: (cells[2] ?? "")
      .split(",")
      .map((label) => label.trim())
      .filter(Boolean),
    meaning: cells.at(-1) ?? "",
  };
  return [row];
});
const rows: Row[] = allRows.filter(({ name }) => name.startsWith("inmesh."));
const standard: Row[] = allRows.filter(({ name }) => !name.startsWith("inmesh."));

test("every instrument is documented, in its unit and its own words, and nothing else is", () => {
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  const written = INSTRUMENTS.map(({ name, unit, description }) => ({
    name,
    unit,
    meaning: description,
  }));
  expect(rows.map(({ name, unit, meaning }) => ({ name, unit, meaning })).toSorted(byName)).toEqual(
    written.toSorted(byName),
  );
});

test("every instrument has the labels that the page says, as a mesh writes them", async () => {
  const seen = new Map<string, string[]>();
  const note = ({ name }: Instrument, labels: Labels): void => {
    if (!name.startsWith("inmesh.")) return;
    const names = Object.keys(labels).toSorted();
    expect(seen.get(name) ?? names, name).toEqual(names); // the same at every place
    seen.set(name, names);
  };
  const telemetry: Telemetry = {
    counter: (instrument, labels) => (note(instrument, labels), { add() {} }),
    histogram: (instrument, labels) => (note(instrument, labels), { record() {} }),
    gauge: (instrument, labels) => (note(instrument, labels), () => {}),
    total: (instrument, labels) => (note(instrument, labels), () => {}),
  };
  const folder = mkdtempSync(join(tmpdir(), "inmesh-metrics-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const configFile = join(folder, "mesh.yaml");
  writeFileSync(configFile, "services: { orders: { url: 'http://orders.test' } }");
  // Nothing listens there: attempts fail, a breaker opens, and a retry is decided on.
  const closedPorts = staticDiscovery([1, 2].map((port) => ({ host: "127.0.0.1", port })));
  const sinks: EndpointSink[] = [];
  const discovery = ({ name }: { name: string }): typeof closedPorts | undefined =>
    name === "orders"
      ? {
          source: "test",
          watch: (sink) => (sinks.push(sink), closedPorts.watch(sink)),
        }
      : undefined;
  const identities = [
    {
      name: "silent",
      watch(sink: IdentitySink): IdentityWatch {
        sink.failed(new Error("has no certificate yet"));
        return { stop() {} };
      },
    },
  ];
  const log = (): void => {};
  const exporters = [accessLog({ stream: new Writable() })];
  const mesh = createMesh({
    env: {},
    configFile,
    telemetry,
    discovery,
    identities,
    log,
    exporters,
  });
  mesh.tap();
  onTestFinished(() => mesh.close(0));
  mesh.observe({
    callStarted() {
      throw new Error("a hook that throws");
    },
  });
  await expect(meshClient("orders", { mesh }).fetch("/")).rejects.toThrow("orders");
  await serveAndRefuse(mesh);
  startProxy({ mesh, listeners: [] });
  measureWorkers(telemetry, []);
  await measureDns(telemetry, mesh.bounds, folder);
  mesh.update({});
  await mesh.close(0);
  for (const sink of sinks) sink.failed(new Error("after its watch was stopped"));
  // Those about the recorder, which there is only without a telemetry of one's own.
  const plain = createMesh({ env: {} });
  onTestFinished(() => plain.close(0));
  for (const { name, labels } of plain.metrics()) seen.set(name, Object.keys(labels).toSorted());
  const said = rows.map(({ name, labels }) => [name, labels.toSorted()] as const);
  expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(said));
});

test("every standard metric has the unit and the attributes that the page says", async () => {
  const mesh = createMesh({
    env: {},
    config: { services: { closed: { discovery: { static: ["127.0.0.1:1"] } } } },
  });
  onTestFinished(() => mesh.close(0));
  const limits = { maxLoopDelayMs: Infinity };
  const web = meshServer(
    (request, response) => {
      response.statusCode = request.url === "/" ? 200 : 500;
      response.end();
    },
    { mesh, limits },
  );
  const { port } = await web.listen(0, "127.0.0.1");
  onTestFinished(() => web.close(0));
  for (const path of ["/", "/broken"]) {
    const reply = await meshClient(`http://127.0.0.1:${port}`, { mesh }).fetch(path);
    await reply.text();
  }
  const rpc = meshGrpcServer({ mesh, limits });
  const same = (value: Buffer): Buffer => value;
  const fails = { code: 13, details: "no" };
  const calls = { path: "/a.B/C", requestStream: false, responseStream: false } as const;
  const serializers = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  rpc.server.addService(
    { c: { ...calls, ...serializers } },
    { c: (_: unknown, answer: (error: object) => void) => answer(fails) },
  );
  onTestFinished(() => rpc.close(0));
  const rpcPort = await rpc.listen("127.0.0.1:0");
  const client = new Client(...meshGrpc(`http://127.0.0.1:${rpcPort}`, { mesh }));
  await new Promise((resolve) =>
    client.makeUnaryRequest("/a.B/C", same, same, Buffer.alloc(0), new Metadata(), resolve),
  );
  const found = (): Record<string, { unit: string; labels: string[] }> => {
    const byName: Record<string, { unit: string; labels: string[] }> = {};
    for (const { name, unit, labels } of mesh.metrics()) {
      if (name.startsWith("inmesh.")) continue;
      const names = new Set([...(byName[name]?.labels ?? []), ...Object.keys(labels)]);
      byName[name] = { unit, labels: [...names].toSorted() };
    }
    return byName;
  };
  const said = Object.fromEntries(
    standard.map(({ name, unit, labels }) => [name, { unit, labels: labels.toSorted() }]),
  );
  expect(Object.keys(said)).toHaveLength(4);
  await expect.poll(found).toEqual(said);
});

/** A server with TLS and HTTP/2: a request that is served, and some that are not. */
async function serveAndRefuse(mesh: Mesh): Promise<void> {
  const ca = new TestCa();
  const { cert, key } = ca.issue({ names: ["stock.test"] });
  const server = meshServer((_, response) => void response.end("ok"), {
    mesh,
    name: "stock",
    posture: "mesh",
    http2: true,
    tls: { cert, key },
    limits: { maxInFlight: 1 },
  });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const client = meshClient("stock", {
    mesh,
    scheme: "https",
    authority: "stock.test",
    discovery: { static: [`127.0.0.1:${port}`] },
    http2: true,
    tls: { ca: ca.cert },
    limits: { maxInFlight: 1 },
    retry: { attempts: 1 },
  });
  await (await client.fetch("/", { headers: { traceparent: "none" } })).text();
  // Whose time is over already.
  const late = get({
    host: "127.0.0.1",
    port,
    servername: "stock.test",
    ca: ca.cert,
    agent: false,
    headers: { "x-mesh-timeout-ms": "0" },
  });
  const [reply] = (await once(late, "response")) as [IncomingMessage];
  expect(reply.resume().statusCode).toBe(504);
  await (await client.fetch(`/${"x".repeat(9_000)}`)).text();
  const given = new AbortController();
  const two = [client.fetch("/", { signal: given.signal }), client.fetch("/")];
  given.abort();
  await Promise.allSettled(two);
  await server.close(0);
}

async function measureDns(
  telemetry: Telemetry,
  bounds: Mesh["bounds"],
  folder: string,
): Promise<void> {
  const dns = await DnsServer.start();
  onTestFinished(() => dns.close());
  const resolvConfPath = join(folder, "resolv.conf");
  writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${dns.port}\n`);
  const runtime = new NodeRuntime();
  const resolver = measuredResolver({ runtime, telemetry, bounds }, { resolvConfPath });
  await resolver.addresses("orders.test.");
}
