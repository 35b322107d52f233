/** Section L of the fault matrix, gRPC client: restarts of servers, and the end of a mesh. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { Client, Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import { AheadRuntime } from "@inmesh/core/testing";
import { callInfo, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { afterEach, expect, it, onTestFinished, vi } from "vitest";
import { TestDiscovery } from "../../http/test/support/discovery.ts";
import { data, h2Peer, head } from "../../http/test/support/h2-peer.ts";
import { runChild } from "./support/children.ts";
import { counted, get } from "./support/bench.ts";
import { Orders, OrdersServer, type Order, type OrdersClient } from "./support/orders.ts";
import { framed } from "./support/scripted-server.ts";
import { clientOf, failed, serverOf, sleep, until, expectNothingLeft } from "./support/wire.ts";

afterEach(() => void vi.useRealTimers());

// ── L1: restarts ────────────────────────────────────────────────────────────────────────────────

expectNothingLeft();

/** One call of each kind, with all of its messages; throws what ends it otherwise. */
const KINDS: Record<string, (client: OrdersClient) => Promise<unknown>> = {
  get: (client) => get(client, {}),
  add: (client) =>
    new Promise<void>((resolve, reject) => {
      const stream = client.add((error, order) => {
        if (error !== null) reject(error);
        else if (order!.count === 3) resolve();
        else reject(new Error(`${order!.count} of 3 messages`));
      });
      for (let count = 0; count < 3; count++) stream.write({ count });
      stream.end();
    }),
  list: async (client) => expectCounts(await countsOf(client.list({ count: 5 })), 5),
  chat: async (client) => {
    const stream = client.chat();
    const write = async (): Promise<void> => {
      for (let count = 0; count < 3; count++) {
        stream.write({ count });
        await sleep(2);
      }
      stream.end();
    };
    const [counts] = await Promise.all([countsOf(stream), write()]);
    expectCounts(counts, 3);
  },
};

async function countsOf(stream: AsyncIterable<Order>): Promise<number[]> {
  const counts: number[] = [];
  for await (const { count } of stream) counts.push(count ?? 0);
  return counts;
}

function expectCounts(counts: readonly number[], length: number): void {
  const whole = Array.from({ length }, (_, i) => i);
  if (counts.join() !== whole.join()) throw new Error(`messages ${counts.join()}`);
}

const PROCESSES = ["grpc-js as it is", "meshGrpcServer"] as const;

it.each(PROCESSES)(
  "L1 GC: three servers restart one after the other, %s: no call of any kind fails",
  async (kind) => {
    interface Running {
      readonly orders: OrdersServer;
      drain(): Promise<void>;
    }
    const start = async (port = 0): Promise<Running> => {
      const orders = new OrdersServer("a");
      const half =
        kind === "meshGrpcServer"
          ? meshGrpcServer(orders.server, {
              discoveryWaitMs: 20,
              limits: { maxLoopDelayMs: Infinity },
            })
          : undefined;
      await orders.listen(port);
      onTestFinished(() => (half === undefined ? orders.stop() : half.close(0)));
      return { orders, drain: () => half?.drain(5_000) ?? orders.drain() };
    };
    const running = await Promise.all([start(), start(), start()]);
    const { client, mesh } = clientOf(
      running.map(({ orders }) => orders.address),
      { breaker: { minOpenMs: 100 } },
    );
    const load = { stopped: false };
    const errors: string[] = [];
    let calls = 0;
    const workers = Object.entries(KINDS).flatMap(([name, call]) =>
      Array.from({ length: 3 }, async () => {
        while (!load.stopped) {
          await call(client).catch((error: unknown) => errors.push(`${name}: ${String(error)}`));
          calls++;
          await sleep(1);
        }
      }),
    );
    await until(() => calls > 50);
    for (const [i, { orders, drain }] of running.entries()) {
      await drain();
      running[i] = await start(orders.port);
      // The next one leaves when this one is in use, as an orchestrator waits until it is ready.
      await until(() => running[i]!.orders.calls > 5);
    }
    load.stopped = true;
    await Promise.all(workers);
    expect(errors).toEqual([]);
    expect(counted(mesh, "inmesh.call.active")).toBe(0);
  },
);

// ── L2, L3, L9: the end of a mesh ───────────────────────────────────────────────────────────────

const signalListeners = (): number[] =>
  ["SIGTERM", "SIGINT", "exit", "beforeExit"].map((name) => process.listenerCount(name));

