/**
 * Rows R9 to R11 over HTTP/2: calls that are given up beside calls that go on, connections on which
 * the peer refuses every stream, and the memory that Node says cancelled bodies use.
 */
import { once } from "node:events";
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerOptions,
} from "node:http2";
import type { AddressInfo } from "node:net";
import type { ServiceInput } from "@inmesh/core";
import type { MeshServer } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { bench, failure, sleep, type Bench } from "./support/bench.ts";
import {
  answerAll,
  h2Peer,
  ok,
  reset,
  RST_STREAM,
  settings,
  type H2Connection,
} from "./support/h2-peer.ts";
import { start } from "./support/server.ts";
import { until } from "./wire.ts";

const REFUSED_STREAM = 7;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;
const POST = { method: "POST", body: "x" };
const MEGABYTE = Buffer.alloc(1_000_000);

/** Nothing but the connection decides what becomes of a call. */
const PLAIN: ServiceInput = {
  http2: true,
  breaker: { consecutiveFailures: 0, successRatio: 0 },
  retryBudget: { minPerSecond: 100 },
};

const h2 = (address: string): Bench => bench([address], PLAIN);

interface NodeServer {
  readonly address: string;
  /** Connections so far. */
  sessions: number;
}

/** Node's own server. Ends with the test. */
async function nodeServer(
  handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  options: ServerOptions = {},
): Promise<NodeServer> {
  const server = createServer(options, handler);
  const open = new Set<ServerHttp2Session>();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const own = { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sessions: 0 };
  server.on("session", (session) => {
    own.sessions++;
    open.add(session);
    session.on("error", () => {});
    session.on("close", () => open.delete(session));
  });
  onTestFinished(() => {
    for (const session of open) session.destroy();
    server.close();
  });
  return own;
}

