/** What a server refuses only where its application asked for it: foreign hosts, and `_` in names. */
import { meshServer, type ServerOptions } from "@inmesh/http";
import type { RequestListener } from "node:http";
import { describe, expect, it } from "vitest";
import { block, data, END_HEADERS, END_STREAM, frame, HEADERS, head } from "./support/h2-peer.ts";
import { answerOk, h2To, rawTo, start } from "./support/server.ts";

const authorities = ["orders.example", "Orders.Internal:8080", "[::1]", "10.0.0.7"];
/** Asked for, and whether it is served. */
const HOSTS: [string, boolean][] = [
  ["orders.example", true],
  ["ORDERS.example", true],
  ["orders.example:443", true],
  ["orders.example:1", true],
  ["orders.internal:8080", true],
  ["orders.internal", false],
  ["orders.internal:8081", false],
  ["[::1]", true],
  ["[::1]:80", true],
  ["[::2]:80", false],
  ["10.0.0.7:80", true],
  ["10.0.0.70", false],
  ["evil.example", false],
  ["orders.example.evil.example", false],
  ["evil-orders.example", false],
  ["orders.example.", false],
];

describe("authorities", () => {
  const http1 = (host: string, target = "/"): string =>
    `GET ${target} HTTP/1.1\r\nhost: ${host}\r\n`;

  it.each(HOSTS)("HTTP/1, %s: served: %s", async (host, served) => {
    const server = await start(answerOk, { authorities });
    const client = await rawTo(server);
    // The second is judged again, and by itself.
    for (const [one, status] of [
      [host, served ? 200 : 421],
      ["orders.example", 200],
      [host, served ? 200 : 421],
    ] as const) {
      client.send(`${http1(one)}\r\n`);
      expect((await client.reply()).status).toBe(status);
    }
    expect(server.snapshot().refused).toEqual(served ? {} : { misdirected: 2 });
  });

  it.each(HOSTS)("HTTP/2, %s: served: %s", async (host, served) => {
    const server = await start(answerOk, { authorities, http2: true });
    const client = await h2To(server);
    const fields = { ":method": "GET", ":scheme": "http", ":path": "/" };
    client.send(head(1, { ...fields, ":authority": host }, true));
    await client.reply(1);
    client.send(head(3, { ...fields, host }, true)); // as a gateway from HTTP/1 may write it
    await client.reply(3);
    client.send(head(5, { ...fields, ":authority": "orders.example" }, true));
    await client.reply(5);
    expect(server.snapshot().refused).toEqual(served ? {} : { misdirected: 2 });
  });

  it("the authority of an absolute target counts, not Host", async () => {
    const server = await start(answerOk, { authorities });
    const client = await rawTo(server);
    client.send(`${http1("evil.example", "http://orders.example/")}\r\n`);
    expect((await client.reply()).status).toBe(200);
    client.send(`${http1("orders.example", "http://evil.example/")}\r\n`);
    expect((await client.reply()).status).toBe(421);
  });

  it("HTTP/1.0 without Host names no authority", async () => {
    const client = await rawTo(await start(answerOk, { authorities }));
    client.send("GET / HTTP/1.0\r\n\r\n");
    expect((await client.reply()).status).toBe(421);
  });

  it("health is answered under every name", async () => {
    const client = await rawTo(await start(answerOk, { authorities }));
    client.send(`${http1("10.1.2.3:8080", "/livez")}\r\n`);
    expect((await client.reply()).status).toBe(200);
  });

  it("upgrades are for the same hosts", async () => {
    const server = await start(answerOk, { authorities });
    const hosts: unknown[] = [];
    server.server.on("upgrade", ({ headers }, socket) => {
      hosts.push(headers.host);
      socket.end("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    });
    for (const [host, status] of [
      ["evil.example", 421],
      ["orders.example", 101],
    ] as const) {
      const client = await rawTo(server);
      client.send(`${http1(host)}connection: upgrade\r\nupgrade: echo\r\n\r\n`);
      await client.end();
      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }
    expect(hosts).toEqual(["orders.example"]);
    expect(server.snapshot().refused).toEqual({ misdirected: 1 });
  });

  it.each([[[]], [["a b"]], [["http://orders"]], [["orders/"]], [["*.example:*"]]])(
    "%j is refused when the server is made",
    (given) => {
      expect(() => meshServer(answerOk, { authorities: given })).toThrow(TypeError);
    },
  );
});

describe("refuseUnderscores", () => {
  const listener: RequestListener = (request, response) => {
    request.resume().on("end", () => response.end(JSON.stringify(request.trailers)));
  };
  const NAMES: [string, ServerOptions, boolean][] = [
    ["x-user", { refuseUnderscores: true }, true],
    ["x_user", { refuseUnderscores: true }, false],
    ["X_User", { refuseUnderscores: true }, false],
    ["_", { refuseUnderscores: true }, false],
    ["content_length", { refuseUnderscores: true }, false],
    ["x_user", {}, true],
    ["x_user", { refuseUnderscores: false }, true],
    ["x_user", { authorities: ["svc"] }, true],
  ];

  it.each(NAMES)("HTTP/1, %s with %j: served: %s", async (name, options, served) => {
    const server = await start(listener, options);
    const client = await rawTo(server);
    client.send(`GET / HTTP/1.1\r\nhost: svc\r\na: _\r\n${name}: 1\r\n\r\n`);
    expect((await client.reply()).status).toBe(served ? 200 : 400);
    if (!served) await client.end();
    expect(server.snapshot().refused).toEqual(served ? {} : { bad_header_name: 1 });
  });

  it.each(NAMES)("HTTP/2, %s with %j: served: %s", async (name, options, served) => {
    const server = await start(listener, { ...options, http2: true });
    const client = await h2To(server);
    const fields = { ":method": "GET", ":scheme": "http", ":path": "/_", ":authority": "svc" };
    client.send(head(1, { ...fields, a: "_", [name.toLowerCase()]: "1" }, true));
    await client.reply(1);
    expect(server.snapshot().refused).toEqual(served ? {} : { bad_header_name: 1 });
  });

  it("in trailers they are dropped", async () => {
    const server = await start(listener, { refuseUnderscores: true, http2: true });
    const http2 = await h2To(server);
    const fields = { ":method": "POST", ":scheme": "http", ":path": "/", ":authority": "svc" };
    const trailers = block({ x_user: "1", "x-sum": "2" });
    http2.send(
      head(1, fields),
      data(1, "x"),
      frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers),
    );
    const { payload } = await http2.reply(1);
    const body = payload.length > 0 ? payload.toString() : http2.raw.text;
    expect(body).toContain('{"x-sum":"2"}');
    const http1 = await rawTo(await start(listener, { refuseUnderscores: true }));
    http1.send("POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n");
    http1.send("0\r\nx_user: 1\r\nx-sum: 2\r\n\r\n");
    expect((await http1.reply()).body).toBe('{"x-sum":"2"}');
  });
});
