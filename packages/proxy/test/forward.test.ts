/** What a client and a server of HTTP/1 see of each other through the proxy, with real ones of several kinds. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  exchangeRaw,
  listening,
  proxied,
  rawClient,
  repliesIn,
  type Proxied,
} from "./support/proxied.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const run = promisify(execFile);

async function backend(
  handler: (
    request: IncomingMessage,
    body: string,
    response: import("node:http").ServerResponse,
  ) => void,
): Promise<{ address: string; server: Server; connections: () => number }> {
  let connections = 0;
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => handler(request, body, response));
  });
  server.on("connection", () => connections++);
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${port}`, server, connections: () => connections };
}

/** A server that answers with fixed bytes, by connection. */
async function rawBackend(
  serve: (socket: Socket, received: () => string) => void,
): Promise<{ address: string }> {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    serve(socket, () => text);
  });
  const port = await listening(server);
  onTestFinished(() => void server.close());
  return { address: `127.0.0.1:${port}` };
}

describe("one client, one server", () => {
  it("keeps both connections for several requests", async () => {
    const { address, connections } = await backend((_, body, response) => response.end(body));
    const { port } = await proxied({ orders: [address] });
    const socket = await rawClient(port);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    for (let i = 1; i <= 5; i++) {
      socket.write(`POST /${i} HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\n\r\n${i}`);
      await expect.poll(() => repliesIn(text).length).toBe(i);
    }
    expect(repliesIn(text).map(({ body }) => body)).toEqual(["1", "2", "3", "4", "5"]);
    expect(connections()).toBe(1);
    expect(socket.readyState).toBe("open");
  });

  it("H10 P11: answers what is pipelined in order, whatever takes how long", async () => {
    const { address } = await backend((request, _, response) => {
      setTimeout(() => response.end(request.url), request.url === "/1" ? 60 : 0);
    });
    const { port } = await proxied({ orders: [address] });
    const bytes = ["/1", "/2", "/3", "/4"]
      .map((path) => `GET ${path} HTTP/1.1\r\nHost: orders\r\n\r\n`)
      .join("");
    const { text } = await exchangeRaw(port, bytes, {
      until: (all) => repliesIn(all).length === 4,
    });
    expect(repliesIn(text).map(({ body }) => body)).toEqual(["/1", "/2", "/3", "/4"]);
  });

  it("H21 P11: passes on fields, each duplicate in its place, and none of the connection or of a mesh", async () => {
    let raw: string[] = [];
    const { address } = await backend((request, _, response) => {
      raw = request.rawHeaders;
      response.setHeader("x-reply", "a  b");
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.setHeader("keep-alive", "timeout=7");
      response.setHeader("x-mesh-error", "made_up");
      response.setHeader("connection", "x-hop");
      response.setHeader("x-hop", "1");
      response.end("ok");
    });
    const { port } = await proxied({ orders: [address] }, { listener: { posture: "edge" } });
    const { text } = await exchangeRaw(
      port,
      [
        "GET /a?b=c HTTP/1.1",
        "Host: ORDERS",
        "Accept:\ttext/plain ",
        "X-Two: 1",
        "x-two: 2",
        "Connection: keep-alive, X-Dropped, authorization",
        "Authorization: kept",
        "X-Dropped: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: secret",
        "X-Mesh-Client-Id: forged",
        "X_Mesh_Hops: 9",
        "L5d-Dst-Override: evil",
        "X-Forwarded-Client-Cert: forged",
        "X-Forwarded-For: 1.2.3.4",
        "Baggage: a=b",
        "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Empty:",
        "\r\n",
      ].join("\r\n"),
      { until: (all) => repliesIn(all).length === 1 },
    );
    const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
    expect(pairs).toEqual([
      "host: orders",
      "accept: text/plain",
      "x-two: 1",
      "x-two: 2",
      "authorization: kept",
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "x-empty: ",
      "x-forwarded-for: 127.0.0.1",
      "x-forwarded-proto: http",
      expect.stringMatching(/^x-mesh-timeout-ms: \d+$/),
      "x-mesh-hops: 1",
    ]);
    const [reply] = repliesIn(text);
    expect(reply!.head.split("\r\n").filter((line) => !line.startsWith("date"))).toEqual([
      "HTTP/1.1 200 OK",
      "x-reply: a  b",
      "set-cookie: a=1",
      "set-cookie: b=2",
      "content-length: 2",
    ]);
  });

  it("H5 P11: HEAD, 204 and 304 have no body, and keep the length they say", async () => {
    const { address } = await backend((request, _, response) => {
      if (request.url === "/204") response.writeHead(204).end();
      else if (request.url === "/304") response.writeHead(304, { "content-length": 7 }).end();
      else response.writeHead(200, { "content-length": 5 }).end("hello");
    });
    const { port } = await proxied({ orders: [address] });
    const bytes = ["HEAD /", "GET /204", "GET /304", "GET /"]
      .map((line) => `${line} HTTP/1.1\r\nHost: orders\r\n\r\n`)
      .join("");
    const { text } = await exchangeRaw(port, bytes, { until: (all) => all.endsWith("hello") });
    const heads = text.split("\r\n\r\n").map((part) => part.toLowerCase());
    expect(heads[0]).toContain("content-length: 5");
    expect(heads[1]).toMatch(/^http\/1.1 204/);
    expect(heads[1]).not.toContain("content-length");
    expect(heads[2]).toContain("content-length: 7");
    expect(heads[3]).toMatch(/^http\/1.1 200/);
  });

  it("H5 P11: a reply of the proxy's own to HEAD has no body, so that the next reply is read as one", async () => {
    const { port } = await proxied({ orders: [await freeAddress()] });
    const bytes = [
      "HEAD / HTTP/1.1\r\nHost: nothing",
      "HEAD / HTTP/1.1\r\nHost: orders",
      "GET /.. HTTP/1.1\r\nHost: orders",
    ]
      .map((head) => `${head}\r\n\r\n`)
      .join("");
    const { text } = await exchangeRaw(port, bytes, {
      until: (all) => all.endsWith("bad_target\n"),
    });
    const heads = text.split("\r\n\r\n");
    expect(heads.slice(0, -1).map((head) => head.slice(0, 12))).toEqual([
      "HTTP/1.1 404",
      "HTTP/1.1 502",
      "HTTP/1.1 400",
    ]);
    expect(heads.at(-1)).toBe("bad_target\n");
  });

  it("what is pipelined is seen as what it is, in the tap too, although the next head is here before the end of the one before", async () => {
    const { address } = await backend((request, _body, response) =>
      // Small ones end in the turn in which they come, and of large ones the kernel does not take all at once.
      response.end("x".repeat(request.url!.startsWith("/large") ? 3_000_000 : 3)),
    );
    const { port, mesh } = await proxied({ orders: [address] });
    const paths = Array.from({ length: 12 }, (_, i) => `/${i % 3 === 2 ? "large" : "small"}/${i}`);
    const seen: Record<string, string[]> = { inbound: [], outbound: [] };
    const tap = mesh.tap({ limit: 2 * paths.length });
    const reading = (async () => {
      for await (const event of tap) {
        if (event.event === "call") seen[event.direction]!.push(event.path!);
      }
    })();
    const last = paths.length - 1;
    const requests = paths.map(
      (path, i) =>
        `GET ${path} HTTP/1.1\r\nHost: orders\r\n${i === last ? "Connection: close\r\n" : ""}\r\n`,
    );
    await exchangeRaw(port, requests.join(""));
    await reading;
    expect(seen).toEqual({ inbound: paths, outbound: paths });
  });

  it("H6 P11: trailers go to those who take them, and none that must not come behind a body", async () => {
    let trailers: string[] = [];
    const { address } = await backend((request, _, response) => {
      trailers = request.rawTrailers;
      response.writeHead(200, { trailer: "x-sum" });
      response.write("body");
      response.addTrailers({ "x-sum": "1", "x-mesh-nack": "1", "set-cookie": "a=1" });
      response.end();
    });
    const { port } = await proxied({ orders: [address] });
    const send = (te: string): Promise<{ text: string }> =>
      exchangeRaw(
        port,
        `POST / HTTP/1.1\r\nHost: orders\r\n${te}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-up: 2\r\nauthorization: no\r\n\r\n`,
        { until: (all) => /\r\n0\r\n(?:.+\r\n)*\r\n$/.test(all) },
      );
    const { text } = await send("TE: trailers\r\n");
    expect(trailers).toEqual(["x-up", "2"]);
    expect(text).toMatch(/\r\n0\r\nx-sum: 1\r\n\r\n$/);
    const { text: without } = await send("");
    expect(trailers).toEqual([]);
    expect(without).toMatch(/\r\n0\r\n\r\n$/);
  });

  it("H3 P11: a client that waits for a 100 gets one, and one that does not gets none", async () => {
    const { address } = await rawBackend((socket, received) => {
      socket.on("data", () => {
        if (/^(?:post|POST) \/wait/.test(received()) && !received().includes("late")) {
          socket.write("HTTP/1.1 100 Continue\r\n\r\n");
        } else {
          socket.write(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
          );
        }
      });
    });
    const { port } = await proxied({ orders: [address] });
    const socket = await rawClient(port);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.write(
      "POST /wait HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    await expect.poll(() => text).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    socket.write("late");
    await expect
      .poll(() => text)
      .toMatch(
        /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1.1 200 OK/,
      );
    const { text: plain } = await exchangeRaw(port, "GET / HTTP/1.1\r\nHost: orders\r\n\r\n", {
      until: (all) => all.endsWith("ok"),
    });
    expect(plain).toMatch(/^HTTP\/1.1 103/);
  });

  it("H4 P11: a 101 that was not asked for, and more than 32 interim replies, are 502", async () => {
    const { address } = await rawBackend((socket, received) => {
      socket.on("data", () => {
        const isMany = received().startsWith("GET /many");
        const head = isMany
          ? "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33)
          : "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        socket.write(head);
      });
    });
    const { port } = await proxied({
      orders: { discovery: { static: [address] }, retry: { attempts: 1 } },
    });
    for (const path of ["/one", "/many"]) {
      const { text } = await exchangeRaw(
        port,
        `GET ${path} HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n`,
      );
      expect(
        repliesIn(text.replace(/(?:HTTP\/1.1 103 Early Hints\r\n\r\n)*/, "")).map(
          ({ status }) => status,
        ),
      ).toEqual([502]);
    }
  });

  it("H1 P11: a reply before the end of the body is delivered, and its connections end", async () => {
    const { address } = await rawBackend((socket) => {
      socket.once("data", () =>
        socket.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig"),
      );
    });
    const { port } = await proxied({ orders: [address] });
    const socket = await rawClient(port);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const ended = once(socket, "end");
    socket.write(
      `POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(1_000)}`,
    );
    await ended;
    expect(repliesIn(text)).toMatchObject([
      { status: 413, body: "big", head: expect.stringContaining("connection: close") },
    ]);
  });

  it.each(["HTTP/1.0", "HTTP/1.0 with keep-alive"])(
    "H11 P11: %s: no chunks, no interim replies",
    async (version) => {
      const { address } = await backend((_, __, response) => {
        response.writeProcessing();
        response.write("in ");
        response.end("pieces");
      });
      const { port } = await proxied({ orders: [address] });
      const keep = version === "HTTP/1.0" ? "" : "Connection: keep-alive\r\n";
      const { text, closed } = await exchangeRaw(
        port,
        `GET / HTTP/1.0\r\nHost: orders\r\n${keep}\r\n`,
      );
      expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n/);
      expect(text).not.toContain("chunked");
      expect(text).toMatch(/connection: close\r\n\r\nin pieces$/);
      expect(closed).toBe(true);
    },
  );

  it("H11 P11: keeps a connection of HTTP/1.0 that asks for it, where the length is known", async () => {
    const { address } = await backend((_, __, response) => response.end("ok"));
    const { port } = await proxied({ orders: [address] });
    const get = "GET / HTTP/1.0\r\nHost: orders\r\nConnection: keep-alive\r\n\r\n";
    const { text } = await exchangeRaw(port, get + get, {
      until: (all) => repliesIn(all).length === 2,
    });
    expect(repliesIn(text).map(({ head }) => /connection: keep-alive/.test(head))).toEqual([
      true,
      true,
    ]);
  });

  it("C12 P11: a reply without a length goes on in chunks, until its connection ends", async () => {
    const { address } = await rawBackend((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\nfirst ");
        setTimeout(() => socket.end("last"), 20);
      });
    });
    const { port } = await proxied({ orders: [address] });
    const { text } = await exchangeRaw(port, "GET / HTTP/1.1\r\nHost: orders\r\n\r\n", {
      until: (all) => all.endsWith("0\r\n\r\n"),
    });
    expect(repliesIn(text)).toMatchObject([{ status: 200, body: "first last" }]);
  });

  it.each([
    ["with a length", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "end"],
    ["in chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "end"],
    ["without a length, and a reset", "HTTP/1.1 200 OK\r\n\r\nabc", "reset"],
  ])(
    "C11 P11, C12 P11: a reply %s that breaks off is no whole reply to the client",
    async (_, bytes, how) => {
      const { address } = await rawBackend((socket) => {
        socket.once("data", () => {
          socket.write(bytes);
          setTimeout(() => (how === "end" ? socket.end() : socket.resetAndDestroy()), 30);
        });
      });
      const { port } = await proxied({ orders: [address] });
      const { text, closed } = await exchangeRaw(port, "GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
      expect(closed).toBe(true);
      expect(text).toContain("abc");
      expect(text).not.toMatch(/0\r\n\r\n$/);
    },
  );

  it("C13 P11: what a server sends before a request is written is no reply to it", async () => {
    const sockets: Socket[] = [];
    const { address } = await rawBackend((socket, received) => {
      sockets.push(socket);
      socket.on("data", () => {
        if (received().endsWith("x"))
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood");
      });
    });
    const { port } = await proxied({ orders: [address] });
    const client = await rawClient(port);
    let text = "";
    client.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const request = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\n\r\nx";
    for (let asked = 1; asked <= 5; asked++) {
      // Both are with the kernel, in this order, before the proxy reads either.
      client.write(request);
      sockets.at(-1)?.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
      await expect.poll(() => repliesIn(text).length, { timeout: 10_000 }).toBe(asked);
    }
    expect(text.match(/good|evil/g)).toEqual(Array.from({ length: 5 }, () => "good"));
    expect(sockets).toHaveLength(5);
  });

  it("C13 P11: bytes behind a reply belong to no other", async () => {
    let connections = 0;
    const { address } = await rawBackend((socket) => {
      const n = ++connections;
      socket.on("data", () => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${n}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`,
        );
      });
    });
    const { port } = await proxied({ orders: [address] });
    const get = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";
    const { text } = await exchangeRaw(port, get + get, {
      until: (all) => repliesIn(all).length === 2,
    });
    expect(repliesIn(text).map(({ body }) => body)).toEqual(["1", "2"]);
    expect(connections).toBe(2);
  });

  it("bodies in chunks that have to wait for their server end once, and with nothing behind them", async () => {
    const bodies: string[] = [];
    const server = createTcpServer((socket) => {
      const chunks: Buffer[] = [];
      let timer: NodeJS.Timeout | undefined;
      socket.on("error", () => {});
      socket.pause();
      setTimeout(() => socket.resume(), 150);
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        clearTimeout(timer);
        if (!chunk.subarray(-5).equals(Buffer.from("0\r\n\r\n"))) return;
        // What else comes comes soon.
        timer = setTimeout(() => {
          bodies.push(Buffer.concat(chunks).toString("latin1"));
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }, 100);
      });
    });
    const address = `127.0.0.1:${await listening(server)}`;
    onTestFinished(() => void server.close());
    const { port } = await proxied({ orders: [address] });
    const chunk = `3000\r\n${"x".repeat(0x3000)}\r\n`;
    const puts = Array.from({ length: 4 }, (_, n) =>
      exchangeRaw(
        port,
        `PUT / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(600 + n)}0\r\n\r\n`,
        { until: (all) => repliesIn(all).length === 1 },
      ),
    );
    const replies = (await Promise.all(puts)).map(({ text }) => repliesIn(text)[0]?.status);
    expect(replies).toEqual(Array(4).fill(200));
    const ends = bodies.map((body) => body.split("\r\n0\r\n\r\n").length - 1);
    expect(ends).toEqual(Array(4).fill(1));
    expect(bodies.every((body) => body.endsWith("xx\r\n0\r\n\r\n"))).toBe(true);
  });

  it("H2 P11: the server notices within 100 ms that the client has gone", async () => {
    let cutAt = 0;
    let asked = 0;
    const { address } = await rawBackend((socket) => {
      socket.once("data", () => asked++);
      socket.on("close", () => (cutAt = performance.now()));
      socket.on("end", () => socket.end());
    });
    const { port, mesh } = await proxied({ orders: [address] });
    const ends: string[] = [];
    mesh.observe({
      servedEnded: ({ outcome }) => void ends.push(outcome),
      callEnded: ({ outcome }) => void ends.push(`call ${outcome}`),
    });
    const socket = await rawClient(port);
    socket.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    await expect.poll(() => asked).toBe(1);
    const goneAt = performance.now();
    socket.destroy();
    await expect.poll(() => cutAt).toBeGreaterThan(0);
    expect(cutAt - goneAt).toBeLessThan(1_000);
    await expect.poll(() => ends).toEqual(["abandoned", "call abandoned"]);
  });
});

describe("H7 P11: other protocols", () => {
  /** Echoes in capitals, after its half of a handshake. */
  async function shouter(): Promise<{ address: string }> {
    return rawBackend((socket, received) => {
      let isOpen = false;
      socket.on("data", (chunk: Buffer) => {
        if (isOpen) socket.write(chunk.toString("latin1").toUpperCase());
        else if (received().includes("\r\n\r\n")) {
          isOpen = true;
          const token = /upgrade: (\S+)/.exec(received())?.[1];
          if (token === "websocket")
            socket.write(
              "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello",
            );
          else if (token === "wrong")
            socket.write(
              "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: other\r\n\r\n",
            );
          else socket.write("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno");
        }
      });
      socket.on("end", () => socket.end("BYE"));
    });
  }
  const ask = (token: string): string =>
    `GET / HTTP/1.1\r\nHost: orders\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ${token}\r\nSec-WebSocket-Key: x\r\n\r\n`;

  it("a tunnel carries bytes in both directions, and half of it ends alone", async () => {
    const { address } = await shouter();
    const { port, mesh } = await proxied({ orders: [address] });
    const socket = await rawClient(port);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.write(ask("websocket"));
    await expect
      .poll(() => text)
      .toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n[^]*upgrade: websocket\r\n\r\nhello$/);
    socket.write("one ");
    await expect.poll(() => text).toContain("ONE ");
    socket.end("two");
    await once(socket, "end");
    expect(text).toMatch(/helloONE TWOBYE$/);
    expect(mesh.snapshot().services[0]).toMatchObject({ callsInFlight: 0 });
  });

  it("another answer ends the connection, and another protocol is 502", async () => {
    const { address } = await shouter();
    const { port } = await proxied({ orders: [address] });
    const refused = await exchangeRaw(port, ask("tls/1.0"));
    expect(repliesIn(refused.text)).toMatchObject([
      { status: 426, head: expect.stringContaining("connection: close") },
    ]);
    const wrong = await exchangeRaw(port, ask("wrong"));
    expect(repliesIn(wrong.text)).toMatchObject([{ status: 502 }]);
  });
});

describe("H23 P11: a reply whose body turns out to be none", () => {
  const HEAD = "HTTP/1.1 200 OK\r\nX-Reply: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
  const ASKED = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

  /** A server that writes these pieces, each in a packet of its own. */
  async function before(...pieces: string[]): Promise<Proxied> {
    const server = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", async () => {
        for (const piece of pieces) {
          socket.write(piece, "latin1");
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      });
    });
    const address = `127.0.0.1:${await listening(server)}`;
    onTestFinished(() => void server.close());
    return await proxied({ orders: { discovery: { static: [address] }, retry: { attempts: 1 } } });
  }

  it.each([
    ["a chunk without a size", "zz\r\n"],
    ["a bad chunk behind a good one", "5\r\nhello\r\n-1\r\n"],
    ["a chunk that is longer than its size", "2\r\nhello\r\n0\r\n\r\n"],
    ["a trailer that says a length", "2\r\nok\r\n0\r\nContent-Length: 3\r\n\r\n"],
    ["a trailer that is no field", "2\r\nok\r\n0\r\nno field\r\n\r\n"],
  ])("%s in the packet of its head: 502, and the client's connection stays", async (_, bytes) => {
    const { port, mesh } = await before(HEAD + bytes);
    const { text, closed } = await exchangeRaw(port, `${ASKED}GET / HTTP/1.1\r\nHost: no\r\n\r\n`, {
      until: (all) => all.includes("no_route"),
    });
    const replies = repliesIn(text);
    expect(replies.map(({ status }) => status)).toEqual([502, 404]);
    expect(replies[0]).toMatchObject({ body: "malformed_response\n" });
    expect(replies[0]!.head).toContain("x-mesh-error: malformed_response");
    expect(replies[0]!.head).not.toContain("x-reply");
    expect(closed).toBe(false);
    const statuses = mesh
      .metrics()
      .filter(({ name }) => name === "http.server.request.duration")
      .map(({ labels }) => labels["http.response.status_code"]);
    expect(statuses).toEqual(["502", "404"]);
  });

  it("in a later packet: the reply breaks off, and does not look whole", async () => {
    const { port } = await before(`${HEAD}5\r\nhello\r\n`, "zz\r\n");
    const { text, closed } = await exchangeRaw(port, ASKED);
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*5\r\nhello\r\n$/);
    expect(closed).toBe(true);
  });
});

describe("clients and servers that are not Node's", () => {
  it("curl: GET, POST, PUT of a large file with Expect, HEAD, keep-alive, HTTP/1.0, HTTP_PROXY", async () => {
    const { address } = await backend((request, body, response) =>
      response.end(`${request.method} ${request.url} ${body.length} ${request.httpVersion}`),
    );
    const { port } = await proxied({ orders: [address] });
    const url = `http://127.0.0.1:${port}`;
    const curl = async (...args: string[]): Promise<string> =>
      (await run("curl", ["-sS", "-m", "10", "-H", "Host: orders", ...args])).stdout;
    expect(await curl(`${url}/a`)).toBe("GET /a 0 1.1");
    expect(await curl("-d", "12345", `${url}/b`)).toBe("POST /b 5 1.1");
    expect(await curl("-H", "Expect: 100-continue", "-d", "x".repeat(100_000), `${url}/c`)).toBe(
      "POST /c 100000 1.1",
    );
    expect(await curl("-H", "Transfer-Encoding: chunked", "-d", "12345", `${url}/d`)).toBe(
      "POST /d 5 1.1",
    );
    expect(await curl("-0", `${url}/e`)).toBe("GET /e 0 1.1");
    expect(await curl("-I", `${url}/f`)).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    const twice = await curl("-w", " %{num_connects}\n", `${url}/1`, `${url}/2`);
    expect(twice).toBe("GET /1 0 1.1 1\nGET /2 0 1.1 0\n");
    const { stdout } = await run("curl", ["-sS", "-m", "10", "-x", url, "http://orders/g"]);
    expect(stdout).toBe("GET /g 0 1.1");
  });

  it("Python's http.client and http.server", async () => {
    const server = spawn("python3", ["-u", "-c", PYTHON_SERVER], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void server.kill());
    const [line] = (await once(server.stdout, "data")) as [Buffer];
    const { port } = await proxied({ orders: [`127.0.0.1:${Number(String(line))}`] });
    const { stdout } = await run("python3", ["-c", PYTHON_CLIENT, String(port)], {
      timeout: 20_000,
    });
    expect(JSON.parse(stdout)).toEqual([
      [200, "GET /a "],
      [200, "POST /b hello"],
      [200, "POST /c 1234567890"],
      [404, "none"],
      [200, ""],
    ]);
  });

  it("Node's own client, with an agent that keeps connections", async () => {
    const { address } = await backend((request, body, response) =>
      response.end(request.url + body),
    );
    const { port } = await proxied({ orders: [address] });
    const bodies = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const request = httpRequest({
          port,
          host: "127.0.0.1",
          path: `/${n}`,
          method: "POST",
          headers: { host: "orders" },
        });
        request.write("a");
        request.end("b");
        const [reply] = (await once(request, "response")) as [IncomingMessage];
        let text = "";
        for await (const chunk of reply) text += String(chunk);
        return text;
      }),
    );
    expect(bodies).toEqual(Array.from({ length: 50 }, (_, n) => `/${n}ab`));
  });
});

const PYTHON_SERVER = `
import http.server
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0: break
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 404 if self.path == "/none" else 200
        text = b"none" if status == 404 else (self.command + " " + self.path + " ").encode() + body
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(text)
    do_GET = do_POST = do_HEAD = answer
    def log_message(self, *args): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
print(s.server_address[1])
s.serve_forever()
`;
const PYTHON_CLIENT = `
import http.client, json, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
out = []
def ask(method, path, body=None, **kw):
    c.request(method, path, body, headers={"Host": "orders"}, **kw)
    r = c.getresponse()
    out.append([r.status, r.read().decode()])
ask("GET", "/a")
ask("POST", "/b", b"hello")
ask("POST", "/c", iter([b"12345", b"67890"]), encode_chunked=True)
ask("GET", "/none")
ask("HEAD", "/e")
print(json.dumps(out))
`;
