/** The standard metrics of HTTP: one for each attempt and each request served, through every way in, in bounded series. */
import { once } from "node:events";
import { get, type IncomingMessage, request as nodeRequest } from "node:http";
import { text } from "node:stream/consumers";
import type { Mesh, Series } from "@inmesh/core";
import { meshClient, meshServer, type MeshServer } from "@inmesh/http";
import * as conventions from "@opentelemetry/semantic-conventions";
import { request as undiciRequest } from "undici";
import { expect, it, onTestFinished } from "vitest";
import { httpMeshOf } from "./support/doors.ts";
import { rawTo } from "./support/server.ts";
import { answering, meshOf, serve } from "./wire.ts";

const CLIENT = conventions.METRIC_HTTP_CLIENT_REQUEST_DURATION;
const SERVER = conventions.METRIC_HTTP_SERVER_REQUEST_DURATION;

type Histogram = Series & { kind: "histogram" };

/** Of one instrument: how often, by its attributes in the order of their names. */
function counted(mesh: Mesh, name: string): [count: number, labels: Series["labels"]][] {
  const found = mesh.metrics().filter((one): one is Histogram => one.name === name);
  return found.map(({ count, labels }) => [count, labels]);
}

const total = (mesh: Mesh, name: string): number =>
  counted(mesh, name).reduce((sum, [count]) => sum + count, 0);

const GET_200 = {
  "http.request.method": "GET",
  "http.response.status_code": "200",
  "network.protocol.version": "1.1",
  "server.address": "orders",
  "server.port": "80",
  "url.scheme": "http",
};

it("instrument and attributes are those of the conventions", async () => {
  const { address } = await serve((request, response) => {
    response.statusCode = request.url === "/broken" ? 500 : 200;
    response.end("x");
  });
  const mesh = httpMeshOf({ orders: { discovery: { static: [address] }, retry: { attempts: 1 } } });
  await (await mesh.fetch("http://orders/broken")).text();
  const [one] = mesh.metrics().filter(({ name }) => name === CLIENT) as Histogram[];
  expect(one).toMatchObject({
    unit: "s",
    description: "Duration of HTTP client requests.",
    bounds: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    count: 1,
  });
  expect(one!.labels).toEqual({
    [conventions.ATTR_HTTP_REQUEST_METHOD]: conventions.HTTP_REQUEST_METHOD_VALUE_GET,
    [conventions.ATTR_HTTP_RESPONSE_STATUS_CODE]: "500",
    [conventions.ATTR_ERROR_TYPE]: "500",
    [conventions.ATTR_NETWORK_PROTOCOL_VERSION]: "1.1",
    [conventions.ATTR_SERVER_ADDRESS]: "orders",
    [conventions.ATTR_SERVER_PORT]: "80",
    [conventions.ATTR_URL_SCHEME]: "http",
  });
});

it("every way in is counted once, under the name of the service", async () => {
  const { address } = await serve((_, response) => void response.end("x"));
  const mesh = httpMeshOf({ orders: { discovery: { static: [address] } } });
  const { dispatcher } = mesh;
  const ways: (() => Promise<unknown>)[] = [
    async () => (await mesh.fetch("http://orders/a")).text(),
    async () => (await undiciRequest("http://orders/b", { dispatcher })).body.text(),
    async () => (await meshClient("orders", { mesh }).fetch("/c")).text(),
    async () => {
      const [reply] = (await once(get("http://orders/d", { agent: mesh.agent() }), "response")) as [
        IncomingMessage,
      ];
      return text(reply);
    },
  ];
  for (const [i, way] of ways.entries()) {
    expect(await way()).toBe("x");
    await expect.poll(() => counted(mesh, CLIENT)).toEqual([[i + 1, GET_200]]);
  }
});

it("each attempt is one, with why it failed; HTTP/2 says so", async () => {
  let asked = 0;
  const server = meshServer(
    (_, response) => {
      response.statusCode = asked++ === 0 ? 503 : 200;
      response.end("x");
    },
    { http2: true },
  );
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const mesh = meshOf({});
  const discovery = { static: [`127.0.0.1:${port}`] };
  const client = meshClient("orders", { mesh, discovery, http2: true });
  await (await client.fetch("/")).text();
  expect(counted(mesh, CLIENT)).toEqual([
    [
      1,
      {
        ...GET_200,
        "http.response.status_code": "503",
        "error.type": "503",
        "network.protocol.version": "2",
      },
    ],
    [1, { ...GET_200, "network.protocol.version": "2" }],
  ]);
  const none = meshClient("none", { mesh, discovery: { static: ["127.0.0.1:1"] } });
  await expect(none.fetch("/", { idempotent: false, method: "POST" })).rejects.toThrow("none");
  const failed = counted(mesh, CLIENT).find(([, labels]) => labels["server.address"] === "none");
  expect(failed![1]).toEqual({
    "http.request.method": "POST",
    "error.type": "connect_refused",
    "server.address": "none",
    "server.port": "80",
    "url.scheme": "http",
  });
});

