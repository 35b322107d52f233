/** Handlers that write another length than they said: the next reply must not be read from it. */
import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import { meshServer, type MeshServer } from "@inmesh/http";
import type { AddressInfo } from "node:net";
import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { RawClient } from "./support/raw-client.ts";
import { until } from "./wire.ts";

const GET = "GET / HTTP/1.1\r\nhost: svc\r\n\r\n";

async function start(target: Parameters<typeof meshServer>[0]): Promise<MeshServer> {
  const server = meshServer(target, { discoveryWaitMs: 0, idleWaitMs: 20 });
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

const mismatches = (server: MeshServer): number | undefined =>
  server.snapshot().refused.content_length_mismatch;

type Write = (response: ServerResponse) => void;
const later = (write: Write) => (response: ServerResponse) =>
  void setImmediate(() => write(response));

const WRONG: readonly [string, Write][] = [
  ["too little at once", (response) => void response.setHeader("content-length", 5).end("abcd")],
  ["nothing", (response) => void response.setHeader("content-length", 5).end()],
  [
    "too little, from writeHead",
    (response) => void response.writeHead(200, { "content-length": "5" }).end("abcd"),
  ],
  [
    "too little, in raw pairs",
    (response) => void response.writeHead(200, ["content-length", "5"]).end("abcd"),
  ],
  [
    "too little in pieces",
    (response) => {
      response.setHeader("content-length", 5).write("ab");
      later(() => void response.end("cd"))(response);
    },
  ],
  ["too much at once", (response) => void response.setHeader("content-length", 5).end("abcdef")],
  [
    "as many characters, but more bytes",
    (response) => void response.setHeader("content-length", 5).end("abcdé"),
  ],
  [
    "too much of a Buffer",
    (response) => void response.setHeader("content-length", 5).end(Buffer.alloc(6)),
  ],
  [
    "too much in pieces",
    (response) => {
      response.setHeader("content-length", 5);
      for (let i = 0; i < 10; i++) response.write("HTTP/1.1 200 OK\r\n");
      response.end();
    },
  ],
  [
    "a length, and chunks as well",
    (response) =>
      void response
        .setHeader("content-length", 5)
        .setHeader("transfer-encoding", "chunked")
        .end("abcde"),
  ],
  [
    "too much later on",
    (response) => {
      response.setHeader("content-length", 5).write("abcde");
      later(() => void response.end("f"))(response);
    },
  ],
];

describe("H13 LS", () => {
  for (const [name, write] of WRONG) {
    const handler: RequestListener = (request, response) => {
      if (request.url === "/") write(response);
      else response.end("second");
    };
    it(`H13 LS: ${name}: the connection is destroyed, counted once, nothing surplus is sent`, async () => {
      const given = createServer(handler);
      const app = express().use(handler);
      for (const target of [handler, given, app]) {
        const server = await start(target);
        using client = await RawClient.to(server.address()!.port);
        client.send(GET);
        await client.end();
        const [, body = ""] = client.text.split("\r\n\r\n");
        expect(body.length).toBeLessThanOrEqual(5);
        expect("abcde".startsWith(body)).toBe(true);
        expect(mismatches(server)).toBe(1);
        expect(server.snapshot()).toMatchObject({ requestsInFlight: 0, connections: 0 });
      }
    });
  }

  it("H13 LS: the reply of a pipelined request is not read as the rest of one that is short", async () => {
    const server = await start((request, response) => {
      if (request.url === "/")
        later((one) => void one.setHeader("content-length", 5).end("abcd"))(response);
      else response.end("second");
    });
    using client = await RawClient.to(server.address()!.port);
    client.send(GET + GET.replace("/", "/2"));
    await client.end();
    expect(mismatches(server)).toBe(1);
  });

  const RIGHT: readonly [string, string, Write, string][] = [
    [
      "exactly",
      "GET",
      (response) => void response.setHeader("content-length", 6).end("abcdé"),
      "abcd\xc3\xa9",
    ],
    [
      "in pieces of any encoding",
      "GET",
      (response) => {
        response.setHeader("content-length", 7);
        response.write("é", "latin1");
        response.write("6162", "hex");
        response.write(new Uint8Array([99, 100]));
        response.flushHeaders();
        response.end("ZWY=", "base64");
      },
      "\xe9abcdef",
    ],
    [
      "no body for HEAD",
      "HEAD",
      (response) => void response.setHeader("content-length", 5).end(),
      "",
    ],
    [
      "a body for HEAD that is not sent",
      "HEAD",
      (response) => void response.setHeader("content-length", 5).end("abcde"),
      "",
    ],
    ["304", "GET", (response) => void response.writeHead(304, { "content-length": "5" }).end(), ""],
    ["a length that Node finds", "GET", (response) => void response.end("abcdé"), "abcd\xc3\xa9"],
    [
      "interim replies first",
      "GET",
      (response) => {
        response.writeProcessing();
        response.writeEarlyHints({ link: "</a>; rel=preload" });
        response.setHeader("content-length", 1).end("a");
      },
      "a",
    ],
  ];
  it.each(RIGHT)("H13 LS: %s: the connection stays", async (_name, method, write, body) => {
    let seen = 0;
    const server = await start((request, response) => {
      seen++;
      if (request.url === "/") write(response);
      else response.end("second");
    });
    using client = await RawClient.to(server.address()!.port);
    client.send(GET.replace("GET", method));
    await until(() => seen === 1 && server.snapshot().requestsInFlight === 0);
    client.send(GET.replace("/", "/2"));
    await client.until(() => client.text.endsWith("second"), "the second reply");
    expect(client.text).toContain(`\r\n\r\n${body}HTTP/1.1 200`);
    expect(mismatches(server)).toBeUndefined();
    expect(client.closed).toBe(false);
  });

  it("H13 LS: a caller that leaves is no mismatch", async () => {
    const held: ServerResponse[] = [];
    const server = await start((_request, response) => void held.push(response));
    const client = await RawClient.to(server.address()!.port);
    client.send(GET);
    await until(() => held.length === 1);
    held[0]!.setHeader("content-length", 5).write("ab");
    await client.until(() => client.text.endsWith("ab"), "the beginning");
    const closed = once(held[0]!, "close");
    client.socket.resetAndDestroy();
    await closed;
    held[0]!.end();
    expect(mismatches(server)).toBeUndefined();
  });
});

describe("R32 LS: a chunked reply whose length Node knows is served as bare Node serves it", () => {
  const CHUNKED: readonly [string, Write][] = [
    [
      "Transfer-Encoding said by the handler",
      (response) => void response.setHeader("transfer-encoding", "chunked").end("hello"),
    ],
    [
      "Transfer-Encoding in writeHead, and a Buffer",
      (response) =>
        void response.writeHead(200, { "Transfer-Encoding": "chunked" }).end(Buffer.from("hello")),
    ],
    [
      "a Trailer field, and trailers",
      (response) => {
        response.setHeader("trailer", "x-sum");
        response.addTrailers({ "x-sum": "1" });
        response.end("hello");
      },
    ],
    [
      "Content-Length removed",
      (response) => {
        response.removeHeader("content-length");
        response.end("hello");
      },
    ],
    [
      "Content-Length said, and removed again",
      (response) => {
        response.setHeader("content-length", 5).removeHeader("content-length");
        response.end("hello");
      },
    ],
    [
      "a body of pieces",
      (response) => {
        response.setHeader("transfer-encoding", "chunked").write("hel");
        response.end("lo");
      },
    ],
    ["no body", (response) => void response.setHeader("transfer-encoding", "chunked").end()],
  ];
  it.each(CHUNKED)("R32 LS: %s", async (_name, write) => {
    const handler: RequestListener = (request, response) => {
      response.sendDate = false;
      response.setHeader("connection", "keep-alive");
      if (request.url === "/") write(response);
      else response.end("second");
    };
    const bare = createServer(handler).listen(0, "127.0.0.1");
    onTestFinished(() => void bare.close());
    await once(bare, "listening");
    const server = await start(handler);
    const texts: string[] = [];
    for (const { port } of [bare.address() as AddressInfo, server.address()!]) {
      using client = await RawClient.to(port);
      client.send(GET + GET.replace("/", "/2"));
      await client.until(() => client.text.endsWith("second"), "both replies");
      texts.push(client.text);
    }
    expect(texts[0]).toContain("\r\n0\r\n");
    expect(texts[1]).toBe(texts[0]);
    expect(mismatches(server)).toBeUndefined();
  });

  it("R32 LS: without either field the end of the connection is the end of the body", async () => {
    const server = await start((_request, response) => {
      response.removeHeader("content-length");
      response.removeHeader("transfer-encoding");
      response.end("hello");
    });
    using client = await RawClient.to(server.address()!.port);
    client.send(GET);
    await client.end();
    expect(client.text).toMatch(/\r\n\r\nhello$/);
    expect(mismatches(server)).toBeUndefined();
  });
});
