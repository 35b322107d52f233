/** Metrics of connections, of what goes over them, and of what servers refuse, on real sockets. */
import { once } from "node:events";
import { get } from "node:http";
import { connect, createServer, type AddressInfo } from "node:net";
import type { EndedAttempt, EndedRequest, Mesh, ServiceInput } from "@inmesh/core";
import { meshClient, meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { sleep } from "./support/bench.ts";
import { TestCa } from "./support/ca.ts";
import { httpMeshOf } from "./support/doors.ts";
import { H2Client } from "./support/h2-client.ts";
import { GivenIdentity } from "./support/identity.ts";
import { head, reset } from "./support/h2-peer.ts";
import { readSeries as read, type SeriesLabels as Labels } from "./support/series.ts";
import { answerOk, rawTo } from "./support/server.ts";
import { meshOf, peerOf, serve } from "./wire.ts";

async function comes(mesh: Mesh, value: number, name: string, labels: Labels = {}): Promise<void> {
  const until = performance.now() + 10_000;
  while (read(mesh, name, labels) !== value && performance.now() < until) await sleep(5);
  expect(read(mesh, name, labels)).toBe(value);
}

async function started(mesh: Mesh, options: ServerOptions = {}, handler = answerOk) {
  const server: MeshServer = meshServer(handler, { mesh, name: "orders", ...options });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  return { server, port, address: `127.0.0.1:${port}` };
}

const clientIn = (mesh: Mesh, address: string, input: ServiceInput = {}) =>
  meshClient("orders", { mesh, discovery: { static: [address] }, ...input });

const ca = new TestCa();
const { cert, key } = ca.issue({ names: ["orders.test"] });

describe.each([
  ["http1", false],
  ["http2", true],
] as const)("%s", (protocol, http2) => {
  it("connections are counted as they open, are used again and close, with their bytes", async () => {
    const mesh = meshOf({});
    const outside = meshOf({});
    const { server, address } = await started(mesh, { http2 });
    const attempts: EndedAttempt[] = [];
    outside.observe({ attemptEnded: (attempt) => void attempts.push(attempt) });
    const client = clientIn(outside, address, { http2 });
    for (let i = 0; i < 3; i++) {
      const reply = await client.fetch("/", { method: "POST", body: "x".repeat(1_000) });
      expect(await reply.text()).toBe("ok");
      await sleep(20); // undici has its connection back in a later turn
    }
    expect(attempts.map(({ connectionReused }) => connectionReused)).toEqual([false, true, true]);
    const outbound = { direction: "outbound", protocol, mtls: "false" };
    const inbound = { direction: "inbound", protocol, mtls: "false" };
    expect(read(outside, "inmesh.connections", outbound)).toBe(1);
    expect(read(mesh, "inmesh.connections", inbound)).toBe(1);
    const opened = { service: "orders", protocol, reason: "none" };
    expect(read(outside, "inmesh.connection.opened", opened)).toBe(1);
    expect(read(mesh, "inmesh.connection.opened", opened)).toBe(1);
    const reuse = (result: string): number | undefined =>
      read(outside, "inmesh.connection.reuse", { service: "orders", result });
    expect([reuse("new"), reuse("reused")]).toEqual([1, 2]);
    expect(read(outside, "inmesh.connect.duration", { service: "orders", phase: "tcp" })).toBe(1);
    const io = (one: Mesh, op: string): number =>
      read(one, "inmesh.io", { service: "orders", op, zone: "unknown" })!;
    expect(io(outside, "sent")).toBeGreaterThan(3_000);
    expect(io(mesh, "received")).toBe(io(outside, "sent"));
    expect(io(outside, "received")).toBe(io(mesh, "sent"));
    expect(io(mesh, "sent")).toBeGreaterThan(50);
    const fill = read(mesh, "inmesh.bounded.size", { structure: "connections" });
    expect([fill, read(mesh, "inmesh.handles", { kind: "server" })]).toEqual([1, 1]);
    expect(read(outside, "inmesh.handles", { kind: "socket" })).toBe(1);

    const before = io(outside, "sent");
    await server.close(0);
    await comes(outside, 0, "inmesh.connections", outbound);
    await comes(mesh, 0, "inmesh.connections", inbound);
    expect(io(outside, "sent")).toBeGreaterThanOrEqual(before); // of ended connections too
    expect(read(mesh, "inmesh.handles", { kind: "server" })).toBe(0);
    expect(read(mesh, "inmesh.connection.closed", { direction: "inbound" })).toBe(1);
    const closed = outside
      .metrics()
      .filter(({ name }) => name === "inmesh.connection.closed")
      .map(({ labels }) => labels["trigger"]);
    expect(closed).toHaveLength(1);
    expect(["peer", "error"]).toContain(closed[0]);
  });

  it("the close of a mesh, and the drain of a server, have triggers of their own", async () => {
    const mesh = meshOf({});
    const { server, address } = await started(mesh, { http2, discoveryWaitMs: 0, idleWaitMs: 0 });
    const first = meshOf({});
    await (await clientIn(first, address, { http2 }).fetch("/")).text();
    await first.close(1_000);
    await comes(first, 1, "inmesh.connection.closed", {
      direction: "outbound",
      trigger: "shutdown",
    });
    await comes(mesh, 1, "inmesh.connection.closed", { direction: "inbound", trigger: "peer" });
    const second = meshOf({});
    await (await clientIn(second, address, { http2 }).fetch("/")).text();
    await server.drain(5_000);
    await comes(mesh, 1, "inmesh.connection.closed", { direction: "inbound", trigger: "drain" });
  });

  it("a connection that is old ends with that reason, and another takes its place", async () => {
    const { address } = await started(meshOf({}), { http2 });
    const mesh = meshOf({});
    const client = clientIn(mesh, address, {
      http2,
      limits: { maxConnectionAge: "1s" },
    });
    await (await client.fetch("/")).text();
    await sleep(1_200);
    await (await client.fetch("/")).text();
    await comes(mesh, 1, "inmesh.connection.closed", { direction: "outbound", trigger: "age" });
    expect(read(mesh, "inmesh.connection.opened", { reason: "none" })).toBe(2);
  });

  it("TLS handshakes are counted with their time, and both ends know of mutual TLS", async () => {
    const mesh = meshOf({});
    const tls = { cert, key, ca: ca.cert, requestCert: true };
    const { address } = await started(mesh, { http2, tls });
    const outside = meshOf({});
    const issued = ca.issue({ names: ["cart.test"] });
    const client = clientIn(outside, address, {
      http2,
      scheme: "https",
      authority: "orders.test",
      tls: { ca: ca.cert, cert: issued.cert, key: issued.key },
    });
    await (await client.fetch("/")).text();
    for (const [one, direction] of [
      [outside, "outbound"],
      [mesh, "inbound"],
    ] as const) {
      expect(read(one, "inmesh.tls.handshakes", { direction, result: "ok" })).toBe(1);
      expect(read(one, "inmesh.tls.handshake.duration", { direction })).toBe(1);
      expect(read(one, "inmesh.connections", { direction, protocol, mtls: "true" })).toBe(1);
      expect(read(one, "inmesh.io", { direction, op: "received" })).toBeGreaterThan(30);
    }
    expect(read(outside, "inmesh.connect.duration", { phase: "tls" })).toBe(1);
    // Certificates in force at both ends.
    for (const one of [mesh, outside]) {
      const expiry = read(one, "inmesh.cert.expiry.timestamp", { kind: "leaf" })!;
      const fromS = read(one, "inmesh.cert.issued.timestamp", { kind: "leaf" })!;
      expect(expiry).toBeGreaterThan(Date.now() / 1_000);
      expect(fromS).toBeLessThanOrEqual(Date.now() / 1_000);
      expect(read(one, "inmesh.cert.expiry.timestamp", { kind: "bundle_min" })).toBeGreaterThan(
        Date.now() / 1_000,
      );
      const bundles = one.metrics().filter(({ name }) => name === "inmesh.bundle.info");
      expect(bundles).toHaveLength(1);
      expect(bundles[0]!.labels["hash"]).toMatch(/^[0-9a-f]{8}$/);
    }
  });

  it("a handshake that fails is counted at both ends, with the reason", async () => {
    const mesh = meshOf({});
    const { address } = await started(mesh, { http2, tls: { cert, key } });
    const outside = meshOf({});
    const client = clientIn(outside, address, {
      http2,
      scheme: "https",
      authority: "orders.test",
      tls: { ca: new TestCa("other").cert },
      retry: { attempts: 1 },
    });
    await expect(client.fetch("/")).rejects.toThrow("orders");
    const failed = { direction: "outbound", result: "peer_untrusted" };
    expect(read(outside, "inmesh.tls.handshakes", failed)).toBeGreaterThan(0);
    expect(read(outside, "inmesh.connection.opened", { reason: "peer_untrusted" })).toBe(
      read(outside, "inmesh.tls.handshakes", failed),
    );
    const until = performance.now() + 10_000;
    const seen = (): number => read(mesh, "inmesh.tls.handshakes", { direction: "inbound" }) ?? 0;
    while (seen() === 0 && performance.now() < until) await sleep(5);
    expect(seen()).toBeGreaterThan(0);
  });

  it("an observer gets the bytes of a served request", async () => {
    const mesh = meshOf({});
    const ended: EndedRequest[] = [];
    mesh.observe({ servedEnded: (one) => void ended.push(one) });
    const { address } = await started(mesh, { http2 }, (request, response) => {
      request.resume().on("end", () => {
        response.write("añ");
        response.end(Buffer.from("cd"));
      });
    });
    const client = clientIn(meshOf({}), address, { http2 });
    const reply = await client.fetch("/", { method: "POST", body: "12345" });
    expect(await reply.text()).toBe("añcd");
    await client.fetch("/", { method: "HEAD" });
    await expect.poll(() => ended.length).toBe(2);
    expect(ended.map(({ receivedBytes, sentBytes }) => [receivedBytes, sentBytes])).toEqual([
      [5, 5],
      [0, 0],
    ]);
  });

  it("an observer gets the bytes of a refusal", async () => {
    const mesh = meshOf({});
    const ended: EndedRequest[] = [];
    mesh.observe({ servedEnded: (one) => void ended.push(one) });
    const { address } = await started(mesh, { http2, limits: { maxInFlight: 0 } });
    const client = clientIn(meshOf({}), address, { http2, retry: { attempts: 1 } });
    const reply = await client.fetch("/");
    expect([reply.status, await reply.text()]).toEqual([503, "concurrency\n"]);
    await expect.poll(() => ended.map(({ sentBytes }) => sentBytes)).toEqual([12]);
  });
});

it("an attempt over an idle connection of HTTP/1 has waited for nothing", async () => {
  const { address } = await serve(answerOk);
  const mesh = meshOf({});
  const client = clientIn(mesh, address);
  const queued: number[] = [];
  for (let i = 0; i < 3; i++) {
    const reply = await client.fetch("/");
    queued.push(reply.mesh.timings.queuedMs);
    await reply.text();
    await sleep(20); // undici has its connection back in a later turn
  }
  expect(queued[0]).toBeGreaterThan(0);
  expect(queued.slice(1)).toEqual([0, 0]);
  expect(read(mesh, "inmesh.queue.duration", { service: "orders" })).toBe(1);
});

it("a connection over HTTP/1 that is not used again has ended in good order", async () => {
  const { address } = await serve((_request, response) => {
    response.writeHead(200, { connection: "close" }).end("bye");
  });
  const mesh = meshOf({});
  const client = clientIn(mesh, address);
  expect(await (await client.fetch("/")).text()).toBe("bye");
  await comes(mesh, 1, "inmesh.connection.closed", { direction: "outbound", trigger: "idle" });
});

it("a connection that does not come about is counted with its reason", async () => {
  const { server, address } = await serve(answerOk);
  server.close();
  await once(server, "close");
  const mesh = meshOf({});
  const client = clientIn(mesh, address, { retry: { attempts: 1 } });
  await expect(client.fetch("/")).rejects.toThrow("orders");
  const failed = { direction: "outbound", protocol: "http1", reason: "connect_refused" };
  expect(read(mesh, "inmesh.connection.opened", failed)).toBeGreaterThan(0);
  expect(read(mesh, "inmesh.connections")).toBeUndefined();
});

it("attempts that wait for a connection are a queue with a depth and a time, and a limit", async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const { address } = await serve((_, response) => void held.then(() => response.end("ok")));
  const mesh = meshOf({});
  const client = clientIn(mesh, address, {
    retry: { attempts: 1 },
    limits: { maxConnectionsPerEndpoint: 1, maxQueuedPerEndpoint: 2 },
  });
  const sent = [client.fetch("/")];
  await comes(mesh, 1, "inmesh.endpoint.in_flight");
  await comes(mesh, 1, "inmesh.connections");
  sent.push(client.fetch("/"), client.fetch("/"));
  await comes(mesh, 3, "inmesh.endpoint.in_flight");
  expect(read(mesh, "inmesh.queue.depth", { service: "orders" })).toBe(2);
  const fill = (name: string): number | undefined =>
    read(mesh, `inmesh.bounded.${name}`, { structure: "queue" });
  expect([fill("size"), fill("limit")]).toEqual([2, 2]);
  await expect(client.fetch("/")).rejects.toMatchObject({ reason: "queue_full" });
  const shed = { direction: "outbound", service: "orders", reason: "queue_full" };
  expect(read(mesh, "inmesh.shed", shed)).toBe(1);
  await sleep(30);
  release();
  for (const one of sent) await (await one).text();
  const waits = mesh.metrics().find(({ name }) => name === "inmesh.queue.duration")!;
  expect(waits).toHaveProperty("count", 3); // one for its connection to open
  expect((waits as { sum: number }).sum).toBeGreaterThan(0.06);
  expect(read(mesh, "inmesh.queue.depth")).toBe(0);
});

