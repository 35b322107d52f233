/**
 * A process in which everything happens that a dashboard can show: calls that go well, fail, are slow or are
 * retried, open breakers, panic, shedding, a rolling restart, stale discovery, a refused configuration and peers
 * that break the protocol. Real servers and clients of HTTP and gRPC on this machine.
 *
 * It says by IPC where its metrics are, begins when its parent sends `go`, and says in the end what was true.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { status } from "@grpc/grpc-js";
import type { EndpointInfo, EndpointSink } from "@inmesh/core/spi";
import { meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { accessLog, createMesh, meshClient, meshServer } from "inmesh";
import { metricsPage } from "inmesh/metrics";
import { startProxy } from "mesh-proxy";
import { Orders, type OrdersHandlers } from "../../examples/03-grpc/orders.ts";
import { TestCa } from "../../packages/http/test/support/ca.ts";
import { measureWorkers } from "../../packages/proxy/src/workers/measure.ts";
import type { FromScenario, Truth } from "./truth.ts";
import { freeAddress } from "../../scripts/free-port.ts";

/** From `go` to the truth. */
const SECONDS = 24;
const MINUTE_MS = 60_000;
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

const tell = (message: FromScenario): void => void process.send?.(message);
const folder = mkdtempSync(join(tmpdir(), "inmesh-scenario-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
process.once("disconnect", () => process.exit(0));

// ── servers ─────────────────────────────────────────────────────────────────────────────────────

async function plain(listener: RequestListener, port = 0): Promise<Server> {
  const server = createServer(listener).listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}
const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const addressOf = (server: Server): string => `127.0.0.1:${portOf(server)}`;

const fine: RequestListener = (request, response) => {
  request.resume();
  response.end("fine");
};
const failing: RequestListener = (request, response) => {
  request.resume();
  response.writeHead(500).end("broken");
};
const after =
  (ms: number): RequestListener =>
  (request, response) => {
    request.resume();
    setTimeout(() => response.end("late"), ms);
  };
const asAsked: RequestListener = (request, response) =>
  (request.headers["x-fail"] === undefined ? fine : failing)(request, response);

const exactServers = [await plain(asAsked), await plain(asAsked)];
const orderServers = [await plain(fine), await plain(fine), await plain(fine)];
const brokenServers = [await plain(fine), await plain(fine), await plain(failing)];
const flakyServers = [await plain(failing), await plain(failing)];
const slow = await plain(after(600));
const held = await plain(after(100));
const h2Server = meshServer(after(50), { http2: true, discoveryWaitMs: 0 });
const { port: h2Port } = await h2Server.listen(0, "127.0.0.1");
const dead = [await freeAddress(), await freeAddress()];

// ── certificates ────────────────────────────────────────────────────────────────────────────────

const ca = new TestCa();
const anotherCa = new TestCa("another");
const now = Date.now();
// It has lived most of its life, as a certificate has that nothing renews.
const expiresAtMs = Math.floor(now / 1000) * 1000 + 4 * MINUTE_MS;
const own = ca.issue({ notBefore: now - 60 * MINUTE_MS, notAfter: expiresAtMs });

// ── the mesh ────────────────────────────────────────────────────────────────────────────────────

const configFile = join(folder, "mesh.yaml");
const filed = (more: string): string =>
  `services: { filed: { url: "http://${addressOf(orderServers[0]!)}" }${more} }\n`;
writeFileSync(configFile, filed(""));

const sinks = new Map<string, EndpointSink>();
const list = (servers: readonly Server[]): EndpointInfo[] =>
  servers.map((server, i) => ({
    host: "127.0.0.1",
    port: portOf(server),
    zone: i === 0 ? "a" : "b",
  }));

const servicesOf = (crowdedUrl = "http://crowded.test"): Record<string, object> => ({
  exact: {
    discovery: { static: exactServers.map(addressOf) },
    routes: [{ name: "read", matches: [{ path: { type: "PathPrefix", value: "/read" } }] }],
  },
  orders: {
    discovery: {
      static: orderServers.map((server, i) => ({
        host: "127.0.0.1",
        port: portOf(server),
        zone: i === 0 ? "a" : "b",
      })),
    },
  },
  broken: {
    discovery: { static: brokenServers.map(addressOf) },
    balancer: { kind: "round-robin" },
    breaker: { consecutiveFailures: 3, minOpen: "2m", maxOpen: "5m" },
  },
  flaky: { discovery: { static: flakyServers.map(addressOf) }, retryBudget: { minPerSecond: 0 } },
  dead: {
    discovery: { static: dead },
    breaker: { maxEjectedRatio: 1, minOpen: "2m", maxOpen: "5m" },
  },
  slow: { discovery: { static: [addressOf(slow)] }, timeouts: { request: "150ms" } },
  limited: { discovery: { static: [addressOf(held)] }, limits: { maxInFlight: 2 } },
  queued: { discovery: { static: [addressOf(held)] }, limits: { maxConnectionsPerEndpoint: 1 } },
  h2: { discovery: { static: [`127.0.0.1:${h2Port}`] }, http2: true },
  moving: { url: "http://moving.test" },
  crowded: { url: crowdedUrl, limits: { maxEndpoints: 2 } },
  nowhere: { discovery: { dns: "nowhere.invalid", port: 80 }, timeouts: { request: "1s" } },
});

const mesh = createMesh({
  env: {},
  zone: "a",
  exporters: [accessLog({ stream: new PassThrough().resume() })],
  configFile,
  config: { services: servicesOf() },
  log() {},
  discovery: ({ name }) =>
    name === "moving" || name === "crowded"
      ? {
          source: "test",
          watch(sink) {
            sinks.set(name, sink);
            const servers = name === "crowded" ? orderServers : orderServers.slice(0, 2);
            sink.replace(list(servers));
            return { refresh() {}, stop() {} };
          },
        }
      : undefined,
  identities: [
    {
      name: "silent",
      watch(sink) {
        sink.failed(new Error("has no certificate"));
        return { stop() {} };
      },
    },
  ],
});

// Gets no connection: what a proxy alone measures is on the page from its start.
startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
// A worker that serves: the process that starts some measures them.
measureWorkers(mesh.telemetry, [{ serving: true, restartsInMs: undefined }]).add(1);
const shop = meshServer(after(20), {
  name: "shop",
  mesh,
  posture: "mesh",
  authorities: ["shop.test"],
  limits: { maxInFlight: 3 },
  discoveryWaitMs: 0,
});
const { port: shopPort } = await shop.listen(0, "127.0.0.1");
/** Only peers that break the protocol come here. */
const gate = meshServer(fine, {
  name: "gate",
  mesh,
  posture: "mesh",
  authorities: ["gate.test"],
  discoveryWaitMs: 0,
});
const { port: gatePort } = await gate.listen(0, "127.0.0.1");
const secure = meshServer(fine, {
  name: "secure",
  mesh,
  posture: "mesh",
  tls: { ca: ca.cert, cert: own.cert, key: own.key, requestCert: true },
  discoveryWaitMs: 0,
});
const { port: securePort } = await secure.listen(0, "127.0.0.1");
const parcels = meshGrpcServer({ name: "parcels", mesh, posture: "mesh", discoveryWaitMs: 0 });
const handlers: OrdersHandlers = {
  get: ({ request: { id } }, done) => {
    if (id === "none") done({ code: status.NOT_FOUND, details: "no such order" });
    else if (id === "broken") done({ code: status.INTERNAL, details: "broken" });
    else done(null, { id, state: "paid", by: "a" });
  },
  watch: (stream) => {
    stream.write({ id: stream.request.id, state: "paid", by: "a" });
    stream.end();
  },
};
parcels.server.addService(Orders.service, handlers);
const parcelsPort = await parcels.listen("127.0.0.1:0");

const allServices = (crowdedUrl?: string): Record<string, object> => ({
  ...servicesOf(crowdedUrl),
  shop: { discovery: { static: [`127.0.0.1:${shopPort}`] }, authority: "shop.test" },
  secure: {
    url: `https://localhost:${securePort}`,
    discovery: { static: [`127.0.0.1:${securePort}`] },
    tls: { ca: ca.cert, cert: own.cert, key: own.key },
  },
  untrusted: {
    url: `https://localhost:${securePort}`,
    discovery: { static: [`127.0.0.1:${securePort}`] },
    tls: { ca: anotherCa.cert },
  },
  parcels: { discovery: { static: [`127.0.0.1:${parcelsPort}`] } },
});
mesh.update({ services: allServices() });

const page = await plain(async (request, response) => {
  const { contentType, body } = await metricsPage(mesh, request.headers.accept);
  response.setHeader("content-type", contentType).end(body);
});

// ── what happens ────────────────────────────────────────────────────────────────────────────────

type Init = Parameters<ReturnType<typeof meshClient>["fetch"]>[1];

/** Most of these are meant to fail, so that is no mistake of the scenario. */
async function call(service: string, path = "/", init: Init = {}): Promise<number | undefined> {
  try {
    const reply = await meshClient(service, { mesh }).fetch(path, init);
    await reply.text();
    return reply.status;
  } catch {
    return undefined;
  }
}

/** On a fixed schedule, until the process ends. */
function every(ms: number, act: (n: number) => unknown): void {
  let n = 0;
  setInterval(() => act(n++), ms);
}

const exact = { calls: 0, failed: 0, read: 0 };
const sent: { at: number; calls: number }[] = [];

/** Of ten calls three read, and one of the others fails; it is a POST, which nothing retries. */
async function exactCall(n: number): Promise<void> {
  const one = n % 10;
  const sampled = { traceparent: `00-${TRACE_ID}-00f067aa0ba902b7-01` };
  const answer =
    one < 3
      ? await call("exact", "/read/1", { headers: sampled })
      : await call("exact", "/write", {
          method: "POST",
          body: "{}",
          headers: one === 9 ? { "x-fail": "1" } : {},
        });
  exact.calls++;
  if (one < 3) exact.read++;
  if (answer !== 200) exact.failed++;
}

/** Bytes to a server, and nothing of what it says. */
async function raw(port: number, text: string): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {}).resume();
  socket.write(text);
  await Promise.race([once(socket, "close"), sleep(500)]);
  socket.destroy();
}

