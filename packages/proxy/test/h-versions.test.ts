/**
 * Section H of the fault matrix, mesh-proxy: what HTTP means, where its client and its server speak different versions of
 * it, or both the second.
 */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { FaultPeer } from "@inmesh/core/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  block,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  goaway,
  h2Peer,
  head,
  HEADERS,
  ok,
  RST_STREAM,
  settings,
} from "../../http/test/support/h2-peer.ts";
import { ask2, client2, open2, origin2, replyOf } from "./support/http2.ts";
import { Client } from "./support/net.ts";
import { proxyOf } from "./support/ports.ts";
import { exchangeRaw, rawClient, repliesIn } from "./support/proxied.ts";
import { downOf, peerOf, through, upOf } from "./support/surfaces.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const NO_ERROR = 0;
const CANCEL = 8;

/** Everything that comes on a connection by hand. */
async function watched(port: number) {
  const socket = await rawClient(port);
  const seen = { socket, text: "", ended: false };
  socket.on("data", (chunk: Buffer) => (seen.text += chunk.toString("latin1")));
  socket.on("end", () => (seen.ended = true));
  return seen;
}

describe("H1: a final reply while the upload still runs", () => {
  it("H1 P12: is delivered, the client's connection ends, and of the server's only the stream", async () => {
    const resets: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      await connection.write(head(id, { ":status": "413" }), data(id, "big", true));
      resets.push((await connection.until(RST_STREAM, id)).payload.readUInt32BE());
      await connection.write(ok(await connection.request()));
    });
    const { port, mesh, ask } = await through("P12", [peer.address]);
    const client = await watched(port);
    client.socket.write(
      `POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(1_000)}`,
    );
    await expect.poll(() => client.ended).toBe(true);
    expect(repliesIn(client.text)).toMatchObject([
      { status: 413, body: "big", head: expect.stringContaining("connection: close") },
    ]);
    expect(await ask()).toMatchObject({ status: 200, body: "ok" });
    expect(resets).toEqual([NO_ERROR]);
    expect(peer.connections).toBe(1);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.consecutiveFailures).toBe(0);
  });

  it("H1 P21: is delivered, the stream ends with NO_ERROR, and the server's connection is not used again", async () => {
    const peer = await FaultPeer.start(async (raw) => {
      await raw.readHead();
      await raw.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig");
      await raw.hold();
    });
    onTestFinished(() => peer.close());
    const { port } = await through("P21", [peer.address]);
    const session = client2(port);
    for (let i = 1; i <= 2; i++) {
      const stream = open2(session, { ":method": "POST", "content-length": "10000000" });
      const reply = replyOf(stream);
      stream.write("x".repeat(1_000));
      const { headers, body, code } = await reply;
      expect([headers[":status"], String(body), code]).toEqual([413, "big", NO_ERROR]);
      expect(peer.connections).toBe(i);
    }
    await expect.poll(() => peer.open).toBe(0);
    expect(session.closed).toBe(false);
  });
});

