/**
 * What works on a runtime, a line for each: run it with Node, Bun or Deno in a folder where the packed
 * inmesh, @inmesh/grpc, @grpc/grpc-js and undici are installed. docs/reference/runtimes.md says what it printed.
 * A check that has not ended after 8 seconds counts as failed.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, renameSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createMesh, defaultMesh, isMeshError, meshClient, meshServer } from "inmesh";
import { json, stubMesh } from "inmesh/testing";

const runtime = globalThis.Deno?.version.deno ?? globalThis.Bun?.version ?? process.version;
const kind = globalThis.Deno ? "Deno" : globalThis.Bun ? "Bun" : "Node";
console.log(`${kind} ${runtime} (says process.version ${process.version})`);

const fast = { discoveryWaitMs: 0, idleWaitMs: 0 };
const only = process.argv[2];

async function check(name, run) {
  if (only !== undefined && !name.includes(only)) return;
  let result = "works";
  try {
    await Promise.race([
      run(),
      sleep(8_000, undefined, { ref: true }).then(() => {
        throw new Error("not ended after 8 s");
      }),
    ]);
  } catch (error) {
    result = `FAILS: ${error?.code ?? ""} ${error?.reason ?? ""} ${String(error?.message ?? error).split("\n")[0]} ${error?.cause?.message ?? ""}`;
    if (only !== undefined) console.error(error);
  }
  console.log(`${name.padEnd(58)} ${result}`);
}

/** A plain server of the runtime, on a port of its own. */
async function plain(listener) {
  const server = http.createServer(listener);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { address: `127.0.0.1:${server.address().port}`, port: server.address().port, server };
}

const meshOf = (endpoints, more = {}) =>
  createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: endpoints }, ...more } } },
  });

let flaky = 0;
const echo = await plain((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    if (request.url === "/hangs") return;
    if (request.url === "/flaky" && flaky++ === 0) response.statusCode = 503;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ path: request.url, body: Buffer.concat(chunks).toString() }));
  });
});
const DEAD = "127.0.0.1:1";

await check("client: meshClient, GET and POST", async () => {
  const mesh = meshOf([echo.address]);
  const orders = meshClient("orders", { mesh });
  assert.equal((await (await orders.fetch("/a")).json()).path, "/a");
  const reply = await orders.fetch("/b", { method: "POST", body: "tea" });
  assert.equal((await reply.json()).body, "tea");
  assert.equal(reply.mesh.endpoint, echo.address);
  await mesh.close();
});

await check("client: a dead endpoint is left, a 503 is retried", async () => {
  const mesh = meshOf([DEAD, echo.address]);
  const orders = meshClient("orders", { mesh });
  for (let i = 0; i < 20; i++) await (await orders.fetch("/", { method: "POST" })).text();
  const reply = await orders.fetch("/flaky");
  assert.equal(reply.status, 200);
  assert.equal(reply.mesh.attempts > 1, true);
  await mesh.close();
});

await check("client: a deadline ends a call, with a MeshError", async () => {
  const mesh = meshOf([echo.address]);
  const error = await meshClient("orders", { mesh })
    .fetch("/hangs", { timeoutMs: 200 })
    .catch((reason) => reason);
  assert.equal(isMeshError(error) && error.code, "deadline_exceeded");
  await mesh.close(0);
});

await check("client: 200 calls at once", async () => {
  const mesh = meshOf([echo.address]);
  const orders = meshClient("orders", { mesh });
  const texts = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => (await (await orders.fetch(`/${i}`)).json()).path),
  );
  assert.equal(new Set(texts).size, 200);
  await mesh.close();
});

await check("client: DNS discovery", async () => {
  const mesh = createMesh({ env: {}, config: {} });
  const reply = await meshClient(`http://localhost:${echo.port}`, { mesh }).fetch("/dns");
  assert.equal((await reply.json()).path, "/dns");
  await mesh.close();
});