/** Node's own client of a server of ours. Ends with the test. */
function sessionTo(server: MeshServer): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${server.address()!.port}`);
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

const nothing = (): void => {};
const closeOf = (one: { once(event: "close", run: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => void one.once("close", resolve));

/** The status of one request, or the code by which it was reset. */
async function statusOf(session: ClientHttp2Session, path = "/"): Promise<number> {
  const stream = session.request({ ":path": path });
  stream.on("error", () => {});
  let status: number | undefined;
  stream.on("response", (headers) => (status = headers[":status"]));
  await closeOf(stream.resume());
  return status ?? -stream.rstCode!;
}

// ── R9 ───────────────────────────────────────────────────────────────────────────────────────────

it("R9 LC: a connection is left after 100 calls that were given up, and ends behind its last call", async () => {
  const connections: H2Connection[] = [];
  let long = 0;
  const peer = await h2Peer(async (connection) => {
    connections.push(connection);
    await connection.open();
    if (connection.number === 1) long = await connection.request();
  });
  const resets = (): number =>
    connections[0]!.frames.filter(({ type }) => type === RST_STREAM).length;
  await using one = h2(peer.address);
  const slow = one.client.fetch("/slow", POST);
  await until(() => long !== 0);
  for (let i = 0; i < 300 && peer.connections === 1; i++) {
    await failure(one.client.fetch("/", { timeoutMs: 4 }));
  }
  for (let i = 0; i < 20; i++) await failure(one.client.fetch("/", { timeoutMs: 4 }));
  expect(peer.connections).toBe(2);
  expect(resets()).toBe(100);
  await connections[0]!.write(ok(long, "from the first"));
  expect(await (await slow).text()).toBe("from the first");
  await until(() => peer.open === 1); // the first has ended
});

it.each(["node", "mesh"])(
  "R9 LC: calls given up cost their neighbours nothing, however many: a server of %s",
  async (kind) => {
    const handler = (path: string | undefined, end: (body: string) => void): void =>
      void setTimeout(end, path === "/slow" ? 200 : 10, "ok");
    let address: string;
    let strict: NodeServer | undefined;
    if (kind === "node") {
      // As strict as the strictest of the servers in use.
      const limits = { streamResetBurst: 200, streamResetRate: 7 };
      strict = await nodeServer(
        ({ url }, response) => handler(url, (x) => response.end(x)),
        limits,
      );
      address = strict.address;
    } else {
      const server = await start(({ url }, response) => handler(url, (x) => response.end(x)), {
        http2: true,
      });
      address = `127.0.0.1:${server.address()!.port}`;
    }
    await using one = h2(address);
    const calls = { givenUp: 0, good: 0 };
    const giveUp = async (): Promise<void> => {
      while (calls.givenUp < 1_500) {
        calls.givenUp++;
        const call = one.client.fetch("/slow", { timeoutMs: 15 });
        await call.then((reply) => reply.text()).catch(nothing);
      }
    };
    const go = async (): Promise<void> => {
      while (calls.givenUp < 1_500) {
        expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
        calls.good++;
      }
    };
    const callers = Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? go() : giveUp()));
    await Promise.all(callers);
    expect(calls.good).toBeGreaterThan(100);
    if (strict !== undefined) expect(strict.sessions).toBeLessThan(25);
  },
);

it("R9 LC: hundreds given up at once on one connection cost the calls beside them nothing", async () => {
  let resets = 0;
  const finish: (() => void)[] = [];
  const limits = { streamResetBurst: 200, streamResetRate: 1 };
  const server = await nodeServer(({ url, stream }, response) => {
    stream.on("aborted", () => resets++);
    if (url === "/wanted") finish.push(() => response.end("ok"));
  }, limits);
  await using one = h2(server.address);
  const wanted = Array.from({ length: 5 }, () => one.client.fetch("/wanted", POST));
  await until(() => finish.length === 5);
  const unwanted = Array.from({ length: 400 }, () => one.client.fetch("/", { timeoutMs: 200 }));
  // All at once: one that fails before it is waited for would be an unhandled rejection.
  const failures = await Promise.all(unwanted.map((call) => failure(call)));
  for (const { reason } of failures) expect(reason).toBe("call_deadline");
  await until(() => resets === 150);
  await sleep(50);
  expect(resets).toBe(150);
  for (const end of finish) end();
  for (const call of wanted) expect(await (await call).text()).toBe("ok");
  expect(server.sessions).toBe(1);
  await until(() => resets === 400); // the connection has ended behind the last call that was wanted
});

it("R9 LS: resets of deadlines that have passed are no misuse, from either side", async () => {
  const server = await start(({ url }, response) => void (url === "/" && response.end("ok")), {
    http2: true,
    limits: { maxStreamResets: 20 },
  });
  const session = sessionTo(server);
  const waits = { ":path": "/slow", "x-mesh-timeout-ms": "40" };
  for (let round = 0; round < 3; round++) {
    const streams = Array.from({ length: 50 }, () => session.request(waits));
    for (const stream of streams) stream.on("error", () => {});
    await until(() => server.snapshot().requestsInFlight === 50);
    await sleep(35); // the client's clock was started before
    for (const stream of streams) stream.close(CANCEL);
    await until(() => server.snapshot().requestsInFlight === 0);
  }
  expect(await statusOf(session)).toBe(200);
  expect(server.snapshot().refused).toEqual({});
});

it("R9 LS: a deadline that is said and not waited for pardons nothing", async () => {
  const server = await start(() => {}, { http2: true, limits: { maxStreamResets: 20 } });
  const session = sessionTo(server);
  const closed = closeOf(session);
  for (let i = 0; i < 50; i++) {
    const stream = session.request({ ":path": "/", "x-mesh-timeout-ms": "1000" });
    stream.on("error", () => {});
    stream.close(CANCEL);
  }
  await closed;
  expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
});

it("R9 LS: as many resets as Node's own server takes, in the middle of replies too", async () => {
  const server = await start((_, response) => void response.write("some"), { http2: true });
  const session = sessionTo(server);
  const one = (): Promise<void> => {
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.on("data", () => stream.close(CANCEL));
    return closeOf(stream);
  };
  const fifty = (): Promise<unknown> => Promise.all(Array.from({ length: 50 }, one));
  for (let i = 0; i < 20; i++) await fifty();
  expect(server.snapshot().refused).toEqual({});
  for (let i = 0; i < 20 && !session.closed && !session.destroyed; i++) await fifty();
  await until(() => session.destroyed);
  expect(server.snapshot().refused).toEqual({ stream_resets: 1 });
});

// ── R10 ──────────────────────────────────────────────────────────────────────────────────────────

it.each([
  ["REFUSED_STREAM", REFUSED_STREAM, 0],
  // It may have been processed: sent again once only, and both meet the same connection.
  ["ENHANCE_YOUR_CALM", ENHANCE_YOUR_CALM, 1],
])("R10 LC: a connection whose streams all end with %s is replaced", async (_, code, costs) => {
  let long = 0;
  let finish = (): Promise<void> => Promise.resolve();
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 1) return answerAll(connection);
    long = await connection.request();
    finish = () => connection.write(ok(long, "from the first"));
    for (;;) await connection.write(reset(await connection.request(), code));
  });
  await using one = h2(peer.address);
  const slow = one.client.fetch("/slow", POST);
  await until(() => long !== 0);
  let lost = 0;
  for (let i = 0; i < 20; i++) {
    const call = one.client.fetch("/", { timeoutMs: 2_000 });
    await call.then(
      (reply) => reply.text(),
      () => lost++,
    );
  }
  expect(lost).toBe(costs);
  expect(peer.connections).toBe(2);
  // What it had taken on it may finish.
  await finish();
  expect(await (await slow).text()).toBe("from the first");
});

it("R10 LC: a refusal now and then is no reason to leave", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (let n = 1; ; n++) {
      const id = await connection.request();
      await connection.write(n % 2 === 0 ? ok(id) : reset(id, REFUSED_STREAM));
    }
  });
  await using one = h2(peer.address);
  for (let i = 0; i < 20; i++) expect((await one.client.fetch("/", POST)).status).toBe(200);
  expect(peer.connections).toBe(1);
});

it("R10 LC: a peer that refuses everything on every connection is dialled with pauses", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) await connection.write(reset(await connection.request(), REFUSED_STREAM));
  });
  await using one = h2(peer.address);
  const startedAt = performance.now();
  while (performance.now() - startedAt < 1_000) {
    await failure(one.client.fetch("/", { timeoutMs: 300 }));
  }
  // At once, again at once, then at most ten a second.
  const seconds = Math.ceil((performance.now() - startedAt) / 1_000);
  expect(peer.connections).toBeLessThanOrEqual(2 + 10 * seconds);
});

const MAX_HEADER_LIST_SIZE = 6;

it("R10 LC: a peer whose settings no request fits into is at fault, and not the caller", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open(settings(MAX_HEADER_LIST_SIZE, 1));
    await connection.next();
  });
  const good = await h2Peer(async (connection) => {
    await connection.open();
    await answerAll(connection);
  });
  await using one = h2(peer.address);
  const error = await failure(one.client.fetch("/", POST));
  expect(error).toMatchObject({
    code: "connect_failed",
    reason: "protocol_mismatch",
    progress: "not-sent",
  });
  await using two = bench([peer.address, good.address], { ...PLAIN, breaker: {} });
  for (let i = 0; i < 20; i++) expect((await two.client.fetch("/", POST)).status).toBe(200);
});

it("R10 LC: a connection with such settings is replaced", async () => {
  const peer = await h2Peer(async (connection) => {
    const isFirst = connection.number === 1;
    await connection.open(isFirst ? settings(MAX_HEADER_LIST_SIZE, 1) : settings());
    if (isFirst) await connection.next();
    else await answerAll(connection);
  });
  await using one = h2(peer.address);
  await failure(one.client.fetch("/", POST));
  // It counts as an endpoint that takes no connections, which is dialled again by itself.
  const status = (): Promise<number> =>
    one.client.fetch("/", POST).then(
      (reply) => reply.status,
      () => 0,
    );
  const endsAt = performance.now() + 5_000;
  while ((await status()) !== 200 && performance.now() < endsAt) await sleep(20);
  expect(await status()).toBe(200);
  expect(peer.connections).toBe(2);
});

it("R10 LC: a request larger than a peer takes is the caller's fault, and is not sent", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open(settings(MAX_HEADER_LIST_SIZE, 8_192));
    await answerAll(connection);
  });
  await using one = h2(peer.address);
  const error = await failure(one.client.fetch("/", { headers: { big: "b".repeat(9_000) } }));
  expect(error).toMatchObject({
    code: "bad_request",
    reason: "header_too_large",
    progress: "not-sent",
  });
  expect((await one.client.fetch("/", POST)).status).toBe(200);
  expect(peer.connections).toBe(1);
});

// ── R11 ──────────────────────────────────────────────────────────────────────────────────────────

it("R11 LC: a server that has no memory left for a connection costs one call, and not all that follow", async () => {
  const server = await nodeServer(({ url }, response) => {
    response.end(url === "/big" ? MEGABYTE : "ok");
  });
  await using one = h2(server.address);
  let lost = 0;
  const get = async (path: string): Promise<void> => {
    try {
      const { body } = await one.client.fetch(path);
      body!.once("data", () => path === "/big" && body!.destroy());
      await closeOf(body!);
    } catch {
      lost++;
    }
  };
  for (let i = 0; i < 40; i++) {
    await get("/big");
    await get("/");
    await sleep(20); // another connection is dialled ten times a second at most
  }
  expect(lost).toBeLessThan(server.sessions);
  expect(server.sessions).toBeGreaterThan(1); // else the server has changed, and this proves nothing
});

it("R11 LC: cancelled uploads use up nothing of the connection", async () => {
  const server = await nodeServer(({ url }, response) => {
    if (url !== "/never") response.end("ok");
  });
  await using one = h2(server.address);
  for (let i = 0; i < 15; i++) {
    const upload = { method: "POST", body: MEGABYTE, timeoutMs: 20 };
    expect((await failure(one.client.fetch("/never", upload))).reason).toBe("call_deadline");
  }
  for (let i = 0; i < 5; i++) {
    expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
  }
  expect(server.sessions).toBe(1);
});

it("R11 LS: cancelled replies use up nothing of their connection", async () => {
  const server = await start(
    ({ url }, response) => void response.end(url === "/" ? "ok" : MEGABYTE),
    {
      http2: true,
    },
  );
  const session = sessionTo(server);
  for (let i = 0; i < 40; i++) {
    const stream = session.request({ ":path": "/big" });
    stream.on("error", () => {});
    stream.once("data", () => stream.close(CANCEL));
    await closeOf(stream);
    expect(await statusOf(session)).toBe(200);
  }
});
