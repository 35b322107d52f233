/**
 * L8: calls in all their kinds while this process's wall clock jumps; prints how long things took by
 * the clock that does not. With a file as argument, the jumps are libfaketime's, which reads it.
 */
import { renameSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient } from "../../src/index.ts";

const file = process.argv[2];
const OFFSETS = ["+0", "+3600", "-3600", "+360000", "@1970-01-02 00:00:00"];
let turn = 0;
const jump = (): void => {
  if (file === undefined) return;
  // Replaced whole: half a line would be a time too.
  writeFileSync(`${file}.new`, `${OFFSETS[turn++ % OFFSETS.length]!}\n`);
  renameSync(`${file}.new`, file);
};
const jumper = setInterval(jump, 15);
const clock = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

let forwardMs = 0;
let backwardMs = 0;
let seen = Date.now();
const watcher = setInterval(() => {
  const now = Date.now();
  forwardMs = Math.max(forwardMs, now - seen);
  backwardMs = Math.max(backwardMs, seen - now);
  seen = now;
}, 10);

let accepted = 0;
let asked = 0;
let down = false;
const server: Server = createServer((request, response) => {
  asked++;
  if (request.url === "/hang") return;
  if (request.url === "/reset-first" && request.headers["x-mesh-attempt"] === undefined) {
    request.socket.resetAndDestroy();
    return;
  }
  if (request.url === "/busy-first" && request.headers["x-mesh-attempt"] === undefined) {
    response.writeHead(503, { "retry-after": "1" }).end();
    return;
  }
  response.statusCode = down ? 500 : 200;
  response.end("ok");
});
server.on("connection", () => accepted++);
server.listen(0, "127.0.0.1");
await once(server, "listening");
const spare = createServer((_, response) => response.end("ok"));
spare.listen(0, "127.0.0.1");
await once(spare, "listening");
const addressOf = (one: Server): string => `127.0.0.1:${(one.address() as AddressInfo).port}`;

const mesh = createMesh({
  env: {},
  config: {
    services: {
      one: { discovery: { static: [addressOf(server)] } },
      two: {
        discovery: { static: [addressOf(server), addressOf(spare)] },
        retry: { attempts: 1 },
        balancer: { kind: "round-robin" },
        breaker: { minOpenMs: 200, maxOpenMs: 400 },
      },
    },
  },
});
const one = meshClient("one", { mesh });
const two = meshClient("two", { mesh });

async function timed(path: string, timeoutMs?: number): Promise<{ end: string; tookMs: number }> {
  const startedAt = clock();
  let end: string;
  try {
    const init = timeoutMs === undefined ? {} : { timeoutMs };
    end = await (await one.fetch(path, init)).text();
  } catch (error) {
    end = error instanceof MeshError ? error.reason : String(error);
  }
  return { end, tookMs: clock() - startedAt };
}

const plain = [];
for (let i = 0; i < 30; i++) plain.push(await timed("/"));
const connections = accepted;
const deadline = await timed("/hang", 200);
const backoff = await timed("/reset-first");
const retryAfter = await timed("/busy-first", 5_000);

const stateOf = (): string | undefined =>
  mesh
    .snapshot()
    .services.find(({ name }) => name === "two")!
    .endpoints.find(({ address }) => address === addressOf(server))?.breaker.state;
const callUntil = async (state: string): Promise<number> => {
  const startedAt = clock();
  while (stateOf() !== state && clock() - startedAt < 10_000) {
    await (await two.fetch("/")).text();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return clock() - startedAt;
};
down = true;
await callUntil("open");
const opened = stateOf();
down = false;
const healedMs = await callUntil("closed");
const healed = stateOf();

const budgets = mesh.snapshot().services.map(({ retryBudget }) => retryBudget.balance);
const durations: { count: number; sum: number }[] = [];
for (const series of mesh.metrics()) {
  if (!series.name.endsWith(".duration") || !("sum" in series)) continue;
  durations.push({ count: Number(series.count), sum: Number(series.sum) });
}
const closingAt = clock();
await mesh.close(1_000);
const closedMs = clock() - closingAt;
clearInterval(jumper);
clearInterval(watcher);
for (const each of [server, spare]) {
  each.closeAllConnections();
  each.close();
}
process.stdout.write(
  JSON.stringify({
    forwardMs,
    backwardMs,
    plainEnds: [...new Set(plain.map(({ end }) => end))],
    plainSlowestMs: Math.max(...plain.map(({ tookMs }) => tookMs)),
    connections,
    asked,
    deadline,
    backoff,
    retryAfter,
    opened,
    healed,
    healedMs,
    budgets,
    durations,
    closedMs,
  }),
);
