/** Section G of the fault matrix, library client with HTTP/2: byte-exact peers and Node's own server. */
import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import {
  createServer,
  type ClientHttp2Session,
  type Http2Server,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { createMesh, type ServiceInput } from "@inmesh/core";
import {
  AheadRuntime,
  countResources,
  expectBaseline,
  FaultPeer,
  type ResourceCount,
} from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { request } from "undici";
import { createMesh as createHttpMesh, meshClient } from "../src/index.ts";
import { bench, calm, endpointOf, failure, sleep, type Bench } from "./support/bench.ts";
import { FastRuntime } from "./support/fast-runtime.ts";
import {
  answerAll,
  data,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  goaway,
  h2Peer,
  head,
  HEADERS,
  MAX_CONCURRENT_STREAMS,
  oddPeer,
  ok,
  PING,
  reset,
  RST_STREAM,
  settings,
  WINDOW_UPDATE,
  words,
} from "./support/h2-peer.ts";
import { peerOf, until } from "./wire.ts";

const NO_ERROR = 0;
const PROTOCOL_ERROR = 1;
const INTERNAL_ERROR = 2;
const REFUSED = 7;
const CANCEL = 8;
const CALM = 11;
const POST = { method: "POST", body: "x" };

const h2 = (addresses: readonly string[], input: ServiceInput = {}): Bench =>
  bench(addresses, { http2: true, ...input });

/** Node's server; every session and socket ends with the test. */
async function h2Server(setup: (server: Http2Server) => void, options = {}): Promise<string> {
  const server = createServer(options);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  setup(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    const closed = once(server, "close");
    server.close();
    for (const session of sessions) session.destroy();
    await closed;
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function fastBench(factor: number, address: string, input: ServiceInput = {}): Bench {
  const svc: ServiceInput = {
    scheme: "http",
    authority: "svc",
    discovery: { static: [address] },
    http2: true,
    ...input,
  };
  const runtime = new FastRuntime(factor);
  const mesh = createMesh({ config: { services: { svc } }, env: {}, runtime });
  return {
    mesh,
    client: meshClient("svc", { mesh }),
    async [Symbol.asyncDispose]() {
      await calm(mesh);
      await mesh.close(0);
    },
  };
}

let baseline: ResourceCount;
beforeAll(async () => {
  const peer = await FaultPeer.start(() => {});
  {
    await using one = h2([peer.address], { timeouts: { connectMs: 50 } });
    await failure(one.client.fetch("/"));
  }
  await peer.close();
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline));

describe("G1 LC: GOAWAY", () => {
  it("G1 LC: NO_ERROR: a stream above the last id is sent again, a POST too, one below finishes", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      if (connection.number > 1) return answerAll(connection);
      const first = await connection.request();
      await connection.request();
      await connection.write(goaway(first, NO_ERROR));
      await connection.raw.pause(50);
      await connection.write(ok(first, "late"));
    });
    await using one = h2([peer.address]);
    const replies = await Promise.all([one.client.fetch("/a", POST), one.client.fetch("/b", POST)]);
    expect(await Promise.all(replies.map((reply) => reply.text()))).toEqual(["late", "ok"]);
    expect(replies.map(({ mesh }) => mesh.attempts)).toEqual([1, 2]);
    expect(peer.connections).toBe(2);
    // An orderly goodbye is no failure of the endpoint.
    expect(endpointOf(one.mesh, peer.address).breaker.consecutiveFailures).toBe(0);
  });

  it("G1 LC: an error code: above the last id R0, below it a POST surfaces and a GET is retried", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      if (connection.number > 1) return answerAll(connection);
      await connection.request();
      const second = await connection.request();
      await connection.request();
      await connection.write(goaway(second, INTERNAL_ERROR));
    });
    await using one = h2([peer.address]);
    const [post, get, above] = await Promise.allSettled([
      one.client.fetch("/post", POST),
      one.client.fetch("/get"),
      one.client.fetch("/above", POST),
    ]);
    expect(post).toMatchObject({
      reason: { code: "connection_lost", reason: "goaway", progress: "maybe-processed" },
    });
    for (const settled of [get, above]) {
      expect(settled.status).toBe("fulfilled");
      if (settled.status === "fulfilled") expect(await settled.value.text()).toBe("ok");
    }
  });

  it("G1 LC: the pair of a graceful server (2^31-1, then the last id) loses nothing", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      if (connection.number > 1) return answerAll(connection);
      const id = await connection.request();
      await connection.write(goaway(2 ** 31 - 1, NO_ERROR));
      await connection.raw.pause(30);
      await connection.write(goaway(id, NO_ERROR), ok(id, "first"));
    });
    await using one = h2([peer.address]);
    const first = one.client.fetch("/1", POST);
    await until(() => peer.connections === 1);
    await sleep(15);
    const second = one.client.fetch("/2", POST);
    expect(await (await first).text()).toBe("first");
    expect(await (await second).text()).toBe("ok");
  });
});

