/** Section G of the fault matrix, mesh-proxy: servers of HTTP/2 that go away, refuse or stall, before clients of either version. */
import type { ServerHttp2Session } from "node:http2";
import type { Mesh } from "@inmesh/core";
import { describe, expect, it } from "vitest";
import {
  answerAll,
  data,
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
  settings,
  type H2Connection,
} from "../../http/test/support/h2-peer.ts";
import { FastRuntime } from "../../http/test/support/fast-runtime.ts";
import { origin2 } from "./support/http2.ts";
import type { ProxiedOptions } from "./support/proxied.ts";
import { own, through } from "./support/surfaces.ts";

const REFUSED_STREAM = 7;
const INTERNAL_ERROR = 2;
const INITIAL_WINDOW_SIZE = 4;
const MAX_HEADER_LIST_SIZE = 6;
/** Ten seconds of the proxy are a tenth of one. */
const fast: ProxiedOptions = { mesh: { runtime: new FastRuntime(100) } };
const patient = {
  timeouts: { request: "600s", bodyIdle: "600s", connect: "100s", queue: "100s" },
};
const twice = { retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" } };

/** The first request of each connection, and what is done with it. */
function first(
  act: (connection: H2Connection, id: number) => Promise<void> | void,
  opening: Buffer = settings(),
) {
  return h2Peer(async (connection) => {
    await connection.open(opening);
    const id = await connection.request();
    await act(connection, id);
    await answerAll(connection);
  });
}

/** Attempts that wait for a connection. */
function queueDepthOf(mesh: Mesh): number {
  const series = mesh.metrics().find(({ name }) => name === "inmesh.queue.depth");
  return series?.kind === "gauge" ? series.value : 0;
}

describe.each(["P12", "P22"] as const)("servers of HTTP/2, %s", (surface) => {
  it("G1 P12, G1 P22: GOAWAY below the stream: another connection has it, a POST too", async () => {
    const peer = await first((connection, id) =>
      connection.number === 1 ? connection.write(goaway(0, 0)) : connection.write(ok(id)),
    );
    const { ask } = await through(surface, [peer.address], twice);
    expect(await ask("POST", {}, "x")).toMatchObject({ status: 200, body: "ok" });
    expect(peer.connections).toBe(2);
  });

  it("G2 P12, G2 P22: GOAWAY(0) on every new connection: few dials, and an end at the deadline", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.write(goaway(0, 0));
      connection.raw.fin();
    });
    const { ask } = await through(surface, [peer.address], {
      ...twice,
      timeouts: { request: "700ms" },
    });
    const startedAt = performance.now();
    const seen = await Promise.all([ask(), ask("POST", {}, "x"), ask()]);
    expect(seen.map(({ status }) => status! >= 502 && status! <= 504)).toEqual([true, true, true]);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(peer.connections).toBeLessThanOrEqual(12);
  });

  it("G3 P12, G3 P22: a refused stream is sent again, one that broke inside is not if it is a POST", async () => {
    const refusing = await first((connection, id) => connection.write(reset(id, REFUSED_STREAM)));
    const one = await through(surface, [refusing.address], twice);
    expect(await one.ask("POST", {}, "x")).toMatchObject({ status: 200, body: "ok" });
    let requests = 0;
    const broken = await first(async (connection, id) => {
      requests++;
      await connection.write(reset(id, INTERNAL_ERROR));
    });
    const two = await through(surface, [broken.address], twice);
    expect((await two.ask("POST", {}, "x")).status).toBe(502);
    expect(requests).toBe(1);
    expect((await two.ask()).status).toBe(200);
  });

  it("G4 P12, G4 P22: one stream at a time: all are answered, and there is never a second", async () => {
    let now = 0;
    let most = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      for (;;) {
        const id = await connection.request();
        most = Math.max(most, ++now);
        await connection.raw.pause(2);
        now--;
        await connection.write(ok(id));
      }
    });
    const { ask } = await through(surface, [peer.address], {
      limits: { maxConnectionsPerEndpoint: 1 },
    });
    const seen = await Promise.all(Array.from({ length: 20 }, () => ask()));
    expect(new Set(seen.map(({ status }) => status))).toEqual(new Set([200]));
    expect(most).toBe(1);
    expect(peer.connections).toBe(1);
  });

  it("C19 P12, C19 P22: no stream is free within timeouts.queue: 504, and it is never sent", async () => {
    let requests = 0;
    const { promise: refused, resolve: goOn } = Promise.withResolvers<void>();
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      for (;;) {
        const id = await connection.request();
        requests++;
        await refused;
        await connection.write(ok(id));
      }
    });
    const { ask } = await through(surface, [peer.address], {
      limits: { maxConnectionsPerEndpoint: 1 },
      timeouts: { queue: "50ms" },
    });
    const held = ask();
    await expect.poll(() => requests).toBe(1);
    expect(own(await ask("POST", {}, "x"))).toBe("504 queue_wait");
    goOn();
    expect((await held).status).toBe(200);
    expect((await ask()).status).toBe(200);
    expect(requests).toBe(2);
  });

  it("C19 P12, C19 P22: as many wait as may: one more is 503 queue_full at once, unless some have given up", async () => {
    let requests = 0;
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      for (;;) {
        const id = await connection.request();
        requests++;
        await answered;
        await connection.write(ok(id));
      }
    });
    const { ask, mesh } = await through(surface, [peer.address], {
      limits: { maxConnectionsPerEndpoint: 1, maxQueuedPerEndpoint: 2 },
      retry: { attempts: 1 },
    });
    const held = ask();
    await expect.poll(() => requests).toBe(1);
    const soon = { "x-mesh-timeout-ms": "2000" };
    const waiting = [ask("GET", soon), ask("GET", soon)];
    await expect.poll(() => queueDepthOf(mesh)).toBe(2);
    expect(own(await ask())).toBe("503 queue_full");
    expect((await Promise.all(waiting)).map(own)).toEqual(["504 queue_wait", "504 queue_wait"]);
    // Those that have given up take no place.
    const more = [ask(), ask()];
    answer();
    expect((await Promise.all([held, ...more])).map(({ status }) => status)).toEqual([
      200, 200, 200,
    ]);
    expect(requests).toBe(3);
  });

  it("G5 P12, G5 P22: a window that never opens: that request ends at its deadline, others are served", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(INITIAL_WINDOW_SIZE, 0));
      await answerAllBut(connection, (got) => (got.flags & END_STREAM) === 0);
    });
    const { ask, mesh } = await through(surface, [peer.address], {
      timeouts: { request: "300ms" },
    });
    const stuck = ask("POST", {}, "x".repeat(100_000));
    expect((await ask()).status).toBe(200);
    expect(own(await stuck)).toBe("504 call_deadline");
    expect((await ask()).status).toBe(200);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(0);
    expect(peer.connections).toBe(1);
  });

  it("G11 P12, G11 P22: a server that vanished is noticed by one PING, and its requests end; an idle one is not asked", async () => {
    const frames: number[] = [];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.write(ok(await connection.request()));
      for (;;) frames.push((await connection.next()).type); // answers nothing any more
    });
    const { ask } = await through(surface, [peer.address], patient, fast);
    expect((await ask()).status).toBe(200);
    // No stream waits: 30 s of its time, and more, if the connection is not closed before.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(frames).not.toContain(PING);
    const vanished = await h2Peer(async (connection) => {
      await connection.open();
      for (;;) frames.push((await connection.next()).type);
    });
    const other = await through(surface, [vanished.address], patient, fast);
    expect(own(await other.ask("POST", {}, "x"))).toBe("502 reset_before_response");
    expect(frames.filter((type) => type === PING)).toHaveLength(1);
  });

  it.each([
    ["their servers end them", {}, 60],
    ["they are old", { limits: { maxConnectionAge: "1s" } }, Infinity],
  ])(
    "G12 P12, G12 P22: connections end because %s, under load: no request fails",
    async (_, more, everyMs) => {
      const server = await origin2((stream) => {
        stream.resume();
        setTimeout(() => {
          if (stream.destroyed) return;
          stream.respond({ ":status": 200 });
          stream.end("ok");
        }, 3);
      });
      const sessions: ServerHttp2Session[] = [];
      server.server.on("session", (session: ServerHttp2Session) => {
        sessions.push(session);
        if (everyMs !== Infinity) setTimeout(() => !session.destroyed && session.close(), everyMs);
      });
      const { ask } = await through(surface, [server.address], { ...twice, ...more });
      const endsAt = performance.now() + 600;
      const seen: string[] = [];
      await Promise.all(
        Array.from({ length: 4 }, async (_one, i) => {
          while (performance.now() < endsAt || sessions.length < 4) {
            seen.push(own(i % 2 === 0 ? await ask() : await ask("POST", {}, "x")));
          }
        }),
      );
      expect(new Set(seen)).toEqual(new Set(["200 ok"]));
      expect(sessions.length).toBeGreaterThanOrEqual(4);
    },
  );

  it("G13 P12, G13 P22: frames and settings that are unknown: passed over", async () => {
    const peer = await oddPeer(ok, answerAll);
    const { ask } = await through(surface, [peer.address]);
    for (let i = 0; i < 2; i++) expect(await ask()).toMatchObject({ status: 200, body: "ok" });
    expect(peer.connections).toBe(1);
  });

  it("G15 P12, G15 P22: a whole reply while the upload still runs: it is delivered, and the upload stops", async () => {
    const peer = await first((connection, id) =>
      connection.write(head(id, { ":status": "413" }), data(id, "big", true), reset(id, 0)),
    );
    const { ask, mesh } = await through(surface, [peer.address]);
    expect(await ask("POST", {}, "x".repeat(200_000))).toMatchObject({ status: 413, body: "big" });
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    expect((await ask()).status).toBe(200);
  });

  it.each([
    ["DATA before a head", (id: number) => data(id, "x")],
    ["no :status", (id: number) => head(id, { "x-a": "1" }, true)],
    ["a name in upper case", (id: number) => head(id, { ":status": "200", "X-A": "1" }, true)],
    ["CR LF in a value", (id: number) => head(id, { ":status": "200", a: "1\r\nx: y" }, true)],
    [
      "padding beyond its frame",
      (id: number) => frame(HEADERS, END_HEADERS | 8, id, Buffer.from([200])),
    ],
    ["101", (id: number) => head(id, { ":status": "101" })],
  ])("G16 P12, G16 P22: %s: 502, and the next request is served", async (_, bad) => {
    const peer = await first((connection, id) =>
      connection.write(connection.number === 1 ? bad(id) : ok(id)),
    );
    const { ask } = await through(surface, [peer.address], {
      breaker: { consecutiveFailures: 1_000 },
    });
    expect((await ask("POST", {}, "x")).status).toBe(502);
    expect((await ask()).status).toBe(200);
  });

  it("G17 P12, G17 P22: no SETTINGS: 502 at the connect timeout", async () => {
    const peer = await h2Peer(async (connection) => connection.raw.hold());
    const { ask } = await through(surface, [peer.address], { timeouts: { connect: "200ms" } });
    expect((await ask("POST", {}, "x")).status).toBe(502);
  });

  it("G21 P12, G21 P22: a head that its server does not take: 431, and the connection goes on", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_HEADER_LIST_SIZE, 1_000));
      await answerAll(connection);
    });
    const { ask } = await through(surface, [peer.address]);
    expect(own(await ask("GET", { "x-large": "x".repeat(2_000) }))).toBe("431 header_too_large");
    expect((await ask()).status).toBe(200);
    expect(peer.connections).toBe(1);
  });

  it("H4 P12, H4 P22: more than 32 interim replies are 502", async () => {
    const peer = await first((connection, id) =>
      connection.write(...Array.from({ length: 33 }, () => head(id, { ":status": "103" })), ok(id)),
    );
    const { ask } = await through(surface, [peer.address]);
    expect((await ask()).status).toBe(502);
    expect((await ask()).status).toBe(200);
  });

  it("H5 P12, H5 P22: HEAD, 204 and 304: no body, and the length that was said", async () => {
    const statuses = ["200", "304", "204"];
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      for (const status of statuses) {
        const id = await connection.request();
        const length = status === "204" ? {} : { "content-length": "5" };
        await connection.write(head(id, { ":status": status, ...length }, true));
      }
    });
    const { ask } = await through(surface, [peer.address]);
    const seen = [await ask("HEAD"), await ask(), await ask()];
    expect(seen.map(({ status }) => String(status))).toEqual(statuses);
    expect(seen.map(({ headers }) => headers["content-length"])).toEqual(["5", "5", undefined]);
    expect(seen.every(({ body, whole }) => body === "" && whole)).toBe(true);
  });

  it("H17 P12, H17 P22: a coding is not decoded, and a redirect not followed (H19 P12, H19 P22)", async () => {
    const peer = await first((connection, id) =>
      connection.write(
        head(id, {
          ":status": "302",
          location: "http://elsewhere.test/",
          "content-encoding": "gzip",
        }),
        data(id, "abcd", true),
      ),
    );
    const { ask } = await through(surface, [peer.address]);
    const seen = await ask();
    expect(seen).toMatchObject({ status: 302, body: "abcd" });
    expect(seen.headers).toMatchObject({
      location: "http://elsewhere.test/",
      "content-encoding": "gzip",
    });
  });

  it("C8 P12, C8 P22: the head of a reply that goes on and on in pieces: no reply, and an end", async () => {
    const peer = await first(async (connection, id) => {
      await connection.write(frame(HEADERS, 0, id, Buffer.from([0x88])));
      for (let i = 0; i < 100 && !connection.raw.gone; i++) {
        await connection.raw.pause(30);
        await connection.write(frame(9, 0, id, Buffer.from([0x88])));
      }
    });
    const { ask } = await through(surface, [peer.address], { timeouts: { request: "150ms" } });
    expect((await ask()).status).toBe(504);
  });
});

/** Answers each request that is whole with its head; `skip`: those that stay open. */
async function answerAllBut(
  connection: H2Connection,
  skip: (got: { flags: number }) => boolean,
): Promise<void> {
  for (;;) {
    const id = await connection.request();
    if (skip(connection.frames.at(-1)!)) continue;
    await connection.write(head(id, { ":status": "200" }, true));
  }
}
