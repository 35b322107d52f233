/** Connections that were asked to end, and whose clients do nothing about it: they are made to end. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import * as http2 from "node:http2";
import { connect, type Socket } from "node:net";
import { meshServer, type MeshServer, type ServerLimits } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { onTestFinished, runBeside } from "./support/beside.ts";
import {
  block,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PREFACE,
  reset,
  settings,
  WINDOW_UPDATE,
  words,
} from "./support/h2-peer.ts";
import { rawTo, start } from "./support/server.ts";
import { sleep, until } from "./wire.ts";

const INITIAL_WINDOW_SIZE = 4;
const GET = "GET / HTTP/1.1\r\nhost: svc\r\n\r\n";
const REQUEST = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "svc" };

const head = (id: number, fields: Record<string, string> = REQUEST): Buffer =>
  frame(HEADERS, END_HEADERS | END_STREAM, id, block(fields));
/** A head whose rest never comes. */
const openHead = (id: number): Buffer => frame(HEADERS, END_STREAM, id, block(REQUEST));

/** A client that reads, and never ends its side. */
async function stubborn(server: MeshServer, ...first: readonly Buffer[]): Promise<Socket> {
  const { port } = server.address()!;
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  socket.on("error", () => {});
  socket.resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  if (first.length > 0) socket.write(Buffer.concat(first));
  return socket;
}

/** Milliseconds until none is left. */
async function emptied(server: MeshServer, withinMs: number): Promise<number> {
  await until(() => server.snapshot().connections === 1);
  return until(() => server.snapshot().connections === 0, withinMs);
}

const h2 = (
  limits: Partial<ServerLimits>,
  given = false,
  handler: Parameters<typeof start>[0] = (_request, response) => void response.end("ok"),
): Promise<MeshServer> => {
  if (!given) return start(handler, { http2: true, limits, discoveryWaitMs: 0, idleWaitMs: 50 });
  const server = meshServer(http2.createServer(handler as never), { limits, idleWaitMs: 50 });
  onTestFinished(() => server.close(0));
  return server.listen(0, "127.0.0.1").then(() => server);
};

describe.concurrent.each([false, true])("HTTP/2, given: %s", (given) => {
  runBeside();
  it("R5 LS: a head that does not end: by the limit of heads", async () => {
    const server = await h2({ headersTimeoutMs: 200 }, given);
    await stubborn(server, PREFACE, settings(), openHead(1));
    expect(await emptied(server, 4_000)).toBeGreaterThan(150);
  });

  it("R5 LS: a head that does not end behind a request: by the limit of idle connections", async () => {
    const server = await h2({ keepAliveIdleMs: 400 }, given);
    await stubborn(server, PREFACE, settings(), head(1), openHead(3));
    await emptied(server, 5_000);
  });

  it("R5 LS: … and by that of old ones, though its client never ends its side", async () => {
    const server = await h2({ maxConnectionAgeMs: 400 }, given);
    for (const last of [[openHead(3)], []]) {
      await stubborn(server, PREFACE, settings(), head(1), ...last);
      await emptied(server, 6_000);
    }
  });

  it("R5 LS: … and a drain does not wait its grace for it", async () => {
    const server = await h2({}, given);
    for (const last of [[openHead(3)], []]) {
      await stubborn(server, PREFACE, settings(), head(1), ...last);
    }
    await stubborn(server, PREFACE, settings(), openHead(1));
    await until(() => server.snapshot().sessions === 3);
    const startedAt = performance.now();
    await server.close(30_000);
    expect(performance.now() - startedAt).toBeLessThan(6_000);
  });

  it("R5 LS: a client that opens its window byte by byte loses its stream, one that reads does not", async () => {
    const limits = { writeStallTimeoutMs: 400, minReplyRate: 1_000 };
    const server = await h2(limits, given, (request, response) => {
      if (request.url === "/pieces") {
        // Refilled as it empties: what waits is always as much.
        const timer = setInterval(() => response.write("x".repeat(500)), 5);
        response.on("close", () => clearInterval(timer));
      } else response.end(Buffer.alloc(1 << 20));
    });
    for (const path of ["/", "/pieces"]) {
      for (const [bytes, isCut] of [
        [1, true],
        [200, false],
      ] as const) {
        const before = server.snapshot().refused["write_stall"] ?? 0;
        const socket = await stubborn(
          server,
          PREFACE,
          settings(INITIAL_WINDOW_SIZE, 1),
          head(1, { ...REQUEST, ":path": path }),
        );
        const timer = setInterval(() => {
          socket.write(frame(WINDOW_UPDATE, 0, 1, words(bytes)));
          socket.write(frame(WINDOW_UPDATE, 0, 0, words(bytes)));
        }, 20);
        const cut = (): boolean => (server.snapshot().refused["write_stall"] ?? 0) > before;
        if (isCut) await until(cut, 4_000);
        else await sleep(2_500);
        expect(cut(), `${path}, ${bytes}`).toBe(isCut);
        clearInterval(timer);
        socket.destroy();
      }
    }
  });

  it("R5 LS: HEAD whose client gives up is over, though its handler never answers", async () => {
    const server = await h2({}, given, () => {});
    const socket = await stubborn(server, PREFACE, settings());
    socket.write(head(1, { ...REQUEST, ":method": "HEAD" }));
    await until(() => server.snapshot().requestsInFlight === 1);
    socket.write(reset(1, 8));
    await until(() => server.snapshot().requestsInFlight === 0);
  });

  it("R5 LS: what an honest client does is not counted", async () => {
    const server = await h2({ headersCheckMs: 100 }, given, (request, response) => {
      setTimeout(() => response.end("ok"), 50);
      request.on("error", () => {});
    });
    await stubborn(server, PREFACE, settings());
    const socket = await stubborn(server, PREFACE, settings());
    for (let id = 1; id < 60; id += 2) {
      socket.write(head(id));
      await sleep(10);
    }
    await sleep(300);
    expect(server.snapshot()).toMatchObject({ refused: {}, sessions: 2 });
  });

  it("R5 LS: heads that nghttp2 or Node refuses are counted, and too many of them end the connection", async () => {
    const server = await h2({ maxGlitches: 5, headersCheckMs: 100 }, given);
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, "1"]));
    // A field of 4 000 bytes goes into the table, and is said again for a byte each.
    const value = Buffer.alloc(4_000, 97);
    const field = Buffer.concat([
      Buffer.from([0x40, 1, 98, 127, 0xa1, 0x1e]), // b, and the length 4 000
      value,
    ]);
    const bomb = (id: number): Buffer =>
      frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        id,
        Buffer.concat([block(REQUEST), field, Buffer.alloc(8_000, 0xbe)]),
      );
    for (const one of [(id: number) => head(id, { ...REQUEST, ...many }), bomb]) {
      const before = server.snapshot().refused["hidden_streams"] ?? 0;
      const socket = await stubborn(server, PREFACE, settings());
      for (let id = 1; id < 40 && !socket.destroyed; id += 2) socket.write(one(id));
      await until(() => (server.snapshot().refused["hidden_streams"] ?? 0) > before + 5);
      await until(() => server.snapshot().connections === 0, 5_000);
    }
    expect(server.snapshot().refused["glitches"]).toBe(2);
  });
});