it("G2 LC: GOAWAY(0) on every connection: few dials, and the error says so", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    await connection.request();
    await connection.write(goaway(0, NO_ERROR));
  });
  await using one = h2([peer.address], { timeouts: { request: "700ms" } });
  const errors = await Promise.all(
    Array.from({ length: 20 }, () => failure(one.client.fetch("/", POST))),
  );
  for (const { reason } of errors)
    expect(["goaway", "queue_wait", "call_deadline"]).toContain(reason);
  // At once, again at once, then at most ten a second.
  expect(peer.connections).toBeLessThanOrEqual(9);
});

describe("G3 LC: RST_STREAM", () => {
  const cases = [
    ["REFUSED_STREAM", REFUSED, "connection_lost", "refused_stream", "not-sent"],
    ["CANCEL", CANCEL, "connection_lost", "reset_before_response", "maybe-processed"],
    [
      "INTERNAL_ERROR",
      INTERNAL_ERROR,
      "connection_lost",
      "reset_before_response",
      "maybe-processed",
    ],
    ["PROTOCOL_ERROR", PROTOCOL_ERROR, "bad_response", "malformed_response", "maybe-processed"],
    ["ENHANCE_YOUR_CALM", CALM, "connection_lost", "refused_stream", "maybe-processed"],
    ["NO_ERROR", NO_ERROR, "connection_lost", "reset_before_response", "maybe-processed"],
  ] as const;
  for (const [name, code, errorCode, reason, progress] of cases) {
    it(`G3 LC: ${name} before a reply: ${reason}, ${progress}; the connection goes on after one`, async () => {
      let requests = 0;
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        for (;;) {
          const id = await connection.request();
          requests++;
          if (requests <= 4) await connection.write(reset(id, code));
          else await connection.write(ok(id));
        }
      });
      await using one = h2([peer.address], {
        breaker: { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 },
      });
      const error = await failure(one.client.fetch("/", POST));
      expect(error).toMatchObject({ code: errorCode, reason, progress });
      // R0 sends again three times; the others are a POST's last word.
      expect(requests).toBe(progress === "not-sent" ? 4 : 1);
      requests = 4;
      expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
      expect(peer.connections).toBe(code === REFUSED ? 2 : 1); // R10: two refusals in a row
      if (code === CALM) expect(endpointOf(one.mesh, peer.address).busyForMs).toBeGreaterThan(0);
    });
  }

  for (const [name, code] of [
    ["CANCEL", CANCEL],
    ["NO_ERROR", NO_ERROR],
    ["INTERNAL_ERROR", INTERNAL_ERROR],
  ] as const) {
    it(`G3 LC: ${name} in the middle of a body is never a clean end`, async () => {
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        const id = await connection.request();
        await connection.write(head(id, { ":status": "200" }), data(id, "part"), reset(id, code));
      });
      await using one = h2([peer.address]);
      const reply = await one.client.fetch("/");
      expect(await failure(reply.text())).toMatchObject({ reason: "reset_mid_response" });
    });
  }

  for (const end of ["fin", "rst"] as const) {
    it(`G3 LC: a ${end} of the connection in the middle of a body is never a clean end`, async () => {
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        const id = await connection.request();
        await connection.write(head(id, { ":status": "200" }), data(id, "part"));
        await connection.raw.pause(20);
        connection.raw[end]();
      });
      await using one = h2([peer.address]);
      const reply = await one.client.fetch("/");
      expect(await failure(reply.text())).toMatchObject({ reason: "reset_mid_response" });
    });
  }

  it("G3 LC: a body shorter than content-length is refused", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      await connection.write(
        head(id, { ":status": "200", "content-length": "9" }),
        data(id, "part", true),
      );
    });
    await using one = h2([peer.address]);
    const reply = await one.client.fetch("/");
    expect(await failure(reply.text())).toMatchObject({ reason: "content_length_mismatch" });
  });

  it("H2 LC: abort, deadline and an unwanted body are one RST_STREAM(CANCEL) each", async () => {
    const codes: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) {
        const got = await connection.next();
        if (got.type === RST_STREAM) codes.push(got.payload.readUInt32BE(0));
        if (got.type === HEADERS && got.id > 3) {
          await connection.write(head(got.id, { ":status": "200" }), data(got.id, "x".repeat(100)));
        }
      }
    });
    await using one = h2([peer.address]);
    const abort = new AbortController();
    const aborted = one.client.fetch("/", { signal: abort.signal });
    await until(() => peer.connections === 1);
    await sleep(20);
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    await failure(one.client.fetch("/", { timeoutMs: 30 }));
    const reply = await one.client.fetch("/");
    reply.body.destroy();
    await until(() => codes.length === 3);
    expect(codes).toEqual([CANCEL, CANCEL, CANCEL]);
    expect(peer.connections).toBe(1);
  });

  it("H2 LC: an upload that is aborted is reset, never ended: it must not look whole", async () => {
    let id = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      id = await connection.request();
      const got = await connection.until(RST_STREAM, id);
      expect(got.payload.readUInt32BE(0)).toBe(CANCEL);
      expect(
        connection.frames.filter(({ flags, type }) => type === DATA && (flags & END_STREAM) !== 0),
      ).toEqual([]);
      await answerAll(connection);
    });
    await using one = h2([peer.address]);
    const endless = new Readable({ read() {} });
    endless.push("start");
    const abort = new AbortController();
    const call = one.client.fetch("/", { method: "POST", body: endless, signal: abort.signal });
    await until(() => id > 0);
    abort.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await until(() => endless.destroyed);
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
    expect(peer.errors).toEqual([]);
    expect(peer.connections).toBe(1);
  });

  it("H13 LC: a request body that fails, or lies about its length, is reset and is the caller's fault", async () => {
    let resets = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) if ((await connection.next()).type === RST_STREAM) resets++;
    });
    await using one = h2([peer.address]);
    const failing = Readable.from(
      (async function* () {
        yield Buffer.from("start");
        await sleep(20);
        throw new Error("disk on fire");
      })(),
    );
    expect(await failure(one.client.fetch("/", { method: "POST", body: failing }))).toMatchObject({
      code: "bad_request",
      reason: "bad_body",
    });
    await until(() => resets === 1);
    const headers = { "content-length": "7" };
    expect(
      await failure(one.client.fetch("/", { method: "POST", body: "x", headers })),
    ).toMatchObject({
      code: "bad_request",
      reason: "bad_body",
    });
    expect(peer.connections).toBe(1);
  });
});

