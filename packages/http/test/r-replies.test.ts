/** Rows R13 and R27: replies whose reader pauses, and replies that are never read. */
import { once } from "node:events";
import { createServer as createHttp1, type RequestListener } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ServiceInput } from "@inmesh/core";
import { meshClient, type HttpReply } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { Recorded, doorsOf } from "./support/doors.ts";
import { failureOf, peerOf, sleep, until } from "./wire.ts";

type Version = "HTTP/1.1" | "HTTP/2";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

async function serve(version: Version, listener: RequestListener): Promise<string> {
  const server = version === "HTTP/2" ? createHttp2(listener as never) : createHttp1(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    if ("closeAllConnections" in server) server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const SIZE = 4 * 1_048_576;
/** Sends much at once. */
const large: RequestListener = (_request, response) => void response.end(Buffer.alloc(SIZE, 65));

describe.each<Version>(["HTTP/1.1", "HTTP/2"])("R13 LC: over %s", (version) => {
  const input: ServiceInput = { http2: version === "HTTP/2", timeouts: { bodyIdle: "150ms" } };

  it("a reader of meshClient may pause for longer than the idle limit", async () => {
    const mesh = doorsOf([await serve(version, large)], input);
    const { body } = await meshClient("orders", { mesh }).fetch("/");
    let bytes = 0;
    let pauses = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (pauses++ < 2) await sleep(400);
    }
    expect(bytes).toBe(SIZE);
  });

  it("a reply may wait for its reader for longer than the idle limit", async () => {
    const mesh = doorsOf([await serve(version, large)], input);
    const reply = await meshClient("orders", { mesh }).fetch("/");
    await sleep(500);
    expect(await reply.bytes()).toHaveLength(SIZE);
  });

  it("a handler of mesh.dispatcher may pause for longer than the idle limit", async () => {
    const mesh = doorsOf([await serve(version, large)], input);
    let pauses = 0;
    const recorded = new Recorded(
      mesh.dispatcher,
      {},
      {
        onResponseData: (controller) => {
          if (pauses++ > 1) return;
          controller.pause();
          setTimeout(() => controller.resume(), 400);
        },
      },
    );
    expect(await recorded.over).toBeUndefined();
    expect(recorded.bytes).toBe(SIZE);
  });

  it("a reader of mesh.fetch may pause for longer than the idle limit", async () => {
    const mesh = doorsOf([await serve(version, large)], input);
    const { body } = await mesh.fetch("http://orders/");
    let bytes = 0;
    let pauses = 0;
    for await (const chunk of body!) {
      bytes += chunk.length;
      if (pauses++ < 2) await sleep(400);
    }
    expect(bytes).toBe(SIZE);
  });

  it("a peer that falls silent is still given up, before and after a pause of the reader", async () => {
    const address = await serve(version, (_request, response) => {
      response.write(Buffer.alloc(200_000, 65));
    });
    const mesh = doorsOf([address], input);
    const client = meshClient("orders", { mesh });
    const reply = await client.fetch("/");
    const idle = { code: "deadline_exceeded", reason: "idle_timeout" };
    expect(await failureOf(reply.bytes())).toMatchObject(idle);
    const paused = await client.fetch("/");
    await sleep(400);
    const startedAt = performance.now();
    expect(await failureOf(paused.bytes())).toMatchObject(idle);
    expect(performance.now() - startedAt).toBeGreaterThan(100);
  });
});

function bytesOf(response: Response): () => Promise<Uint8Array> {
  return async () => new Uint8Array(await response.arrayBuffer());
}

/** Only the status leaves this function: the reply itself can be collected. */
async function statusOf(reply: Promise<{ readonly status: number }>): Promise<number> {
  return (await reply).status;
}

type Kept = HttpReply | Response;

/** Leaves the reply in `held` alone, and not in a frame of the test that awaits it. */
async function keep(reply: Promise<Kept>, held: Kept[]): Promise<void> {
  const kept = await reply;
  expect(kept.status).toBe(200);
  held.push(kept);
}

describe.each<Version>(["HTTP/1.1", "HTTP/2"])("R27 LC: over %s", (version) => {
  const limits = { maxConnectionsPerEndpoint: 2 };
  const input: ServiceInput = { http2: version === "HTTP/2", limits, timeouts: { queue: "200ms" } };

  /** Takes two streams at a time, so that both versions have room for two. */
  async function servesTwo(
    listener: RequestListener,
  ): Promise<{ address: string; open(): number }> {
    let open = 0;
    const address = await serve(version, (request, response) => {
      open++;
      response.on("close", () => open--);
      listener(request, response);
    });
    return { address, open: () => open };
  }

  it.each([
    ["a head that is all that was looked at", (reply: HttpReply) => reply],
    ["a Response that was not read", (reply: HttpReply) => reply.toResponse()],
    ["a body that was asked for and not read", (reply: HttpReply) => (void reply.body, reply)],
  ])("%s gives its connection back when the reply is collected", async (_what, use) => {
    const { address, open } = await servesTwo(large);
    const mesh = doorsOf([address], input);
    const client = meshClient("orders", { mesh });
    const held: Kept[] = [];
    for (let i = 0; i < 2; i++) await keep(client.fetch(`/${i}`).then<Kept>(use), held);
    await sleep(50);
    // Held, because the engine can collect at any moment what is not.
    collect();
    await sleep(50);
    expect(open()).toBe(2);
    expect(held).toHaveLength(2);
    held.length = 0;
    await until(() => {
      collect();
      return open() === 0;
    }, 15_000);
    const [endpoint] = mesh.snapshot().services[0]!.endpoints;
    expect(endpoint).toMatchObject({ breaker: { state: "closed" } });
    expect(await (await client.fetch("/again")).bytes()).toHaveLength(SIZE);
  });

  it.each([
    ["a reply", (reply: HttpReply) => () => reply.bytes()],
    [
      "its stream",
      ({ body }: HttpReply) =>
        () =>
          buffer(body),
    ],
    ["a Response of it", (reply: HttpReply) => bytesOf(reply.toResponse())],
  ])("%s that is held is not collected, and is whole when it is read", async (_what, hold) => {
    const mesh = doorsOf([await serve(version, large)], input);
    const read = hold(await meshClient("orders", { mesh }).fetch("/"));
    for (let i = 0; i < 5; i++) {
      await sleep(20);
      collect();
    }
    expect(await read()).toHaveLength(SIZE);
  });

  it("a reader that only waits for the next byte is not collected", async () => {
    const address = await serve(version, (_request, response) => {
      response.write("a");
      setTimeout(() => response.end("b"), 600);
    });
    const mesh = doorsOf([address], { ...input, timeouts: { bodyIdle: "2s", request: "none" } });
    let text = "";
    const read = async (): Promise<void> => {
      const reply = await meshClient("orders", { mesh }).fetch("/");
      for await (const chunk of reply.body) text += String(chunk);
    };
    const done = read();
    for (let i = 0; i < 10; i++) {
      await sleep(50);
      collect();
    }
    await done;
    expect(text).toBe("ab");
  });

  it("a slow reader of a large body is not collected", async () => {
    const mesh = doorsOf([await serve(version, large)], input);
    let bytes = 0;
    const { body } = await meshClient("orders", { mesh }).fetch("/");
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes < 600_000) {
        await sleep(20);
        collect();
      }
    }
    expect(bytes).toBe(SIZE);
  });

  it("an endless body of few bytes is given back after the idle limit", async () => {
    const { address, open } = await servesTwo((_request, response) => {
      const timer = setInterval(() => response.write("."), 20);
      response.on("close", () => clearInterval(timer));
    });
    const timeouts = { bodyIdle: "100ms", request: "none" } as const;
    const mesh = doorsOf([address], { ...input, timeouts });
    expect(await statusOf(meshClient("orders", { mesh }).fetch("/"))).toBe(200);
    await until(() => {
      collect();
      return open() === 0;
    });
  });

  it("mesh.fetch gives its connection back when the response is collected", async () => {
    const { address, open } = await servesTwo(large);
    const mesh = doorsOf([address], input);
    for (let i = 0; i < 2; i++) expect(await statusOf(mesh.fetch("http://orders/"))).toBe(200);
    await until(() => {
      collect();
      return open() === 0;
    });
  });
});

it("R27 LC: those who wait for a connection learn what holds it", async () => {
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    await connection.write(`HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`);
    await connection.write(Buffer.alloc(SIZE, 65));
    await connection.hold();
  });
  const limits = { maxConnectionsPerEndpoint: 1, maxQueuedPerEndpoint: 1 };
  const mesh = doorsOf([peer.address], {
    limits,
    retry: { attempts: 1 },
    timeouts: { queue: "300ms" },
  });
  const client = meshClient("orders", { mesh });
  const held = await client.fetch("/");
  await sleep(50);
  const hint = "1 held by replies whose body has not been read: read it, or call discard()";
  const waits = client.fetch("/waits");
  const late = client.fetch("/late", { timeoutMs: 100 });
  expect((await failureOf(late)).message).toContain(hint);
  expect((await failureOf(waits)).message).toContain(hint);
  expect(held.bodyUsed).toBe(false);
  held.discard();
});
