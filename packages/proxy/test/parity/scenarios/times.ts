/** Timeouts, deadlines, queues and limits of a service. */
import { startBlackHole } from "../../../../http/test/support/children.ts";
import { until, type Bench } from "../bench.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";

const good = (request: Arrived): void => request.reply(200, "good");
/** Answers what comes first, so that what is timed has a connection. */
const silent = (request: Arrived): void => {
  if (request.path === "/warm") request.reply(200, "warm");
};
const stalls = (request: Arrived): void => {
  if (request.path === "/warm") request.reply(200, "warm");
  else request.begin("first");
};
const once = { retry: { attempts: 1 } };

/** Time enough for what comes first, whatever the rest has. */
const WARM = {
  name: "warm",
  matches: [{ path: { value: "/warm" } }],
  timeouts: { request: "20s", backendRequest: "20s" },
};

/** Whether so short a time says something about an endpoint depends on how fast it was before. */
export const LOADED: RegExp =
  /[.]outcome$|^metric inmesh\.(?:attempt|call)|^snapshot .*\.failures$/;

/** One call that stays in progress until it is released. */
async function holding(bench: Bench, more: object, version: 1 | 2 = bench.way.up) {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const server = await bench.upstream(
    "holds",
    (request) => void held.then(() => request.reply(200, "held")),
    version,
  );
  await bench.start({ services: { orders: bench.service([server], { ...once, ...more }) } });
  const first = bench.ask({ path: "/first" });
  await until(() => server.seen.length === 1);
  return {
    server,
    end: async () => {
      release();
      await first;
    },
  };
}