describe("G4 LC: concurrent streams", () => {
  it("G4 LC: more connections when the streams of one are taken, up to four; then calls wait", async () => {
    let live = 0;
    let most = 0;
    const perSession = new Map<ServerHttp2Session, number>();
    let mostOfOne = 0;
    const release: (() => void)[] = [];
    const address = await h2Server(
      (server) =>
        server.on("stream", (stream) => {
          const session = stream.session as ServerHttp2Session;
          const count = (perSession.get(session) ?? 0) + 1;
          perSession.set(session, count);
          mostOfOne = Math.max(mostOfOne, count);
          most = Math.max(most, ++live);
          release.push(() => {
            live--;
            perSession.set(session, perSession.get(session)! - 1);
            stream.respond({ ":status": 200 });
            stream.end("ok");
          });
        }),
      { settings: { maxConcurrentStreams: 10 } },
    );
    await using one = h2([address]);
    const calls = Promise.all(
      Array.from({ length: 60 }, async () => (await one.client.fetch("/", POST)).text()),
    );
    await until(() => live === 40, 5_000);
    await sleep(50);
    expect({ most, connections: perSession.size, mostOfOne }).toEqual({
      most: 40,
      connections: 4,
      mostOfOne: 10,
    });
    const ending = setInterval(() => {
      for (const end of release.splice(0)) end();
    }, 5);
    onTestFinished(() => clearInterval(ending));
    expect(new Set(await calls)).toEqual(new Set(["ok"]));
    expect(mostOfOne).toBe(10);
  });

  it("G4 LC: no stream at all: the call waits, and ends with queue_wait, not charged", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 0));
    });
    await using one = h2([peer.address], { timeouts: { queueMs: 100, requestMs: 2_000 } });
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({
      code: "deadline_exceeded",
      reason: "queue_wait",
      progress: "not-sent",
    });
    expect(endpointOf(one.mesh, peer.address).breaker.state).toBe("closed");
  });

  it("G4 LC: a limit that is raised lets waiting calls go; one that is lowered holds back new ones", async () => {
    const seen: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      const first = await connection.request();
      seen.push(first);
      await connection.raw.pause(30);
      expect(connection.frames.filter(({ type }) => type === HEADERS)).toHaveLength(1);
      await connection.write(settings(MAX_CONCURRENT_STREAMS, 2));
      const second = await connection.request();
      seen.push(second);
      await connection.write(settings(MAX_CONCURRENT_STREAMS, 1), ok(first));
      await connection.raw.pause(30);
      await connection.write(ok(second));
      const third = await connection.request();
      await connection.write(ok(third));
    });
    await using one = h2([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const calls = [1, 2, 3].map(async () => (await one.client.fetch("/", POST)).text());
    expect(await Promise.all(calls)).toEqual(["ok", "ok", "ok"]);
    expect(peer.errors).toEqual([]);
    expect(seen).toHaveLength(2);
  });

  it("C19 LC: abort and deadline while waiting for a stream settle in the same turn, unsent", async () => {
    const hold = Promise.withResolvers<void>();
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      const id = await connection.request();
      await hold.promise;
      await connection.write(ok(id));
      await answerAll(connection);
    });
    await using one = h2([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const holds = one.client.fetch("/", POST);
    await until(() => peer.connections === 1);
    await sleep(20);
    const abort = new AbortController();
    const aborted = one.client.fetch("/", { signal: abort.signal });
    const late = failure(one.client.fetch("/", { timeoutMs: 40 }));
    await sleep(10);
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect(await late).toMatchObject({ reason: "queue_wait", progress: "not-sent" });
    hold.resolve();
    expect(await (await holds).text()).toBe("ok");
    expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
    expect(peer.connections).toBe(1);
  });
});