function traffic(): void {
  every(25, exactCall);
  every(1_000, () => sent.push({ at: Date.now() / 1000, calls: exact.calls }));
  every(50, () =>
    call("orders", "/", { headers: { traceparent: `00-${TRACE_ID}-00f067aa0ba902b7-01` } }),
  );
  every(50, () => call("broken"));
  every(60, () => call("flaky"));
  every(200, () => call("dead"));
  every(250, () => call("slow"));
  every(100, () => call("moving"));
  every(300, () => call("crowded"));
  every(1_000, () => call("nowhere"));
  every(200, () => call("filed"));
  every(150, () => call("secure"));
  every(1_000, () => call("untrusted"));
  every(100, () => call("shop"));
  every(500, () => {
    for (let i = 0; i < 6; i++) void call("limited");
    for (let i = 0; i < 6; i++) void call("queued");
    // More at once than it admits.
    for (let i = 0; i < 8; i++) void call("shop");
  });
  every(300, async () => {
    void call("h2");
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 10);
    await call("h2", "/", { signal: stop.signal });
  });
  const parcelsClient = new Orders(...meshGrpc("parcels", { mesh }));
  every(100, (n) => {
    const id = ["none", "broken", "1", "2"][n % 4]!;
    parcelsClient.get({ id }, () => {});
    parcelsClient
      .watch({ id: "1" })
      .on("data", () => {})
      .on("error", () => {});
  });
}

