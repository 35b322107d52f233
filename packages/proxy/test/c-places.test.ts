/**
 * Section C of the fault matrix, mesh-proxy: places where a server should be and is not, or is another one. What takes
 * a process or a certificate to play is played for all surfaces at once.
 */
import dns from "node:dns";
import { once } from "node:events";
import { createSecureServer as createHttp2Server, type Http2SecureServer } from "node:http2";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { connect, createServer as createTcpServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { startBlackHole, startChild } from "../../http/test/support/children.ts";
import { readSeries } from "../../http/test/support/series.ts";
import { listenTls } from "../../http/test/support/tls.ts";
import { Client, listening } from "./support/net.ts";
import { proxyOf } from "./support/ports.ts";
import { own, peerOf, SURFACES, through, upOf, type Surface } from "./support/surfaces.ts";

const portIn = (address: string): number => Number(address.split(":").at(-1));

/** Listens on `port` of 127.0.0.1, for servers that are chosen later. */
async function relay(port: number): Promise<{ to: (address: string) => void }> {
  let target = 0;
  const server = createTcpServer((socket) => {
    const out = connect(target, "127.0.0.1");
    for (const one of [socket, out]) one.on("error", () => {});
    socket.pipe(out).pipe(socket);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { to: (address) => (target = portIn(address)) };
}

it("C3 P11, C3 P12, C3 P21, C3 P22, C3 PT: IPv6 of a name with two addresses is dropped: IPv4 answers, as one attempt", async (context) => {
  const hole = await startBlackHole("::1").catch(() => undefined);
  if (hole === undefined) return context.skip("no IPv6 loopback here");
  onTestFinished(() => hole[Symbol.asyncDispose]());
  const other = await relay(hole.port);
  const both = [
    { address: "::1", family: 6 },
    { address: "127.0.0.1", family: 4 },
  ];
  const real = dns.lookup as (...all: unknown[]) => void;
  const lookup = vi.spyOn(dns, "lookup").mockImplementation(((...all: unknown[]) => {
    if (all[0] !== "dual.test") return real(...all);
    process.nextTick(all.at(-1) as (error: null, addresses: object) => void, null, both);
  }) as never);
  onTestFinished(() => lookup.mockRestore());
  const address = `dual.test:${hole.port}`;
  // A generous limit, far below what a whole timeout for each family would take.
  const more = { timeouts: { connect: "20s", request: "25s" } };
  const played = SURFACES.map(async (surface) => {
    const peer = await peerOf(surface, (request) => request.answer("four"));
    return { surface, peer };
  });
  for (const { surface, peer } of await Promise.all(played)) {
    other.to(peer.address);
    const { ask, mesh } = await through(surface, [address], more);
    const startedAt = performance.now();
    expect(await ask("POST", {}, "x"), surface).toMatchObject({ status: 200, body: "four" });
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({
      picks: 1,
      breaker: { state: "closed", consecutiveFailures: 0 },
    });
    expect(peer.connections).toBe(1);
  }
  const echo = await listening((socket) => socket.pipe(socket));
  other.to(echo.address);
  const { mesh, portOf } = await proxyOf(
    { db: { discovery: { static: [address] }, ...more } },
    { db: { listen: "127.0.0.1:0", service: "db", protocol: "tcp" } },
  );
  const client = new Client(`127.0.0.1:${portOf("db")}`).send("four");
  await client.until(({ text }) => text === "four");
  const dialled = mesh.snapshot().services.flatMap(({ endpoints }) => endpoints);
  expect(dialled).toMatchObject([
    { picks: 1, breaker: { state: "closed", consecutiveFailures: 0 } },
  ]);
});

describe("the certificate of another", () => {
  const ca = new TestCa();

  interface Secure {
    readonly address: string;
    readonly requests: () => number;
    stop(): Promise<void>;
  }

  /** Answers everything. `name`: of its certificate. */
  async function secureServer(surface: Surface, name: string, port = 0): Promise<Secure> {
    let requests = 0;
    const options = { ...ca.issue({ names: [name] }) };
    const server: HttpsServer | Http2SecureServer =
      upOf(surface) === 1 ? createHttpsServer(options) : createHttp2Server(options);
    server.on("request", (request: { resume(): void }, response: { end(text: string): void }) => {
      requests++;
      request.resume();
      response.end(name);
    });
    server.on("session", (session: { on(event: string, ignore: () => void): void }) =>
      session.on("error", () => {}),
    );
    const { address, stop } = await listenTls(server, port);
    return { address, requests: () => requests, stop };
  }

  it.each(SURFACES)(
    "C14 P11, C14 P12, C14 P21, C14 P22: an address that another workload has now, %s: known by its certificate, and nothing is sent",
    async (surface) => {
      const before = await secureServer(surface, "orders");
      const other = await secureServer(surface, "orders");
      const secure = { scheme: "https", tls: { ca: ca.cert } };
      const more = {
        ...secure,
        retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" },
        balancer: { kind: "round-robin" },
      };
      const { ask, mesh } = await through(surface, [before.address, other.address], more);
      for (let i = 0; i < 4; i++) {
        expect(await ask("POST", {}, "x")).toMatchObject({ status: 200, body: "orders" });
      }
      expect(before.requests()).toBeGreaterThan(0);
      await before.stop();
      const impostor = await secureServer(surface, "impostor", portIn(before.address));
      for (let i = 0; i < 4; i++) {
        expect(await ask("POST", {}, "x")).toMatchObject({ status: 200, body: "orders" });
      }
      const { endpoints } = mesh.snapshot().services[0]!;
      const taken = endpoints.find(({ address }) => address === impostor.address)!;
      expect(taken.breaker.state).not.toBe("closed");
      const refused = { result: "identity_mismatch" };
      expect(readSeries(mesh, "inmesh.tls.handshakes", refused)).toBeGreaterThan(0);
      // There is no other one.
      const alone = await through(surface, [impostor.address], secure);
      expect(own(await alone.ask("POST", {}, "x"))).toBe("502 identity_mismatch");
      expect(impostor.requests()).toBe(0);
    },
  );

  it("C14 PT: an address that another workload has now: the client of a tunnel sees its certificate, and sends nothing", async () => {
    const impostor = await secureServer("P11", "impostor");
    const { portOf } = await proxyOf(
      { bank: { discovery: { static: [impostor.address] }, authority: "bank.example:443" } },
      { all: { listen: "127.0.0.1:0" } },
    );
    const socket = connectTls({
      port: portOf("all"),
      host: "127.0.0.1",
      servername: "bank.example",
      ca: ca.cert,
    });
    onTestFinished(() => void socket.destroy());
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(impostor.requests()).toBe(0);
  });
});

describe("a listener that accepts no more", () => {
  it("C21 P11, C21 P12, C21 P21, C21 P22: its queue is full: 504 at the connect timeout, with TLS too", async () => {
    await using hole = await startBlackHole();
    const address = `127.0.0.1:${hole.port}`;
    const played = SURFACES.map(async (surface) => {
      for (const scheme of ["http", "https"]) {
        const more = { scheme, timeouts: { connect: "150ms" } };
        const { ask, mesh } = await through(surface, [address], more);
        expect(own(await ask("POST", {}, "x")), surface).toBe("504 connect_timeout");
        expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({ inFlight: 0 });
      }
    });
    await Promise.all(played);
  });

  it("C21 P11, C21 P12, C21 P21, C21 P22: there is room in its queue, and no process behind it: 504 at the attempt's timeout, or no handshake", async () => {
    await using frozen = await startChild(
      `const server = require("node:net").createServer(() => {});
      server.listen({ port: 0, host: "127.0.0.1", backlog: 100 }, () => ready(server.address().port));`,
    );
    frozen.process.kill("SIGSTOP");
    const address = `127.0.0.1:${frozen.port}`;
    const timeouts = { connect: "150ms", backendRequest: "250ms" };
    const played = SURFACES.map(async (surface) => {
      const plain = await through(surface, [address], { timeouts });
      // A server of HTTP/2 has to say its settings before it is sent anything (G17).
      expect(own(await plain.ask("POST", {}, "x")), surface).toBe(
        upOf(surface) === 2 ? "502 protocol_mismatch" : "504 attempt_timeout",
      );
      const secure = await through(surface, [address], {
        scheme: "https",
        timeouts: { connect: "150ms" },
      });
      expect(own(await secure.ask("POST", {}, "x")), surface).toBe("502 tls_handshake");
    });
    await Promise.all(played);
  });
});

describe("a handshake that breaks off in a tunnel", () => {
  /** The first bytes of a client of TLS that asks for that name. */
  async function clientHello(servername: string): Promise<Buffer> {
    const first = Promise.withResolvers<Buffer>();
    const server = await listening((socket) => socket.once("data", first.resolve));
    const client = connectTls({ port: server.port, host: "127.0.0.1", servername });
    client.on("error", () => {});
    onTestFinished(() => void client.destroy());
    return first.promise;
  }

  it.each(["fin", "rst"] as const)(
    "C17 PT: by the server, %s behind the ClientHello: its client learns it as it came, and it is the server's fault if it was a reset",
    async (how) => {
      const hello = await clientHello("bank.example");
      let got = Buffer.alloc(0);
      const server = await listening((socket) =>
        socket.on("data", (chunk: Buffer) => {
          got = Buffer.concat([got, chunk]);
          if (got.length < hello.length) return;
          if (how === "fin") socket.end();
          else socket.resetAndDestroy();
        }),
      );
      const { mesh, portOf } = await proxyOf(
        { bank: { discovery: { static: [server.address] }, authority: "bank.example:443" } },
        { all: { listen: "127.0.0.1:0" } },
      );
      const outcomes: string[] = [];
      mesh.observe({ attemptEnded: ({ outcome }) => void outcomes.push(outcome) });
      // In pieces: the name is found when all of it is here.
      const client = new Client(`127.0.0.1:${portOf("all")}`).send(hello.subarray(0, 20));
      await new Promise((resolve) => setTimeout(resolve, 20));
      client.send(hello.subarray(20));
      await client.until(({ ended, closed }) => ended || closed);
      expect([client.ended, client.error?.code]).toEqual(
        how === "fin" ? [true, undefined] : [false, "ECONNRESET"],
      );
      client.end();
      await expect.poll(() => outcomes).toEqual([how === "fin" ? "success" : "failure"]);
      expect(got).toEqual(hello);
      expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    },
  );

  it.each(["fin", "rst"] as const)(
    "C17 PT: by the client, %s inside the ClientHello: no server is dialled, and nothing stays open",
    async (how) => {
      const hello = await clientHello("bank.example");
      let dials = 0;
      const server = await listening(() => dials++);
      const { mesh, proxy, portOf } = await proxyOf(
        { bank: { discovery: { static: [server.address] }, authority: "bank.example:443" } },
        { all: { listen: "127.0.0.1:0" } },
      );
      const client = new Client(`127.0.0.1:${portOf("all")}`).send(hello.subarray(0, 60));
      await expect.poll(() => proxy.connections).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (how === "fin") client.end();
      else client.socket.resetAndDestroy();
      await expect.poll(() => proxy.connections).toBe(0);
      expect(dials).toBe(0);
      // A client that has just gone is no one who was refused.
      const refused = { direction: "inbound", reason: "no_service" };
      expect(readSeries(mesh, "inmesh.connection.opened", refused)).toBe(
        how === "fin" ? 1 : undefined,
      );
    },
  );
});