it("L3 GC: close ends hung calls of all kinds at grace, with shutdown; L2 GC: a second close is the first", async () => {
  const listeners = signalListeners();
  const hang = (): void => {};
  const server = await serverOf({ get: hang, add: hang, list: hang, chat: hang });
  const { client, mesh } = clientOf([server.address]);
  const streams = [client.list({}), client.chat()];
  const ends = [
    failed(get(client, {})),
    new Promise<ServiceError>((resolve) => client.add((error) => resolve(error!))),
    ...streams.map(
      (stream) =>
        new Promise<ServiceError>((resolve) =>
          stream.on("error", (error) => resolve(error as ServiceError)),
        ),
    ),
  ];
  await until(() => server.calls === 4);
  const startedAt = performance.now();
  const closing = mesh.close(150);
  expect(mesh.close(60_000)).toBe(closing);
  await closing;
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeGreaterThan(140);
  expect(tookMs).toBeLessThan(5_000);
  for (const error of await Promise.all(ends)) {
    expect(error).toMatchObject({
      code: Status.CANCELLED,
      cause: { code: "cancelled", reason: "shutdown" },
    });
  }
  await until(() => server.cancelled === 4);
  expect(mesh.snapshot().state).toBe("closed");
  expect(signalListeners()).toEqual(listeners);
});

it("L3 GC: calls that end in time end well", async () => {
  let answer = (): void => {};
  const server = await serverOf({
    get: (_call, done) => void (answer = () => done(null, { id: "late" })),
  });
  const { client, mesh } = clientOf([server.address]);
  const pending = get(client, {});
  await until(() => server.calls === 1);
  const closing = mesh.close(10_000);
  answer();
  expect((await pending).id).toBe("late");
  await closing;
});

it("L2 GC: close while the first call is on its way to its first connection", async () => {
  const server = await serverOf();
  const { client, mesh } = clientOf([server.address]);
  const early = get(client, {}).catch((error: ServiceError) => error);
  await Promise.all([mesh.close(0), mesh.close(0)]);
  await early;
  // Nothing dials again behind the end.
  await sleep(30);
  await server.drain();
});

it("L9 GC: calls after close get an error that says so, whatever their kind", async () => {
  const server = await serverOf();
  const { client, mesh } = clientOf([server.address]);
  await get(client, {});
  await mesh.close();
  for (const call of Object.values(KINDS)) {
    expect(await failed(call(client))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "closed", progress: "not-sent" },
    });
  }
  expect(server.calls).toBe(1);
});

it("L9 GC: close during the first answer of discovery: nothing hangs", async () => {
  const discovery = new TestDiscovery();
  const { client, mesh } = clientOf(["127.0.0.1:1"], {}, { discovery: () => discovery });
  const pending = Object.values(KINDS).map((call) => failed(call(client)));
  await sleep(5);
  await mesh.close(20);
  for (const error of await Promise.all(pending)) {
    expect(error.cause).toMatchObject({ reason: "shutdown", progress: "not-sent" });
  }
  expect(discovery.stopped).toBe(true);
});

it("L9 GC: a client that is closed makes no further calls; those it made go on, and the mesh serves others", async () => {
  let answer = (): void => {};
  const server = await serverOf({
    get: (_call, done) => void (answer = () => done(null, { id: "late" })),
  });
  const { client, mesh } = clientOf([server.address]);
  const other = new Orders(...meshGrpc("orders", { mesh }));
  const pending = get(client, {});
  await until(() => server.calls === 1);
  client.close();
  expect(() => client.get({}, () => {})).toThrow("shut down");
  answer();
  expect((await pending).id).toBe("late");
  const second = get(other, {});
  await until(() => server.calls === 2);
  answer();
  expect((await second).id).toBe("late");
});

// ── L5, L7, L8, L11: what a host does ───────────────────────────────────────────────────────────

it("L5 GC: two meshes share nothing", async () => {
  const server = await serverOf();
  const [one, other] = [clientOf([server.address]), clientOf([server.address])];
  await get(one.client, {});
  await one.mesh.close();
  expect(counted(other.mesh, "inmesh.calls")).toBe(0);
  await get(other.client, {});
  expect(counted(one.mesh, "inmesh.calls")).toBe(1);
});

/** Loads grpc-js once more, as a second version in one tree would be. */
function secondCopy(): typeof import("@grpc/grpc-js") {
  const require = createRequire(import.meta.url);
  const own = Object.entries(require.cache).filter(([path]) => path.includes("@grpc/grpc-js"));
  for (const [path] of own) delete require.cache[path];
  try {
    return require("@grpc/grpc-js") as typeof import("@grpc/grpc-js");
  } finally {
    for (const [path, module] of own) require.cache[path] = module;
  }
}

it("L5 GC: a client made by another copy of grpc-js works, metadata and errors included", async () => {
  const other = secondCopy();
  expect(other.Client).not.toBe(Client);
  const server = await serverOf({
    get: (call, done) => {
      const said = call.metadata.get("x-said").join();
      if (said === "fail") done({ code: Status.NOT_FOUND, details: "none" });
      else done(null, { id: said });
    },
  });
  const { mesh } = clientOf([server.address]);
  const Theirs = other.makeClientConstructor(Orders.service, "Orders");
  const client = new Theirs(...meshGrpc("orders", { mesh })) as unknown as OrdersClient;
  const metadata = new other.Metadata();
  metadata.set("x-said", "hello");
  expect((await get(client, {}, {}, metadata)).id).toBe("hello");
  expect(await countsOf(client.list({ count: 3 }))).toEqual([0, 1, 2]);
  metadata.set("x-said", "fail");
  const error = await failed(get(client, {}, {}, metadata));
  expect(error).toMatchObject({ code: Status.NOT_FOUND, details: "none" });
  expect(callInfo(error)?.endpoint).toBe(server.address);
});