it.each([
  [204, "204", undefined],
  [404, "404", "404"],
  [499, "400", "400"],
  [599, "500", "500"],
  [700, "500", "500"],
  [999, "500", "500"],
])("a status of %i is written as %s", async (status, written, error) => {
  const { address } = await answering(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`);
  const mesh = meshOf({});
  const client = meshClient("orders", {
    mesh,
    discovery: { static: [address] },
    retry: { attempts: 1 },
  });
  await (await client.fetch("/")).text();
  const [[count, labels]] = counted(mesh, CLIENT) as [[number, Series["labels"]]];
  expect([count, labels["http.response.status_code"], labels["error.type"]]).toEqual([
    1,
    written,
    error,
  ]);
});

async function servedBy(mesh: Mesh, http2 = false): Promise<MeshServer> {
  const server = meshServer(
    (request, response) => {
      response.statusCode = Number(request.url!.slice(1)) || 200;
      request.resume().on("end", () => response.end("x"));
    },
    { mesh, http2, limits: { maxHeaderCount: 20, maxLoopDelayMs: Infinity } },
  );
  onTestFinished(() => server.close(0));
  await server.listen(0, "127.0.0.1");
  return server;
}

it("a server counts each request once, those that it refuses too", async () => {
  const mesh = meshOf({});
  const server = await servedBy(mesh);
  const at = `http://127.0.0.1:${server.address()!.port}`;
  for (const path of ["/", "/404", "/500"]) await (await fetch(at + path)).text();
  const raw = await rawTo(server);
  raw.socket.write(`GET / HTTP/1.0\r\nHost: a\r\n\r\n`);
  await expect.poll(() => total(mesh, SERVER)).toBe(4);
  const many = await rawTo(server);
  many.socket.write(`PROPFIND / HTTP/1.1\r\nHost: a\r\n${"x: y\r\n".repeat(30)}\r\n`);
  await expect.poll(() => total(mesh, SERVER)).toBe(5);
  const common = { "http.request.method": "GET", "url.scheme": "http" };
  expect(counted(mesh, SERVER).map(([, labels]) => labels)).toEqual([
    { ...common, "http.response.status_code": "200", "network.protocol.version": "1.1" },
    { ...common, "http.response.status_code": "404", "network.protocol.version": "1.1" },
    {
      ...common,
      "http.response.status_code": "500",
      "network.protocol.version": "1.1",
      "error.type": "500",
    },
    { ...common, "http.response.status_code": "200", "network.protocol.version": "1.0" },
    {
      ...common,
      "http.request.method": "_OTHER",
      "http.response.status_code": "431",
      "network.protocol.version": "1.1",
    },
  ]);
  expect(total(mesh, "inmesh.call.duration")).toBe(5);
});

it("a server counts HTTP/2 as such, and a client that leaves as an error", async () => {
  const mesh = meshOf({});
  const server = await servedBy(mesh, true);
  const discovery = { static: [`127.0.0.1:${server.address()!.port}`] };
  const other = meshOf({});
  const client = meshClient("orders", { mesh: other, discovery, http2: true });
  await (await client.fetch("/")).text();
  await expect.poll(() => total(mesh, SERVER)).toBe(1);
  expect(counted(mesh, SERVER)[0]![1]).toMatchObject({ "network.protocol.version": "2" });

  const slow = meshServer(() => {}, { mesh, limits: { maxLoopDelayMs: Infinity } });
  onTestFinished(() => slow.close(0));
  const { port } = await slow.listen(0, "127.0.0.1");
  const leaving = nodeRequest(`http://127.0.0.1:${port}/`).on("error", () => {});
  leaving.end();
  await expect.poll(() => slow.snapshot().requestsInFlight).toBe(1);
  leaving.destroy();
  await expect.poll(() => total(mesh, SERVER)).toBe(2);
  expect(counted(mesh, SERVER)[1]![1]).toEqual({
    "http.request.method": "GET",
    "url.scheme": "http",
    "error.type": "caller",
    "network.protocol.version": "1.1",
  });
});

it("B10 LC: hostile hosts, paths, methods and statuses make few series", async () => {
  let asked = 0;
  const serving = meshOf({});
  const server = meshServer(
    (request, response) => {
      response.statusCode = 200 + (asked++ % 400);
      request.resume().on("end", () => response.end());
    },
    { mesh: serving, limits: { maxLoopDelayMs: Infinity } },
  );
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const mesh = httpMeshOf({
    orders: { discovery: { static: [`127.0.0.1:${port}`] }, retry: { attempts: 1 } },
  });
  const { dispatcher } = mesh;
  const ask = async (i: number): Promise<void> => {
    const method = i % 3 === 0 ? "GET" : i % 3 === 1 ? "POST" : "PROPFIND";
    const headers = { "user-agent": `agent ${i}`, "x-forwarded-host": `host-${i}.example` };
    const path = `http://orders/users/${i}?q=${i}`;
    const { body } = await undiciRequest(path, { method: method as "GET", headers, dispatcher });
    await body.dump();
  };
  const sizeOf = (): number[] => [mesh.metrics().length, serving.metrics().length];
  for (let i = 0; i < 1_200; i++) await ask(i);
  const before = sizeOf();
  for (let i = 1_200; i < 2_400; i++) await ask(i);
  expect(sizeOf()).toEqual(before);
  expect(total(mesh, CLIENT)).toBe(2_400);
  // Three methods and the registered statuses.
  expect(counted(mesh, CLIENT).length).toBeLessThan(3 * 60);
  const allowed = /^(GET|POST|_OTHER|http|orders|80|1\.1|[2-5]\d\d)$/;
  for (const from of [mesh, serving]) {
    for (const name of [CLIENT, SERVER]) {
      for (const [, labels] of counted(from, name)) {
        for (const value of Object.values(labels)) expect(value).toMatch(allowed);
      }
    }
  }
});

it("off records none, and without telemetry nothing is measured at all", async () => {
  const { address } = await serve((_, response) => void response.end("x"));
  const orders = { discovery: { static: [address] } };
  const off = httpMeshOf({ orders }, { standardMetrics: "off" });
  await (await off.fetch("http://orders/")).text();
  expect(total(off, CLIENT)).toBe(0);
  expect(total(off, "inmesh.call.duration")).toBe(1);

  let asked = 0;
  const flaky = await serve((_, response) => {
    response.statusCode = asked++ === 0 ? 503 : 200;
    response.end("x");
  });
  const measures = (): never => expect.fail("it measures");
  const exporter = {
    name: "other",
    telemetry: { counter: measures, histogram: measures, gauge: measures },
  };
  const unmeasured = httpMeshOf(
    { orders: { discovery: { static: [flaky.address] } } },
    { telemetry: false, exporters: [exporter] },
  );
  const ended: number[] = [];
  unmeasured.observe({ callEnded: ({ attempts }) => void ended.push(attempts) });
  const server = await servedBy(unmeasured);
  const at = `http://127.0.0.1:${server.address()!.port}`;
  expect(await (await fetch(at)).text()).toBe("x");
  expect(await (await unmeasured.fetch("http://orders/")).text()).toBe("x");
  expect(ended).toEqual([2]);
  expect(unmeasured.metrics()).toEqual([]);
  await expect.poll(() => unmeasured.snapshot().services[0]!.callsInFlight).toBe(0);
});

it("createMesh names what standardMetrics and telemetry may be", () => {
  const wrong = { standardMetrics: "yes", telemetry: "off" } as never;
  expect(() => meshOf(wrong)).toThrow(
    /telemetry: must be an object, or false[^]*standardMetrics: must be one of auto, on, off/,
  );
});

const SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

const exemplarsOf = (mesh: Mesh, name: string): string[] =>
  mesh
    .metrics()
    .filter((one) => one.name === name)
    .flatMap((one) =>
      one.kind === "histogram" ? (one.exemplars ?? []) : one.exemplar ? [one.exemplar] : [],
    )
    .flatMap((one) => (one === undefined ? [] : [one.traceId]));

it("calls in a sampled trace leave exemplars, others none", async () => {
  const { address } = await serve((_, response) => void response.end("x"));
  const mesh = httpMeshOf({ orders: { discovery: { static: [address] } } });
  const server = meshServer(
    async (_, response) => {
      response.end(await (await mesh.fetch("http://orders/")).text());
    },
    { mesh, posture: "mesh", limits: { maxLoopDelayMs: Infinity } },
  );
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  const through = (headers: Record<string, string>): Promise<string> =>
    fetch(`http://127.0.0.1:${port}/`, { headers }).then((reply) => reply.text());
  const names = [CLIENT, SERVER, "inmesh.calls", "inmesh.call.duration", "inmesh.attempt.duration"];
  await through({});
  await through({ traceparent: UNSAMPLED });
  await through({ traceparent: "not one" });
  await expect.poll(() => total(mesh, SERVER)).toBe(3);
  for (const name of names) expect(exemplarsOf(mesh, name), name).toEqual([]);
  await through({ traceparent: SAMPLED });
  await expect.poll(() => total(mesh, SERVER)).toBe(4);
  for (const name of names) {
    expect(new Set(exemplarsOf(mesh, name)), name).toEqual(new Set([SAMPLED.slice(3, 35)]));
  }
  // Both directions.
  expect(exemplarsOf(mesh, "inmesh.calls")).toHaveLength(2);
});

it("an observer that traces says which trace a call and a request belong to", async () => {
  const { address } = await serve((_, response) => void response.end("x"));
  const mesh = httpMeshOf({ orders: { discovery: { static: [address] } } });
  const own = "f".repeat(32);
  const thrown: unknown[] = [];
  mesh.observe({
    callStarted(call) {
      try {
        call.traceId = '"} 1\n';
      } catch (error) {
        thrown.push(error);
      }
      call.traceId = own;
    },
  });
  await (await mesh.fetch("http://orders/", { headers: { traceparent: SAMPLED } })).text();
  expect(thrown).toMatchObject([{ message: expect.stringContaining("32 hexadecimal digits") }]);
  expect(exemplarsOf(mesh, CLIENT)).toEqual([own]);
});