describe("G5 LC: flow control", () => {
  it("G5 LC: a window that never opens holds its own stream until the deadline, no other", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) {
        const got = await connection.next();
        // Of the upload nothing is acknowledged; the connection's window stays open.
        if (got.type === DATA)
          await connection.write(frame(WINDOW_UPDATE, 0, 0, words(got.payload.length || 1)));
        if (got.type === HEADERS && got.id > 1) await connection.write(ok(got.id));
      }
    });
    await using one = h2([peer.address]);
    const big = failure(
      one.client.fetch("/", { method: "POST", body: "b".repeat(200_000), timeoutMs: 300 }),
    );
    await until(() => peer.connections === 1);
    for (let i = 0; i < 5; i++) expect(await (await one.client.fetch("/")).text()).toBe("ok");
    expect(await big).toMatchObject({ code: "deadline_exceeded" });
    expect(peer.connections).toBe(1);
  });

  it("H22 LC: an unread body holds back the peer at the window, and other streams go on", async () => {
    let sent = 0;
    const address = await h2Server((server) =>
      server.on("stream", (stream, headers) => {
        stream.on("error", () => {});
        stream.respond({ ":status": 200 });
        if (headers[":path"] !== "/big") return stream.end("ok");
        const chunk = Buffer.alloc(16_384);
        const more = (): void => {
          while (stream.write(chunk)) sent += chunk.length;
          sent += chunk.length;
        };
        stream.on("drain", more);
        more();
      }),
    );
    await using one = h2([address]);
    const reply = await one.client.fetch("/big");
    await sleep(100);
    const before = sent;
    for (let i = 0; i < 5; i++) expect(await (await one.client.fetch("/")).text()).toBe("ok");
    await sleep(50);
    expect(sent).toBe(before);
    expect(sent).toBeLessThan(1_000_000);
    reply.body.destroy();
  });

  it("H12 LC: 8 MiB up and down pass whole, and the source waits for the sink", async () => {
    const size = 8 * 1024 * 1024;
    const address = await h2Server((server) =>
      server.on("stream", (stream) => {
        stream.respond({ ":status": 200 });
        stream.pipe(stream);
      }),
    );
    await using one = h2([address]);
    let made = 0;
    let ahead = 0;
    let got = 0;
    const source = Readable.from(
      (function* () {
        for (; made < size; made += 65_536) {
          ahead = Math.max(ahead, made - got);
          yield Buffer.alloc(65_536, made / 65_536);
        }
      })(),
      { objectMode: true },
    );
    const reply = await one.client.fetch("/", { method: "POST", body: source });
    for await (const chunk of reply.body as AsyncIterable<Buffer>) {
      const at = Math.floor(got / 65_536) % 256;
      expect(chunk[0]).toBe(at);
      got += chunk.length;
    }
    expect(got).toBe(size);
    expect(ahead).toBeLessThan(2_000_000);
  });
});

it("G7 LC: what remains of the deadline is sent, as a relative time", async () => {
  const received: number[] = [];
  const address = await h2Server((server) =>
    server.on("stream", (stream, headers) => {
      received.push(Number(headers["x-mesh-timeout-ms"]));
      stream.respond({ ":status": received.length === 1 ? 503 : 200 });
      stream.end("ok");
    }),
  );
  await using one = h2([address], { retry: { backoffMs: 40, maxBackoffMs: 40 } });
  await (await one.client.fetch("/", { timeoutMs: 1_000 })).text();
  expect(received[0]).toBeGreaterThan(900);
  expect(received[0]).toBeLessThanOrEqual(1_000);
  expect(received[1]).toBeLessThan(received[0]!);
});

