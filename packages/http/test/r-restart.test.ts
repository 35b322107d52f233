/**
 * L1: what a server that leaves has not read yet. Connections that wait to be accepted, and requests
 * in the kernel's buffers, are served; closing over them would be a reset, and a POST that is lost.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { connect, type Socket } from "node:net";
import { NodeRuntime, type Timer } from "@inmesh/core/spi";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { meshOf, sleep } from "./wire.ts";

const CLIENTS = 30;
const IDLE_WAIT_MS = 120;
const POST = "POST /work HTTP/1.1\r\nhost: svc\r\ncontent-length: 1\r\n\r\nx";

/** Lets a test act as the timer of `delayMs` fires, before what it is for. */
class ActingRuntime extends NodeRuntime {
  act: (() => void) | undefined = undefined;

  override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer {
    if (delayMs !== IDLE_WAIT_MS) return super.after(delayMs, run, arg, hold);
    const acting = (given: A): void => {
      this.act?.();
      run(given);
    };
    return super.after(delayMs, acting, arg, hold);
  }
}

const handler: RequestListener = (request, response) => {
  request.resume();
  request.on("end", () => response.end("ok"));
};

async function start(given: boolean, options: ServerOptions): Promise<MeshServer> {
  const server = meshServer(given ? createServer(handler) : handler, {
    discoveryWaitMs: 0,
    idleWaitMs: IDLE_WAIT_MS,
    ...options,
  });
  onTestFinished(() => server.close(0));
  await server.listen(0, "127.0.0.1");
  return server;
}

/** What the server sends until it ends the connection, or why it was lost. */
function replyOf(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => void (text += chunk));
  return new Promise((resolve) => {
    socket.on("error", (error) => resolve(error.message));
    socket.on("end", () => resolve(text));
  });
}

const SERVERS = [
  ["of its own", false],
  ["that was given", true],
] as const;

it.each(SERVERS)(
  "L1 LS: a server %s serves connections that wait to be accepted as it leaves",
  async (_name, given) => {
    // They are waited for as long at most, and the machine may be busy with other things.
    const server = await start(given, { idleWaitMs: 2_000 });
    const { port } = server.address()!;
    const sockets = Array.from({ length: CLIENTS }, () => connect(port, "127.0.0.1"));
    const replies = sockets.map((socket) => {
      socket.on("connect", () => socket.write(POST));
      return replyOf(socket);
    });
    // All are connected in one turn, and a turn accepts one.
    await once(sockets.at(-1)!, "connect");
    expect(server.snapshot().connections).toBeLessThan(CLIENTS);
    const left = server.drain(5_000);
    for (const reply of await Promise.all(replies)) {
      expect(reply).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*ok$/);
    }
    await left;
  },
);

it.each(SERVERS)(
  "L1 LS: a server %s serves a request that comes as its connection is closed for being idle",
  async (_name, given) => {
    const runtime = new ActingRuntime();
    const server = await start(given, { mesh: meshOf({ runtime }) });
    const socket = connect(server.address()!.port, "127.0.0.1");
    const reply = replyOf(socket);
    await once(socket, "connect");
    socket.write(POST);
    while (server.snapshot().connections === 0 || socket.bytesRead === 0) await sleep(1);
    runtime.act = () => void socket.write(POST);
    await server.drain(5_000);
    const [first, second] = (await reply).split(/(?<=ok)(?=HTTP)/);
    expect(first).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*connection: keep-alive/i);
    expect(second).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*connection: close/i);
  },
);

it("L1 LS: a server that leaves does not wait for clients that go on connecting", async () => {
  const server = await start(false, {});
  const { port } = server.address()!;
  let over = false;
  const connectAgain = (): void => {
    if (over) return;
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("connect", () => setImmediate(connectAgain));
    socket.on("close", () => socket.destroy());
  };
  for (let i = 0; i < 5; i++) connectAgain();
  await sleep(20);
  await server.drain(10 * IDLE_WAIT_MS);
  over = true;
  expect(server.state).toBe("closed");
});
