/**
 * `mesh.installGlobal()` and what loading `mesh.fetch` must not do, each in a fresh process: the
 * global symbols of undici are written once and for all by the copy that comes first.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const exec = promisify(execFile);

/** What every script starts with: an echo server, a mesh in front of it, and a look at the symbols. */
const PRELUDE = `
  import http from "node:http";
  const seen = [];
  const server = http.createServer((request, response) => {
    seen.push([request.method, request.headers.host, request.headers["content-length"]]);
    response.setHeader("x-host", request.headers.host);
    request.pipe(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const address = "127.0.0.1:" + server.address().port;
  const { createMesh } = await import("inmesh");
  const mesh = createMesh({
    env: {}, config: { services: { orders: { discovery: { static: [address] } } } },
  });
  const keys = [1, 2].map((n) => Symbol.for("undici.globalDispatcher." + n));
  const look = () => keys.map((key) => globalThis[key]);
  const calls = () => mesh.metrics().filter(({ name }) => name === "inmesh.calls")
    .reduce((sum, { value }) => sum + value, 0);
  const text = async (...args) => (await fetch(...args)).text();
  const say = (said) => console.log(JSON.stringify(said));
  const end = async () => {
    await mesh.close(0);
    server.close();
    server.closeAllConnections();
  };
`;

async function run(script: string): Promise<unknown> {
  const source = `${PRELUDE}\n${script}\nawait end();`;
  const args = [
    "--conditions=inmesh-source",
    "--unhandled-rejections=strict",
    "--input-type=module",
    "--eval",
    source,
  ];
  // It ends by itself: nothing of ours keeps the process alive, or the time is over.
  const { stdout } = await exec(process.execPath, args, { cwd: root, timeout: 20_000 });
  return JSON.parse(stdout);
}

it("the built-in fetch goes to services through the mesh, and elsewhere as before", async () => {
  const said = await run(`
    mesh.installGlobal();
    const got = [
      await text("http://orders/"),
      await text("http://orders/", { method: "POST", body: "text" }),
      await text("http://orders/", { method: "POST", body: "four", headers: { "content-length": "4" } }),
      await text("http://orders/", { method: "POST", body: new Blob(["stream"]).stream(), duplex: "half" }),
      await text("http://orders/", { method: "POST", body: new URLSearchParams({ a: "b" }) }),
    ];
    const form = new FormData();
    form.set("field", "value");
    const multipart = await text(new Request("http://orders/", { method: "POST", body: form }));
    const inside = calls();
    const plain = await text("http://" + address, {
      method: "POST", body: "four", headers: { "content-length": "4" },
    });
    say({ got, form: multipart.includes("value"), inside, plain, all: calls(), seen });
  `);
  expect(said).toMatchObject({
    got: ["", "text", "four", "stream", "a=b"],
    form: true,
    inside: 6,
    plain: "four",
    all: 6,
  });
  const { seen } = said as { seen: [string, string, string | undefined][] };
  expect(seen[2]).toEqual(["POST", "orders", "4"]);
});

it("H20 LC: the built-in fetch through the mesh is aborted as ever", async () => {
  const said = await run(`
    mesh.installGlobal();
    const silent = http.createServer(() => {});
    await new Promise((listening) => silent.listen(0, "127.0.0.1", listening));
    const other = createMesh({ env: {}, config: { services: { silent: {
      discovery: { static: ["127.0.0.1:" + silent.address().port] } } } } });
    const reason = new Error("no longer wanted");
    const before = await fetch("http://orders/", { signal: AbortSignal.abort(reason) }).catch((e) => e === reason);
    const undo = other.installGlobal();
    const abort = new AbortController();
    const waiting = fetch("http://silent/", { signal: abort.signal }).catch((e) => e === reason);
    setTimeout(() => abort.abort(reason), 50);
    const during = await waiting;
    const still = await text("http://orders/", { method: "POST", body: "both" });
    await other.close(0);
    silent.closeAllConnections();
    silent.close();
    say({ before, during, still });
  `);
  expect(said).toEqual({ before: true, during: true, still: "both" });
});