describe("G11 LC: pings", () => {
  it("G11 LC: none while nothing waits", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.write(ok(await connection.request()));
      expect((await connection.next()).type).not.toBe(PING);
    });
    await using one = fastBench(50, peer.address);
    await (await one.client.fetch("/")).text();
    await sleep(700); // 35 s of its time, without a stream
    expect(peer.errors).toEqual([]);
  });

  it("G11 LC: a frozen peer is noticed by a ping, and the call ends", async () => {
    const frames: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) frames.push((await connection.next()).type); // answers nothing, pings neither
    });
    const timeouts = { requestMs: 600_000, bodyIdleMs: 600_000, connectMs: 10_000 };
    await using one = fastBench(50, peer.address, { timeouts });
    const startedAt = performance.now();
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({ code: "connection_lost", reason: "reset_before_response" });
    expect(performance.now() - startedAt).toBeLessThan(3_000); // 30 to 40 s of its time
    expect(frames.filter((type) => type === PING)).toHaveLength(1);
  });

  it("G11 LC: after too many of them for the peer the interval doubles, and no call is lost", async () => {
    const pings: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      const ping = await connection.until(PING);
      pings.push(performance.now());
      if (connection.number === 1) return connection.write(goaway(0, CALM));
      await connection.write(frame(PING, 1, 0, ping.payload), ok(id));
    });
    await using one = fastBench(50, peer.address, {
      timeouts: { requestMs: 600_000, queueMs: 60_000 },
    });
    const startedAt = performance.now();
    expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
    expect(pings).toHaveLength(2);
    // In its time: silence is seen after 10 to 20 s at first, after 20 to 40 s then.
    expect((pings[1]! - pings[0]!) / (pings[0]! - startedAt)).toBeGreaterThan(1.3);
  });
});

it("G12 LC: a server that ends its connections every 200 ms loses no call", async () => {
  let sessions = 0;
  const address = await h2Server((server) => {
    server.on("session", (session) => {
      sessions++;
      setTimeout(() => !session.destroyed && session.close(), 200);
    });
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      setTimeout(() => {
        if (stream.destroyed) return;
        stream.respond({ ":status": 200 });
        stream.end("ok");
      }, 5);
    });
  });
  await using one = h2([address]);
  const endAt = performance.now() + 1_500;
  const results: Record<string, number> = {};
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      while (performance.now() < endAt) {
        const text = await one.client.fetch("/", POST).then(
          (reply) => reply.text(),
          (error: unknown) => String(error),
        );
        results[text] = (results[text] ?? 0) + 1;
      }
    }),
  );
  expect(Object.keys(results)).toEqual(["ok"]);
  expect(sessions).toBeGreaterThan(3);
});

it("G13 LC: PRIORITY, unknown frames and settings, ORIGIN and ALTSVC change nothing", async () => {
  const peer = await oddPeer(ok, answerAll);
  await using one = h2([peer.address]);
  for (let i = 0; i < 3; i++) expect(await (await one.client.fetch("/")).text()).toBe("ok");
  expect(peer.connections).toBe(1);
});

describe("G15 LC: the whole reply before the request has ended", () => {
  for (const after of ["in the same segment", "50 ms later", "never"] as const) {
    it(`G15 LC: reset ${after}: the reply is delivered, the upload stops`, async () => {
      let cancelled = -1;
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        const id = await connection.request();
        const reply = [head(id, { ":status": "413" }), data(id, "too much", true)];
        if (after === "in the same segment") reply.push(reset(id, NO_ERROR));
        await connection.write(...reply);
        if (after === "50 ms later") {
          await connection.raw.pause(50);
          await connection.write(reset(id, NO_ERROR));
        }
        if (after === "never") {
          cancelled = (await connection.until(RST_STREAM, id)).payload.readUInt32BE(0);
        }
        await answerAll(connection);
      });
      await using one = h2([peer.address]);
      let ended = false;
      const endless = new Readable({
        read() {},
        destroy: (_, done) => ((ended = true), done(null)),
      });
      endless.push("start");
      const reply = await one.client.fetch("/", { method: "POST", body: endless });
      expect([reply.status, await reply.text()]).toEqual([413, "too much"]);
      await until(() => ended);
      if (after === "never") await until(() => cancelled === CANCEL || cancelled === NO_ERROR);
      expect(await (await one.client.fetch("/")).text()).toBe("ok");
      expect(peer.connections).toBe(1);
    });
  }
});