await check("configuration: mesh.yaml is followed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-runtime-"));
  const file = join(folder, "mesh.yaml");
  const write = (address) => {
    writeFileSync(
      `${file}.new`,
      `services: { orders: { discovery: { static: ["${address}"] }, retry: { attempts: 1 } } }\n`,
    );
    renameSync(`${file}.new`, file);
  };
  write(DEAD);
  const mesh = createMesh({ env: {}, configFile: file });
  const orders = meshClient("orders", { mesh });
  assert.equal((await orders.fetch("/").catch((error) => error)).code, "connect_failed");
  write(echo.address);
  for (let i = 0; i < 70; i++) {
    const path = await orders
      .fetch("/now")
      .then((reply) => reply.json())
      .catch(() => undefined);
    if (path !== undefined) break;
    await sleep(100);
    assert.notEqual(i, 69);
  }
  await mesh.close();
});

await check("configuration: a route with a regular expression", async () => {
  const mesh = meshOf([echo.address], {
    routes: [
      { name: "versions", matches: [{ path: { type: "RegularExpression", value: "/v[0-9]+" } }] },
    ],
  });
  const reply = await meshClient("orders", { mesh }).fetch("/v1");
  await reply.text();
  assert.equal(reply.mesh.route, "versions");
  await mesh.close();
});

await check("door: mesh.fetch", async () => {
  const mesh = meshOf([DEAD, echo.address]);
  const reply = await mesh.fetch("http://orders/fetch", { method: "POST", body: "tea" });
  assert.equal((await reply.json()).body, "tea");
  await mesh.close();
});

await check("door: mesh.dispatcher.request", async () => {
  const mesh = meshOf([DEAD, echo.address]);
  const { body } = await mesh.dispatcher.request({
    origin: "http://orders",
    path: "/d",
    method: "GET",
  });
  assert.equal((await body.json()).path, "/d");
  await mesh.close();
});

await check("door: mesh.agent() with node:http", async () => {
  const mesh = meshOf([DEAD, echo.address]);
  const path = await new Promise((resolve, reject) => {
    http
      .get("http://orders/agent", { agent: mesh.agent() }, (reply) => {
        let text = "";
        reply.on("data", (chunk) => (text += chunk));
        reply.on("end", () => resolve(JSON.parse(text).path));
      })
      .on("error", reject);
  });
  assert.equal(path, "/agent");
  await mesh.close();
});

await check("door: installGlobal, the runtime's own fetch", async () => {
  const mesh = meshOf([DEAD, echo.address]);
  const remove = mesh.installGlobal();
  try {
    assert.equal((await (await fetch("http://orders/global")).json()).path, "/global");
  } finally {
    remove();
    await mesh.close();
  }
});

await check("client: HTTP/2, cleartext", async () => {
  const server = meshServer((_request, response) => response.end("h2"), { http2: true, ...fast });
  const { port } = await server.listen(0, "127.0.0.1");
  const mesh = meshOf([`127.0.0.1:${port}`], { http2: true });
  try {
    assert.equal(await (await meshClient("orders", { mesh }).fetch("/")).text(), "h2");
  } finally {
    await mesh.close(0);
    await server.close(0);
  }
});

const folder = mkdtempSync(join(tmpdir(), "inmesh-tls-"));
const tls = { cert: join(folder, "tls.crt"), key: join(folder, "tls.key") };
execFileSync(
  "openssl",
  [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=orders -addext subjectAltName=DNS:orders".split(
      " ",
    ),
    "-keyout",
    tls.key,
    "-out",
    tls.cert,
  ],
  { stdio: "ignore" },
);
for (const http2 of [false, true]) {
  await check(`client and server: TLS, ${http2 ? "HTTP/2" : "HTTP/1.1"}`, async () => {
    const server = meshServer((request, response) => response.end(request.httpVersion), {
      tls,
      http2,
      ...fast,
    });
    const { port } = await server.listen(0, "127.0.0.1");
    const mesh = meshOf([`127.0.0.1:${port}`], {
      scheme: "https",
      authority: "orders",
      tls: { ca: tls.cert },
      http2,
    });
    try {
      const reply = await meshClient("orders", { mesh }).fetch("/");
      assert.equal(await reply.text(), http2 ? "2.0" : "1.1");
    } finally {
      await mesh.close(0);
      await server.close(0);
    }
  });
}

await check("server: meshServer(listener), called with the runtime's fetch", async () => {
  const server = meshServer((_request, response) => response.end("served"), fast);
  const { port } = await server.listen(0, "127.0.0.1");
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "served");
  assert.equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200);
  await server.close(0);
});