describe.each(["P12", "P21", "P22"] as const)("H3: Expect: 100-continue, %s", (surface) => {
  /** A server that says 100 before it reads `/yes`, that refuses `/no`, and that says nothing before it reads `/mute`. */
  async function server(): Promise<{ address: string; seen: string[] }> {
    const seen: string[] = [];
    type Request = http.IncomingMessage | http2.Http2ServerRequest;
    type Response = http.ServerResponse | http2.Http2ServerResponse;
    const read = (request: Request, response: Response): void => {
      let body = "";
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        seen.push(`${request.url} ${body}`);
        response.end("done");
      });
    };
    const made = upOf(surface) === 1 ? http.createServer(read) : http2.createServer(read as never);
    made.on("checkContinue", (request: Request, response: Response) => {
      seen.push(`asked ${request.url}`);
      if (request.url === "/no") {
        response.statusCode = 417;
        response.end("no");
        return;
      }
      if (request.url === "/yes") response.writeContinue();
      read(request, response);
    });
    made.on("session", (session: http2.ServerHttp2Session) => session.on("error", () => {}));
    made.listen(0, "127.0.0.1");
    await once(made, "listening");
    onTestFinished(() => void made.close());
    return { address: `127.0.0.1:${(made.address() as AddressInfo).port}`, seen };
  }

  interface Asked {
    readonly status: number;
    readonly body: string;
    readonly continues: number;
    /** The client cannot send anything more of this request. */
    readonly isOver: boolean;
  }

  /** The body is sent when the server says 100, or after `sendAfterMs`. */
  async function ask(port: number, path: string, sendAfterMs = Infinity): Promise<Asked> {
    if (downOf(surface) === 1) {
      const client = await watched(port);
      const line = `POST ${path} HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`;
      client.socket.write(line);
      const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
      if (sendAfterMs < Infinity) await pause(sendAfterMs);
      else await expect.poll(() => client.text).not.toBe("");
      if (sendAfterMs < Infinity || client.text.startsWith(CONTINUE)) client.socket.write("body");
      const rest = (): string => client.text.replaceAll(CONTINUE, "");
      const whole = (): boolean => repliesIn(rest()).length === 1 || rest().endsWith("0\r\n\r\n");
      await expect.poll(whole).toBe(true);
      const [reply] = repliesIn(rest());
      await pause(20);
      const continues = client.text.split(CONTINUE).length - 1;
      return { status: reply!.status, body: reply!.body, continues, isOver: client.ended };
    }
    const session = client2(port);
    const stream = open2(session, { ":method": "POST", ":path": path, expect: "100-continue" });
    let continues = 0;
    stream.on("continue", () => {
      continues++;
      stream.end("body");
    });
    if (sendAfterMs < Infinity) setTimeout(() => stream.end("body"), sendAfterMs);
    const reply = await replyOf(stream);
    expect(reply.code).toBe(NO_ERROR);
    // Others on the connection are served.
    expect((await ask2(session, { ":path": "/" })).headers[":status"]).toBe(200);
    return {
      status: reply.headers[":status"]!,
      body: String(reply.body),
      continues,
      isOver: stream.closed,
    };
  }

  it("H3 P12, H3 P21, H3 P22: the server is asked, and its one 100, its refusal or its silence reach the client", async () => {
    const { address, seen } = await server();
    const { port, mesh } = await through(surface, [address]);
    expect(await ask(port, "/yes")).toMatchObject({ status: 200, body: "done", continues: 1 });
    // The body is never read, so the connection of HTTP/1, or the stream, ends.
    expect(await ask(port, "/no")).toEqual({ status: 417, body: "no", continues: 0, isOver: true });
    expect(await ask(port, "/mute", 50)).toMatchObject({ status: 200, body: "done", continues: 0 });
    expect(seen.filter((one) => one !== "/ ")).toEqual([
      "asked /yes",
      "/yes body",
      "asked /no",
      "asked /mute",
      "/mute body",
    ]);
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });
});

describe("H8: CONNECT", () => {
  it("H8 P12: 405 where it is not allowed, and a tunnel to a server of HTTP/2 where it is", async () => {
    const origin = await origin2((stream, headers) => {
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end(`through ${headers[":path"]}`);
    });
    const { portOf, mesh } = await proxyOf(
      { rpc: { discovery: { static: [origin.address] }, http2: true } },
      {
        open: { listen: "127.0.0.1:0", allowConnect: true },
        shut: { listen: "127.0.0.1:0" },
      },
    );
    const connects = "CONNECT rpc:443 HTTP/1.1\r\nHost: rpc:443\r\n\r\n";
    const { text, closed } = await exchangeRaw(portOf("shut"), connects);
    expect(repliesIn(text)).toMatchObject([{ status: 405, body: "method_not_allowed\n" }]);
    expect(closed).toBe(true);
    expect(origin.sessions.size).toBe(0);
    const tunnel = new Client(`127.0.0.1:${portOf("open")}`).send(connects);
    // Nothing that says where content would end; the server of HTTP/2 speaks at once.
    const SETTINGS = "\0\0\0\x04\0\0\0\0\0";
    await tunnel.until(({ text: all }) => all === `HTTP/1.1 200 OK\r\n\r\n${SETTINGS}`);
    const get = { ":method": "GET", ":scheme": "http", ":authority": "rpc", ":path": "/x" };
    tunnel.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    tunnel.send(Buffer.concat([settings(), head(1, get, true)]));
    await tunnel.until(({ text: all }) => all.includes("through /x"));
    expect(mesh.snapshot().services.map(({ name }) => name)).toContain("rpc");
  });

  it("H8 P21: 405, also where HTTP/1 may: nothing reaches a server, and the connection goes on", async () => {
    const peer = await peerOf("P21", (request) => request.answer("served"));
    const { portOf } = await proxyOf(
      { orders: { discovery: { static: [peer.address] } } },
      { open: { listen: "127.0.0.1:0", allowConnect: true } },
    );
    const session = client2(portOf("open"));
    const stream = session.request({ ":method": "CONNECT", ":authority": "orders:80" });
    stream.on("error", () => {});
    const refused = await replyOf(stream);
    expect([refused.headers[":status"], String(refused.body)]).toEqual([
      405,
      "method_not_allowed\n",
    ]);
    expect(peer.requests).toBe(0);
    expect(String((await ask2(session)).body)).toBe("served");
  });
});