describe("G16 LC: illegal frames", () => {
  const cases: readonly [string, (id: number) => Buffer][] = [
    ["DATA before HEADERS", (id) => data(id, "x", true)],
    ["no :status", (id) => head(id, { "x-a": "1" }, true)],
    ["an upper-case field", (id) => head(id, { ":status": "200", "X-A": "1" }, true)],
    ["a status that is none", (id) => head(id, { ":status": "abc" }, true)],
    ["padding longer than the frame", (id) => frame(DATA, 8, id, Buffer.from([200, 1, 2]))],
    [
      "a header block that cannot be read",
      (id) =>
        frame(
          HEADERS,
          END_HEADERS | END_STREAM,
          id,
          Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
    ],
    ["a frame larger than agreed", (id) => frame(DATA, 0, id, Buffer.alloc(70_000))],
    ["SETTINGS with half a value", () => frame(4, 0, 0, Buffer.from([0, 3, 0]))],
    ["a stream that was never opened", () => data(99, "x")],
    ["a push that was forbidden", (id) => frame(5, END_HEADERS, id, words(2))],
    [
      "a window over 2^31-1",
      (id) =>
        Buffer.concat([
          frame(WINDOW_UPDATE, 0, id, words(0x7fffffff)),
          frame(WINDOW_UPDATE, 0, id, words(0x7fffffff)),
        ]),
    ],
  ];
  for (const [name, bytes] of cases) {
    it(`G16 LC: ${name}: the call fails as the peer's fault, and the next one is served`, async () => {
      let broken = false;
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        if (broken) return answerAll(connection);
        broken = true;
        const id = await connection.request();
        await connection.write(bytes(id));
        await answerAll(connection);
      });
      await using one = h2([peer.address]);
      const error = await failure(one.client.fetch("/", POST));
      expect(["bad_response", "connection_lost"]).toContain(error.code);
      expect(error.progress).toBe("maybe-processed");
      expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
    });
  }

  it("G16 LC: more than the limit of a reply's head is refused with its reason", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) {
        const id = await connection.request();
        const size = id === 1 ? 1_900 : 2_100;
        await connection.write(
          head(id, { ":status": "200", "x-big": "b".repeat(size) }),
          data(id, "ok", true),
        );
      }
    });
    await using one = h2([peer.address], { limits: { maxReplyHeaderBytes: 2_048 } });
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({ code: "bad_response", reason: "response_header_too_large" });
    expect(peer.connections).toBe(1);
  });

  it("H4 LC: interim replies over HTTP/2 are not the reply, and more than 32 are an attack", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) {
        const id = await connection.request();
        const interim = Array.from({ length: id === 1 ? 2 : 40 }, () =>
          head(id, { ":status": "103", link: "</a>" }),
        );
        await connection.write(...interim, ok(id));
      }
    });
    await using one = h2([peer.address]);
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
    expect(await failure(one.client.fetch("/", POST))).toMatchObject({ reason: "unexpected_1xx" });
  });

  it("H6 LC: trailers over HTTP/2 are delivered, forbidden ones dropped", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      await connection.write(
        head(id, { ":status": "200" }),
        data(id, "ok"),
        head(id, { "x-sum": "7", authorization: "a", "x-mesh-nack": "1" }, true),
      );
    });
    await using one = h2([peer.address]);
    const reply = await one.client.fetch("/");
    expect(await reply.text()).toBe("ok");
    expect([...reply.trailers!]).toEqual([["x-sum", "7"]]);
  });
});

describe("G17 LC: a peer that does not say its settings", () => {
  it("G17 LC: no settings within the connect timeout: not sent, protocol_mismatch", async () => {
    const peer = await FaultPeer.start((connection) => connection.hold());
    await using one = h2([peer.address], { timeouts: { connectMs: 100 } });
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({
      code: "connect_failed",
      reason: "protocol_mismatch",
      progress: "not-sent",
    });
    await peer.close();
  });

  for (const [name, bytes] of [
    ["half a settings frame", settings(MAX_CONCURRENT_STREAMS, 5).subarray(0, 11)],
    ["garbage", Buffer.from("\0\0garbage".repeat(20))],
    ["HTTP/1.1 400", Buffer.from("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")],
  ] as const) {
    it(`G17 LC: ${name}: not sent, and a healthy endpoint gets the call`, async () => {
      const bad = await peerOf(async (connection) => {
        await connection.write(bytes);
        await connection.hold();
      });
      const good = await h2Peer(async (connection) => {
        await connection.open();
        await answerAll(connection);
      });
      await using one = h2([bad.address, good.address], {
        timeouts: { connectMs: 100 },
        balancer: { kind: "round-robin" },
      });
      for (let i = 0; i < 6; i++) {
        expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
      }
      expect(endpointOf(one.mesh, bad.address).breaker.state).not.toBe("closed");
    });
  }

  it("C15 LC: an HTTP/1.1 server where HTTP/2 is expected is a protocol mismatch", async () => {
    const server = createHttp1((_, response) => response.end("ok"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    await using one = h2([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({
      code: "connect_failed",
      reason: "protocol_mismatch",
      progress: "not-sent",
    });
  });
});

it("G21 LC: headers over the peer's limit fail here, and the connection is unharmed", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open(settings(6, 1_000));
    await answerAll(connection);
  });
  await using one = h2([peer.address]);
  expect(await (await one.client.fetch("/")).text()).toBe("ok");
  const headers = { "x-big": "b".repeat(1_000) };
  const error = await failure(one.client.fetch("/", { headers }));
  expect(error).toMatchObject({ code: "bad_request", reason: "header_too_large", attempts: 1 });
  expect(await (await one.client.fetch("/")).text()).toBe("ok");
  expect(peer.connections).toBe(1);
});

it("G20 LC: before its stream ids run out a connection is replaced, and its calls finish", async () => {
  const held: (() => void)[] = [];
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) {
      const id = await connection.request();
      const answer = (): void => void connection.write(ok(id, `${connection.number}`));
      if (held.length === 0) held.push(answer);
      else answer();
    }
  });
  // Half a billion calls would take hours: Node lets a session begin anywhere.
  const http2 = process.getBuiltinModule("node:http2");
  const sessions: ClientHttp2Session[] = [];
  const { connect } = http2;
  http2.connect = ((...args: Parameters<typeof connect>) => {
    const session = connect(...args);
    sessions.push(session);
    return session;
  }) as typeof connect;
  onTestFinished(() => void (http2.connect = connect));
  await using one = h2([peer.address]);
  const slow = one.client.fetch("/");
  await until(() => held.length === 1);
  (sessions[0] as unknown as { setNextStreamID(id: number): void }).setNextStreamID(2 ** 30 - 1);
  const text = async (): Promise<string> => (await one.client.fetch("/", POST)).text();
  expect([await text(), await text()]).toEqual(["1", "1"]);
  expect([await text(), await text()]).toEqual(["2", "2"]);
  expect(peer.open).toBe(2);
  held[0]!();
  expect(await (await slow).text()).toBe("1");
  await until(() => peer.open === 1);
});