it("an attempt whose connection is not accepted shows an endpoint that is connecting", async () => {
  const silent = createServer((socket) => void socket.on("error", () => {}));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  onTestFinished(() => void silent.close());
  const mesh = meshOf({});
  const { port } = silent.address() as AddressInfo;
  const client = clientIn(mesh, `127.0.0.1:${port}`, {
    scheme: "https",
    tls: { ca: ca.cert },
    retry: { attempts: 1 },
  });
  const call = client.fetch("/").catch(() => {});
  await comes(mesh, 1, "inmesh.endpoints", { state: "connecting" });
  expect(read(mesh, "inmesh.endpoints", { state: "available" })).toBe(0);
  await mesh.close(0);
  await call;
});

it("an agent's connections are counted like the others", async () => {
  const { address } = await started(meshOf({}));
  const http = httpMeshOf({ orders: { discovery: { static: [address] } } });
  const attempts: EndedAttempt[] = [];
  http.observe({ attemptEnded: (attempt) => void attempts.push(attempt) });
  const agent = http.agent();
  for (let i = 0; i < 2; i++) {
    const request = get({ host: "orders", agent });
    const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
    response.resume();
    await once(response, "end");
    await sleep(20);
  }
  expect(attempts.map(({ connectionReused }) => connectionReused)).toEqual([false, true]);
  expect(read(http, "inmesh.connections", { protocol: "http1" })).toBe(1);
  expect(read(http, "inmesh.connection.reuse", { result: "reused" })).toBe(1);
});