describe.concurrent("HTTP/1", () => {
  runBeside();
  const serverOf = async (
    given: boolean,
    limits: Partial<ServerLimits>,
    handler: Parameters<typeof start>[0],
  ): Promise<MeshServer> => {
    if (!given) return start(handler, { limits });
    const bare = createServer({ keepAliveTimeout: 100 }, handler);
    const server = meshServer(bare, { limits });
    onTestFinished(() => server.close(0));
    await server.listen(0, "127.0.0.1");
    return server;
  };

  it.each([false, true])(
    "R5 LS: lingerBytes hold where the handler answers before the body is here; given: %s",
    async (given) => {
      let read = 0;
      const server = await serverOf(
        given,
        { lingerMs: 20_000 },
        (_request, response) => void response.end("early"),
      );
      (server.server as Server).on("connection", (socket: Socket) =>
        socket.on("close", () => (read = socket.bytesRead)),
      );
      const client = await rawTo(server);
      client.send("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 9000000000\r\n\r\n");
      expect((await client.reply()).body).toBe("early");
      const piece = Buffer.alloc(65_536);
      const timer = setInterval(() => {
        if (client.socket.writableLength < 1 << 20) client.socket.write(piece);
      }, 1);
      await client.end();
      clearInterval(timer);
      expect(read).toBeGreaterThan(262_144);
      expect(read).toBeLessThan(2 << 20);
    },
  );

  it("R5 LS: … and a body within them leaves the connection to the next request", async () => {
    const server = await start((_request, response) => void response.end("early"));
    const client = await rawTo(server);
    for (let i = 0; i < 3; i++) {
      client.send("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 200000\r\n\r\n");
      expect((await client.reply()).body).toBe("early");
      client.send(Buffer.alloc(200_000));
    }
    client.send(GET);
    expect((await client.reply()).body).toBe("early");
  });

  it.each([false, true])(
    "R5 LS: empty lines do not hold an idle connection; given: %s",
    async (given) => {
      const limits = { keepAliveIdleMs: 300, headersTimeoutMs: 200, headersCheckMs: 50 };
      const server = await serverOf(given, limits, (_request, response) => void response.end("ok"));
      const client = await rawTo(server);
      client.send(GET);
      await client.reply();
      const timer = setInterval(() => client.send("\r\n"), 20);
      await client.end(3_000);
      clearInterval(timer);
      await until(() => server.snapshot().connections === 0);
    },
  );

  it("R5 LS: a body that a handler goes on reading after its reply is no idle connection", async () => {
    let read = 0;
    const limits = { keepAliveIdleMs: 300, headersTimeoutMs: 200, headersCheckMs: 50 };
    const server = await start(
      (request, response) => {
        request.on("data", (chunk: Buffer) => (read += chunk.length));
        response.end("early");
      },
      { limits },
    );
    const client = await rawTo(server);
    client.send("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 50\r\n\r\n");
    await client.reply();
    for (let i = 0; i < 50; i++) {
      await sleep(30);
      client.send("x");
    }
    client.send(GET);
    expect((await client.reply()).body).toBe("early");
    expect(read).toBe(50);
  });

  it("R5 LS: refused tunnels end, though their clients do not", async () => {
    const server = await start(undefined, { limits: { lingerMs: 200 } });
    server.server.on("upgrade", (_request, socket) => socket.destroy());
    for (const bytes of [
      "CONNECT svc:443 HTTP/1.1\r\nhost: svc:443\r\n\r\n",
      `GET / HTTP/1.1\r\nhost: svc\r\nconnection: upgrade\r\nupgrade: a\r\ncontent-length: 3\r\n\r\n`,
    ]) {
      const socket = await stubborn(server, Buffer.from(bytes));
      const timer = setInterval(() => socket.write("more"), 20);
      await emptied(server, 2_000);
      clearInterval(timer);
    }
  });
});