describe.each(["P12", "P21"] as const)("H9: heads above the limits, %s", (surface) => {
  it("H9 P12, H9 P21: a target above 8 KiB is 414, more than 100 fields or 16 KiB are 431, each is counted, and none is sent on", async () => {
    const peer = await peerOf(surface, (request) => request.answer());
    const { port, proxy } = await through(surface, [peer.address]);
    const statusOf = async (path: string, fields: [string, string][]): Promise<number> => {
      if (downOf(surface) === 1) {
        const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const bytes = `GET ${path} HTTP/1.1\r\nHost: orders\r\n${lines}\r\n`;
        const until = (all: string): boolean =>
          repliesIn(all).length === 1 || all.includes("\r\n0\r\n");
        const { text } = await exchangeRaw(port, bytes, { until });
        return Number(/^HTTP\/1\.1 (\d+)/.exec(text)![1]);
      }
      const headers = Object.fromEntries(fields);
      const reply = await ask2(client2(port), { ":path": path, ...headers });
      return reply.headers[":status"]!;
    };
    const many = (count: number): [string, string][] =>
      Array.from({ length: count }, (_, i) => [`x-${i}`, "y"]);
    const value = "y".repeat(8_000);
    expect(await statusOf(`/${"a".repeat(8_192)}`, [])).toBe(414);
    expect(await statusOf("/", many(101))).toBe(431);
    expect(
      await statusOf("/", [
        ["x", value],
        ["y", value],
        ["z", value],
      ]),
    ).toBe(431);
    expect(proxy.listeners[0]!.snapshot().refused).toMatchObject({
      target_too_long: 1,
      too_many_headers: 1,
      header_too_large: 1,
    });
    expect(peer.requests).toBe(0);
    expect(await statusOf("/", many(90))).toBe(200);
  });
});

describe("H10: requests that are pipelined", () => {
  it("H10 P12: are answered in order, one at a time, whatever takes how long", async () => {
    let now = 0;
    let most = 0;
    const origin = await origin2((stream, headers) => {
      most = Math.max(most, ++now);
      stream.resume();
      setTimeout(
        () => {
          now--;
          stream.respond({ ":status": 200, "content-length": 2 });
          stream.end(String(headers[":path"]));
        },
        headers[":path"] === "/1" ? 60 : 0,
      );
    });
    const { port } = await through("P12", [origin.address]);
    const bytes = ["/1", "/2", "/3", "/4"]
      .map((path) => `GET ${path} HTTP/1.1\r\nHost: orders\r\n\r\n`)
      .join("");
    const { text } = await exchangeRaw(port, bytes, {
      until: (all) => repliesIn(all).length === 4,
    });
    expect(repliesIn(text).map(({ body }) => body)).toEqual(["/1", "/2", "/3", "/4"]);
    expect(most).toBe(1);
  });

  it("H10 P12: one that is bad ends those behind it with its connection", async () => {
    const paths: (string | undefined)[] = [];
    const origin = await origin2((stream, headers) => {
      paths.push(headers[":path"]);
      stream.resume();
      stream.respond({ ":status": 200, "content-length": 2 });
      stream.end("ok");
    });
    const { port } = await through("P12", [origin.address]);
    const get = (path: string, more = ""): string =>
      `GET ${path} HTTP/1.1\r\nHost: orders\r\n${more}\r\n`;
    const { text, closed } = await exchangeRaw(
      port,
      get("/1") + get("/2", "Content-Length: 1\r\nContent-Length: 2\r\n") + get("/3"),
    );
    expect(repliesIn(text).map(({ status }) => status)).toEqual([200, 400]);
    expect(closed).toBe(true);
    expect(paths).toEqual(["/1"]);
  });

  it("H10 P12: behind one that is not answered, no more is read than fits", async () => {
    const peer = await peerOf("P12", ({ raw }) => raw.hold());
    const { port } = await through("P12", [peer.address]);
    const socket = await rawClient(port);
    const get = `GET / HTTP/1.1\r\nHost: orders\r\nx: ${"y".repeat(4_000)}\r\n\r\n`;
    const piece = Buffer.from(get.repeat(16));
    const pieces = 1_000;
    let taken = 0;
    const write = (): void => {
      socket.write(piece, () => ++taken < pieces && write());
    };
    write();
    await expect.poll(() => peer.requests).toBe(1);
    // Until nothing more is taken for a while: the kernel has some megabytes, the proxy a few kilobytes.
    let before = -1;
    for (let looks = 0; looks < 5; looks++) {
      if (before !== taken) looks = 0;
      before = taken;
      await pause(50);
    }
    expect(taken).toBeLessThan(pieces);
    expect(peer.requests).toBe(1);
  });
});