it("what a server refuses and tolerates is counted by kind, each where it belongs", async () => {
  const mesh = meshOf({});
  const { server, port } = await started(mesh, {
    posture: "mesh",
    limits: { maxInFlight: 1 },
  });
  const ask = async (...lines: string[]): Promise<number> => {
    const client = await rawTo(server);
    client.send(`${["GET / HTTP/1.1", "host: a", ...lines].join("\r\n")}\r\n\r\n`);
    return (await client.reply()).status;
  };
  expect(await ask("x-mesh-timeout-ms: 0")).toBe(504);
  expect(read(mesh, "inmesh.deadline.expired", { direction: "inbound", service: "orders" })).toBe(
    1,
  );
  expect(await ask("content-length: 0", "transfer-encoding: chunked")).toBe(400);
  expect(await ask("transfer-encoding: gzip, chunked", "", "0")).toBe(501);
  expect(read(mesh, "inmesh.requests.rejected", { reason: "unknown_coding" })).toBe(1);
  const broken = await rawTo(server);
  broken.send("NONSENSE\r\n\r\n");
  await broken.until(() => broken.closed, "the end");
  expect(read(mesh, "inmesh.requests.rejected", { reason: "malformed" })).toBe(2);
  expect(await ask("traceparent: none")).toBe(200);
  const glitch = { direction: "inbound", kind: "traceparent" };
  expect(read(mesh, "inmesh.glitches", glitch)).toBe(1);
  const slow = connect(port, "127.0.0.1");
  onTestFinished(() => void slow.destroy());
  slow.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
  await comes(mesh, 1, "inmesh.call.active", { direction: "inbound" });
  expect(await ask()).toBe(503);
  expect(read(mesh, "inmesh.shed", { direction: "inbound", reason: "concurrency" })).toBe(1);
  expect(read(mesh, "inmesh.concurrency.limit", { direction: "inbound" })).toBe(1);
  const full = read(mesh, "inmesh.bounded.size", { structure: "requests" });
  expect([full, read(mesh, "inmesh.bounded.limit", { structure: "requests" })]).toEqual([1, 1]);
  expect(read(mesh, "inmesh.overhead.duration", { direction: "inbound" })).toBeGreaterThan(0);
});

