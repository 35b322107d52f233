/** Every protocol on one port, through listeners of the configuration: found out, sent to the right service, and left. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, get, type IncomingMessage, type ServerResponse } from "node:http";
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import { Client, listening } from "./support/net.ts";
import { proxyOf } from "./support/ports.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

async function at(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function ask(
  port: number,
  host: string,
  path = "/",
): Promise<{ reply: IncomingMessage; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, headers: { host }, agent: false }, (reply) => {
      let body = "";
      reply.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      reply.on("end", () => resolve({ reply, body }));
    }).on("error", reject);
  });
}

describe("one listener by the name that each connection says", () => {
  it("T11 PT: serves HTTP/1, HTTP/2 and TLS on one port, with a server name in capitals too, and refuses what names no service", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    execFileSync(
      "openssl",
      [
        ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(" "),
        "-subj",
        "/CN=bank.example",
        "-addext",
        "subjectAltName=DNS:bank.example",
        "-keyout",
        key,
        "-out",
        cert,
      ],
      { stdio: "ignore" },
    );
    const web = createServer((request, response) => response.end(`h1 ${request.url}`));
    const rpc = createHttp2Server((request, response) => response.end(`h2 ${request.url}`));
    const bank = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) =>
      socket.end("over TLS"),
    );
    const { portOf } = await proxyOf(
      {
        web: { discovery: { static: [await at(web)] } },
        rpc: { discovery: { static: [await at(rpc)] }, http2: true },
        bank: { discovery: { static: [await at(bank)] }, authority: "bank.example:443" },
      },
      { all: { listen: "127.0.0.1:0", detectTimeout: "200ms" } },
    );
    const port = portOf("all");
    expect((await ask(port, "web", "/v1")).body).toBe("h1 /v1");
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    onTestFinished(() => session.destroy());
    // The second one comes after what was looked at.
    for (const path of ["/v2", "/v2/more"]) {
      const stream = session.request({ ":path": path, ":authority": "rpc" });
      let text = "";
      for await (const chunk of stream.setEncoding("utf8")) text += chunk as string;
      expect(text).toBe(`h2 ${path}`);
    }
    const socket = connectTls({
      port,
      host: "127.0.0.1",
      servername: "BANK.example",
      ca: readFileSync(cert),
    });
    onTestFinished(() => void socket.destroy());
    let secret = "";
    for await (const chunk of socket.setEncoding("utf8")) secret += chunk as string;
    expect(secret).toBe("over TLS");
    const nameless = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
    const [refused] = (await once(nameless, "error")) as [NodeJS.ErrnoException];
    expect(refused.code).toBe("ECONNRESET");
    for (const bytes of ["\0\0\0\x04", ""]) {
      const client = new Client(`127.0.0.1:${port}`).send(bytes);
      await client.until(() => client.closed);
      expect(client.error?.code).toBe("ECONNRESET");
    }
    expect((await ask(port, "nothing")).reply.statusCode).toBeGreaterThanOrEqual(400);
  });
});

describe("a connection of HTTP/2 that was found out to be one", () => {
  it("goes on behind its first bytes: further streams, and a reply larger than the first window", async () => {
    const size = 200_000;
    const rpc = createHttp2Server((request, response) => {
      request.resume();
      response.end(request.url === "/large" ? Buffer.alloc(size) : "ok");
    });
    const { portOf } = await proxyOf(
      { rpc: { discovery: { static: [await at(rpc)] }, http2: true } },
      { all: { listen: "127.0.0.1:0" } },
    );
    const session = connectHttp2(`http://127.0.0.1:${portOf("all")}`);
    onTestFinished(() => session.destroy());
    for (const [path, length] of [
      ["/", 2],
      ["/large", size],
      ["/", 2],
    ] as const) {
      const stream = session.request({ ":path": path, ":authority": "rpc" });
      let bytes = 0;
      for await (const chunk of stream) bytes += (chunk as Buffer).length;
      expect(bytes).toBe(length);
    }
  });
});

describe("a listener that says what is spoken", () => {
  it("serves it, without a look at the first bytes", async () => {
    const web = createServer((request, response) => response.end(`h1 ${request.url}`));
    const rpc = createHttp2Server((request, response) => response.end(`h2 ${request.url}`));
    const { portOf } = await proxyOf(
      {
        web: { discovery: { static: [await at(web)] } },
        rpc: { discovery: { static: [await at(rpc)] }, http2: true },
      },
      {
        one: { listen: "127.0.0.1:0", service: "web", protocol: "http1" },
        two: { listen: "127.0.0.1:0", service: "rpc", protocol: "http2" },
      },
    );
    expect((await ask(portOf("one"), "web", "/a")).body).toBe("h1 /a");
    const session = connectHttp2(`http://127.0.0.1:${portOf("two")}`);
    onTestFinished(() => session.destroy());
    let text = "";
    for await (const chunk of session.request({ ":path": "/b" }).setEncoding("utf8")) {
      text += chunk as string;
    }
    expect(text).toBe("h2 /b");
  });
});

describe("a client over HTTP/1 that leaves behind a whole request", () => {
  const REQUESTS = {
    GET: "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
    "POST with a length": "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc",
    "POST in chunks":
      "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two requests": "GET / HTTP/1.1\r\nHost: web\r\n\r\n".repeat(2),
  };
  const LEAVES = {
    FIN: (client: Client) => void client.end(),
    RST: (client: Client) => void client.socket.resetAndDestroy(),
  };

  it.each([false, true])(
    "ends its call at once, by FIN and by RST; HTTP/2 to the server: %s",
    async (http2) => {
      let [asked, gone] = [0, 0];
      const serve = (
        request: IncomingMessage | Http2ServerRequest,
        response: ServerResponse | Http2ServerResponse,
      ): void => {
        asked++;
        request.resume();
        response.on("close", () => gone++);
      };
      const server = http2 ? createHttp2Server(serve) : createServer(serve);
      const { portOf, mesh } = await proxyOf(
        { web: { discovery: { static: [await at(server)] }, http2, timeouts: { request: "10m" } } },
        { all: { listen: "127.0.0.1:0", service: "web" } },
      );
      let sent = 0;
      for (const [name, request] of Object.entries(REQUESTS)) {
        for (const [how, leave] of Object.entries(LEAVES)) {
          const client = new Client(`127.0.0.1:${portOf("all")}`).send(request);
          await expect.poll(() => asked, { message: `${name} ${how}` }).toBe(++sent);
          leave(client);
          await expect.poll(() => gone, { message: `${name} ${how}`, timeout: 10_000 }).toBe(sent);
        }
      }
      const [service] = mesh.snapshot().services;
      expect(service!.endpoints[0]!.inFlight).toBe(0);
    },
  );
});

describe("H8 P11: CONNECT, where it is allowed", () => {
  const through = async (port: number, ...pieces: string[]): Promise<Client> => {
    const client = new Client(`127.0.0.1:${port}`);
    for (const piece of pieces) {
      client.send(piece);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return client;
  };

  it("opens a tunnel to a service by its name or authority, and to nothing else", async () => {
    const echo = await listening((socket) => socket.pipe(socket));
    const web = createServer((_request, response) => response.end("web"));
    const dead = await freeAddress();
    const { portOf } = await proxyOf(
      {
        echo: { discovery: { static: [echo.address] }, authority: "echo.example:7" },
        web: { discovery: { static: [await at(web)] } },
        dead: { discovery: { static: [dead] } },
      },
      {
        open: { listen: "127.0.0.1:0", allowConnect: true },
        shut: { listen: "127.0.0.1:0" },
      },
    );
    const port = portOf("open");
    for (const target of ["echo:443", "ECHO.example:7"]) {
      const client = await through(
        port,
        `CONNECT ${target} HT`,
        "TP/1.1\r\nHost: a\r\n\r\nhel",
        "lo",
      );
      await client.until(() => client.text === "HTTP/1.1 200 OK\r\n\r\nhello");
      client.end();
      await client.until(() => client.closed);
    }
    expect((await ask(port, "web")).body).toBe("web");
    for (const [head, status] of [
      ["CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", 403],
      ["CONNECT echo.example:8 HTTP/1.1\r\n\r\n", 403],
      ["CONNECT dead:1 HTTP/1.1\r\n\r\n", 502],
      ["CONNECT echo HTTP/1.1\r\n\r\n", 400],
      ["CONNECT echo:0 HTTP/1.1\r\n\r\n", 400],
      ["CONNECT /echo:1 HTTP/1.1\r\n\r\n", 400],
      ["CONNECT echo:1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400],
      ["CONNECT echo:1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400],
      ["CONNECT echo:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
      ["CONNECT echo:1 HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400],
      ["CONNECT echo:1 HTTP/1.1\r\nA : b\r\n\r\n", 400],
      ["CONNECT echo:1 HTTP/1.1\nA: b\r\n\r\n", 400],
      [`CONNECT echo:1 HTTP/1.1\r\nA: ${"b".repeat(16_384)}\r\n\r\n`, 431],
    ] as const) {
      const client = await through(port, head);
      await client.until(() => client.ended || client.closed);
      expect(client.text, head.slice(0, 60)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }
    const refused = await through(
      portOf("shut"),
      "CONNECT echo:443 HTTP/1.1\r\nHost: echo\r\n\r\n",
    );
    await refused.until(() => refused.ended || refused.closed);
    expect(refused.text).toMatch(/^HTTP\/1.1 (?:4|5)\d\d /);
  });
});

describe("an inbound listener", () => {
  it("stands before its application for HTTP and for TCP, with the limits of the server of its name", async () => {
    const app = createServer((request, response) => response.end(request.headers.host));
    const echo = await listening((socket) => socket.pipe(socket));
    const { portOf, mesh } = await proxyOf(
      {},
      {
        inbound: { listen: "127.0.0.1:0", app: await at(app) },
        bytes: { listen: "127.0.0.1:0", app: echo.address, protocol: "tcp" },
        closed: { listen: "127.0.0.1:0", app: echo.address },
      },
      { servers: { closed: { limits: { maxInFlight: 0 } } } },
    );
    expect((await ask(portOf("inbound"), "orders.example")).body).toBe("orders.example");
    const client = new Client(`127.0.0.1:${portOf("bytes")}`).send("hello");
    await client.until(() => client.text === "hello");
    expect((await ask(portOf("closed"), "a")).reply.statusCode).toBe(503);
    expect(mesh.servers.list.map(({ name }) => name)).toEqual(["inbound", "bytes", "closed"]);
  });
});

describe("leaving", () => {
  it("says first that it is not ready, goes on meanwhile, and then accepts no more", async () => {
    const web = createServer((_request, response) => response.end("ok"));
    const { portOf, proxy, mesh } = await proxyOf(
      { web: { discovery: { static: [await at(web)] } } },
      { all: { listen: "127.0.0.1:0", service: "web" } },
      { servers: { all: { discoveryWait: "300ms" } } },
    );
    const port = portOf("all");
    expect(mesh.servers.notReady).toEqual([]);
    const drained = proxy.drain(10_000);
    expect(mesh.servers.notReady).toEqual([{ server: "all", reason: "draining" }]);
    expect((await ask(port, "web")).reply.statusCode).toBe(200);
    await drained;
    await expect(ask(port, "web")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("L6 PT: loses no connection that came last, whether its client speaks first or its server", async () => {
    const server = await listening((socket) => {
      socket.write("hello ");
      socket.pipe(socket);
    });
    const { portOf, proxy } = await proxyOf(
      { db: { discovery: { static: [server.address] } } },
      { all: { listen: "127.0.0.1:0", service: "db", detectTimeout: "2s" } },
    );
    const address = `127.0.0.1:${portOf("all")}`;
    const [late, silent] = [new Client(address), new Client(address)];
    await Promise.all([late, silent].map(({ socket }) => once(socket, "connect")));
    // It is accepted behind those two.
    const last = new Client(address).send("\0");
    await last.until(() => last.text === "hello \0");
    const drained = proxy.close(20_000);
    last.end();
    await last.until(() => last.closed);
    late.send("\0late").end();
    await late.until(() => late.text === "hello \0late");
    await silent.until(() => silent.text === "hello ");
    silent.end();
    await drained;
  });

  it("L6 P11: a request whose first bytes come while it leaves is answered, with its address moved by a change or at its end", async () => {
    const web = createServer((_request, response) => response.end("ok"));
    const services = { web: { discovery: { static: [await at(web)] } } };
    const configured = (listen: string): Record<string, object> => ({
      all: { listen, service: "web", detectTimeout: "20s" },
    });
    const servers = { all: { discoveryWait: "0s", idleWait: "0s" } };
    const [x, y] = [await freeAddress(), await freeAddress()];
    const { proxy, mesh } = await proxyOf(services, configured(x), { servers });
    const undecided = async (address: string): Promise<Client> => {
      const client = new Client(address).send("GE");
      const before = proxy.connections;
      await once(client.socket, "connect");
      await expect.poll(() => proxy.connections).toBe(before + 1);
      return client;
    };
    const moved = await undecided(x);
    mesh.update({ services, servers, proxy: { listeners: configured(y) } } as object);
    await expect.poll(() => proxy.listeners[0]!.address).toBe(y);
    const last = await undecided(y);
    const closed = proxy.close(20_000);
    // Everything that waits for nothing has had its turn.
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const client of [moved, last]) {
      client.send("T / HTTP/1.1\r\nHost: web\r\n\r\n");
      await client.until(() => client.text.endsWith("ok"));
      expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n/);
      await client.until(() => client.ended);
      client.end();
    }
    await closed;
  });

  it("loses no request while the configuration of its listener changes under load", async () => {
    const [one, two] = ["one", "two"].map((name) =>
      createServer((_request, response) => response.end(name)),
    );
    const services = {
      one: { discovery: { static: [await at(one!)] } },
      two: { discovery: { static: [await at(two!)] } },
    };
    const { portOf, mesh } = await proxyOf(services, {
      all: { listen: "127.0.0.1:0", service: "one" },
    });
    const port = portOf("all");
    const seen = new Map<string, number>();
    const load = { isOver: false };
    const clients = Array.from({ length: 4 }, async () => {
      while (!load.isOver) {
        const { body } = await ask(port, "any");
        seen.set(body, (seen.get(body) ?? 0) + 1);
      }
    });
    for (let i = 0; i < 20; i++) {
      const service = i % 2 === 0 ? "two" : "one";
      mesh.update({
        services,
        proxy: { listeners: { all: { listen: "127.0.0.1:0", service, idleTimeout: `${i + 1}m` } } },
      } as object);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    load.isOver = true;
    await Promise.all(clients);
    expect([...seen.keys()].toSorted()).toEqual(["one", "two"]);
  });
});
