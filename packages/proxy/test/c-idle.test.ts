/** Section C of the fault matrix, mesh-proxy: connections over HTTP/2 that end between two requests, or fall silent in one. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import type { Timer } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { FastRuntime } from "../../http/test/support/fast-runtime.ts";
import {
  frame,
  goaway,
  h2Peer,
  ok,
  PING,
  type H2Connection,
} from "../../http/test/support/h2-peer.ts";
import { origin2 } from "./support/http2.ts";
import { listening, proxied, rawClient, repliesIn } from "./support/proxied.ts";
import { own, through } from "./support/surfaces.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const PONG = 1;
const ENHANCE_YOUR_CALM = 11;

describe("C5 P12: a server that ends its idle connection without a GOAWAY", () => {
  it("C5 P12: no request is lost, and each connection is a new one", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.write(ok(await connection.request()));
      connection.raw.fin();
    });
    const { ask, mesh } = await through("P12", [peer.address]);
    for (let i = 1; i <= 5; i++) {
      expect(await ask(i % 2 === 0 ? "GET" : "POST", {}, "x")).toMatchObject({ status: 200 });
      // The FIN has come before the next request is written.
      await pause(10);
      expect(peer.connections).toBe(i);
    }
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.consecutiveFailures).toBe(0);
  });

  it("C5 P12: a request in the turn in which the FIN is read gets another connection", async () => {
    const leaves = Promise.withResolvers<void>();
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.write(ok(await connection.request()));
      if (connection.number === 1) {
        await leaves.promise;
        connection.raw.fin();
        return;
      }
      await connection.write(ok(await connection.request()));
    });
    const { proxy, port } = await proxied({
      orders: { http2: true, discovery: { static: [peer.address] }, retry: { attempts: 1 } },
    });
    const upstream = Number(peer.address.split(":")[1]);
    const dialled = Promise.withResolvers<Socket>();
    const seen = (message: unknown): void => {
      const { socket } = message as { socket: Socket };
      socket.once("connect", () => {
        if (socket.remotePort === upstream) dialled.resolve(socket);
      });
    };
    subscribe("net.client.socket", seen);
    onTestFinished(() => void unsubscribe("net.client.socket", seen));
    // A client whose connection is held back until that turn.
    const held = Promise.withResolvers<Socket>();
    const gate = createServer({ allowHalfOpen: true, pauseOnConnect: true }, held.resolve);
    onTestFinished(() => void gate.close());
    const late = await rawClient(await listening(gate));
    const first = await rawClient(port);
    let text = "";
    late.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    first.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    await once(first, "data");
    const socket = await held.promise;
    (await dialled.promise).once("end", () =>
      process.nextTick(() =>
        proxy.listeners[0]!.handle(
          socket,
          Buffer.from("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\n\r\nx"),
          "http1",
        ),
      ),
    );
    leaves.resolve();
    await expect.poll(() => repliesIn(text)).toHaveLength(1);
    expect(repliesIn(text)).toMatchObject([{ status: 200, body: "ok" }]);
    expect(peer.connections).toBe(2);
  });
});

class CountingRuntime extends FastRuntime {
  /** Timers of a second that have fired, such as those by which connections are looked at. */
  seconds = 0;

  override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer {
    const counted = (given: A): void => {
      if (delayMs === 1_000) this.seconds++;
      run(given);
    };
    return super.after(delayMs, counted, arg, hold);
  }
}

describe.each(["P12", "P22"] as const)("servers of HTTP/2 that fall silent, %s", (surface) => {
  const runtime = new CountingRuntime(50);
  const mesh = { runtime };
  const patient = { timeouts: { request: "10m", bodyIdle: "10m", connect: "60s", queue: "60s" } };
  const settles = async (connection: H2Connection): Promise<number> => {
    await connection.open();
    return connection.request();
  };

  it("C6 P12, C6 P22: one that does not answer a ping while a stream waits has gone: a GET goes elsewhere, a POST does not", async () => {
    let pings = 0;
    const silent = await h2Peer(async (connection) => {
      await settles(connection);
      for (;;) {
        await connection.until(PING);
        pings++;
      }
    });
    const alone = await through(surface, [silent.address], patient, { mesh });
    expect(own(await alone.ask("POST", {}, "x"))).toBe("502 reset_before_response");
    expect(pings).toBe(1);
    const [lost] = alone.mesh.snapshot().services[0]!.endpoints;
    expect(lost).toMatchObject({ inFlight: 0, breaker: { consecutiveFailures: 1 } });
    // Of Node: between the two calls it is asked whether it is still there.
    const good = await origin2((stream) => {
      stream.respond();
      stream.end("good");
    });
    const both = await through(
      surface,
      [silent.address, good.address],
      { ...patient, retry: { attempts: 2 }, balancer: { kind: "round-robin" } },
      { mesh },
    );
    for (let i = 0; i < 2; i++) expect(own(await both.ask("GET"))).toBe("200 good");
    expect(pings).toBeGreaterThan(1);
  });

  it("C6 P12, C6 P22: one that answers pings may take as long as it likes", async () => {
    let pings = 0;
    const slow = await h2Peer(async (connection) => {
      const id = await settles(connection);
      for (; pings < 3; pings++) {
        const { payload } = await connection.until(PING);
        await connection.write(frame(PING, PONG, 0, payload));
      }
      await connection.write(ok(id, "late"));
    });
    const { ask } = await through(surface, [slow.address], patient, { mesh });
    expect(await ask("POST", {}, "x")).toMatchObject({ status: 200, body: "late" });
    expect(pings).toBe(3);
    expect(slow.connections).toBe(1);
  });

  it("G11 P12, G11 P22: one that finds pings too many is pinged half as often on the next connection", async () => {
    const waited: number[] = [];
    const calm = await h2Peer(async (connection) => {
      const id = await settles(connection);
      const askedAt = runtime.seconds;
      await connection.until(PING);
      waited.push(runtime.seconds - askedAt);
      await connection.write(ok(id), goaway(id, ENHANCE_YOUR_CALM));
    });
    const { ask } = await through(surface, [calm.address], patient, { mesh });
    for (let i = 1; i <= 3; i++) {
      expect(await ask("POST", {}, "x")).toMatchObject({ status: 200 });
      expect(calm.connections).toBe(i);
    }
    // Other timers of a second are few.
    for (const [i, seconds] of [10, 20, 40].entries()) {
      expect(waited[i]).toBeGreaterThanOrEqual(seconds - 1);
      expect(waited[i]).toBeLessThan(seconds + 8);
    }
  });
});