it("streams that are reset are counted by who did it", async () => {
  const mesh = meshOf({});
  const { port } = await started(mesh, { http2: true }, () => {});
  const raw = await H2Client.to(port);
  raw.send(head(1, { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "a" }, true));
  await comes(mesh, 1, "inmesh.call.active", { direction: "inbound" });
  raw.send(reset(1, 8));
  await comes(mesh, 1, "inmesh.streams.reset", { direction: "inbound", trigger: "client" });

  const outside = meshOf({});
  const client = clientIn(outside, `127.0.0.1:${port}`, { http2: true });
  const given = new AbortController();
  const call = client.fetch("/", { signal: given.signal }).catch(() => {});
  await comes(mesh, 1, "inmesh.call.active", { direction: "inbound" });
  given.abort();
  await call;
  const byUs = { direction: "outbound", trigger: "client" };
  await comes(outside, 1, "inmesh.streams.reset", byUs);
  await comes(mesh, 2, "inmesh.streams.reset", { direction: "inbound", trigger: "client" });

  const resetting = meshServer(
    (request) => {
      (request as unknown as { stream: { close(code: number): void } }).stream.close(2);
    },
    { http2: true },
  );
  onTestFinished(() => resetting.close(0));
  const { port: other } = await resetting.listen(0, "127.0.0.1");
  const third = meshOf({});
  const wanted = clientIn(third, `127.0.0.1:${other}`, { http2: true, retry: { attempts: 1 } });
  await expect(wanted.fetch("/")).rejects.toThrow("orders");
  expect(read(third, "inmesh.streams.reset", { direction: "outbound", trigger: "server" })).toBe(1);
});

