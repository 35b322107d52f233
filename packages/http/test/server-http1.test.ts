/** What the server refuses of HTTP/1, byte by byte, and what it goes on serving. */
import { context } from "@inmesh/core";
import type { IncomingMessage } from "node:http";
import type { MeshServer, ServerOptions } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { rawTo, start } from "./support/server.ts";
import { sleep, until } from "./wire.ts";

interface Seen {
  method: string;
  url: string;
  host: string | undefined;
  body: string;
}

/** A server that notes what its handler gets. */
async function noting(options: ServerOptions = {}): Promise<{ server: MeshServer; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = await start((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
    request.on("end", () => {
      seen.push({ method: request.method!, url: request.url!, host: request.headers.host, body });
      response.end("ok");
    });
  }, options);
  return { server, seen };
}

/** A second request behind the first: served, it proves that framing was lost. */
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nhost: svc\r\n\r\n";
const H = "host: svc\r\n";

/** name, bytes, status. Ours: bare Node serves these. */
const OURS: [string, string, number][] = [
  ["two Hosts", `GET / HTTP/1.1\r\n${H}host: other\r\n\r\n`, 400],
  ["two equal Hosts", `GET / HTTP/1.1\r\n${H}${H}\r\n`, 400],
  ["an empty Host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", 400],
  ["a Host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400],
  ["a Host with userinfo", "GET / HTTP/1.1\r\nhost: u@b\r\n\r\n", 400],
  ["a Host with a space", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400],
  ["a Host that is a list", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", 400],
  ["a bare IPv6 Host", "GET / HTTP/1.1\r\nhost: ::1\r\n\r\n", 400],
  ["a Host with a zone", "GET / HTTP/1.1\r\nhost: [fe80::1%25eth0]\r\n\r\n", 400],
  ["a Host with a bad port", "GET / HTTP/1.1\r\nhost: a:8o\r\n\r\n", 400],
  ["userinfo in the target", `GET http://u:p@svc/ HTTP/1.1\r\n${H}\r\n`, 400],
  ["another scheme", `GET ftp://svc/ HTTP/1.1\r\n${H}\r\n`, 400],
  ["https on cleartext", `GET https://svc/ HTTP/1.1\r\n${H}\r\n`, 400],
  ["an empty authority", `GET http:///x HTTP/1.1\r\n${H}\r\n`, 400],
  ["GET *", `GET * HTTP/1.1\r\n${H}\r\n`, 400],
  ["a fragment", `GET /a#b HTTP/1.1\r\n${H}\r\n`, 400],
  ["a quote in the target", `GET /a"b HTTP/1.1\r\n${H}\r\n`, 400],
  ["an angle bracket in the target", `GET /a<b HTTP/1.1\r\n${H}\r\n`, 400],
  ["a backslash in the path", `GET /a\\..\\b HTTP/1.1\r\n${H}\r\n`, 400],
  ["a backtick in the path", `GET /a\`b HTTP/1.1\r\n${H}\r\n`, 400],
  ["a control byte in the target", `GET /a\x01b HTTP/1.1\r\n${H}\r\n`, 400],
  ["8-bit bytes in the target", `GET /\xe4 HTTP/1.1\r\n${H}\r\n`, 400],
  ["8-bit bytes in Host", "GET / HTTP/1.1\r\nhost: \xe4\r\n\r\n", 400],
  ["a brace in the path", `GET /{a} HTTP/1.1\r\n${H}\r\n`, 400],
  ["HTTP/0.9", "GET /\r\n\r\n", 400],
  ["HTTP/2.0 in the request line", `GET / HTTP/2.0\r\n${H}\r\n`, 505],
  ["TRACE", `TRACE / HTTP/1.1\r\n${H}\r\n`, 405],
  [
    "gzip, chunked",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    501,
  ],
  [
    "identity, chunked",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    501,
  ],
  ["xchunked", `POST / HTTP/1.1\r\n${H}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`, 501],
  [
    "chunked in quotes",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n`,
    501,
  ],
  [
    "chunked with HTTP/1.0",
    `POST / HTTP/1.0\r\n${H}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "Expect of something else",
    `POST / HTTP/1.1\r\n${H}content-length: 2\r\nexpect: bogus\r\n\r\n`,
    417,
  ],
  [
    "Expect with something before",
    `POST / HTTP/1.1\r\n${H}content-length: 2\r\nexpect: y 100-continue\r\n\r\n`,
    417,
  ],
  [
    "Expect twice",
    `POST / HTTP/1.1\r\n${H}content-length: 2\r\nexpect: 100-continue\r\nexpect: 100-continue\r\n\r\n`,
    417,
  ],
];

/** Refused by Node's parser; pinned, because everything here rests on it. */
const KEPT: [string, string, number][] = [
  [
    "length and chunked",
    `POST / HTTP/1.1\r\n${H}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    400,
  ],
  [
    "chunked and length",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    400,
  ],
  [
    "two lengths",
    `POST / HTTP/1.1\r\n${H}content-length: 3\r\ncontent-length: 4\r\n\r\nabc${SMUGGLED}`,
    400,
  ],
  [
    "two equal lengths",
    `POST / HTTP/1.1\r\n${H}content-length: 3\r\ncontent-length: 3\r\n\r\nabc`,
    400,
  ],
  ["a list of lengths", `POST / HTTP/1.1\r\n${H}content-length: 3, 3\r\n\r\nabc`, 400],
  ["a signed length", `POST / HTTP/1.1\r\n${H}content-length: +3\r\n\r\nabc`, 400],
  ["a hexadecimal length", `POST / HTTP/1.1\r\n${H}content-length: 0x3\r\n\r\nabc`, 400],
  ["an empty length", `POST / HTTP/1.1\r\n${H}content-length:\r\n\r\n`, 400],
  [
    "a length of 2^64 + 1",
    `POST / HTTP/1.1\r\n${H}content-length: 18446744073709551617\r\n\r\n`,
    400,
  ],
  ["a length with a space inside", `POST / HTTP/1.1\r\n${H}content-length: 1 2\r\n\r\n`, 400],
  [
    "chunked, identity",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "chunked twice",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "chunked, chunked",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "chunked with a vertical tab",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a space before the colon",
    `POST / HTTP/1.1\r\n${H}transfer-encoding : chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a folded Transfer-Encoding",
    `POST / HTTP/1.1\r\n${H}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    400,
  ],
  [
    "a length in a trailer",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 3\r\n\r\n${SMUGGLED}`,
    400,
  ],
  [
    "a coding in a trailer",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n0\r\ntransfer-encoding: chunked\r\n\r\n${SMUGGLED}`,
    400,
  ],
  ["a folded line", `GET / HTTP/1.1\r\n${H}a: 1\r\n b\r\n\r\n`, 400],
  ["a field that begins with a space", `GET / HTTP/1.1\r\n a: 1\r\n${H}\r\n`, 400],
  ["a bare LF", `GET / HTTP/1.1\n${H}\r\n`, 400],
  ["a bare LF between fields", `GET / HTTP/1.1\r\n${H}a: 1\nb: 2\r\n\r\n`, 400],
  ["a bare CR", `GET / HTTP/1.1\r\n${H}a: 1\rb: 2\r\n\r\n`, 400],
  ["a NUL", `GET / HTTP/1.1\r\n${H}a: 1\0\r\n\r\n`, 400],
  ["an empty name", `GET / HTTP/1.1\r\n${H}: 1\r\n\r\n`, 400],
  ["an 8-bit name", `GET / HTTP/1.1\r\n${H}\xe4: 1\r\n\r\n`, 400],
  ["CR LF CR X", `GET / HTTP/1.1\r\n${H}\r\rX: 1\r\n\r\n`, 400],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  [
    "a chunk size with 0x",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a chunk size with _",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n1_0\r\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a chunk size with +",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a chunk size that overflows",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a LF in a chunk extension",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "a bare LF after a chunk size",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n`,
    400,
  ],
  [
    "data that spills over its chunk",
    `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n`,
    400,
  ],
  ["an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
];

describe("refused, and the connection closed", () => {
  it.each(OURS)("%s", async (_name, bytes, status) => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(bytes);
    const reply = await client.reply();
    expect(reply.status).toBe(status);
    expect(reply.head).toMatch(/connection: close/i);
    await client.end();
    expect(seen).toEqual([]);
    expect(Object.values(server.snapshot().refused)).toEqual([1]);
  });

  it.each(KEPT)("by Node's parser: %s", async (_name, bytes, status) => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(bytes);
    const reply = await client.reply();
    expect(reply.status).toBe(status);
    if (status === 400) await client.end();
    expect(seen).toEqual([]);
  });

  it("H10 LS: a bad request ends the pipelined ones behind it", async () => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(`GET /1 HTTP/1.1\r\n${H}\r\nGET /2#x HTTP/1.1\r\n${H}\r\n${SMUGGLED}`);
    expect((await client.reply()).status).toBe(200);
    expect((await client.reply()).status).toBe(400);
    await client.end();
    expect(client.text).toBe("");
    expect(seen.map(({ url }) => url)).not.toContain("/2#x");
  });
});

