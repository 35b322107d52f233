/**
 * Work that goes on when its request is over: pollers, work behind a 202, what several requests wait
 * for. Over HTTP/1 and HTTP/2, on real sockets; gRPC has the same in packages/grpc/test.
 */
import type { IncomingHttpHeaders, RequestListener } from "node:http";
import DataLoader from "dataloader";
import { context } from "@inmesh/core";
import { meshServer, type MeshClient } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { clientOf, rejectionOf, serve, sleep, until } from "./wire.ts";

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

interface Backend {
  readonly client: MeshClient;
  readonly heads: IncomingHttpHeaders[];
}

/** Answers after `delayMs` with the query of its URL. */
async function backendOf(delayMs = 0): Promise<Backend> {
  const heads: IncomingHttpHeaders[] = [];
  const { address } = await serve((request, response) => {
    heads.push(request.headers);
    setTimeout(() => response.end(request.url!.split("?")[1]), delayMs);
  });
  return { client: clientOf([address]), heads };
}

async function frontOf(handler: RequestListener, http2: boolean): Promise<MeshClient> {
  const server = meshServer(handler, { http2, posture: "mesh" });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  return clientOf([`127.0.0.1:${port}`], { http2, retry: { attempts: 1 } });
}

/** What comes of a call of the background work. */
async function outcomeOf(client: MeshClient): Promise<string> {
  try {
    return await (await client.fetch("/?ok")).text();
  } catch (error) {
    return (error as Error).message;
  }
}

describe.each([
  ["HTTP/1.1", false],
  ["HTTP/2", true],
])("%s", (_version, http2) => {
  it("R19 LS: a poller started by the first request keeps its trace, and neither its deadline nor its hops", async () => {
    const { client, heads } = await backendOf();
    const outcomes: string[] = [];
    const polling = { on: true };
    onTestFinished(() => void (polling.on = false));
    const poll = async (): Promise<void> => {
      while (polling.on) {
        await sleep(10);
        outcomes.push(await outcomeOf(client));
      }
    };
    const front = await frontOf((_request, response) => {
      void poll();
      setTimeout(() => response.end("up"), 30);
    }, http2);
    const reply = await front.fetch("/", {
      timeoutMs: 400,
      headers: { traceparent: TRACE, "x-mesh-priority": "critical" },
    });
    expect(await reply.text()).toBe("up");
    await sleep(450);
    const seen = outcomes.length;
    await until(() => outcomes.length > seen + 3);
    expect(new Set(outcomes)).toEqual(new Set(["ok"]));
    expect(Number(heads[0]!["x-mesh-timeout-ms"])).toBeLessThan(400);
    expect(heads[0]).toHaveProperty("x-mesh-hops");
    const last = heads.at(-1)!;
    expect(Number(last["x-mesh-timeout-ms"])).toBeGreaterThan(10_000);
    expect(last["traceparent"]).toBe(TRACE);
    expect(last).not.toHaveProperty("x-mesh-hops");
    expect(last).not.toHaveProperty("x-mesh-priority");
  });

  it("R19 LS: work behind a 202 begins in the turn of its end, and outlives the caller's deadline", async () => {
    const { client, heads } = await backendOf(200);
    const outcomes: string[] = [];
    const front = await frontOf((_request, response) => {
      response.statusCode = 202;
      response.end();
      void outcomeOf(client).then((outcome) => outcomes.push(outcome));
    }, http2);
    const reply = await front.fetch("/", { timeoutMs: 180 });
    expect(reply.status).toBe(202);
    await until(() => outcomes.length === 1);
    expect(outcomes).toEqual(["ok"]);
    expect(Number(heads[0]!["x-mesh-timeout-ms"])).toBeGreaterThan(10_000);
  });

  it.each([
    ["with a call in progress", 0],
    ["between two calls", 80],
  ])(
    "R19 LS: a caller that leaves %s cancels once what was done for it, and nothing after that",
    async (_when, pauseMs) => {
      const { client } = await backendOf(50);
      const outcomes: string[] = [];
      let begun = false;
      const front = await frontOf(() => {
        begun = true;
        void (async () => {
          await sleep(pauseMs);
          // What starts together is cancelled together.
          outcomes.push(...(await Promise.all([outcomeOf(client), outcomeOf(client)])));
          outcomes.push(await outcomeOf(client), await outcomeOf(client));
        })();
      }, http2);
      const left = new AbortController();
      const failed = rejectionOf(front.fetch("/", { signal: left.signal }));
      await until(() => begun);
      await sleep(20);
      left.abort();
      await failed;
      await until(() => outcomes.length === 4);
      const gone = "orders: the caller of the request being served has gone";
      expect(outcomes).toEqual([gone, gone, "ok", "ok"]);
    },
  );

  it("R20 LC: what two requests wait for is not cancelled by the first, if it is started outside of it", async () => {
    const { client, heads } = await backendOf(100);
    const load = async (ids: readonly string[]): Promise<string[]> => {
      const reply = await client.fetch(`/?${ids.join()}`);
      return (await reply.text()).split(",");
    };
    const loaders = {
      bare: new DataLoader(load),
      exit: new DataLoader<string, string>((ids) => context.exit(load, ids)),
    };
    const waiting: string[] = [];
    const front = await frontOf((request, response) => {
      const [, kind = "", id = ""] = request.url!.split("/");
      waiting.push(id);
      loaders[kind as keyof typeof loaders].load(id).then(
        (value) => response.end(value),
        (error: Error) => response.writeHead(500).end(error.message),
      );
    }, http2);
    const race = async (kind: string): Promise<string> => {
      waiting.length = 0;
      const left = new AbortController();
      const options = { headers: { "x-mesh-priority": "critical" } };
      const first = rejectionOf(
        front.fetch(`/${kind}/a`, { signal: left.signal, timeoutMs: 5_000, ...options }),
      );
      await until(() => waiting.length === 1);
      // Of the same key, so it waits for the promise that the first one's request has started.
      const second = front.fetch(`/${kind}/a`);
      await until(() => waiting.length === 2);
      left.abort();
      await first;
      return (await second).text();
    };
    expect(await race("bare")).toContain("the caller of the request being served has gone");
    expect(await race("exit")).toBe("a");
    expect(heads.at(-1)).not.toHaveProperty("x-mesh-priority");
    expect(Number(heads.at(-1)!["x-mesh-timeout-ms"])).toBeGreaterThan(10_000);
  });
});

