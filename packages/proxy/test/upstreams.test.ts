/** Servers behind the proxy that speak TLS or listen on Unix sockets: what is agreed on, what goes through, and its ends. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { createSecureServer, createServer as createHttp2 } from "node:http2";
import { createServer as createHttps } from "node:https";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTls } from "node:tls";
import { AheadRuntime } from "@inmesh/core/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { folder, leaveSocket } from "../../http/test/support/folders.ts";
import { listenTls, tlsServer, type Handshakes } from "../../http/test/support/tls.ts";
import { ask2, client2 } from "./support/http2.ts";
import { proxied } from "./support/proxied.ts";
import { secure } from "./support/secure.ts";
import { own, SURFACES, through, upOf, type Surface } from "./support/surfaces.ts";

const ca = new TestCa();
const served = ca.issue();
const MIB = 1 << 20;

/** By path: `/echo` says what it got, `/large` has 8 MiB, `/cut` breaks off. */
function routes(server: Server): void {
  server.on("request", (request: any, response: any) => {
    if (request.url === "/echo") {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => response.end(hash.digest("hex")));
      return;
    }
    request.resume();
    if (request.url === "/large") response.end(Buffer.alloc(8 * MIB, "y"));
    else if (request.url === "/cut") {
      response.writeHead(200, { "content-length": 100 });
      response.write("part");
      setTimeout(() => (request.stream?.session ?? request.socket).destroy(), 20);
    } else response.end(`${request.headers.host ?? request.authority} ${request.httpVersion}`);
  });
}

async function secureServer(surface: Surface): Promise<Handshakes> {
  const server = (upOf(surface) === 2
    ? createSecureServer({ ...served })
    : createHttps({ ...served })) as unknown as Server;
  routes(server);
  return await listenTls(server);
}

/** `unix:` and the path that it listens on. */
async function onSocket(server: Server, path = join(folder(), "a b.sock")): Promise<string> {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => open.add(socket.on("error", () => {})));
  server.listen(path);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return `unix:${path}`;
}

const hashOf = (body: string): string => createHash("sha256").update(body).digest("hex");

describe.each(SURFACES)("a server that speaks TLS, %s", (surface) => {
  it("gets bodies whole, and their replies come whole, over connections that are used again", async () => {
    const { address, sockets } = await secureServer(surface);
    const { ask, mesh } = await secure(
      surface,
      [address],
      { ca: ca.cert },
      { limits: { maxConnectionsPerEndpoint: 1 } },
    );
    const body = randomBytes(2 * MIB).toString("hex");
    for (let i = 0; i < 2; i++) {
      const up = await ask("POST", { ":path": "/echo" }, body);
      expect(up).toMatchObject({ status: 200, whole: true, body: hashOf(body) });
      const down = await ask("GET", { ":path": "/large" });
      expect([down.whole, down.body.length]).toEqual([true, 8 * MIB]);
    }
    const version = upOf(surface) === 2 ? "2.0" : "1.1";
    expect((await ask()).body).toBe(`svc ${version}`);
    expect(sockets).toHaveLength(1);
    expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({ inFlight: 0 });
  });

  it("breaks off a reply: its client sees that it is not whole", async () => {
    const { address } = await secureServer(surface);
    const { ask } = await secure(surface, [address], { ca: ca.cert });
    const seen = await ask("GET", { ":path": "/cut" });
    expect(seen).toMatchObject({ status: 200, body: "part", whole: false });
    expect((await ask()).status).toBe(200);
  });
});

