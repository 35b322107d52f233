/** Load shedding on real sockets: what a stall, a handler that uses the processor, and too many callers do. */
import { fork } from "node:child_process";
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import type { LogLine } from "@inmesh/core";
import type { ServerSnapshot } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { rawTo, start } from "./support/server.ts";
import { RawClient, type RawReply } from "./support/raw-client.ts";
import { sleep } from "./wire.ts";

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

  it("B6 LS, R12 LS: of more than it can serve, the rest of each turn is refused, and the thread stays busy", async () => {
    const { port, report } = await forkHolds(100);
    const replies: RawReply[] = [];
    let notReady: string | undefined;
    const startedAt = performance.now();
    const pending: Promise<void>[] = [];
    // 25 ms each, 60 a second: half more than there is time for, each on a connection of its own.
    const clients = await Promise.all(Array.from({ length: 240 }, () => RawClient.to(port)));
    onTestFinished(() => clients.forEach(({ socket }) => socket.destroy()));
    for (const client of clients) {
      client.send(GET(25));
      const ask = async (): Promise<void> => {
        const reply = await client.reply(30_000);
        replies.push(reply);
        if (reply.status === 200 || notReady !== undefined) return;
        client.send("GET /readyz HTTP/1.1\r\nhost: svc\r\n\r\n");
        notReady = (await client.reply(30_000)).body;
      };
      pending.push(ask());
      await sleep(1000 / 60);
    }
    await Promise.all(pending);
    const elapsedMs = performance.now() - startedAt;
    const { log, busyMs, snapshot } = await report();
    const refused = replies.filter(({ status }) => status === 503);
    expect(refused.length).toBeGreaterThan(10);
    expect(snapshot.refused).toEqual({ loop_delay: refused.length });
    expect(refused[0]!.head).toMatch(/retry-after: 1\r\n.*x-mesh-nack: 1/is);
    expect(notReady).toBe("overloaded\n");
    expect(busyMs).toBeGreaterThan(0.6 * elapsedMs);
    expect(log).toMatchObject([{ level: "warn", event: "server.refusing" }]);
    expect(log[0]!.message).toMatch(
      /^orders: a request is refused \(loop_delay\): .*limits\.maxLoopDelayMs is 100.*add instances/,
    );
    // It has recovered.
    clients[0]!.send(GET(0));
    expect((await clients[0]!.reply(30_000)).status).toBe(200);
  }, 60_000);
});

interface Report {
  readonly log: readonly LogLine[];
  readonly busyMs: number;
  readonly snapshot: ServerSnapshot;
}

async function forkHolds(
  maxLoopDelayMs: number,
): Promise<{ port: number; report: () => Promise<Report> }> {
  const path = fileURLToPath(new URL("children/holds.ts", import.meta.url));
  const execArgv = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
  const child = fork(path, [String(maxLoopDelayMs)], { execArgv });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return {
    port,
    async report() {
      child.send({});
      const [report] = (await once(child, "message")) as [Report];
      return report;
    },
  };
}
