/** Load shedding on real sockets: what a stall, a handler that uses the processor, and too many callers do. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect } from "node:http2";
import type { LogLine } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { rawTo, start } from "./support/server.ts";
import { until } from "./wire.ts";

function hold(ms: number): void {
  const endsAt = performance.now() + ms;
  while (performance.now() < endsAt);
}

/** `/300` holds the thread for 300 ms. */
const holds: RequestListener = (request, response) => {
  hold(Number(request.url!.slice(1)));
  response.end("ok");
};

const GET = (ms: number, more = ""): string => `GET /${ms} HTTP/1.1\r\nhost: svc\r\n${more}\r\n`;

describe("one stall", () => {
  it("R12 LS: a handler that holds the thread once refuses neither what waits nor what comes after", async () => {
    const log: LogLine[] = [];
    const server = await start(holds, { log: (line) => void log.push(line) });
    const clients = await Promise.all(Array.from({ length: 10 }, () => rawTo(server)));
    clients[0]!.send(GET(1_500));
    for (const client of clients.slice(1)) client.send(GET(0));
    const statuses: number[] = [];
    for (const client of clients) statuses.push((await client.reply()).status);
    for (let i = 0; i < 100; i++) {
      clients[1]!.send(GET(1));
      statuses.push((await clients[1]!.reply()).status);
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
    clients[1]!.send("GET /readyz HTTP/1.1\r\nhost: svc\r\n\r\n");
    expect((await clients[1]!.reply()).body).toBe("ok\n");
    expect(server.snapshot()).toMatchObject({ refused: {}, loopDelayMs: 0 });
    expect(log).toEqual([]);
  });

  it("R12 LS: over HTTP/2 neither", async () => {
    const server = await start(holds, { http2: true });
    const session = connect(`http://127.0.0.1:${server.address()!.port}`);
    onTestFinished(() => session.destroy());
    const all = [1_000, ...Array.from({ length: 20 }, () => 2)];
    const statuses = await Promise.all(
      all.map(async (ms) => {
        const stream = session.request({ ":path": `/${ms}` });
        const [headers] = (await once(stream, "response")) as [{ ":status": number }];
        stream.resume();
        return headers[":status"];
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(server.snapshot().refused).toEqual({});
  });

  it("R12 LS: of what waited, what was given up for certain meanwhile is not begun", async () => {
    let begun = 0;
    const server = await start((request, response) => {
      begun++;
      holds(request, response);
    });
    const [first, second, third] = [await rawTo(server), await rawTo(server), await rawTo(server)];
    first.send(GET(1_000));
    second.send(GET(0, "x-mesh-timeout-ms: 500\r\n"));
    third.send(GET(0, "x-mesh-timeout-ms: 30000\r\n"));
    expect((await first.reply()).status).toBe(200);
    expect((await second.reply()).status).toBe(503);
    expect((await third.reply()).status).toBe(200);
    expect(begun).toBe(2);
  });
});

describe("handlers that use the processor", () => {
  it("R12 LS: one caller, one request after the other, of 300 ms each, is never refused", async () => {
    const server = await start(holds);
    const client = await rawTo(server);
    for (let i = 0; i < 10; i++) {
      client.send(GET(300));
      expect((await client.reply()).status).toBe(200);
    }
    expect(server.snapshot().refused).toEqual({});
  });

  it("B6 LS, R12 LS: too many callers are refused from the rest of a turn, logged once, and the thread stays busy", async () => {
    const log: LogLine[] = [];
    let served = 0;
    let busyMs = 0;
    const server = await start(
      (request, response) => {
        served++;
        const begunAt = performance.now();
        holds(request, response);
        busyMs += performance.now() - begunAt;
      },
      { name: "orders", limits: { maxLoopDelayMs: 100 }, log: (line) => void log.push(line) },
    );
    const startedAt = performance.now();
    const heads: string[] = [];
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const client = await rawTo(server);
        while (performance.now() - startedAt < 3_000) {
          client.send(GET(25));
          const { status, head } = await client.reply();
          if (status !== 503) expect(status).toBe(200);
          else if (heads.push(head) === 1) {
            client.send("GET /readyz HTTP/1.1\r\nhost: svc\r\n\r\n");
            expect((await client.reply()).body).toBe("overloaded\n");
          }
        }
      }),
    );
    // Nobody was told to stay away while the thread had nothing to do.
    expect(busyMs).toBeGreaterThan(0.6 * (performance.now() - startedAt));
    expect(heads.length).toBeGreaterThan(10);
    // A caller that comes back at once is refused once in a turn of 100 ms, and not all the time.
    expect(heads.length).toBeLessThan(served * 3);
    expect(heads[0]).toMatch(/retry-after: 1\r\n.*x-mesh-nack: 1/is);
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ level: "warn", event: "server.refusing" });
    expect(log[0]!.message).toMatch(
      /^orders: a request is refused \(loop_delay\): .*limits\.maxLoopDelayMs is 100.*add instances/,
    );
    const client = await rawTo(server);
    await until(() => server.snapshot().loopDelayMs === 0, 10_000);
    client.send(GET(0));
    expect((await client.reply()).status).toBe(200);
  }, 30_000);
});