describe("L7 LC: a process that was frozen", () => {
  const thawed = (address: string, http2: boolean) => {
    const runtime = new AheadRuntime();
    const svc: ServiceInput = {
      scheme: "http",
      authority: "svc",
      discovery: { static: [address] },
      timeouts: { connectMs: 200 },
      http2,
    };
    const mesh = createMesh({ config: { services: { svc } }, env: {}, runtime });
    onTestFinished(() => mesh.close(0));
    return { runtime, mesh, client: meshClient("svc", { mesh }) };
  };

  it("L7 LC: a pooled HTTP/1.1 connection is not used after a gap: its peer may have forgotten it", async () => {
    const peer = await peerOf(async (connection) => {
      const served = connection.number === 1 ? 1 : 10;
      for (let i = 0; i < served; i++) {
        await connection.readRequest();
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      }
      await connection.hold();
    });
    const { runtime, client } = thawed(peer.address, false);
    expect(await (await client.fetch("/", POST)).text()).toBe("ok");
    runtime.aheadMs = 60_000;
    expect(await (await client.fetch("/", { ...POST, timeoutMs: 2_000 })).text()).toBe("ok");
    expect(await (await client.fetch("/", POST)).text()).toBe("ok");
  });

  for (const alive of [true, false]) {
    it(`L7 LC: an HTTP/2 connection is asked first, and ${alive ? "used" : "replaced"}`, async () => {
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        let pinged = false;
        for (;;) {
          const got = await connection.next();
          pinged ||= got.type === PING;
          if (pinged && !alive && connection.number === 1) continue;
          if (got.type === PING) await connection.write(frame(PING, 1, 0, got.payload));
          if (got.type === HEADERS) await connection.write(ok(got.id, pinged ? "proven" : "ok"));
        }
      });
      const { runtime, client } = thawed(peer.address, true);
      expect(await (await client.fetch("/", POST)).text()).toBe("ok");
      runtime.aheadMs = 60_000;
      const reply = await client.fetch("/", POST);
      expect(reply.mesh.attempts).toBe(1);
      expect(await reply.text()).toBe(alive ? "proven" : "ok");
      expect(peer.connections).toBe(alive ? 1 : 2);
    });
  }
});

