/** What one HTTP/1 client may cost a server, at each limit, one above it, and far above it. */
import { once } from "node:events";
import { createServer } from "node:http";
import { meshServer, type ServerOptions } from "@inmesh/http";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { RawClient } from "./support/raw-client.ts";
import { rawTo, start } from "./support/server.ts";
import { until } from "./wire.ts";

const H = "host: svc\r\n";
const GET = `GET / HTTP/1.1\r\n${H}\r\n`;
/** Malformed, so it is dropped and the request is served. */
const GLITCH = `GET / HTTP/1.1\r\n${H}traceparent: garbage\r\n\r\n`;
const CLOSE = /connection: close/i;
const CHUNKED = `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n`;

describe("glitches", () => {
  it.each([
    [5, false],
    [6, true],
    [40, true],
  ])("%i anomalies where 5 are tolerated: the connection is closed: %s", async (count, closed) => {
    const server = await start(undefined, { limits: { maxGlitches: 5 } });
    const client = await rawTo(server);
    let asked = 0;
    for (; asked < count && !client.closed; asked++) {
      client.send(GLITCH);
      const reply = await client.reply();
      expect(reply.status).toBe(200);
      if (CLOSE.test(reply.head)) await client.end();
    }
    expect(client.closed).toBe(closed);
    expect(asked).toBe(closed ? 6 : 5);
    expect(server.snapshot().refused).toEqual({
      traceparent: asked,
      ...(closed && { glitches: 1 }),
    });
  });

  it("requests without one do not count, and another connection has its own", async () => {
    const server = await start(undefined, { limits: { maxGlitches: 1 } });
    const [first, second] = [await rawTo(server), await rawTo(server)];
    for (let i = 0; i < 20; i++) {
      for (const client of [first, second]) {
        client.send(i === 0 ? GLITCH : GET);
        expect((await client.reply()).head).not.toMatch(CLOSE);
      }
    }
    expect(server.snapshot().refused).toEqual({ traceparent: 2 });
  });

  it.each([
    ["a traceparent that is none", "traceparent: 00-0-0-00\r\n", "traceparent"],
    [
      "two traceparents",
      `traceparent: ${trace("a")}\r\ntraceparent: ${trace("b")}\r\n`,
      "traceparent",
    ],
    [
      "a tracestate above its limit",
      `traceparent: ${trace("a")}\r\ntracestate: a=${"1".repeat(511)}\r\n`,
      "tracestate",
    ],
    ["baggage above its limit", `baggage: a=${"1".repeat(8_191)}\r\n`, "baggage"],
    ["two deadlines", "x-mesh-timeout-ms: 1000\r\nx-mesh-timeout-ms: 9000\r\n", "repeated_claim"],
  ])("%s is dropped and counted", async (_name, fields, reason) => {
    const server = await start(undefined, { limits: { maxHeaderValueBytes: 10_000 } });
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}${fields}\r\n`);
    expect((await client.reply()).status).toBe(200);
    expect(server.snapshot().refused).toEqual({ [reason]: 1 });
  });

  it("trailers that are dropped count as well, and the reply that is still to come says close", async () => {
    const server = await start(undefined, { limits: { maxGlitches: 0 } });
    const client = await rawTo(server);
    client.send(`${CHUNKED}0\r\nHost: evil\r\n\r\n`);
    expect((await client.reply()).head).toMatch(CLOSE);
    await client.end();
    expect(server.snapshot().refused).toEqual({ trailers: 1, glitches: 1 });
  });

  it("a reply that has begun cannot say close: the next one does", async () => {
    const server = await start(
      (request, response) => {
        response.flushHeaders();
        request.resume().on("end", () => response.end("ok"));
      },
      { limits: { maxGlitches: 0 } },
    );
    const client = await rawTo(server);
    client.send(`${CHUNKED}0\r\nHost: evil\r\n\r\n`);
    await client.until(() => client.text.endsWith("0\r\n\r\n"), "the reply");
    expect(client.text).not.toMatch(CLOSE);
    client.send(GET);
    await client.until(() => CLOSE.test(client.text), "a reply that says close");
    await client.end();
  });
});

describe("heads", () => {
  it.each([
    [8_192, true],
    [8_193, false],
    [16_000, false],
  ])("trailers of %i bytes arrive: %s", async (bytes, arrive) => {
    let trailers: unknown;
    const server = await start((request, response) => {
      request.resume().on("end", () => {
        trailers = { ...request.trailers };
        response.end();
      });
    });
    const client = await rawTo(server);
    client.send(`${CHUNKED}0\r\na: ${"1".repeat(bytes - 1)}\r\n\r\n`);
    await client.reply();
    expect(Object.keys(trailers as object)).toEqual(arrive ? ["a"] : []);
    expect(server.snapshot().refused).toEqual(arrive ? {} : { trailers: 1 });
  });

  it.each([
    [3, 3],
    [4, 3],
    [16, 3],
  ])("%i heads of 1 kB in progress where 3 fit: %i are served", async (sent, served) => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end()), {
      limits: { maxConnectionHeaderBytes: 3_100 },
    });
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}a: ${"1".repeat(1_000)}\r\n\r\n`.repeat(sent));
    await until(() => held.length === served);
    for (const end of held) end();
    const replies = [];
    for (let i = 0; i < Math.min(sent, served + 1); i++)
      replies.push((await client.reply()).status);
    expect(replies).toEqual([200, 200, 200, 431].slice(0, replies.length));
    if (sent > served) await client.end();
    expect(held).toHaveLength(served);
    expect(server.snapshot().refused).toEqual(sent > served ? { connection_headers: 1 } : {});
  });

  it.each([
    [16, 200],
    [17, 508],
    [999, 508],
  ])("H16 LS: %i hops: %i", async (hops, status) => {
    const server = await start(undefined, { posture: "mesh" });
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}x-mesh-hops: ${hops}\r\n\r\n`);
    expect((await client.reply()).status).toBe(status);
    expect(server.snapshot().refused).toEqual(status === 200 ? {} : { loop: 1 });
  });

  it("heads of requests that have ended do not count", async () => {
    const server = await start(undefined, { limits: { maxConnectionHeaderBytes: 1_100 } });
    const client = await rawTo(server);
    for (let i = 0; i < 10; i++) {
      client.send(`GET / HTTP/1.1\r\n${H}a: ${"1".repeat(1_000)}\r\n\r\n`);
      expect((await client.reply()).status).toBe(200);
    }
  });

  it.each([
    [16, 16, "200"],
    [17, 16, "200,503"],
    [500, 16, "200,503"],
  ])("H10 LS: %i pipelined requests, %i of them served", async (sent, served, statuses) => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end()));
    const client = await rawTo(server);
    client.send(GET.repeat(sent));
    await until(() => held.length === served);
    for (const end of held) end();
    const seen = new Set<number>();
    for (let i = 0; i < Math.min(sent, served + 1); i++) seen.add((await client.reply()).status);
    expect([...seen].join()).toBe(statuses);
    if (sent > served) await client.end();
    expect(held).toHaveLength(served);
    expect(client.text).toBe("");
  });
});

describe("what Node refuses is counted, and answered as Node does", () => {
  it.each([
    ["malformed", `GET / HTTP/1.1\r\n${H}a b: 1\r\n\r\n`, 400],
    ["head_too_large", `GET / HTTP/1.1\r\n${H}a: ${"1".repeat(20_000)}\r\n\r\n`, 431],
    ["chunk_extensions", `${CHUNKED}1;${"a".repeat(20_000)}\r\nx\r\n0\r\n\r\n`, 413],
    ["head_timeout", "GET / HT", 408],
  ])("%s", async (reason, bytes, status) => {
    const server = await start(undefined, {
      limits: { headersTimeoutMs: 200, headersCheckMs: 50 },
    });
    const client = await rawTo(server);
    client.send(bytes);
    await client.end();
    expect(client.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(client.text).toBe(await bare(bytes));
    await until(() => server.snapshot().refused[reason as "malformed"] === 1);
    expect(server.snapshot().refused).toEqual({ [reason]: 1 });
  });

  it("an application that listens for client errors answers itself, and they are counted", async () => {
    const server = await start();
    server.server.on("clientError", (_error: Error, socket: NodeJS.WritableStream) =>
      socket.end("HTTP/1.1 418 Own\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    );
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}a b: 1\r\n\r\n`);
    expect(await client.reply().catch(() => client.text)).toMatchObject({ status: 418 });
    expect(server.snapshot().refused).toEqual({ malformed: 1 });
  });
});

