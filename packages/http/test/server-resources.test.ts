/** What a server does when its process runs out of something: memory, descriptors. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { meshServer } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { startWithDescriptors } from "./support/children.ts";
import { expectOutlivesFlood } from "./support/flood.ts";
import { AHEAD_BYTES } from "./support/kernel.ts";
import { RawClient } from "./support/raw-client.ts";
import { sleep } from "./wire.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`;

const pathOf = (file: string): string =>
  fileURLToPath(new URL(`children/${file}`, import.meta.url));
const FLAGS = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];

async function startFork(
  file: string,
  flags: readonly string[],
): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(pathOf(file), { execArgv: [...FLAGS, ...flags] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return { child, port };
}

it("B7 LS: a heap that is nearly full refuses with 503 and a nack, is not ready, and recovers", async () => {
  const { child, port } = await startFork("heap.ts", [
    "--max-old-space-size=64",
    "--max-semi-space-size=4",
  ]);
  let exited = false;
  child.on("exit", () => (exited = true));
  using client = await RawClient.to(port);
  const ask = (path: string): ReturnType<RawClient["reply"]> => {
    client.send(GET(path));
    return client.reply(60_000);
  };
  let held = 0;
  let reply = await ask("/hold");
  for (; reply.status === 200; held++) {
    await sleep(1); // a look comes every 20 ms
    reply = await ask("/hold");
  }
  expect(reply.status).toBe(503);
  expect(reply.body).toBe("heap\n");
  expect(reply.head).toMatch(/\r\nretry-after: 1\r\n/);
  expect(reply.head).toMatch(/\r\nx-mesh-nack: 1\r\n/);
  // Not from the start: some ten megabytes were let in.
  expect(held).toBeGreaterThan(100);
  expect((await ask("/readyz")).body).toBe("overloaded\n");
  expect((await ask("/livez")).status).toBe(200);
  child.send("free");
  const [{ refused }] = (await once(child, "message")) as [{ refused: Record<string, number> }];
  expect(refused["heap"]).toBeGreaterThan(0);
  while ((await ask("/")).status !== 200) await sleep(5);
  expect(exited).toBe(false);
}, 120_000);

const startDescriptors = (...args: readonly string[]) =>
  startWithDescriptors(pathOf("descriptors.ts"), 60, ...args);

async function works(client: RawClient): Promise<boolean> {
  client.send(GET("/"));
  return client.reply().then(
    ({ status }) => status === 200,
    () => false,
  );
}

it.skipIf(process.platform !== "linux")(
  "maxConnections is never above half of the descriptors",
  async () => {
    const { port } = await startDescriptors();
    const clients: RawClient[] = [];
    for (let i = 0; i < 45; i++) clients.push(await RawClient.to(port));
    const served = await Promise.all(clients.map(works));
    expect(served.filter(Boolean)).toHaveLength(30);
    clients[0]!.send(GET("/"));
    expect(JSON.parse((await clients[0]!.reply()).body)).toEqual({ connections: 15 });
    for (const client of clients) client.socket.destroy();
  },
);

it("C16 LS: no descriptors left: open connections go on, new ones are let in when there are some again", async () => {
  const { port, exited } = await startDescriptors("full");
  await expectOutlivesFlood(() => RawClient.to(port), works);
  expect(exited()).toBe(false);
}, 60_000);

const MIB = 1_048_576;
const TOTAL = 128 * MIB;

interface Streams {
  readonly rss: number;
  readonly produced: number;
  readonly received: number;
}

async function streams(): Promise<{ client: RawClient; look: () => Promise<Streams> }> {
  const { child, port } = await startFork("streams.ts", []);
  const client = await RawClient.to(port);
  onTestFinished(() => void client.socket.destroy());
  const look = async (): Promise<Streams> => {
    child.send("look");
    const [seen] = (await once(child, "message")) as [Streams];
    return seen;
  };
  return { client, look };
}

it("H12 LS: 128 MiB down to a slow reader: the handler waits, memory stays", async () => {
  const { client, look } = await streams();
  const { socket } = client;
  socket.removeAllListeners("data");
  const read = async (pieces: number): Promise<number> => {
    socket.pause();
    socket.write(GET(`/${pieces}`));
    await sleep(500);
    expect((await look()).produced).toBeLessThan(AHEAD_BYTES);
    let bytes = 0;
    const all = new Promise<void>((resolve) => {
      socket.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (chunk.subarray(-5).toString() === "0\r\n\r\n") resolve();
      });
    });
    socket.resume();
    await all;
    socket.removeAllListeners("data");
    return bytes;
  };
  await read(512); // fills the allocator's pools
  const before = (await look()).rss;
  expect(await read(TOTAL / 65_536)).toBeGreaterThan(TOTAL);
  const after = await look();
  expect(after.produced).toBe(TOTAL);
  expect(after.rss - before).toBeLessThan(64 * MIB);
}, 60_000);

it("H12 LS: 128 MiB up to a handler that begins late: the client waits, memory stays", async () => {
  const { client, look } = await streams();
  const piece = Buffer.alloc(65_536, 7);
  const send = async (total: number): Promise<void> => {
    client.send(`POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: ${total}\r\n\r\n`);
    let sent = 0;
    let waited = false;
    for (; sent < total; sent += piece.length) {
      if (client.socket.write(piece)) continue;
      if (!waited) expect(sent).toBeLessThan(AHEAD_BYTES);
      waited = true;
      await once(client.socket, "drain");
    }
    expect(waited).toBe(true);
    expect((await client.reply(60_000)).body).toBe(String(total));
  };
  await send(32 * MIB);
  const before = (await look()).rss;
  await send(TOTAL);
  // What was read is garbage by now, and is collected when the process has time for it.
  let grown = Infinity;
  for (let looks = 0; looks < 50 && grown >= 64 * MIB; looks++) {
    if (looks > 0) await sleep(100);
    grown = (await look()).rss - before;
  }
  expect(grown).toBeLessThan(64 * MIB);
}, 60_000);

it("H12 LS: chunks of one byte arrive whole and in order, both ways", async () => {
  const text = Array.from({ length: 3_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
  const server = meshServer((request, response) => {
    let seen = "";
    request.on("data", (chunk: Buffer) => (seen += chunk.toString()));
    request.on("end", () => {
      for (const letter of seen) response.write(letter);
      response.end();
    });
  });
  const { port } = await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  using client = await RawClient.to(port);
  const chunks = (whole: string): string =>
    [...whole].map((letter) => `1\r\n${letter}\r\n`).join("") + "0\r\n\r\n";
  client.send("POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n");
  const body = chunks(text);
  for (let i = 0; i < body.length; i += 997) client.send(body.slice(i, i + 997));
  await client.until(() => client.text.endsWith("\r\n0\r\n\r\n"), "the end");
  const [, ...reply] = client.text.split("\r\n\r\n")[1]!.split(/(?:^|\r\n)[0-9a-f]+(?:\r\n|$)/);
  // Node 26 makes one chunk of what is written in one turn.
  expect(reply.join("")).toBe(text);
});

it("B10 LS: hosts, paths, headers and methods that never come again leave nothing behind", async () => {
  const server = meshServer((_request, response) => void response.end("ok"));
  const { port } = await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  using client = await RawClient.to(port);
  const METHODS = ["GET", "POST", "PUT"];
  const ask = async (from: number, count: number): Promise<void> => {
    for (let i = from; i < from + count; i++) {
      // Also what is refused: a trace, a hop count, an expectation of its own.
      client.send(
        `${METHODS[i % 3]} /path-${i}?query=${i} HTTP/1.1\r\nhost: host-${i}.test\r\n` +
          `x-header-${i}: ${i}\r\nx-mesh-client-id: spiffe://${i}\r\nuser-agent: agent ${i}\r\n` +
          `traceparent: 00-${i.toString(16).padStart(32, "0")}-b7ad6b7169203331-01\r\n` +
          (i % 7 === 0 ? "x-mesh-timeout-ms: 0\r\n" : "") +
          "content-length: 0\r\n\r\n",
      );
      expect([200, 504]).toContain((await client.reply()).status);
    }
  };
  await ask(1, 2_000);
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  await ask(2_001, 6_000);
  collectGarbage();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 * MIB);
  expect(server.snapshot().refused).toEqual({ expired_on_arrival: 1_142 });
  expect(JSON.stringify(server.snapshot()).length).toBeLessThan(2_500);
}, 60_000);