let badHosts = 0;

/** Peers that break the protocol, or try. */
function wrongPeers(): void {
  every(1_000, async () => {
    await raw(gatePort, "GET / HTTP/1.1\r\nHost: elsewhere.test\r\nConnection: close\r\n\r\n");
    badHosts++;
  });
  every(1_500, async () => {
    await raw(gatePort, "nonsense\r\n\r\n");
    const host = "Host: gate.test\r\nConnection: close\r\n";
    await raw(gatePort, `GET / HTTP/1.1\r\n${host}traceparent: nonsense\r\n\r\n`);
    await raw(gatePort, `GET / HTTP/1.1\r\n${host}x-mesh-timeout-ms: 0\r\n\r\n`);
    await raw(securePort, "not TLS");
    const tls = connectTls({ port: securePort, host: "127.0.0.1", maxVersion: "TLSv1.1" });
    tls.on("error", () => {});
  });
}

async function restart(i: number): Promise<void> {
  const server = orderServers[i]!;
  const port = portOf(server);
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
  await sleep(500);
  orderServers[i] = await plain(fine, port);
}

/** Looks at calls that fail, until the process ends. */
async function watch(): Promise<void> {
  for await (const event of mesh.tap({ status: "5xx" })) void event;
}

async function story(): Promise<void> {
  traffic();
  wrongPeers();
  void watch();
  await sleep(4_000);
  // A configuration that is changed, and then one that is wrong.
  writeFileSync(configFile, filed(`, later: { url: "http://${addressOf(orderServers[1]!)}" }`));
  const moving = sinks.get("moving")!;
  moving.replace(list(orderServers.slice(1)));
  mesh.observe({
    callStarted() {
      throw new Error("a hook that throws");
    },
  });
  await sleep(2_000);
  moving.replace(list(orderServers));
  for (let i = 0; i < orderServers.length; i++) await restart(i);
  writeFileSync(configFile, "services: { filed: { url: 7 } }\n");
  moving.failed(new Error("the registry is away"));
  // A discovery that goes on after its watch was stopped.
  const former = sinks.get("crowded")!;
  mesh.update({ services: allServices("http://elsewhere.test") });
  former.failed(new Error("too late"));
  // More names than a metric takes.
  const jobs = { name: "acme.jobs", unit: "{job}", description: "Jobs of an application." };
  for (let i = 0; i < 2_010; i++) mesh.telemetry.counter(jobs, { job: String(i) }).add(1);
}

function truthOf(): Truth {
  const { services, config } = mesh.snapshot();
  const open = services
    .find(({ name }) => name === "broken")
    ?.endpoints.find(({ breaker }) => breaker.state === "open");
  const supported = mesh.metrics().find(({ name }) => name === "inmesh.runtime.supported");
  const [before, last] = [sent.at(-11), sent.at(-1)];
  return {
    at: Date.now() / 1000,
    ...exact,
    perSecond: (last!.calls - before!.calls) / (last!.at - before!.at),
    open: open?.address ?? "",
    expiresAt: expiresAtMs / 1000,
    generation: config.version,
    badHosts,
    supported: supported?.kind === "gauge" && supported.value === 1,
    traceId: TRACE_ID,
  };
}

process.once("message", async () => {
  const begun = Date.now();
  await story();
  await sleep(SECONDS * 1000 - (Date.now() - begun));
  tell({ type: "played" });
  await once(process, "message");
  tell({ type: "truth", truth: truthOf() });
  // Two more readings.
  await sleep(2_500);
  tell({ type: "end" });
});
tell({ type: "page", address: addressOf(page) });