describe("upgrades", () => {
  const upgrade = (fields = ""): string =>
    `GET /ws HTTP/1.1\r\n${H}connection: upgrade\r\nupgrade: test\r\n${fields}\r\n`;
  /** A server of an application that takes every upgrade; what it was handed with each. */
  async function upgrading(
    listens: "before" | "after",
    options: ServerOptions = {},
  ): Promise<{ client: () => Promise<RawClient>; heads: string[]; refused: () => object }> {
    const heads: string[] = [];
    const given = createServer();
    const listen = (): void =>
      void given.on("upgrade", (_request, socket, head) => {
        heads.push(head.toString());
        socket.on("error", () => {});
        socket.write(
          "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n",
        );
      });
    if (listens === "before") listen();
    const server = meshServer(given, options);
    if (listens === "after") listen();
    await server.listen(0, "127.0.0.1");
    onTestFinished(() => server.close(0));
    return { client: () => rawTo(server), heads, refused: () => server.snapshot().refused };
  }

  it.each(["before", "after"] as const)(
    "H7 LS: one without a body is the application's, who began to listen %s",
    async (listens) => {
      const { client, heads, refused } = await upgrading(listens);
      for (const fields of ["", "content-length: 0\r\n"]) {
        const one = await client();
        one.send(upgrade(fields));
        await one.until(() => one.text.startsWith("HTTP/1.1 101"), "the upgrade");
        expect(one.closed).toBe(false);
      }
      expect(heads).toEqual(["", ""]);
      expect(refused()).toEqual({});
    },
  );

  it.each([
    ["a length", upgrade("content-length: 3\r\n") + "abc"],
    ["a length, and the body later", upgrade("content-length: 3\r\n")],
    ["chunks", `${upgrade("transfer-encoding: chunked\r\n")}3\r\nabc\r\n0\r\n\r\n`],
    ["a request behind it", upgrade() + GET],
    ["a megabyte behind it", upgrade() + "x".repeat(1 << 20)],
  ])("H7 LS: with %s: 400, closed, and no handler has seen it", async (_name, bytes) => {
    const { client, heads, refused } = await upgrading("after");
    const one = await client();
    one.send(bytes);
    await one.end();
    expect(one.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(one.text).not.toContain("200 OK");
    expect(heads).toEqual([]);
    expect(refused()).toEqual({ bad_upgrade: 1 });
  });

  describe.each([
    ["without a body", "GET", "", ""],
    ["with a body", "POST", "content-length: 3\r\n", "abc"],
    ["with chunks", "POST", "transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"],
    ["with an empty body", "POST", "content-length: 0\r\n", ""],
  ])("where no listener is, %s", (_name, method, framing, sent) => {
    const h2c =
      "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    const asking = `${method} /1 HTTP/1.1\r\n${H}${h2c}${framing}\r\n${sent}`;
    const seen: string[] = [];
    const serve = (keeps = false): ReturnType<typeof start> =>
      start((request, response) => {
        let body = "";
        request.on("data", (chunk: Buffer) => (body += chunk.toString()));
        request.on("end", () => {
          seen.push(`${request.url} ${body}`);
          if (keeps) response.setHeader("connection", "keep-alive");
          response.end("ok");
        });
      });
    beforeEach(() => void seen.splice(0));

    it("H7 LS: it is a plain request, and the last of its connection", async () => {
      const server = await serve();
      const client = await rawTo(server);
      client.send(asking);
      const reply = await client.reply();
      expect(reply).toMatchObject({ status: 200 });
      expect(reply.head.toLowerCase()).toContain("connection: close");
      await client.end();
      expect(seen).toEqual([`/1 ${sent === "" ? "" : "abc"}`]);
    });

    // Node drops what came in one piece with the end of such a request, and reads on in the middle of
    // what follows: here in the body of the second request.
    it.each([false, true])(
      "R41 LS: the body of a request behind it is never read as a request; keep-alive from the handler: %s",
      async (keeps) => {
        const server = await serve(keeps);
        const inside = `GET /inside HTTP/1.1\r\n${H}\r\n`;
        const client = await rawTo(server);
        client.send(`${asking}POST /2 HTTP/1.1\r\n${H}content-length: ${inside.length}\r\n\r\n`);
        await client.until(() => client.text.includes("200 OK"), "the reply");
        client.send(inside);
        await client.end();
        expect(seen).toEqual([`/1 ${sent === "" ? "" : "abc"}`]);
        expect(client.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
      },
    );
  });

  it("H8 LS: CONNECT is counted", async () => {
    const server = await start();
    const client = await rawTo(server);
    client.send(`CONNECT svc:443 HTTP/1.1\r\nhost: svc:443\r\ncontent-length: 3\r\n\r\nabc`);
    expect((await client.reply()).status).toBe(405);
    await client.end();
    expect(server.snapshot().refused).toEqual({ method_not_allowed: 1 });
  });
});

describe("connections", () => {
  it("those that are not accepted are counted", async () => {
    const server = await start(undefined, { limits: { maxConnections: 1 } });
    const first = await rawTo(server);
    first.send(GET);
    await first.reply();
    for (let i = 1; i <= 3; i++) {
      const client = await rawTo(server);
      await client.end();
      expect(server.snapshot().refused).toEqual({ connections: i });
    }
    first.send(GET);
    expect((await first.reply()).status).toBe(200);
  });
});

function trace(letter: string): string {
  return `00-${letter.repeat(32)}-${letter.repeat(16)}-01`;
}

/** What a bare server says to the same mistake. */
async function bare(bytes: string): Promise<string> {
  const server = createServer(
    { headersTimeout: 200, connectionsCheckingInterval: 50 },
    (request) => void request.resume().on("error", () => {}),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const client = await RawClient.to((server.address() as { port: number }).port);
  client.send(bytes);
  await client.end();
  return client.text;
}
