/**
 * What people write wrong on their first day, and the sentence that each of it is answered with. The
 * sentences are kept in fixtures/first-inputs.txt, so that a change of one is seen in review:
 * `npx vitest run --project inmesh-wire first-inputs -u` writes them anew.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh, meshClient, meshServer } from "inmesh";
import { afterAll, expect, test } from "vitest";

const server = createServer((request, response) => {
  void answer(request).then((text) => response.end(text));
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const { port } = server.address() as AddressInfo;
const mesh = createMesh({
  config: {
    services: { orders: { url: `http://127.0.0.1:${port}`, timeouts: { request: "5s" } } },
  },
});
afterAll(async () => {
  await mesh.close(0);
  server.close();
});

async function answer(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request.setEncoding("latin1")) body += chunk as string;
  const { method, headers } = request;
  return JSON.stringify({ method, headers, body });
}

type Loose = (...args: unknown[]) => unknown;
const orders = meshClient("orders", { mesh });
const call = orders.fetch.bind(orders) as Loose;
const request = orders.request.bind(orders) as Loose;
const make = createMesh as Loose;
const open = meshClient as Loose;
const serve = meshServer as Loose;
const listener = (): void => {};
/** Asks a server to leave, as a handler of a signal does. */
function leave(how: "drain" | "close", given: unknown): unknown {
  const unused = meshServer(listener);
  return (unused[how].bind(unused) as Loose)(given);
}

/** As people write it, and the function that does it. */
const WRONG: readonly (readonly [written: string, does: () => unknown])[] = [
  ['fetch("/", { method: "patch" })', () => call("/", { method: "patch" })],
  ['fetch("/", { method: "GET /" })', () => call("/", { method: "GET /" })],
  ["fetch(undefined)", () => call(undefined)],
  ['fetch("v1/orders")', () => call("v1/orders")],
  ['fetch("http://orders/v1")', () => call("http://orders/v1")],
  ['fetch(new URL("http://orders/v1"))', () => call(new URL("http://orders/v1"))],
  ['fetch({ path: "/v1" })', () => call({ path: "/v1" })],
  ['fetch("/a b")', () => call("/a b")],
  ['fetch("/ä")', () => call("/ä")],
  ['fetch("/items#top")', () => call("/items#top")],
  ['fetch("/", "POST")', () => call("/", "POST")],
  ['request("/v1")', () => request("/v1")],
  ["fetch headers: { a: null }", () => call("/", { headers: { a: null } })],
  ["fetch headers: { a: NaN }", () => call("/", { headers: { a: Number.NaN } })],
  ["fetch query: { page: NaN }", () => call("/", { query: { page: Number.NaN } })],
  ["fetch headers: { a: {} }", () => call("/", { headers: { a: {} } })],
  ["fetch headers: { a: new Date() }", () => call("/", { headers: { a: new Date(0) } })],
  ['fetch headers: { a: "x\\ny" }', () => call("/", { headers: { a: "x\ny" } })],
  ['fetch headers: { a: "€" }', () => call("/", { headers: { a: "€" } })],
  ['fetch headers: { "a b": "x" }', () => call("/", { headers: { "a b": "x" } })],
  ['fetch headers: "a: b"', () => call("/", { headers: "a: b" })],
  ['fetch headers: ["a", "b"]', () => call("/", { headers: ["a", "b"] })],
  ['fetch headers: { host: "x" }', () => call("/", { headers: { host: "x" } })],
  ['fetch timeoutMs: "500"', () => call("/", { timeoutMs: "500" })],
  ["fetch timeoutMs: NaN", () => call("/", { timeoutMs: Number.NaN })],
  ["fetch timeoutMs: -1", () => call("/", { timeoutMs: -1 })],
  ["fetch timeoutMs: null", () => call("/", { timeoutMs: null })],
  ["fetch timeout: 500", () => call("/", { timeout: 500 })],
  ['fetch redirect: "follow"', () => call("/", { redirect: "follow" })],
  ["fetch data: { a: 1 }", () => call("/", { method: "POST", data: { a: 1 } })],
  ["fetch idempotant: true", () => call("/", { idempotant: true })],
  ['fetch idempotent: "yes"', () => call("/", { idempotent: "yes" })],
  ["fetch signal: new AbortController()", () => call("/", { signal: new AbortController() })],
  ["fetch body: { a: 1 }", () => call("/", { method: "POST", body: { a: 1 } })],
  ["fetch body: [{ a: 1 }]", () => call("/", { method: "POST", body: [{ a: 1 }] })],
  ["fetch body: 42", () => call("/", { method: "POST", body: 42 })],
  ["fetch body: new Date()", () => call("/", { method: "POST", body: new Date(0) })],
  ["fetch body: Promise", () => call("/", { method: "POST", body: Promise.resolve("") })],
  [
    'mesh.fetch(url, { method: "POST", body: { a: 1 } })',
    () => (mesh.fetch as Loose)("http://orders/", { method: "POST", body: { a: 1 } }),
  ],
  ["meshClient(undefined)", () => open(undefined, { mesh })],
  ['meshClient("")', () => open("", { mesh })],
  ['meshClient({ name: "orders" })', () => open({ name: "orders" }, { mesh })],
  ['meshClient("ordres")', () => open("ordres", { mesh })],
  ['meshClient("localhost:3000")', () => open("localhost:3000", { mesh })],
  ['meshClient("http://orders:8080/v1")', () => open("http://orders:8080/v1", { mesh })],
  ['meshClient("orders", "http://orders")', () => open("orders", "http://orders")],
  ['meshClient("http://a", { timeout: 5 })', () => open("http://a", { mesh, timeout: 5 })],
  ['meshClient("http://a", { retries: 2 })', () => open("http://a", { mesh, retries: 2 })],
  ['meshClient("http://a", { mesh: {} })', () => open("http://a", { mesh: {} })],
  [
    "meshClient hooks: { onResponse }",
    () => open("orders", { mesh, hooks: { onResponse: listener } }),
  ],
  ["meshClient hooks: { onReply: true }", () => open("orders", { mesh, hooks: { onReply: true } })],
  ["createMesh(null)", () => make(null)],
  ["createMesh({ callLayers: [{}] })", () => make({ callLayers: [{}] })],
  ["createMesh({ services: {} })", () => make({ services: {} })],
  ["createMesh({ log: true })", () => make({ log: true })],
  ['createMesh({ config: "mesh.yaml" })', () => make({ config: "mesh.yaml" })],
  ['createMesh({ configfile: "mesh.yaml" })', () => make({ configfile: "mesh.yaml" })],
  ['createMesh("mesh.yaml")', () => make("mesh.yaml")],
  ["meshServer(undefined)", () => serve(undefined)],
  ["meshServer({})", () => serve({})],
  ["meshServer(listener, { port: 80 })", () => serve(listener, { port: 80 })],
  ["meshServer(listener, { maxInflight: 9 })", () => serve(listener, { maxInflight: 9 })],
  ['meshServer(listener, { posture: "Mesh" })', () => serve(listener, { posture: "Mesh" })],
  ['meshServer(listener, { http2: "yes" })', () => serve(listener, { http2: "yes" })],
  ["meshServer limits: { maxInflight: 3 }", () => serve(listener, { limits: { maxInflight: 3 } })],
  [
    'meshServer limits: { maxInFlight: "5" }',
    () => serve(listener, { limits: { maxInFlight: "5" } }),
  ],
  ['meshServer health: { redy: "/up" }', () => serve(listener, { health: { redy: "/up" } })],
  ["mesh.update(undefined)", () => (mesh.update.bind(mesh) as Loose)(undefined)],
  ['mesh.agent("http2")', () => (mesh.agent.bind(mesh) as Loose)("http2")],
  ['mesh.close("5s")', () => (mesh.close.bind(mesh) as Loose)("5s")],
  ['server.drain("25s")', () => leave("drain", "25s")],
  ["server.drain(NaN)", () => leave("drain", Number.NaN)],
  ['server.close("SIGTERM")', () => leave("close", "SIGTERM")],
];