describe("H11: HTTP/1.0", () => {
  it("H11 P12: no chunks and no interim replies; kept alive where that is asked for, and the length is known", async () => {
    const origin = await origin2((stream, headers) => {
      stream.resume();
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      const length = headers[":path"] === "/length" ? { "content-length": 9 } : {};
      stream.respond({ ":status": 200, ...length });
      stream.write("in ");
      stream.end("pieces");
    });
    const { port } = await through("P12", [origin.address]);
    const get = (path: string, more: string): string =>
      `GET ${path} HTTP/1.0\r\nHost: orders\r\n${more}\r\n`;
    for (const more of ["", "Connection: keep-alive\r\n"]) {
      const { text, closed } = await exchangeRaw(port, get("/", more));
      expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(text).not.toContain("chunked");
      expect(text).toMatch(/connection: close\r\n\r\nin pieces$/);
      expect(closed).toBe(true);
    }
    const kept = get("/length", "Connection: keep-alive\r\n");
    const { text } = await exchangeRaw(port, kept + kept, {
      until: (all) => repliesIn(all).length === 2,
    });
    expect(repliesIn(text)).toMatchObject([{ body: "in pieces" }, { body: "in pieces" }]);
    expect(text).not.toContain("103");
    const once10 = await exchangeRaw(port, get("/length", ""));
    expect(repliesIn(once10.text)).toMatchObject([
      { body: "in pieces", head: expect.stringContaining("connection: close") },
    ]);
    expect(once10.closed).toBe(true);
  });

  it.each(["P11", "P12"] as const)(
    "H11 P11, H11 P12: without Host 400, unless the listener has one service, %s",
    async (surface) => {
      const peer = await peerOf(surface, (request) => request.answer());
      const get = "GET / HTTP/1.0\r\n\r\n";
      const routed = await through(surface, [peer.address]);
      const { text } = await exchangeRaw(routed.port, get);
      expect(repliesIn(text)).toMatchObject([{ status: 400, body: "bad_host\n" }]);
      expect(routed.proxy.listeners[0]!.snapshot().refused).toMatchObject({ bad_host: 1 });
      expect(peer.requests).toBe(0);
      const fixed = await through(surface, [peer.address], {}, { listener: { service: "orders" } });
      expect((await exchangeRaw(fixed.port, get)).text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    },
  );
});

describe("H13: content-length and body disagree", () => {
  it("H13 P12: a body that is shorter: its server is never given a whole request", async () => {
    const ends: (number | string)[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      const last = await connection.until(RST_STREAM, id);
      ends.push(last.payload.readUInt32BE());
      const sent = connection.frames.filter((one) => one.id === id && one.type <= HEADERS);
      ends.push(sent.some(({ flags }) => (flags & END_STREAM) !== 0) ? "whole" : "cut");
      await connection.write(ok(await connection.request()));
    });
    const { port, mesh, ask, proxy } = await through("P12", [peer.address]);
    const client = await watched(port);
    client.socket.write("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 10\r\n\r\nabc");
    await expect.poll(() => peer.connections).toBe(1);
    await expect.poll(() => mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(1);
    client.socket.end();
    await expect.poll(() => ends).toEqual([CANCEL, "cut"]);
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    expect(proxy.listeners[0]!.snapshot().refused).toMatchObject({ malformed: 1 });
    expect(await ask()).toMatchObject({ status: 200 });
    expect(peer.connections).toBe(1);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.consecutiveFailures).toBe(0);
  });

  it.each([
    ["shorter", "5", "abc"],
    ["longer", "3", "abcdef"],
    ["there, where it says that there is none", "0", "abc"],
  ])(
    "H13 P12: the body of a reply that is %s: the client sees that it is not whole, and the connection goes on",
    async (_, length, body) => {
      const resets: number[] = [];
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        const id = await connection.request();
        await connection.write(head(id, { ":status": "200", "content-length": length }));
        await connection.raw.pause(20);
        await connection.write(data(id, body, true));
        resets.push((await connection.until(RST_STREAM, id)).payload.readUInt32BE());
        await connection.write(ok(await connection.request()));
      });
      const { ask, mesh } = await through("P12", [peer.address]);
      const seen = await ask();
      expect([seen.status, seen.whole && seen.body === body]).toEqual([200, false]);
      await expect.poll(() => resets).toEqual([1]);
      const { breaker } = mesh.snapshot().services[0]!.endpoints[0]!;
      expect(breaker.consecutiveFailures).toBe(1);
      expect(await ask()).toMatchObject({ status: 200, body: "ok", whole: true });
      expect(peer.connections).toBe(1);
    },
  );
});