it("a client that misuses its connection is a glitch in the end of that", async () => {
  const mesh = meshOf({});
  const { server } = await started(mesh, { http2: true, limits: { maxPings: 2 } });
  const raw = await H2Client.to(server.address()!.port);
  const ping = Buffer.concat([Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0]), Buffer.alloc(8)]);
  for (let i = 0; i < 5; i++) raw.send(ping);
  await comes(mesh, 1, "inmesh.connection.closed", { direction: "inbound", trigger: "glitch" });
});

it("what is idle for long, is reset, or has other certificates ends with that reason", async () => {
  const mesh = meshOf({});
  const { server, address } = await started(mesh, { limits: { keepAliveIdleMs: 200 } });
  const quiet = await rawTo(server);
  quiet.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await quiet.reply();
  await comes(mesh, 1, "inmesh.connection.closed", { direction: "inbound", trigger: "idle" });
  expect(address).not.toBe("");

  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    connection.rst();
  });
  const outside = meshOf({});
  const client = clientIn(outside, peer.address, { retry: { attempts: 1 } });
  await expect(client.fetch("/", { method: "POST", body: "x" })).rejects.toThrow("orders");
  await comes(outside, 1, "inmesh.connection.closed", { direction: "outbound", trigger: "error" });
});

it("new certificates end the connections of old ones at both ends, and metrics have their times", async () => {
  const material = (days: number) => ({
    ...ca.issue({ names: ["orders.test"], notAfter: Date.now() + days * 86_400_000 }),
    ca: ca.cert,
  });
  const servers = new GivenIdentity("servers", material(2));
  const clients = new GivenIdentity("clients", material(3));
  const mesh = meshOf({ identities: [servers] });
  const { address } = await started(mesh, { tls: { identity: "servers" } });
  const outside = meshOf({ identities: [clients] });
  const client = clientIn(outside, address, {
    scheme: "https",
    authority: "orders.test",
    tls: { identity: "clients" },
  });
  await (await client.fetch("/")).text();
  const daysLeft = (one: Mesh, identity: string): number => {
    const endsAt = read(one, "inmesh.cert.expiry.timestamp", { identity, kind: "leaf" })!;
    return Math.round((endsAt - Date.now() / 1_000) / 86_400);
  };
  expect([daysLeft(mesh, "servers"), daysLeft(outside, "clients")]).toEqual([2, 3]);
  await sleep(150); // what follows within 100 ms is taken as one
  clients.give(material(9));
  await comes(outside, 1, "inmesh.connection.closed", {
    direction: "outbound",
    trigger: "identity",
  });
  expect(daysLeft(outside, "clients")).toBe(9);
});
