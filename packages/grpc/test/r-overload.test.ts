/** Load shedding over gRPC: what a stall, a handler that uses the processor, and too many callers do. */
import { status as Status } from "@grpc/grpc-js";
import type { LogLine } from "@inmesh/core";
import { describe, expect, it } from "vitest";
import type { OrdersHandlers } from "./support/orders.ts";
import { ask, served } from "./support/served.ts";

let busyMs = 0;

/** `count` says for how many milliseconds the thread is held. */
const holds: Partial<OrdersHandlers> = {
  get: (call, done) => {
    const begunAt = performance.now();
    while (performance.now() < begunAt + (call.request.count ?? 0));
    busyMs += performance.now() - begunAt;
    done(null, {});
  },
};

const DEFAULTS = { limits: { maxLoopDelayMs: 1_000 } };

describe("one stall", () => {
  it("R12 GS: a handler that holds the thread once refuses neither what waits nor what comes after", async () => {
    const log: LogLine[] = [];
    const { client, server } = await served(holds, {
      ...DEFAULTS,
      log: (line) => void log.push(line),
    });
    await ask(client);
    const first = [1_500, 0, 0, 0, 0, 0].map((count) => ask(client, {}, {}, { count }));
    const answers = await Promise.all(first);
    for (let i = 0; i < 50; i++) answers.push(await ask(client, {}, {}, { count: 1 }));
    expect(answers.filter(({ error }) => error !== null)).toEqual([]);
    expect(server.ready).toBe(true);
    expect(server.snapshot().refused).toEqual({});
    expect(log).toEqual([]);
  });
});

describe("handlers that use the processor", () => {
  it("R12 GS: one caller, one call after the other, of 300 ms each, is never refused", async () => {
    const { client, server } = await served(holds, DEFAULTS);
    for (let i = 0; i < 10; i++) {
      expect((await ask(client, {}, {}, { count: 300 })).error).toBeNull();
    }
    expect(server.snapshot().refused).toEqual({});
  });

  it("R12 GS: too many callers are refused from the rest of a turn, logged once, and the thread stays busy", async () => {
    const log: LogLine[] = [];
    const { client, server } = await served(holds, {
      name: "orders",
      limits: { maxLoopDelayMs: 100 },
      log: (line) => void log.push(line),
    });
    await ask(client);
    const startedAt = performance.now();
    busyMs = 0;
    let good = 0;
    let refused = 0;
    let pushback: unknown;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        while (performance.now() - startedAt < 3_000) {
          const { error } = await ask(client, {}, {}, { count: 25 });
          if (error === null) good++;
          else {
            expect(error.code).toBe(Status.UNAVAILABLE);
            expect(server.ready).toBe(false);
            pushback = error.metadata.get("grpc-retry-pushback-ms");
            refused++;
          }
        }
      }),
    );
    expect(busyMs).toBeGreaterThan(0.6 * (performance.now() - startedAt));
    expect(refused).toBeLessThan(good * 3);
    expect(refused).toBeGreaterThan(10);
    expect(pushback).toEqual(["1000"]);
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ level: "warn", event: "server.refusing" });
    expect(log[0]!.message).toMatch(
      /^orders: a request is refused \(loop_delay\): .*add instances/,
    );
  }, 30_000);
});