describe("H15: a peer that leaves", () => {
  it("H15 P12: a GOAWAY of the server: what is in flight ends well, another connection follows, and the client hears nothing", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      await connection.write(goaway(id, NO_ERROR));
      await connection.raw.pause(20);
      await connection.write(ok(id));
    });
    const { ask, mesh } = await through("P12", [peer.address]);
    for (let i = 1; i <= 3; i++) {
      const seen = await ask("POST", {}, "x");
      expect(seen).toMatchObject({ status: 200, body: "ok", whole: true });
      expect(seen.headers.connection).not.toBe("close");
      expect(peer.connections).toBe(i);
    }
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.consecutiveFailures).toBe(0);
  });

  it("H15 P12: a client that closes, and a proxy that drains, end the client's connection, and not the server's", async () => {
    let answer: (() => void) | undefined;
    const peer = await peerOf("P12", async (request) => {
      if (peer.requests === 4) await new Promise<void>((resolve) => (answer = resolve));
      await request.answer();
    });
    const { port, proxy } = await through("P12", [peer.address]);
    const get = (more = ""): string => `GET / HTTP/1.1\r\nHost: orders\r\n${more}\r\n`;
    const whole = (all: string): boolean => all.endsWith("0\r\n\r\n");
    for (let i = 0; i < 2; i++) {
      const { text, closed } = await exchangeRaw(port, get("Connection: close\r\n"));
      expect(text).toContain("connection: close\r\n");
      expect([whole(text), closed]).toEqual([true, true]);
    }
    expect([peer.connections, peer.requests]).toEqual([1, 2]);
    const client = await watched(port);
    client.socket.write(get());
    await expect.poll(() => whole(client.text)).toBe(true);
    expect(client.text).not.toContain("connection: close");
    client.text = "";
    client.socket.write(get());
    await expect.poll(() => answer).toBeDefined();
    const idle = await watched(port);
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(2);
    const closed = proxy.close(10_000);
    await expect.poll(() => idle.ended).toBe(true);
    idle.socket.end();
    answer!();
    await expect.poll(() => client.ended).toBe(true);
    expect(whole(client.text)).toBe(true);
    expect(client.text).toContain("connection: close\r\n");
    client.socket.end();
    await closed;
    expect(peer.connections).toBe(1);
  });
});