it("R19 LS: the error of a deadline says who set it, and no negative time", async () => {
  const { address } = await serve(() => {});
  const messageOf = async (promise: Promise<unknown>): Promise<string> =>
    ((await rejectionOf(promise)) as Error).message;
  const service = clientOf([address], { timeouts: { request: "30ms" } });
  const routed = clientOf([address], {
    routes: [{ name: "slow", timeouts: { request: "40ms" } }],
  });
  const at = `orders → ${address}`;
  expect(await messageOf(service.fetch("/"))).toBe(
    `${at}: deadline exceeded after 30 ms (timeouts.request of the service)`,
  );
  expect(await messageOf(routed.fetch("/"))).toBe(
    `${at}: deadline exceeded after 40 ms (timeouts.request of route slow)`,
  );
  expect(await messageOf(routed.fetch("/", { timeoutMs: 20 }))).toBe(
    `${at}: deadline exceeded after 20 ms (set by the call)`,
  );
  const messages: string[] = [];
  const server = meshServer((_request, response) => {
    void (async () => {
      messages.push(await messageOf(routed.fetch("/")));
      messages.push(await messageOf(routed.fetch("/")), await messageOf(routed.fetch("/")));
      response.end();
    })();
  });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  // A caller that goes on waiting when its own deadline has passed.
  await fetch(`http://127.0.0.1:${port}/`, { headers: { "x-mesh-timeout-ms": "30" } });
  const from = "(inherited from the request being served)";
  expect(messages[0]).toMatch(/^orders → .*: deadline exceeded after \d+ ms \(inherited/);
  expect(messages[2]).toBe(`orders: its deadline had passed before it began ${from}`);
});