it("puts back exactly what was there: by call, by using, by close; twice is once", async () => {
  const said = await run(
    `
    new Request("http://x/");
    const before = look();
    // Node 22 has nothing in the second; undici's own Agent stays there, which its fetch does not use.
    const same = () => look().every((value, i) => value === (before[i] ?? value));
    const remove = mesh.installGlobal();
    const once = mesh.installGlobal() === remove;
    const changed = !same();
    remove();
    const removed = same();
    remove();
    { using installed = mesh.installGlobal(); }
    const disposed = same();
    mesh.installGlobal();
    await mesh.close(0);
    const closed = same();
    const failed = await fetch("http://orders.invalid/").catch((error) => error.cause.code);
    say({ once, changed, removed, disposed, closed, failed: typeof failed });
  `.replace(
      "{ using installed = mesh.installGlobal(); }",
      "mesh.installGlobal()[Symbol.dispose]();",
    ),
  );
  expect(said).toEqual({
    once: true,
    changed: true,
    removed: true,
    disposed: true,
    closed: true,
    failed: "string",
  });
});

it("leaves alone what was installed after it, and sends unknown origins to what was before", async () => {
  const said = await run(`
    const { Agent, getGlobalDispatcher, setGlobalDispatcher } = await import("undici");
    let passed = 0;
    class Counting extends Agent {
      dispatch(options, handler) { passed++; return super.dispatch(options, handler); }
    }
    setGlobalDispatcher(new Counting());
    const remove = mesh.installGlobal();
    await text("http://" + address);
    await text("http://orders/");
    const npm = await (await (await import("undici")).request("http://orders/")).body.text();
    const counted = passed;
    const later = new Agent();
    setGlobalDispatcher(later);
    remove();
    say({ counted, kept: getGlobalDispatcher() === later, npm, calls: calls() });
  `);
  expect(said).toEqual({ counted: 1, kept: true, npm: "", calls: 2 });
});

it("stays when undici is imported later, and serves its callers too", async () => {
  const said = await run(`
    mesh.installGlobal();
    const { request } = await import("undici");
    const got = [await text("http://orders/", { method: "POST", body: "built-in" })];
    const reply = await request("http://orders/", { method: "POST", body: "npm" });
    got.push(await reply.body.text());
    say({ got, calls: calls() });
  `);
  expect(said).toEqual({ got: ["built-in", "npm"], calls: 2 });
});

it("P6: mesh.dispatcher and mesh.fetch change nothing for the built-in fetch", async () => {
  const said = await run(`
    const own = await (await mesh.fetch("http://orders/", { method: "POST", body: "ours" })).text();
    const other = await mesh.dispatcher.request({ origin: "http://orders", path: "/", method: "GET" });
    await other.body.dump();
    const viaMesh = calls();
    const builtIn = await text("http://" + address, {
      method: "POST", body: "four", headers: { "content-length": "4" },
    });
    const npm = await import("undici");
    const plain = await (await npm.request("http://" + address)).body.text();
    say({ own, builtIn, plain, viaMesh, after: calls(), set: npm.getGlobalDispatcher() !== undefined });
  `);
  expect(said).toEqual({
    own: "ours",
    builtIn: "four",
    plain: "",
    viaMesh: 2,
    after: 2,
    set: true,
  });
});

it("mesh.dispatcher is the dispatcher of one built-in fetch", async () => {
  const said = await run(`
    const { dispatcher } = mesh;
    const length = { method: "POST", body: "four", headers: { "content-length": "4" }, dispatcher };
    const got = [await text("http://orders/", { dispatcher }), await text("http://orders/", length)];
    const cut = await fetch("http://orders.invalid/", { dispatcher }).catch((error) => error.name);
    say({ got, cut, calls: calls() });
  `);
  expect(said).toEqual({ got: ["", "four"], cut: "TypeError", calls: 2 });
});