describe("served", () => {
  it.each([
    ["an ordinary target", "/a/b?c=d&e=%20", "/a/b?c=d&e=%20"],
    ["what fetch leaves in a query", "/a?q={1}|^`\\", "/a?q={1}|^`\\"],
    ["brackets", "/a[0]?b[]=1", "/a[0]?b[]=1"],
    ["absolute form", "http://svc/a?b", "/a?b"],
    ["absolute form without a path", "http://svc", "/"],
    ["absolute form with only a query", "http://svc?b", "/?b"],
  ])("%s", async (_name, target, url) => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(`GET ${target} HTTP/1.1\r\n${H}\r\n`);
    expect((await client.reply()).status).toBe(200);
    expect(seen).toEqual([{ method: "GET", url, host: "svc", body: "" }]);
  });

  it.each([
    ["two spaces in the request line", `GET  /a HTTP/1.1\r\n${H}\r\n`, "/a", ""],
    ["blank lines before it", `\r\n\r\nGET /a HTTP/1.1\r\n${H}\r\n`, "/a", ""],
    ["a length of 03", `POST /a HTTP/1.1\r\n${H}content-length: 03\r\n\r\nabc`, "/a", "abc"],
    [
      "a last chunk of 000, and extensions",
      `POST /a HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n3;a=b;c\r\nabc\r\n000\r\n\r\n`,
      "/a",
      "abc",
    ],
    ["GET with a body", `GET /a HTTP/1.1\r\n${H}content-length: 3\r\n\r\nabc`, "/a", "abc"],
    [
      "OPTIONS with a body in chunks",
      `OPTIONS /a HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
      "/a",
      "abc",
    ],
  ])(
    "%s: read as one request, and the one behind it as another",
    async (_name, bytes, url, body) => {
      const { server, seen } = await noting();
      const client = await rawTo(server);
      client.send(bytes + SMUGGLED);
      expect([(await client.reply()).status, (await client.reply()).status]).toEqual([200, 200]);
      expect(seen.map((one) => [one.url, one.body])).toEqual([
        [url, body],
        ["/smuggled", ""],
      ]);
    },
  );

  it("8-bit bytes in a value and a field named __proto__ arrive as they are", async () => {
    let headers: IncomingMessage["headers"] = {};
    let raw: readonly string[] = [];
    const server = await start((request, response) => {
      ({ headers, rawHeaders: raw } = request);
      response.end("ok");
    });
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}a: \xe4\xff\r\n__proto__: b\r\n\r\n`);
    expect((await client.reply()).status).toBe(200);
    expect(raw).toEqual(["host", "svc", "a", "\xe4\xff", "__proto__", "b"]);
    expect(headers["a"]).toBe("\xe4\xff");
    expect(({} as Record<string, unknown>)["b"]).toBeUndefined();
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  it("the authority of an absolute target wins over Host", async () => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(`GET http://real:80/a HTTP/1.1\r\nhost: claimed\r\n\r\n`);
    await client.reply();
    expect(seen).toEqual([{ method: "GET", url: "/a", host: "real:80", body: "" }]);
  });

  it("C18 LS: bracketed IPv6 in Host; OPTIONS *", async () => {
    const { server, seen } = await noting();
    const client = await rawTo(server);
    client.send(`OPTIONS * HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n`);
    expect((await client.reply()).status).toBe(200);
    expect(seen).toEqual([{ method: "OPTIONS", url: "*", host: "[::1]:8080", body: "" }]);
  });

  it("H11 LS: HTTP/1.0 with and without keep-alive and Host", async () => {
    const seen: { host: string | undefined }[] = [];
    const server = await start((request, response) => {
      seen.push({ host: request.headers.host });
      response.setHeader("content-length", 2);
      response.end("ok");
    });
    const once = await rawTo(server);
    once.send("GET /a HTTP/1.0\r\n\r\n");
    expect((await once.reply()).status).toBe(200);
    await once.end();
    const kept = await rawTo(server);
    for (let i = 0; i < 2; i++) {
      kept.send(`GET /b HTTP/1.0\r\n${H}connection: keep-alive\r\n\r\n`);
      expect((await kept.reply()).head).toMatch(/connection: keep-alive/i);
    }
    expect(seen.map(({ host }) => host)).toEqual([undefined, "svc", "svc"]);
  });

  it.each(["x-mesh-hops: 1", "x-mesh-client-id: root\r\nx-mesh-timeout-ms: 5000"])(
    "H11 LS, R41 LS: HTTP/1.0 with nothing but claims leaves no field, and is served: %j",
    async (claims) => {
      const seen: unknown[] = [];
      const server = await start((request, response) => {
        const { headers, headersDistinct, rawHeaders } = request;
        seen.push({ ...headers }, { ...headersDistinct }, rawHeaders);
        response.end("ok");
      });
      const client = await rawTo(server);
      client.send(`GET / HTTP/1.0\r\n${claims}\r\n\r\n`);
      expect((await client.reply()).status).toBe(200);
      expect(seen).toEqual([{}, {}, []]);
    },
  );

  it("H10 LS: pipelined requests in order; above maxPipelined they are refused", async () => {
    const held: (() => void)[] = [];
    const server = await start(
      (request, response) => void held.push(() => response.end(request.url)),
      { limits: { maxPipelined: 3 } },
    );
    const client = await rawTo(server);
    client.send([1, 2, 3, 4].map((n) => `GET /${n} HTTP/1.1\r\n${H}\r\n`).join(""));
    await until(() => held.length === 3);
    for (const end of held.toReversed()) end();
    const replies = [];
    for (let i = 0; i < 4; i++) replies.push(await client.reply());
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 503]);
    expect(replies.slice(0, 3).map(({ body }) => body)).toEqual(["/1", "/2", "/3"]);
    expect(held).toHaveLength(3);
  });

  it("H3 LS: Expect: 100-continue asks for the body only if it will be read", async () => {
    const { server, seen } = await noting({ limits: { maxInFlight: 1 } });
    const client = await rawTo(server);
    client.send(`POST / HTTP/1.1\r\n${H}content-length: 2\r\nexpect: 100-continue\r\n\r\n`);
    await client.until(() => client.text.includes("100 Continue"), "100");
    const second = await rawTo(server);
    second.send(`POST / HTTP/1.1\r\n${H}content-length: 2\r\nexpect: 100-continue\r\n\r\n`);
    await second.until(() => second.text !== "", "an answer");
    expect(second.text).toMatch(/^HTTP\/1\.1 503/);
    client.send("ab");
    expect((await client.reply()).status).toBe(200);
    expect(seen).toMatchObject([{ body: "ab" }]);
  });

  it("H5 LS, H24 LS: adds no framing, keeps the order and case of fields", async () => {
    let raw: string[] = [];
    const server = await start((request, response) => {
      raw = request.rawHeaders;
      response.writeHead(request.method === "HEAD" ? 200 : 204, { "X-Custom": "1" });
      response.end();
    });
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\nHost: svc\r\nZeta: 1\r\nx-mesh-nack: 1\r\nalPHA: 2\r\n\r\n`);
    const { head } = await client.reply();
    expect(head).toMatch(/^HTTP\/1\.1 204/);
    expect(head).not.toMatch(/content-length|transfer-encoding/i);
    expect(head).toContain("X-Custom: 1");
    expect(raw).toEqual(["Host", "svc", "Zeta", "1", "alPHA", "2"]);
  });

  it("H6 LS: trailers arrive; framing, routing and claims among them do not", async () => {
    let trailers: unknown;
    let raw: unknown;
    const server = await start((request, response) => {
      request.resume();
      request.on("end", () => {
        trailers = { ...request.trailers };
        raw = request.rawTrailers;
        response.end();
      });
    });
    const client = await rawTo(server);
    client.send(
      `POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\ntrailer: a\r\n\r\n1\r\nx\r\n0\r\n` +
        "A: 1\r\nHost: evil\r\nx-mesh-client-id: root\r\nauthorization: root\r\nb: 2\r\n\r\n",
    );
    expect((await client.reply()).status).toBe(200);
    expect(trailers).toEqual({ a: "1", b: "2" });
    expect(raw).toEqual(["A", "1", "b", "2"]);
  });

  it("H8 LS: CONNECT is refused unless the application listens for it", async () => {
    const { server } = await noting();
    const client = await rawTo(server);
    client.send(`CONNECT svc:443 HTTP/1.1\r\nhost: svc:443\r\n\r\n`);
    expect((await client.reply()).status).toBe(405);
    await client.end();
  });
});

describe("limits", () => {
  const statusOf = async (bytes: string, options: ServerOptions = {}): Promise<number> => {
    const { server } = await noting(options);
    const client = await rawTo(server);
    client.send(bytes);
    return (await client.reply()).status;
  };

  it.each([
    [8_192, 200],
    [8_193, 414],
    [15_000, 414],
    [40_000, 431],
  ])("H9 LS: a target of %i bytes: %i", async (bytes, status) => {
    expect(await statusOf(`GET /${"a".repeat(bytes - 1)} HTTP/1.1\r\n${H}\r\n`)).toBe(status);
  });

  it.each([
    [100, 200],
    [101, 431],
    [1_000, 431],
  ])("H9 LS: %i fields: %i", async (count, status) => {
    const fields = Array.from({ length: count - 1 }, (_, i) => `a${i}: 1\r\n`).join("");
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}${fields}\r\n`)).toBe(status);
  });

  it.each([
    [256, 200],
    [257, 431],
    [4_000, 431],
  ])("H9 LS: a name of %i bytes: %i", async (bytes, status) => {
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}${"a".repeat(bytes)}: 1\r\n\r\n`)).toBe(status);
  });

  it.each([
    [8_192, 200],
    [8_193, 431],
    [100_000, 431],
  ])("H9 LS: a value of %i bytes: %i", async (bytes, status) => {
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}a: ${"1".repeat(bytes)}\r\n\r\n`)).toBe(status);
  });

  it.each([
    [15_000, 200],
    [17_000, 431],
    [1_000_000, 431],
  ])("H9 LS: a head of %i bytes: %i", async (bytes, status) => {
    const fields = Array.from(
      { length: Math.floor(bytes / 1_000) },
      (_, i) => `a${i % 90}: ${"1".repeat(990)}\r\n`,
    );
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}${fields.join("")}\r\n`)).toBe(status);
  });

  it.each([
    [32, 32],
    [33, 0],
    [1_000, 0],
  ])("%i trailers: %i of them arrive", async (count, arrive) => {
    let trailers = -1;
    const server = await start((request, response) => {
      request.resume();
      request.on("end", () => {
        trailers = Object.keys(request.trailers).length;
        response.end();
      });
    });
    const client = await rawTo(server);
    const fields = Array.from({ length: count }, (_, i) => `a${i}: 1\r\n`).join("");
    client.send(`POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n0\r\n${fields}\r\n`);
    await client.reply();
    expect(trailers).toBe(arrive);
  });

  it("16 KiB of chunk extensions: 413 or 400 by Node, and the connection closed", async () => {
    const server = await start((request, response) => {
      request.resume();
      request.on("end", () => response.end());
      request.on("error", () => {});
    });
    const client = await rawTo(server);
    client.send(`POST / HTTP/1.1\r\n${H}transfer-encoding: chunked\r\n\r\n`);
    client.send(`1;${"a".repeat(20_000)}\r\nx\r\n0\r\n\r\n`);
    expect((await client.reply()).status).toBe(413);
    await client.end();
  });

  it("C8 LS: a head that takes too long: 408; so does a connection that says nothing", async () => {
    const server = await start(() => {}, { limits: { headersTimeoutMs: 150, headersCheckMs: 50 } });
    for (const first of ["GET / HT", ""]) {
      const client = await rawTo(server);
      if (first !== "") client.send(first);
      expect((await client.reply()).status).toBe(408);
      await client.end();
    }
  });

  it("C9 LS: a body that stalls: 408, closed, and its calls ended; one that arrives is served", async () => {
    let left = false;
    const server = await start(
      (request, response) => {
        const served = context.getStore()!;
        request.resume();
        request.on("end", () => response.end("ok"));
        request.on("error", () => {});
        response.on("close", () => (left = served.left));
      },
      { limits: { bodyIdleTimeoutMs: 200 } },
    );
    const good = await rawTo(server);
    good.send(`POST / HTTP/1.1\r\n${H}content-length: 8\r\n\r\n`);
    for (let i = 0; i < 8; i++) {
      await sleep(50);
      good.send("x");
    }
    expect((await good.reply()).status).toBe(200);
    const client = await rawTo(server);
    client.send(`POST / HTTP/1.1\r\n${H}content-length: 8\r\n\r\nabc`);
    expect((await client.reply()).status).toBe(408);
    await client.end();
    expect(server.snapshot().refused).toEqual({ body_timeout: 1 });
    await until(() => server.snapshot().requestsInFlight === 0);
    expect(left).toBe(true);
  });

  it("C9 LS: a body below the minimum rate: 408, above it not", async () => {
    const limits = { minBodyRate: 100, bodyRateWindowMs: 400, bodyIdleTimeoutMs: 5_000 };
    for (const [bytes, status] of [
      [1, 408],
      [20, 200],
    ] as const) {
      const { server } = await noting({ limits });
      const client = await rawTo(server);
      client.send(`POST / HTTP/1.1\r\n${H}content-length: ${bytes * 30}\r\n\r\n`);
      for (let i = 0; i < 30 && client.text === "" && !client.closed; i++) {
        await sleep(50);
        client.send("x".repeat(bytes));
      }
      expect((await client.reply()).status, `${bytes}`).toBe(status);
    }
  });

  it("a handler that takes its time is not timed out, nor is one that does not read", async () => {
    const server = await start(
      (_request, response) => void setTimeout(() => response.end("ok"), 500),
      { limits: { bodyIdleTimeoutMs: 100, writeStallTimeoutMs: 100 } },
    );
    const [get, post] = [await rawTo(server), await rawTo(server)];
    get.send(`GET / HTTP/1.1\r\n${H}\r\n`);
    post.send(`POST / HTTP/1.1\r\n${H}content-length: 100000\r\n\r\n${"x".repeat(100_000)}`);
    expect((await get.reply()).status).toBe(200);
    expect((await post.reply()).status).toBe(200);
  });

  it("H22 LS: a client that does not read is destroyed after writeStallTimeoutMs", async () => {
    let closed = false;
    const server = await start(
      (_request, response) => {
        response.on("close", () => (closed = true));
        response.end(Buffer.alloc(64 << 20));
      },
      { limits: { writeStallTimeoutMs: 200 } },
    );
    const client = await rawTo(server);
    client.socket.pause();
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`);
    await until(() => closed, 5_000);
    expect(server.snapshot().refused).toEqual({ write_stall: 1 });
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it("H22 LS: a slow reader that reads is left alone", async () => {
    const body = Buffer.alloc(12 << 20, "x");
    const server = await start((_request, response) => void response.end(body), {
      limits: { writeStallTimeoutMs: 400 },
    });
    const client = await rawTo(server);
    let bytes = 0;
    client.socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      client.socket.pause();
      setTimeout(() => client.socket.resume(), 2);
    });
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`);
    await until(() => bytes > body.length, 20_000);
    expect(server.snapshot().refused).toEqual({});
  });

  it("H1 LS: a refusal reaches a client that is still sending", async () => {
    const { server } = await noting();
    const client = await rawTo(server);
    const total = 200_000;
    client.send(`POST /#x HTTP/1.1\r\n${H}content-length: ${total}\r\n\r\n`);
    for (let sent = 0; sent < total; sent += 20_000) {
      client.send("x".repeat(20_000));
      await sleep(2);
    }
    expect((await client.reply()).status).toBe(400);
    await client.end();
  });

  it("H1 LS: after a final reply, at most lingerBytes, or lingerMs, of the body are read", async () => {
    for (const limits of [{ lingerBytes: 50_000 }, { lingerMs: 100 }]) {
      const server = await start(
        (_request, response) => {
          response.statusCode = 413;
          response.end("no");
        },
        { limits },
      );
      const client = await rawTo(server);
      client.send(`POST / HTTP/1.1\r\n${H}content-length: 1000000000\r\n\r\n`);
      const reply = client.reply();
      const endsAt = performance.now() + 10_000;
      while (!client.closed && performance.now() < endsAt) {
        client.send("x".repeat(10_000));
        await sleep(5);
      }
      expect((await reply).status).toBe(413);
      expect(client.closed).toBe(true);
    }
  });

  it.each([
    [2, 2],
    [5, 2],
  ])("%i connections where 2 are allowed: %i are served", async (opened, served) => {
    const server = await start((_request, response) => void response.end("ok"), {
      limits: { maxConnections: 2 },
    });
    const clients = [];
    for (let i = 0; i < opened; i++) {
      const client = await rawTo(server);
      client.send(`GET / HTTP/1.1\r\n${H}\r\n`);
      await client.until(() => client.text !== "" || client.closed, "an answer or the close");
      clients.push(client);
    }
    expect(clients.filter(({ text }) => text.startsWith("HTTP/1.1 200"))).toHaveLength(served);
  });

  it("a connection above its age is asked to go", async () => {
    const server = await start((_request, response) => void response.end("ok"), {
      limits: { maxConnectionAgeMs: 100 },
    });
    const client = await rawTo(server);
    let head = "";
    for (let i = 0; i < 200 && !/connection: close/i.test(head); i++) {
      client.send(`GET / HTTP/1.1\r\n${H}\r\n`);
      ({ head } = await client.reply());
      await sleep(5);
    }
    expect(head).toMatch(/connection: close/i);
    await client.end();
  });

  it("C5 LS: an idle connection is kept above every client's own idle time, and said so", async () => {
    const server = await start((_request, response) => void response.end("ok"));
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\n${H}\r\n`);
    expect((await client.reply()).head).toMatch(/keep-alive: timeout=65/i);
    const short = await start((_request, response) => void response.end("ok"), {
      limits: { keepAliveIdleMs: 200 },
    });
    const other = await rawTo(short);
    other.send(`GET / HTTP/1.1\r\n${H}\r\n`);
    await other.reply();
    await other.end(5_000);
  });

  it("C15 LS: an HTTP/2 preface on an HTTP/1 port: 400, closed", async () => {
    expect(await statusOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).toBe(400);
  });
});