describe("what is spoken over TLS", () => {
  it.each([
    ["chooses HTTP/1.1", "http/1.1"],
    ["does not choose at all", false],
  ])("is HTTP/1.1 where the server %s, and stays it for the next requests", async (_, chosen) => {
    const server = createHttps({ ...served });
    // Node's own server of HTTPS says http/1.1 if it is not kept from it.
    if (chosen === false) delete (server as { ALPNProtocols?: unknown }).ALPNProtocols;
    routes(server);
    const { address, sockets } = await listenTls(server);
    const { ask, mesh } = await secure(
      "P22",
      [address],
      { ca: ca.cert },
      { limits: { maxConnectionsPerEndpoint: 1 } },
    );
    const seen = await Promise.all(Array.from({ length: 8 }, () => ask("POST", {}, "x")));
    expect(new Set(seen.map(({ status, body }) => `${status} ${body}`))).toEqual(
      new Set(["200 svc 1.1"]),
    );
    for (let i = 0; i < 5; i++) expect((await ask()).body).toBe("svc 1.1");
    // One that found it out, and one that is used.
    expect(sockets.map(({ alpnProtocol }) => alpnProtocol)).toEqual([chosen, chosen]);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.state).toBe("closed");
  });

  it("is asked again after five minutes", async () => {
    const runtime = new AheadRuntime();
    const old = createHttps({ ...served });
    routes(old);
    const { address, stop } = await listenTls(old);
    const services = {
      orders: {
        scheme: "https",
        authority: "svc",
        http2: true,
        tls: { ca: ca.cert },
        discovery: { static: [address] },
      },
    };
    const { port } = await proxied(services, { spoken: "http2", mesh: { runtime } });
    const session = client2(port);
    const ask = async (): Promise<string> => String((await ask2(session)).body);
    expect(await ask()).toBe("svc 1.1");
    await stop();
    const newer = createSecureServer({ ...served, allowHTTP1: true }) as unknown as Server;
    routes(newer);
    await listenTls(newer, Number(address.split(":")[1]));
    runtime.aheadMs = 290_000;
    await expect.poll(ask).toBe("svc 1.1");
    runtime.aheadMs = 310_000;
    await expect.poll(ask).toBe("svc 2.0");
  });

  it("cannot be gRPC without HTTP/2: that is UNAVAILABLE with its reason, and other requests are served", async () => {
    const server = createHttps({ ...served });
    routes(server);
    const { address } = await listenTls(server);
    for (const http2 of [true, false]) {
      const services = {
        orders: {
          scheme: "https",
          authority: "svc",
          http2,
          tls: { ca: ca.cert },
          discovery: { static: [address] },
          retry: { attempts: 1 },
        },
      };
      const { port } = await proxied(services, { spoken: "http2" });
      const session = client2(port);
      const call = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
      // The breaker that opens is that of gRPC: the same endpoint has another one for HTTP.
      for (const reason of ["protocol_mismatch", "all_open"]) {
        const { headers } = await ask2(session, call, "\0\0\0\0\0");
        expect(headers).toMatchObject({ ":status": 200, "grpc-status": "14" });
        expect(headers["grpc-message"]).toContain(reason);
      }
      expect(String((await ask2(session)).body)).toBe("svc 1.1");
    }
  });

  it("is HTTP/2 for gRPC where the service speaks HTTP/1.1 and the server both", async () => {
    const server = createSecureServer({ ...served, allowHTTP1: true }) as unknown as Server;
    routes(server);
    const { address } = await listenTls(server);
    const { ask } = await secure("P21", [address], { ca: ca.cert });
    expect((await ask()).body).toBe("svc 1.1");
    const call = { "content-type": "application/grpc", te: "trailers" };
    expect((await ask("POST", call, "x")).body).toBe("svc 2.0");
  });

  it("is not HTTP/2 where its server says h2 and then speaks something else: 502", async () => {
    const server = createTls({ ...served, ALPNProtocols: ["h2"] }, (socket) =>
      socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    const { address } = await listenTls(server);
    const { ask } = await secure("P22", [address], { ca: ca.cert });
    expect(own(await ask("POST", {}, "x"))).toBe("502 protocol_mismatch");
  });

  it("shows our certificate, and connections of both sides' certificates are counted as such", async () => {
    const mine = ca.issue();
    const { address, shown } = await tlsServer(
      { ...served, ca: ca.cert, requestCert: true, rejectUnauthorized: true },
      true,
    );
    const { ask, mesh } = await secure("P22", [address], { ca: ca.cert, ...mine });
    expect(own(await ask())).toBe("200 ok");
    expect(shown).toEqual([mine.cert]);
    const open = mesh
      .metrics()
      .filter(
        ({ name, labels }) => name === "inmesh.connections" && labels["direction"] === "outbound",
      );
    expect(open).toMatchObject([{ value: 1, labels: { mtls: "true", protocol: "http2" } }]);
  });
});

describe.each(SURFACES)("a server on a Unix socket, %s", (surface) => {
  const serverOf = (): Server =>
    (upOf(surface) === 2 ? createHttp2() : createHttp1()) as unknown as Server;

  it("gets bodies and gives them, by the name of its service", async () => {
    const server = serverOf();
    routes(server);
    const { ask } = await through(surface, [await onSocket(server)]);
    const version = upOf(surface) === 2 ? "2.0" : "1.1";
    expect((await ask()).body).toBe(`orders ${version}`);
    const body = randomBytes(MIB).toString("hex");
    expect((await ask("POST", { ":path": "/echo" }, body)).body).toBe(hashOf(body));
    const down = await ask("GET", { ":path": "/large" });
    expect([down.whole, down.body.length]).toEqual([true, 8 * MIB]);
    expect(await ask("GET", { ":path": "/cut" })).toMatchObject({ body: "part", whole: false });
  });

  it("speaks TLS there too, for the name of the service", async () => {
    const server = (upOf(surface) === 2
      ? createSecureServer({ ...served })
      : createHttps({ ...served })) as unknown as Server;
    routes(server);
    const address = await onSocket(server);
    const right = await secure(surface, [address], { ca: ca.cert });
    expect((await right.ask()).body).toMatch(/^svc /);
    const wrong = await secure(surface, [address], { ca: ca.cert }, { authority: "pay.shop" });
    expect(own(await wrong.ask())).toBe("502 identity_mismatch");
  });

  it("is not there, or was left behind by a process that was killed: 502, and another endpoint answers", async () => {
    const server = serverOf();
    routes(server);
    const left = join(folder(), "left.sock");
    await leaveSocket(left);
    const good = await onSocket(server);
    for (const bad of [`unix:${left}`, `${good}-not`]) {
      const alone = await through(surface, [bad]);
      expect(own(await alone.ask("POST", {}, "x"))).toBe("502 connect_refused");
      const both = await through(surface, [bad, good], { balancer: { kind: "round-robin" } });
      for (let i = 0; i < 4; i++) expect((await both.ask("POST", {}, "x")).status).toBe(200);
    }
  });
});
