/** Which endpoint is picked, and which are left out: balancers and breakers. */
import { freeAddress } from "../../../../../scripts/free-port.ts";
import { until, type Bench } from "../bench.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived, Upstream } from "../upstream.ts";

const good = (request: Arrived): void => request.reply(200, "good");
const bad = (request: Arrived): void => request.reply(500, "bad");
const once = { retry: { attempts: 1 } };

async function three(bench: Bench): Promise<Upstream[]> {
  return [
    await bench.upstream("a", good),
    await bench.upstream("b", good),
    await bench.upstream("c", good),
  ];
}

const states = ({ mesh }: Bench): string[] =>
  mesh
    .snapshot()
    .services.flatMap(({ endpoints }) => endpoints.map(({ breaker }) => breaker.state));

export const BALANCE: readonly Scenario[] = [
  {
    id: "balancing: in turn",
    kind: "outbound",
    run: async (bench) => {
      await bench.start({ services: { orders: bench.service(await three(bench)) } });
      await bench.askTimes(7);
    },
  },
  {
    id: "balancing: at random, from a seed",
    kind: "outbound",
    run: async (bench) => {
      const balancer = { kind: "random" };
      await bench.start({ services: { orders: bench.service(await three(bench), { balancer }) } });
      await bench.askTimes(12);
    },
  },
  {
    id: "balancing: least requests, from a seed",
    kind: "outbound",
    run: async (bench) => {
      const balancer = { kind: "least-request" };
      await bench.start({ services: { orders: bench.service(await three(bench), { balancer }) } });
      await bench.askTimes(12);
    },
  },
  {
    id: "balancing: least requests, beside what hangs",
    kind: "outbound",
    run: async (bench) => {
      let release = (): void => {};
      const held = new Promise<void>((resolve) => (release = resolve));
      const slow = await bench.upstream("slow", (request) => void held.then(() => request.reply()));
      const fast = await bench.upstream("fast", good);
      const balancer = { kind: "least-request" };
      await bench.start({ services: { orders: bench.service([slow, fast], { balancer }) } });
      const hanging: Promise<unknown>[] = [];
      // Until one hangs.
      while (slow.seen.length === 0) {
        const asked = bench.ask({ path: "/first" });
        hanging.push(asked);
        await Promise.race([asked, until(() => slow.seen.length === 1)]);
      }
      await bench.askTimes(5);
      release();
      await Promise.all(hanging);
    },
  },
  {
    id: "balancing: Peak EWMA keeps away from an endpoint that is slow",
    kind: "outbound",
    // Which endpoint is picked depends on what was measured.
    varies: /^(?:order|seen by|tap|access log|metric|snapshot)/,
    run: async (bench) => {
      const slow = await bench.upstream(
        "slow",
        (request) => void setTimeout(() => good(request), 60),
      );
      const fast = await bench.upstream("fast", good);
      const balancer = { kind: "peak-ewma" };
      await bench.start({ services: { orders: bench.service([slow, fast], { balancer }) } });
      await bench.askTimes(24);
      bench.note("the slow one got less than a third", slow.seen.length < 8);
    },
  },
  {
    id: "balancing: an endpoint that asks to be spared is spared",
    kind: "outbound",
    run: async (bench) => {
      const full = await bench.upstream("full", (request) =>
        request.reply(503, "full", { "retry-after": "20" }),
      );
      const servers = [full, await bench.upstream("good", good)];
      await bench.start({ services: { orders: bench.service(servers) } });
      await bench.askTimes(6);
    },
  },
  {
    id: "breakers: failures in a row take an endpoint out",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("bad", bad), await bench.upstream("good", good)];
      const breaker = { consecutiveFailures: 3, successRatio: 0, minOpen: "1m" };
      await bench.start({ services: { orders: bench.service(servers, { ...once, breaker }) } });
      await bench.askTimes(10);
    },
  },
  {
    id: "breakers: too few successes take an endpoint out",
    kind: "outbound",
    run: async (bench) => {
      const uneven = await bench.upstream("uneven", (request) =>
        request.reply(request.number % 2 === 0 ? 200 : 500, "uneven"),
      );
      const servers = [uneven, await bench.upstream("good", good)];
      const breaker = { consecutiveFailures: 0, failureSpan: "0s", minRequests: 5, minOpen: "1m" };
      await bench.start({ services: { orders: bench.service(servers, { ...once, breaker }) } });
      await bench.askTimes(16);
    },
  },
  {
    id: "breakers: 4xx says nothing about an endpoint",
    kind: "outbound",
    run: async (bench) => {
      const denies = await bench.upstream("denies", (request) => request.reply(403, "no"));
      const breaker = { consecutiveFailures: 2 };
      await bench.start({ services: { orders: bench.service([denies], { ...once, breaker }) } });
      await bench.askTimes(5);
    },
  },
  {
    id: "breakers: when all fail, all are used",
    kind: "outbound",
    run: async (bench) => {
      const servers = [await bench.upstream("a", bad), await bench.upstream("b", bad)];
      const breaker = { consecutiveFailures: 2, successRatio: 0, minOpen: "1m" };
      await bench.start({ services: { orders: bench.service(servers, { ...once, breaker }) } });
      await bench.askTimes(9);
    },
  },
  {
    id: "breakers: the only endpoint refuses, and calls fail at once",
    kind: "outbound",
    run: async (bench) => {
      const address = await freeAddress();
      bench.named("none", address);
      const breaker = { minOpen: "1m" };
      await bench.start({ services: { orders: bench.service([{ address }], { breaker }) } });
      await bench.askTimes(3);
    },
  },
  {
    id: "breakers: a probe brings an endpoint back",
    kind: "outbound",
    // How many calls there are until then depends on the time.
    varies: /^(?:answer|order|seen by|tap|access log|metric|snapshot)/,
    run: async (bench) => {
      let isSick = false;
      const sick = await bench.upstream("sick", (request) =>
        request.reply(isSick ? 500 : 200, "sick"),
      );
      const servers = [sick, await bench.upstream("good", good)];
      const breaker = { consecutiveFailures: 2, successRatio: 0, minOpen: "50ms" };
      await bench.start({ services: { orders: bench.service(servers, { ...once, breaker }) } });
      // It is out for as long as some requests take: of these it is known how long.
      await bench.askTimes(40);
      isSick = true;
      await bench.askTimes(4);
      bench.note("while it is out", states(bench));
      isSick = false;
      const before = sick.seen.length;
      while (states(bench).some((state) => state !== "closed")) {
        await bench.ask();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      bench.note("requests to it until it was back", sick.seen.length - before);
    },
  },
  {
    id: "breakers: a server that was killed and comes back",
    kind: "outbound",
    // How often it is dialled in between depends on the time.
    varies: /inmesh\.connection\.(?:opened|closed)|inmesh\.(?:connect|queue)\.duration|^log/,
    run: async (bench) => {
      const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
      const breaker = { minOpen: "100ms", maxOpen: "200ms" };
      await bench.start({ services: { orders: bench.service([a, b], { breaker }) } });
      await bench.askTimes(2);
      await a.stop();
      await bench.askTimes(4);
      bench.note("while it is gone", states(bench));
      await a.start();
      await until(() => states(bench).every((state) => state === "closed"));
      await bench.askTimes(2);
    },
  },
];
