/** Load shedding over gRPC: what a stall, a handler that uses the processor, and too many callers do. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { status as Status } from "@grpc/grpc-js";
import type { LogLine } from "@inmesh/core";
import type { GrpcServerSnapshot } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished } from "vitest";
import type { OrdersHandlers } from "./support/orders.ts";
import { ask, bareClient, served, type Answer } from "./support/served.ts";

/** `count` says for how many milliseconds the thread is held. */
const holds: Partial<OrdersHandlers> = {
  get: (call, done) => {
    const endsAt = performance.now() + (call.request.count ?? 0);
    while (performance.now() < endsAt);
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

  it("R12 GS: of more than it can serve, the rest of each turn is refused, and the thread stays busy", async () => {
    const path = fileURLToPath(new URL("children/holds.ts", import.meta.url));
    const execArgv = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
    const child = fork(path, ["100"], { execArgv });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    const client = bareClient(`127.0.0.1:${port}`);
    onTestFinished(() => client.close());
    await ask(client);
    const startedAt = performance.now();
    const pending: Promise<Answer>[] = [];
    // 25 ms each, 60 a second: half more than there is time for.
    for (let i = 0; i < 240; i++) {
      pending.push(ask(client, {}, {}, { count: 25 }));
      await sleep(1000 / 60);
    }
    const answers = await Promise.all(pending);
    const elapsedMs = performance.now() - startedAt;
    child.send({});
    const [{ log, busyMs, snapshot }] = (await once(child, "message")) as [Report];
    const refused = answers.flatMap(({ error }) => (error === null ? [] : [error]));
    expect(refused.length).toBeGreaterThan(10);
    expect(snapshot.refused).toEqual({ loop_delay: refused.length });
    expect(refused[0]!.code).toBe(Status.UNAVAILABLE);
    expect(refused[0]!.metadata.get("grpc-retry-pushback-ms")).toEqual(["1000"]);
    expect(busyMs).toBeGreaterThan(0.6 * elapsedMs);
    expect(log).toMatchObject([{ level: "warn", event: "server.refusing" }]);
    expect(log[0]!.message).toMatch(
      /^orders: a request is refused \(loop_delay\): .*add instances/,
    );
  }, 60_000);
});

interface Report {
  readonly log: readonly LogLine[];
  readonly busyMs: number;
  readonly snapshot: GrpcServerSnapshot;
}