describe("C19 LC: the queue for connections", () => {
  for (const http2 of [false, true]) {
    const version = http2 ? "HTTP/2" : "HTTP/1.1";
    it(`C19 LC: at the limit calls wait, one more is refused as queue_full, over ${version}`, async () => {
      const hold = Promise.withResolvers<void>();
      const peer = http2
        ? await h2Peer(async (connection) => {
            await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
            const id = await connection.request();
            await hold.promise;
            await connection.write(ok(id));
            await answerAll(connection);
          })
        : await peerOf(async (connection) => {
            for (;;) {
              await connection.readRequest();
              await hold.promise;
              await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
          });
      await using one = h2([peer.address], {
        http2,
        limits: { maxConnectionsPerEndpoint: 1, maxQueuedPerEndpoint: 3 },
      });
      const calls = [one.client.fetch("/", POST)];
      await until(() => peer.connections === 1);
      await sleep(30); // it has its connection
      for (let i = 0; i < 3; i++) calls.push(one.client.fetch("/", POST));
      await sleep(10);
      const startedAt = performance.now();
      const error = await failure(one.client.fetch("/", POST));
      expect(error).toMatchObject({
        code: "overloaded",
        reason: "queue_full",
        progress: "not-sent",
      });
      expect(performance.now() - startedAt).toBeLessThan(500);
      expect(endpointOf(one.mesh, peer.address).breaker.state).toBe("closed");
      hold.resolve();
      for (const call of calls) expect(await (await call).text()).toBe("ok");
    });

    it(`C19 LC: after timeouts.queue another endpoint gets the call, over ${version}`, async () => {
      const full = http2
        ? await h2Peer(async (connection) => connection.open(settings(MAX_CONCURRENT_STREAMS, 0)))
        : await peerOf((connection) => connection.hold());
      const free = http2
        ? await h2Peer(async (connection) => {
            await connection.open();
            await answerAll(connection);
          })
        : await peerOf(async (connection) => {
            for (;;) {
              await connection.readRequest();
              await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
          });
      await using one = h2([full.address, free.address], {
        http2,
        limits: { maxConnectionsPerEndpoint: 1 },
        timeouts: { queueMs: 60 },
        balancer: { kind: "round-robin" },
      });
      const held = http2
        ? []
        : [0, 1].map(() => one.client.fetch("/", { timeoutMs: 2_000 }).catch(() => undefined));
      await sleep(30);
      for (let i = 0; i < 4; i++) {
        const reply = await one.client.fetch("/", POST);
        expect(reply.mesh.endpoint).toBe(free.address);
        expect(await reply.text()).toBe("ok");
      }
      // No endpoint answered badly, so none is out.
      expect(endpointOf(one.mesh, full.address).breaker.consecutiveFailures).toBe(0);
      for (const reply of await Promise.all(held)) reply?.discard();
      await calm(one.mesh);
      const closing = performance.now();
      await one.mesh.close(0);
      expect(performance.now() - closing).toBeLessThan(1_000);
    });
  }
});

describe("request bodies and ways in over HTTP/2", () => {
  const echo = (): Promise<string> =>
    h2Server((server) =>
      server.on("stream", (stream, headers) => {
        stream.on("error", () => {});
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          stream.respond({
            ":status": 200,
            "x-length": headers["content-length"] ?? "none",
            "x-type": headers["content-type"] ?? "none",
            "set-cookie": ["a=1", "b=2"],
          });
          stream.end(Buffer.concat(chunks));
        });
      }),
    );

  it("H24 LC: every kind of body arrives whole, with the length that is known", async () => {
    const address = await echo();
    await using one = h2([address]);
    const form = new FormData();
    form.set("a", 'x"y');
    form.set("f", new Blob(["file"], { type: "text/plain" }), "f.txt");
    const bytes = new TextEncoder().encode("hello");
    const cases: readonly [unknown, string, string][] = [
      ["hello", "5", "none"],
      [bytes, "5", "none"],
      [bytes.buffer, "5", "none"],
      [new Blob(["hello"], { type: "text/x" }), "5", "text/x"],
      [new URLSearchParams({ q: "hello" }), "7", "application/x-www-form-urlencoded;charset=UTF-8"],
      [Readable.from([Buffer.from("hel"), Buffer.from("lo")]), "none", "none"],
      [new Blob(["hello"]).stream(), "none", "none"],
    ];
    for (const [body, length, type] of cases) {
      const reply = await one.client.fetch("/", { method: "POST", body: body as never });
      expect([reply.headers.get("x-length"), reply.headers.get("x-type")]).toEqual([length, type]);
      expect(reply.headers.getAll("set-cookie")).toEqual(["a=1", "b=2"]);
      expect(await reply.text()).toMatch(/hello$/);
    }
    const reply = await one.client.fetch("/", { method: "POST", body: form as never });
    const text = await reply.text();
    expect(reply.headers.get("x-length")).toBe(String(text.length));
    const again = await new Response(text, {
      headers: { "content-type": reply.headers.get("x-type")! },
    }).formData();
    expect(again.get("a")).toBe('x"y');
    expect(await (again.get("f") as File).text()).toBe("file");
  });

  it("H24 LC: the dispatcher and fetch go the same way", async () => {
    const address = await echo();
    const svc: ServiceInput = { url: `http://${address}`, http2: true };
    const mesh = createHttpMesh({ config: { services: { svc, [address]: svc } }, env: {} });
    onTestFinished(() => mesh.close(0));
    const reply = await request(`http://${address}/`, {
      method: "POST",
      body: "hello",
      dispatcher: mesh.dispatcher,
    });
    expect([reply.statusCode, await reply.body.text()]).toEqual([200, "hello"]);
    expect(reply.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    const fetched = await mesh.fetch(`http://${address}/`, { method: "POST", body: "hello" });
    expect([fetched.status, await fetched.text()]).toEqual([200, "hello"]);
  });

  it("H9 LC: what HTTP/1.1 refuses is refused over HTTP/2 too, and nothing is sent", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await answerAll(connection);
    });
    await using one = h2([peer.address]);
    for (const headers of [
      { "x-a": "1\r\nx-b: 2" },
      { "x a": "1" },
      { "transfer-encoding": "chunked" },
      { upgrade: "websocket" },
      { "content-length": ["1", "2"] },
    ]) {
      const error = await failure(one.client.fetch("/", { method: "POST", headers }));
      expect(error).toMatchObject({ code: "bad_request", progress: "not-sent" });
    }
    for (const path of ["/a b", "/a\r\nx: y"]) {
      expect(await failure(one.client.fetch(path))).toMatchObject({ reason: "bad_target" });
    }
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
  });
});