it("L7 GC: after a freeze calls go over new connections: peers may have forgotten the old; calls in flight go on", async () => {
  const OK = { ":status": "200", "content-type": "application/grpc" };
  const ok = (id: number): Buffer[] => [
    head(id, OK),
    data(id, framed(Buffer.alloc(0))),
    head(id, { "grpc-status": "0" }, true),
  ];
  let waiting = false;
  let release = (): void => {};
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    await connection.write(...ok(await connection.request()));
    if (connection.number === 1) {
      const slow = await connection.request();
      waiting = true;
      await new Promise<void>((resolve) => (release = resolve));
      await connection.write(...ok(slow));
      return; // from here on it hears nothing
    }
    for (;;) await connection.write(...ok(await connection.request()));
  });
  const runtime = new AheadRuntime();
  const { client } = clientOf([`127.0.0.1:${peer.port}`], {}, { runtime });
  await get(client, {});
  const slow = client.list({});
  const counts = countsOf(slow);
  await until(() => waiting);
  runtime.aheadMs = 60_000;
  await get(client, {}, { deadline: Date.now() + 10_000 });
  await get(client, {}, { deadline: Date.now() + 10_000 });
  expect(peer.connections).toBe(2);
  release();
  expect(await counts).toEqual([0]);
});

interface WallClockReport {
  /** Between the furthest of twenty looks at the wall clock. */
  readonly spreadMs: number;
  readonly openMs: number;
  readonly closedMs: number;
  readonly budgets: readonly number[];
  /** Means of the histograms of durations, in seconds. */
  readonly durations: readonly number[];
  readonly deadline: { readonly tookMs: number };
  readonly backoff: { readonly tookMs: number };
  readonly pushback: { readonly tookMs: number };
}

it("L8 GC: each look at the wall clock shows another time, and nothing is early, late or negative", async () => {
  let down = false;
  const flaky = await serverOf({
    get: (call, done) => {
      const { id } = call.request;
      if (id === "hang") return;
      if (id === "go down") down = true;
      else if (id === "come up") down = false;
      const first = call.metadata.get("grpc-previous-rpc-attempts").length === 0;
      const fails = id === "plain" ? down : id!.endsWith("first") && first;
      if (!fails) return done(null, {});
      const metadata = new Metadata();
      if (id === "push back first") metadata.set("grpc-retry-pushback-ms", "1000");
      done({ code: Status.UNAVAILABLE, details: "down", metadata });
    },
  });
  const steady = await serverOf();
  const report = await runChild<WallClockReport>(
    "wall-clock.ts",
    [flaky.address, steady.address],
    [`--import=${join(import.meta.dirname, "../../http/test/children/jumping-clock.ts")}`],
  );
  expect(report.spreadMs).toBeGreaterThan(3_600_000);
  expect(report).toMatchObject({
    plain: ["ok"],
    deadline: { end: "DEADLINE_EXCEEDED" },
    backoff: { end: "ok" },
    pushback: { end: "ok" },
    opened: true,
    healing: true,
  });
  expect(report.deadline.tookMs).toBeGreaterThan(195);
  expect(report.deadline.tookMs).toBeLessThan(5_000);
  expect(report.backoff.tookMs).toBeLessThan(5_000);
  expect(report.pushback.tookMs).toBeGreaterThan(950);
  expect(report.pushback.tookMs).toBeLessThan(6_000);
  expect(report.openMs).toBeGreaterThan(20);
  expect(report.openMs).toBeLessThan(10_000);
  expect(report.closedMs).toBeLessThan(5_000);
  for (const balance of report.budgets) {
    expect(balance).toBeGreaterThanOrEqual(0);
    expect(balance).toBeLessThanOrEqual(1_000);
  }
  expect(report.durations.length).toBeGreaterThan(0);
  for (const mean of report.durations) {
    expect(mean).toBeGreaterThanOrEqual(0);
    expect(mean).toBeLessThan(5);
  }
});

it("L11 GC: faked timers do not stop deadlines", async () => {
  const server = await serverOf({ get: () => {} });
  const { client } = clientOf([server.address], { timeouts: { requestMs: 100 } });
  const realNow = performance.now.bind(performance);
  vi.useFakeTimers();
  const startedAt = realNow();
  expect(await failed(get(client, {}))).toMatchObject({
    code: Status.DEADLINE_EXCEEDED,
    cause: { reason: "call_deadline" },
  });
  expect(realNow() - startedAt).toBeGreaterThan(95);
  vi.useRealTimers();
  await until(() => server.cancelled === 1);
});