describe.each(["P12", "P21", "P22"] as const)(
  "H21: fields that come more than once, %s",
  (surface) => {
    const REPEATED: readonly [string, string][] = [
      ["x-two", "1"],
      ["set-cookie", "a=1"],
      ["content-type", "text/plain"],
      ["x-two", "2"],
      ["location", "/1"],
      ["set-cookie", "b=2"],
      ["content-type", "text/html"],
      ["location", "/2"],
    ];

    /** Answers each request with these fields. Gives the fields of the last request, as they came. */
    async function server(
      status: string,
      fields: readonly [string, string][],
    ): Promise<{ address: string; got: () => [string, string][] }> {
      let got: readonly string[] = [];
      const pairs = (): [string, string][] =>
        got.flatMap((name, i) => (i % 2 === 0 ? [[name, got[i + 1]!]] : [])) as [string, string][];
      if (upOf(surface) === 1) {
        const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const peer = await FaultPeer.start(async (raw) => {
          for (;;) {
            const { head: text } = await raw.readRequest();
            const rows = text.trim().split("\r\n").slice(1);
            got = rows.flatMap((row) => row.split(": "));
            await raw.write(`HTTP/1.1 ${status} X\r\n${lines}content-length: 0\r\n\r\n`);
          }
        });
        onTestFinished(() => peer.close());
        return { address: peer.address, got: pairs };
      }
      // Of node:http2 the fields of a request as they came; its replies cannot have one twice.
      const blocks = [[":status", status] as const, ...fields].map(([name, value]) =>
        block({ [name]: value }),
      );
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        for (;;) {
          const id = await connection.request();
          await connection.write(
            frame(HEADERS, END_HEADERS | END_STREAM, id, Buffer.concat(blocks)),
          );
        }
      });
      return { address: peer.address, got: pairs };
    }

    /** Status and fields of a reply as they came. */
    async function ask(
      port: number,
      fields: readonly [string, string][] = [],
    ): Promise<{ status: number; fields: [string, string][] }> {
      if (downOf(surface) === 1) {
        const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const { text } = await exchangeRaw(port, `GET / HTTP/1.1\r\nHost: orders\r\n${lines}\r\n`, {
          until: (all) => all.includes("\r\n\r\n"),
        });
        const [line = "", ...rows] = text.split("\r\n\r\n")[0]!.split("\r\n");
        return {
          status: Number(line.split(" ")[1]),
          fields: rows.map((row) => row.split(": ") as [string, string]),
        };
      }
      const session = client2(port);
      const named: Record<string, string | string[]> = {};
      for (const [name, value] of fields) {
        named[name] = [...(named[name] === undefined ? [] : [named[name]].flat()), value];
      }
      const stream = open2(session, named);
      const [headers, , raw] = (await once(stream, "response")) as [
        http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
        number,
        string[],
      ];
      stream.resume();
      const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1]!]] : []));
      return { status: headers[":status"]!, fields: pairs as [string, string][] };
    }

    it("H21 P12, H21 P21, H21 P22: those of a reply go on as they came, each in its place", async () => {
      const { address } = await server("200", [
        ...REPEATED,
        ["x-mesh-error", "made_up"],
        ["x-mesh-error", "twice"],
      ]);
      const { port } = await through(surface, [address]);
      const { fields } = await ask(port);
      const names = new Set(REPEATED.map(([name]) => name));
      expect(fields.filter(([name]) => names.has(name))).toEqual(REPEATED);
      expect(fields.some(([name]) => name.startsWith("x-mesh-"))).toBe(false);
    });

    it("H21 P12, H21 P21, H21 P22: what steers the mesh and comes twice counts as absent, and is counted", async () => {
      const twice: [string, string][] = [
        ["x-mesh-attempt", "2"],
        ["x-mesh-attempt", "3"],
        ["x-mesh-timeout-ms", "0"],
        ["x-mesh-timeout-ms", "1"],
      ];
      // Of HTTP/2, Node's client sends no field of the same name twice but as a list.
      const { address } = await server("200", []);
      const one = await through(surface, [address], {}, { listener: { posture: "mesh" } });
      expect((await ask(one.port, twice)).status).toBe(200);
      expect(one.proxy.listeners[0]!.snapshot().refused).toMatchObject({ repeated_claim: 1 });
    });

    it("H21 P12, H21 P21, H21 P22: a retry-after and a nack that come twice say nothing", async () => {
      const busy = await server("503", [
        ["retry-after", "9"],
        ["retry-after", "1"],
        ["x-mesh-nack", "1"],
        ["x-mesh-nack", "1"],
      ]);
      const { port, mesh } = await through(surface, [busy.address], {
        trustNacks: true,
        peer: true,
        retry: { attempts: 1 },
      });
      const outcomes: string[] = [];
      mesh.observe({ attemptEnded: ({ outcome }) => void outcomes.push(outcome) });
      expect((await ask(port)).status).toBe(503);
      // Without a pause it is a failure, and without a nack it is sent once.
      expect(outcomes).toEqual(["failure"]);
      expect(mesh.snapshot().services[0]!.endpoints[0]!.busyForMs).toBe(0);
    });
  },
);