export const TIMES: readonly Scenario[] = [
  {
    id: "timeouts: an attempt that has no reply in time goes on elsewhere",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const servers = [await bench.upstream("silent", silent), await bench.upstream("good", good)];
      const orders = { timeouts: { backendRequest: "300ms" }, routes: [WARM] };
      await bench.start({ services: { orders: bench.service(servers, orders) } });
      await bench.askTimes(2, { path: "/warm" });
      await bench.askTimes(2);
    },
  },
  {
    id: "timeouts: the last attempt that has no reply in time is the call's error",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("silent", silent);
      const orders = { timeouts: { backendRequest: "300ms" }, routes: [WARM] };
      await bench.start({ services: { orders: bench.service([server], orders) } });
      await bench.ask({ path: "/warm" });
      await bench.ask({ method: "POST", body: "x" });
      await bench.ask();
    },
  },
  {
    id: "timeouts: the deadline of the service",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("silent", silent);
      const orders = { timeouts: { request: "300ms" }, routes: [WARM] };
      await bench.start({ services: { orders: bench.service([server], orders) } });
      await bench.ask({ path: "/warm" });
      await bench.ask();
    },
  },
  {
    id: "timeouts: the deadline of a route",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("silent", silent);
      const routes = [WARM, { name: "short", timeouts: { request: "300ms" } }];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      await bench.ask({ path: "/warm" });
      await bench.ask();
    },
  },
  {
    id: "timeouts: the deadline of a call",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("silent", silent);
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask({ path: "/warm" });
      await bench.ask({ timeoutMs: 300 });
    },
  },
  {
    id: "timeouts: a call that asks for more time than the service gives",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("good", good);
      const timeouts = { request: "900ms" };
      await bench.start({ services: { orders: bench.service([server], { timeouts }) } });
      await bench.ask({ timeoutMs: 60_000 });
    },
  },
  {
    id: "timeouts: a service gives more time to calls that ask for it",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("good", good);
      const timeouts = { request: "900ms", maxRequest: "1m" };
      await bench.start({ services: { orders: bench.service([server], { timeouts }) } });
      await bench.ask({ timeoutMs: 50_000 });
    },
  },
  {
    id: "timeouts: no deadline is sent where there is none",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("good", good);
      const timeouts = { request: "none" };
      await bench.start({ services: { orders: bench.service([server], { timeouts }) } });
      await bench.ask();
    },
  },
  {
    id: "timeouts: further attempts say how much time is left",
    kind: "outbound",
    run: async (bench) => {
      const left: number[] = [];
      const note = (request: Arrived): void =>
        void left.push(Number(request.header("x-mesh-timeout-ms")));
      const busy = await bench.upstream("busy", (request) => {
        note(request);
        setTimeout(() => request.reply(503, "busy"), 250);
      });
      const second = await bench.upstream("good", (request) => {
        note(request);
        request.reply(200, "good");
      });
      const timeouts = { request: "14s" };
      await bench.start({ services: { orders: bench.service([busy, second], { timeouts }) } });
      while (busy.seen.length === 0) await bench.ask();
      const [before = NaN, after = NaN] = left.slice(-2);
      bench.note("the second one has less time", before - after >= 240);
    },
  },
  {
    id: "timeouts: a body that stands still",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("stalls", stalls);
      const timeouts = { bodyIdle: "250ms" };
      await bench.start({ services: { orders: bench.service([server], { timeouts }) } });
      await bench.ask({ path: "/warm" });
      await bench.ask();
    },
  },
  {
    id: "timeouts: the deadline passes in the body",
    kind: "outbound",
    varies: LOADED,
    run: async (bench) => {
      const server = await bench.upstream("stalls", stalls);
      const orders = { timeouts: { request: "300ms" }, routes: [WARM] };
      await bench.start({ services: { orders: bench.service([server], orders) } });
      await bench.ask({ path: "/warm" });
      await bench.ask();
    },
  },
  {
    id: "timeouts: a route that streams has no deadline of the service",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("streams", (request) => {
        request.begin("one ");
        setTimeout(() => request.more("two "), 150);
        setTimeout(() => request.end(), 300);
      });
      const routes = [{ name: "events", streaming: true }];
      const timeouts = { request: "200ms" };
      await bench.start({ services: { orders: bench.service([server], { timeouts, routes }) } });
      await bench.ask();
    },
  },
  {
    id: "timeouts: no connection comes about",
    kind: "outbound",
    run: async (bench) => {
      await using hole = await startBlackHole();
      const address = `127.0.0.1:${hole.port}`;
      bench.named("hole", address);
      const timeouts = { connect: "100ms" };
      await bench.start({
        services: { orders: bench.service([{ address }], { timeouts, ...once }) },
      });
      await bench.ask({ method: "POST", body: "x" });
    },
  },
  {
    id: "timeouts: the caller goes before there is a reply",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("silent", silent);
      await bench.start({ services: { orders: bench.service([server]) } });
      const leaves = until(() => server.seen.length === 1);
      await bench.ask({ leaves });
    },
  },
  {
    id: "limits: a wait for a connection that is too long",
    kind: "outbound",
    up: [1],
    run: async (bench) => {
      const limits = { maxConnectionsPerEndpoint: 1 };
      const held = await holding(bench, { limits, timeouts: { queue: "80ms" } });
      await bench.ask({ path: "/second" });
      await held.end();
    },
  },
  {
    id: "limits: a wait for a connection until the deadline",
    kind: "outbound",
    up: [1],
    // A deadline that this process has missed is said to be its own, and not the queue's.
    varies: /^(?!answer\[\d+\]\.status|order|seen by)/,
    run: async (bench) => {
      const held = await holding(bench, { limits: { maxConnectionsPerEndpoint: 1 } });
      await bench.ask({ path: "/second", timeoutMs: 100 });
      await held.end();
    },
  },
  {
    id: "limits: too many wait for a connection",
    kind: "outbound",
    up: [1],
    run: async (bench) => {
      const limits = { maxConnectionsPerEndpoint: 1, maxQueuedPerEndpoint: 1 };
      const held = await holding(bench, { limits });
      const second = bench.ask({ path: "/second" });
      await until(() => bench.queued === 1);
      await bench.ask({ path: "/third" });
      await held.end();
      await second;
    },
  },
  {
    id: "limits: too many calls are in progress",
    kind: "outbound",
    run: async (bench) => {
      const held = await holding(bench, { limits: { maxInFlight: 1 } });
      await bench.askTimes(2, { path: "/second" });
      await held.end();
    },
  },
  {
    id: "limits: a head that no server takes is not sent",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("good", good);
      const limits = { maxRequestHeaderBytes: 1_024 };
      await bench.start({ services: { orders: bench.service([server], { limits }) } });
      await bench.ask({ headers: { "x-large": "x".repeat(2_000) } });
    },
  },
  {
    id: "limits: a reply with a head that is too large",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("large", (request) =>
        request.reply(200, "ok", { "x-large": "x".repeat(4_000) }),
      );
      const limits = { maxReplyHeaderBytes: 2_048 };
      await bench.start({ services: { orders: bench.service([server], { limits, ...once }) } });
      await bench.ask();
    },
  },
  {
    id: "limits: a reply with too many fields",
    kind: "outbound",
    run: async (bench) => {
      const many = Object.fromEntries(Array.from({ length: 210 }, (_, i) => [`x-${i}`, "1"]));
      const server = await bench.upstream("many", (request) => request.reply(200, "ok", many));
      await bench.start({ services: { orders: bench.service([server], once) } });
      await bench.ask();
    },
  },
];