await check("server: meshServer(http.createServer(…))", async () => {
  const server = meshServer(
    http.createServer((_request, response) => response.end("given")),
    fast,
  );
  await new Promise((listening) => server.server.listen(0, "127.0.0.1", listening));
  const { port } = server.server.address();
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "given");
  await server.close(0);
});

await check("server: what is malformed is refused", async () => {
  const server = meshServer((_request, response) => response.end("served"), fast);
  const { port } = await server.listen(0, "127.0.0.1");
  const { connect } = await import("node:net");
  const said = await new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () =>
      socket.write("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    );
    socket
      .on("data", (chunk) => (text += chunk))
      .on("close", () => resolve(text))
      .on("error", reject);
  });
  assert.match(said, /^HTTP\/1.1 400/);
  await server.close(0);
});

await check("server: a drain loses nothing", async () => {
  const server = meshServer(async (_request, response) => {
    await sleep(300);
    response.end("slow");
  }, fast);
  const { port } = await server.listen(0, "127.0.0.1");
  const slow = fetch(`http://127.0.0.1:${port}/`).then((reply) => reply.text());
  await sleep(100);
  const drained = server.drain(5_000);
  assert.equal(await slow, "slow");
  await drained;
});

await check("context: a call inherits the deadline of the request", async () => {
  const mesh = meshOf([echo.address]);
  const orders = meshClient("orders", { mesh });
  const server = meshServer(
    async (_request, response) => {
      await sleep(1);
      response.end(
        await orders.fetch("/hangs").then(
          () => "answered",
          (error) => error.code,
        ),
      );
    },
    { posture: "mesh", ...fast },
  );
  const { port } = await server.listen(0, "127.0.0.1");
  const caller = meshOf([`127.0.0.1:${port}`]);
  const startedAt = performance.now();
  await meshClient("orders", { mesh: caller })
    .fetch("/", { timeoutMs: 400 })
    .catch(() => {});
  await sleep(300);
  assert.equal(mesh.snapshot().services[0].endpoints[0].inFlight ?? 0, 0);
  assert.equal(performance.now() - startedAt < 3_000, true);
  await caller.close(0);
  await mesh.close(0);
  await server.close(0);
});

await check("inmesh/testing", async () => {
  const stub = await stubMesh({ orders: { "GET /1": json({ item: "tea" }) } });
  const reply = await meshClient("orders", { mesh: stub.mesh }).fetch("/1");
  assert.deepEqual(await reply.json(), { item: "tea" });
  await stub.close();
});

await check("module: require and import give one default mesh", async () => {
  const required = createRequire(import.meta.url)("inmesh");
  assert.equal(required.defaultMesh(), defaultMesh());
  await defaultMesh().close();
});

await check("gRPC: client and server, unary and stream", async () => {
  const { makeGenericClientConstructor } = await import("@grpc/grpc-js");
  const grpc = await import("@inmesh/grpc");
  const text = { requestSerialize: (v) => Buffer.from(v), requestDeserialize: (b) => b.toString() };
  const method = (path, responseStream) => ({
    path,
    requestStream: false,
    responseStream,
    ...text,
    responseSerialize: text.requestSerialize,
    responseDeserialize: text.requestDeserialize,
  });
  const service = { get: method("/t.T/Get", false), watch: method("/t.T/Watch", true) };
  const server = grpc.meshGrpcServer({ posture: "mesh", discoveryWaitMs: 0 });
  server.server.addService(service, {
    get: (call, done) => done(null, `got ${call.request}`),
    watch: (call) => {
      call.write("one");
      call.write("two");
      call.end();
    },
  });
  const port = await server.listen("127.0.0.1:0");
  const mesh = meshOf([`127.0.0.1:${port}`]);
  try {
    const Client = makeGenericClientConstructor(service, "t.T");
    const client = new Client(...grpc.meshGrpc("orders", { mesh }));
    const got = await new Promise((resolve, reject) =>
      client.get("tea", (error, reply) => (error ? reject(error) : resolve(reply))),
    );
    assert.equal(got, "got tea");
    const seen = [];
    for await (const message of client.watch("x")) seen.push(message);
    assert.deepEqual(seen, ["one", "two"]);
  } finally {
    await mesh.close(0);
    await server.close(0);
  }
});

console.log("done");
process.exit(0);
