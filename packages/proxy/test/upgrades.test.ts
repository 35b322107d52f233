/** Connections that change to another protocol: each of the ways in which their two directions end. */
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { origin2 } from "./support/http2.ts";
import { Client, listening } from "./support/net.ts";
import { exchangeRaw, proxied, repliesIn, type Proxied } from "./support/proxied.ts";

const ASK =
  "GET / HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const YES = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
/** More than all buffers on the way hold, those of the kernel included. */
const LARGE = Buffer.alloc(24_000_000, "x");
const POLL = { timeout: 15_000, interval: 20 };

/** What a server has got behind its 101. */
class Tunnel {
  readonly socket: Socket;
  bytes = 0;
  ended = false;
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("end", () => (this.ended = true));
    socket.on("close", () => (this.closed = true));
    socket.pause();
  }

  read(): void {
    this.socket.on("data", (chunk: Buffer) => (this.bytes += chunk.length));
    this.socket.resume();
  }
}

interface Opened extends Proxied {
  readonly client: Client;
  readonly tunnel: Tunnel;
}

/** A tunnel through the proxy, of which the server reads nothing yet. `limits`: of the listener. */
async function opened(limits: object = {}): Promise<Opened> {
  const accepted = Promise.withResolvers<Tunnel>();
  const server = await listening((socket) => {
    socket.once("data", () => {
      socket.write(YES);
      accepted.resolve(new Tunnel(socket));
    });
  });
  const running = await proxied({ orders: [server.address] }, { listener: { limits } });
  const client = new Client(`127.0.0.1:${running.port}`).send(ASK);
  const tunnel = await accepted.promise;
  await client.until(({ text }) => text.endsWith("\r\n\r\n"), "101");
  return { ...running, client, tunnel };
}

/** A Unix socket holds a fixed amount: some of these leave a rest in the proxy alone. */
const SIZES = Array.from({ length: 24 }, (_, i) => (8 + i) * 16_384);

/** A server behind such a socket that has said all with its 101, and reads nothing yet. */
async function unread(limits: object = {}): Promise<Proxied & { readonly tunnels: Tunnel[] }> {
  const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const tunnels: Tunnel[] = [];
  const serve = (socket: Socket): void => {
    socket.once("data", () => {
      socket.end(`${YES}bye`);
      tunnels.push(new Tunnel(socket));
    });
  };
  const { address } = await listening(serve, { path: join(folder, "server.sock") });
  const running = await proxied({ orders: [address] }, { listener: { limits } });
  return { ...running, tunnels };
}

describe("H7 P11: the end of a tunnel", () => {
  it("of a server that has said all and reads slowly: it gets everything that the client still sends", async () => {
    const { client, tunnel, proxy } = await opened();
    tunnel.socket.end("bye");
    await client.until(({ ended }) => ended, "the server's end");
    client.send(LARGE).end();
    // What is on its way in the proxy is left when the client has closed.
    setTimeout(() => tunnel.read(), 100);
    await expect.poll(() => tunnel.ended, POLL).toBe(true);
    expect(tunnel.bytes).toBe(LARGE.length);
    await expect.poll(() => proxy.listeners[0]!.connections, POLL).toBe(0);
  });

  it("of a client that has closed before its server has taken everything: what is on its way arrives", async () => {
    const { port, proxy, tunnels } = await unread();
    for (const [i, size] of SIZES.entries()) {
      const client = new Client(`127.0.0.1:${port}`).send(ASK);
      await client.until(({ ended }) => ended, "the server's end");
      client.send(LARGE.subarray(0, size)).end();
      await expect.poll(() => tunnels.length).toBe(i + 1);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const tunnel of tunnels) tunnel.read();
    await expect.poll(() => tunnels.every(({ ended }) => ended), POLL).toBe(true);
    expect(tunnels.map(({ bytes }) => bytes)).toEqual(SIZES);
    await expect.poll(() => proxy.listeners[0]!.connections, POLL).toBe(0);
  });

  it("whose server never takes the rest: its connection does not stay", async () => {
    const { port, proxy, tunnels } = await unread({ writeStallTimeoutMs: 1_000 });
    for (const size of SIZES) {
      const client = new Client(`127.0.0.1:${port}`).send(ASK);
      await client.until(({ ended }) => ended, "the server's end");
      client.send(LARGE.subarray(0, size)).end();
    }
    // Of those that had not all been read by the proxy the clients wait as well.
    await expect.poll(() => proxy.listeners[0]!.connections, POLL).toBeLessThan(SIZES.length / 2);
    for (const tunnel of tunnels) tunnel.read();
    await expect.poll(() => tunnels.every(({ closed, ended }) => closed || ended), POLL).toBe(true);
  });

  it("by a reset of the server, which the client sees as one", async () => {
    const { client, tunnel } = await opened();
    tunnel.socket.resetAndDestroy();
    await client.until(({ closed }) => closed, "the end of the connection");
    expect(client.error?.code).toBe("ECONNRESET");
  });
});

it("a server of HTTP/2, which has no Upgrade, gets a request that is whole", async () => {
  const { address } = await origin2((stream, headers) => {
    stream.resume().on("end", () => {
      stream.respond({ ":status": 426, "x-length": String(headers["content-length"]) });
      stream.end("no");
    });
  });
  const { port } = await proxied({
    orders: { http2: true, discovery: { static: [address] }, timeouts: { request: "3s" } },
  });
  const { text } = await exchangeRaw(port, ASK);
  expect(repliesIn(text)).toMatchObject([
    { status: 426, body: "no", head: expect.stringContaining("x-length: undefined") },
  ]);
});