describe("H24: framing is neither added nor lost", () => {
  it("H24 P22: a GET without a body, lengths of 0 and more, and the order of fields", async () => {
    const seen: { fields: string[]; ends: boolean; body: string }[] = [];
    const origin = await origin2((stream, headers, raw) => {
      let body = "";
      const ends =
        stream.readableEnded || (stream as { endAfterHeaders?: boolean }).endAfterHeaders;
      stream.on("data", (chunk) => (body += String(chunk)));
      stream.on("end", () => {
        const fields = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
        seen.push({ fields, ends: ends === true, body });
        const length = headers[":path"] === "/none" ? 0 : 2;
        stream.respond({ ":status": 200, "content-length": length, "x-b": "1", "x-a": "2" });
        stream.end(length === 0 ? "" : "ok");
      });
    });
    const { port } = await through("P22", [origin.address], { peer: false });
    const session = client2(port);
    const plain = (fields: string[]): string[] =>
      fields.filter((one) => !one.startsWith(":") && !/^(?:content-length|transfer)/.test(one));
    const framing = (fields: string[]): string[] =>
      fields.filter((one) => /^(?:content-length|transfer-encoding)/.test(one));
    const own24 = { "x-z": "1", "x-y": "2", "x-x": "3" };
    const order = ["x-z: 1", "x-y: 2", "x-x: 3"];

    const get = await ask2(session, { ":path": "/", ...own24 });
    expect(seen.at(-1)).toMatchObject({ ends: true, body: "" });
    expect(plain(seen.at(-1)!.fields)).toEqual(order);
    expect(framing(seen.at(-1)!.fields)).toEqual([]);
    expect(get.headers["content-length"]).toBe("2");
    const names = Object.keys(get.headers);
    expect(names.indexOf("x-b")).toBeLessThan(names.indexOf("x-a"));

    await ask2(session, { ":method": "POST", "content-length": "4" }, "four");
    expect(seen.at(-1)!.body).toBe("four");
    expect(framing(seen.at(-1)!.fields)).toEqual(["content-length: 4"]);

    // A length of 0 stays, and so does a body without one.
    const none = await ask2(
      session,
      { ":method": "POST", ":path": "/none", "content-length": "0" },
      "",
    );
    expect(framing(seen.at(-1)!.fields)).toEqual(["content-length: 0"]);
    expect(none.headers["content-length"]).toBe("0");
    const upload = open2(session, { ":method": "POST" });
    const replied = replyOf(upload);
    upload.write("in ");
    await pause(20);
    upload.end("pieces");
    await replied;
    expect(seen.at(-1)!.body).toBe("in pieces");
    expect(framing(seen.at(-1)!.fields)).toEqual([]);

    const headed = await ask2(session, { ":method": "HEAD" });
    expect(headed.headers["content-length"]).toBe("2");
    expect(headed.body).toHaveLength(0);
  });

  it.each(["P21", "P22"] as const)(
    "H24 P21, H24 P22: a reply that has no body is one that was given, %s",
    async (surface) => {
      const peer = await peerOf(surface, (request) => request.answer(""));
      const { ask, mesh } = await through(surface, [peer.address]);
      const ended: string[] = [];
      mesh.observe({ servedEnded: ({ outcome }) => void ended.push(outcome) });
      for (const method of ["GET", "HEAD", "POST"]) expect((await ask(method)).status).toBe(200);
      await expect.poll(() => ended).toEqual(["success", "success", "success"]);
    },
  );
});
