/** Connections that were asked to end, and whose clients do nothing about it: they are made to end. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { meshGrpcServer, type GrpcServerLimits, type MeshGrpcServer } from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import {
  block,
  data,
  frame,
  HEADERS,
  PREFACE,
  settings,
  WINDOW_UPDATE,
  words,
} from "../../http/test/support/h2-peer.ts";
import { Orders } from "./support/orders.ts";
import { callHead, message } from "./support/raw-grpc-client.ts";
import { sleep, until } from "./support/wire.ts";

const INITIAL_WINDOW_SIZE = 4;
/** A head whose rest never comes. */
const openHead = (id: number): Buffer => frame(HEADERS, 0, id, block({ ":method": "POST" }));
const call = (id: number): Buffer => Buffer.concat([callHead(id), data(id, message(), true)]);

async function start(limits: Partial<GrpcServerLimits>): Promise<[MeshGrpcServer, number]> {
  const server = meshGrpcServer({ limits, discoveryWaitMs: 0 });
  server.server.addService(Orders.service, {
    get: (_call: unknown, done: (error: null, order: object) => void) =>
      done(null, { blob: Buffer.alloc(1_000) }),
  } as never);
  const port = await server.listen("127.0.0.1:0");
  onTestFinished(() => server.close(0));
  return [server, port];
}

/** A client that reads, and never ends its side; says when the server has ended all of it. */
async function stubborn(port: number, ...first: readonly Buffer[]): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  socket.on("error", () => {});
  socket.resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  socket.write(Buffer.concat([PREFACE, ...first]));
  return socket;
}

const CLIENTS: readonly [string, readonly Buffer[]][] = [
  ["a head that does not end", [settings(), openHead(1)]],
  ["a head that does not end behind a call", [settings(), call(1), openHead(3)]],
  ["a client that never ends its side", [settings(), call(1)]],
];

it.each(CLIENTS)("R5 GS: %s: by the limit of old connections", async (_name, first) => {
  const [server, port] = await start({ maxConnectionAgeMs: 300, maxConnectionAgeGraceMs: 300 });
  const socket = await stubborn(port, ...first);
  await until(() => server.snapshot().sessions === 1);
  await until(() => server.snapshot().sessions === 0, 5_000);
  // Nothing answers any more: what is written is reset.
  const timer = setInterval(() => socket.write("x"), 20);
  await until(() => socket.destroyed, 2_000);
  clearInterval(timer);
});

it("R5 GS: a drain does not wait its grace for any of them", async () => {
  const [server, port] = await start({});
  for (const [, first] of CLIENTS) await stubborn(port, ...first);
  await until(() => server.snapshot().sessions === CLIENTS.length);
  await sleep(50);
  const startedAt = performance.now();
  await server.close(30_000);
  expect(performance.now() - startedAt).toBeLessThan(6_000);
  await until(() => server.snapshot().sessions === 0);
});

it("R5 GS: the end of the grace leaves no socket behind", async () => {
  const [server, port] = await start({});
  const sockets: Socket[] = [];
  for (const [, first] of CLIENTS) sockets.push(await stubborn(port, ...first));
  await until(() => server.snapshot().sessions === CLIENTS.length);
  await server.close(100);
  const timer = setInterval(() => {
    for (const socket of sockets) socket.write("x");
  }, 20);
  await until(() => sockets.every(({ destroyed }) => destroyed), 3_000);
  clearInterval(timer);
});

it("R5 GS: a client that opens its window byte by byte loses its call", async () => {
  const [server, port] = await start({ writeStallTimeoutMs: 300 });
  const socket = await stubborn(port, settings(INITIAL_WINDOW_SIZE, 1), call(1));
  const timer = setInterval(() => socket.write(frame(WINDOW_UPDATE, 0, 1, words(1))), 20);
  await until(() => server.snapshot().refused["write_stall"] === 1);
  await until(() => server.snapshot().callsInFlight === 0);
  clearInterval(timer);
});
