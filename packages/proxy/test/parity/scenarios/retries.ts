/** Further attempts: when there is one, where it goes, and what bounds them. */
import { freeAddress } from "../../../../../scripts/free-port.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";

const busy = (request: Arrived): void => request.reply(503, "busy");
const good = (request: Arrived): void => request.reply(200, `good ${request.body.length}`);
const breaks = (request: Arrived): void => request.reset();

export const RETRIES: readonly Scenario[] = [
  {
    id: "retries: a status that the policy lists is tried at another endpoint",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(4);
    },
  },
  {
    id: "retries: what the policy lists is the caller's if it is said every time",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("busy", busy);
      const retry = { attempts: 3, backoff: "1ms", maxBackoff: "2ms" };
      await bench.start({ services: { orders: bench.service([server], { retry }) } });
      await bench.ask();
    },
  },
  {
    id: "retries: one attempt means none",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({
        services: { orders: bench.service(servers, { retry: { attempts: 1 } }) },
      });
      await bench.askTimes(2);
    },
  },
  {
    id: "retries: codes of a policy are those that it lists",
    kind: "outbound",
    run: async (bench) => {
      const teapot = await bench.upstream("teapot", (request) => request.reply(418, "teapot"));
      const servers = [teapot, await bench.upstream("busy", busy)];
      const retry = { attempts: 2, codes: [418], backoff: "1ms", maxBackoff: "2ms" };
      await bench.start({ services: { orders: bench.service(servers, { retry }) } });
      await bench.askTimes(2);
    },
  },
  {
    id: "retries: a route has a policy of its own",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("busy", busy);
      const routes = [
        { name: "often", matches: [{ path: { value: "/often" } }], retry: { attempts: 4 } },
        { name: "never", matches: [{ path: { value: "/never" } }], retry: { attempts: 1 } },
      ];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      for (const path of ["/often", "/never", "/other"]) await bench.ask({ path });
    },
  },
  {
    id: "retries: a refused connection is no attempt of the policy, and any method goes on",
    kind: "outbound",
    run: async (bench) => {
      const address = await freeAddress();
      bench.named("none", address);
      const server = await bench.upstream("good", good);
      await bench.start({ services: { orders: bench.service([{ address }, server]) } });
      await bench.askTimes(3, { method: "POST", body: "once" });
    },
  },
  {
    id: "retries: a connection that ends before the reply, GET",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("breaks", breaks), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2);
    },
  },
  {
    id: "retries: a connection that ends before the reply, POST is not repeated",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("breaks", breaks), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "POST", body: "once" });
    },
  },
  {
    id: "retries: an idempotency key makes a POST one that may be repeated",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("breaks", breaks), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      const headers = { "idempotency-key": "k1" };
      await bench.askTimes(2, { method: "POST", body: "twice", headers });
    },
  },
  {
    id: "retries: a route vouches for its calls",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      const routes = [{ name: "pay", matches: [{ path: { value: "/pay" } }], idempotent: true }];
      await bench.start({ services: { orders: bench.service(servers, { routes }) } });
      await bench.askTimes(2, { method: "POST", path: "/pay", body: "x" });
      await bench.askTimes(2, { method: "POST", path: "/other", body: "x" });
    },
  },
  {
    id: "retries: an option of one call says that it may be repeated",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "POST", body: "x", idempotent: true });
    },
  },
  {
    id: "retries: an empty budget",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      const retryBudget = { ratio: 0, minPerSecond: 0 };
      await bench.start({ services: { orders: bench.service(servers, { retryBudget }) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "retries: a budget is spent, and nothing is refused that no server has seen",
    kind: "outbound",
    run: async (bench) => {
      const address = await freeAddress();
      bench.named("none", address);
      const servers = [{ address }, await bench.upstream("busy", busy)];
      const retryBudget = { ratio: 0.5, minPerSecond: 0, window: "60s" };
      // It is about the budget alone.
      const breaker = { consecutiveFailures: 0, failureSpan: "0s", successRatio: 0, minOpen: "1m" };
      await bench.start({ services: { orders: bench.service(servers, { retryBudget, breaker }) } });
      await bench.askTimes(5);
    },
  },
  {
    id: "retries: a body with a length is sent again from its start",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "PUT", body: "x".repeat(40_000) });
    },
  },
  {
    id: "retries: a body with a length that is more than is kept",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "PUT", body: "x".repeat(200_000) });
    },
  },
  {
    id: "retries: a streamed body",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "PUT", pieces: ["x".repeat(500), "y".repeat(500)] });
    },
  },
  {
    id: "retries: a streamed body that is more than is kept",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("busy", busy), await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      const piece = "x".repeat(50_000);
      await bench.askTimes(2, { method: "PUT", pieces: [piece, piece, piece] });
    },
  },
  {
    id: "retries: a caller that has repeated already is not helped a second time",
    kind: "outbound",
    run: async (bench) => {
      const final = await bench.upstream("final", (request) =>
        request.reply(503, "final", { "x-mesh-final": "1" }),
      );
      await bench.start({ services: { orders: bench.service([final]) } });
      await bench.ask();
    },
  },
  {
    id: "retries: a refusal of a trusted server goes elsewhere, whatever the method",
    kind: "outbound",
    run: async (bench) => {
      const refuses = await bench.upstream("refuses", (request) =>
        request.reply(503, "concurrency\n", { "x-mesh-nack": "1", "x-mesh-error": "concurrency" }),
      );
      const servers = [refuses, await bench.upstream("good", good)];
      await bench.start({
        services: { orders: bench.service(servers, { trustNacks: true }) },
      });
      await bench.askTimes(2, { method: "POST", body: "x" });
    },
  },
  {
    id: "retries: the same of a server that is not trusted says nothing",
    kind: "outbound",
    run: async (bench) => {
      const refuses = await bench.upstream("refuses", (request) =>
        request.reply(503, "concurrency\n", { "x-mesh-nack": "1", "x-mesh-error": "concurrency" }),
      );
      const servers = [refuses, await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "POST", body: "x" });
    },
  },
  {
    id: "retries: a route says that an overloaded server has processed nothing",
    kind: "outbound",
    run: async (bench) => {
      const full = await bench.upstream("full", (request) =>
        request.reply(503, "full", { "retry-after": "30" }),
      );
      const servers = [full, await bench.upstream("good", good)];
      const routes = [{ name: "all", overloadedMeansUnprocessed: true }];
      await bench.start({ services: { orders: bench.service(servers, { routes }) } });
      await bench.askTimes(2, { method: "POST", body: "x" });
    },
  },
  {
    id: "retries: a server asks for more time than the call has",
    kind: "outbound",
    run: async (bench) => {
      const full = await bench.upstream("full", (request) =>
        request.reply(429, "full", { "retry-after": "30" }),
      );
      await bench.start({ services: { orders: bench.service([full]) } });
      await bench.ask();
    },
  },
  {
    id: "retries: a refused stream is sent elsewhere, whatever the method",
    kind: "outbound",
    up: [2],
    run: async (bench) => {
      const refuses = await bench.upstream("refuses", (request) => request.refuse());
      const servers = [refuses, await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(2, { method: "POST", body: "x" });
    },
  },
  {
    id: "retries: a body that breaks off is not repeated",
    kind: "outbound",
    run: async (bench) => {
      const half = await bench.upstream("half", (request) => {
        request.begin("half of it", { "content-length": "20" });
        setTimeout(() => request.reset(), 20);
      });
      await bench.start({ services: { orders: bench.service([half]) } });
      await bench.ask();
    },
  },
];