async function answeredWith(does: () => unknown): Promise<string> {
  try {
    await does();
    return "accepted";
  } catch (error) {
    const { name, message } = error as Error;
    const { reason } = error as { reason?: string };
    const kind = reason === undefined ? name : `${name} ${reason}`;
    return `${kind}: ${message.replaceAll(String(port), "8080")}`;
  }
}

test("every wrong first input is answered with a sentence that names the mistake", async () => {
  const lines: string[] = [];
  for (const [written, does] of WRONG) {
    const said = await answeredWith(does);
    expect(said, written).not.toBe("accepted");
    // An error of the engine's own, such as "x is not a function", names a place in our code.
    expect(said, written).not.toMatch(
      /is not (?:a function|iterable)|Cannot read|Cannot destructure/,
    );
    lines.push(`${written}\n    ${said.replaceAll("\n", "\n    ")}\n`);
  }
  await expect(lines.join("\n")).toMatchFileSnapshot("fixtures/first-inputs.txt");
});

interface Answer {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function sent(init: Parameters<typeof orders.fetch>[1]): Promise<Answer> {
  return (await orders.fetch("/", init)).json();
}

test.each(["get", "Post", "put", "delete", "options"])(
  "the method %s is written in upper case, as in fetch",
  async (method) => {
    expect((await sent({ method })).method).toBe(method.toUpperCase());
  },
);

test("other methods are sent as they are", async () => {
  expect((await sent({ method: "REPORT" })).method).toBe("REPORT");
});

test("numbers and booleans are written out as values of headers, undefined is left out", async () => {
  const { headers } = await sent({
    headers: {
      "x-number": 42,
      "x-zero": 0,
      "x-flag": false,
      "x-list": [1, "b"],
      "x-none": undefined,
    },
  });
  expect(headers).toMatchObject({
    "x-number": "42",
    "x-zero": "0",
    "x-flag": "false",
    "x-list": "1, b",
  });
  expect(headers).not.toHaveProperty("x-none");
  expect((await sent({ headers: [["x-number", 42]] })).headers["x-number"]).toBe("42");
  expect((await sent({ headers: null })).method).toBe("GET");
});

test("options left out by undefined, and a polluted prototype, are no mistakes", async () => {
  const init = { timeout: undefined, timeoutMs: undefined, signal: null, body: undefined };
  Object.assign(Object.prototype, { polluted: 1 });
  try {
    expect((await sent(init as object)).method).toBe("GET");
  } finally {
    delete (Object.prototype as { polluted?: number }).polluted;
  }
});
