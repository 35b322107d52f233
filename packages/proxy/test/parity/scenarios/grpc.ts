/** gRPC: clients of grpc-js, over the mesh in a program and, without it, through the proxy. */
import { freeAddress } from "../../../../../scripts/free-port.ts";
import { until, type Bench } from "../bench.ts";
import { ends, GRPC_TYPE, messagesOf, says } from "../grpc.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived, Serve, Upstream } from "../upstream.ts";

const good: Serve = (request) => says(request, [`good ${messagesOf(request).join()}`]);
const busy: Serve = (request) => ends(request, 14, "busy");
const IDEMPOTENT = { routes: [{ name: "all", idempotent: true }] };

async function two(bench: Bench, first: Serve): Promise<Upstream[]> {
  return [await bench.upstream("first", first), await bench.upstream("good", good)];
}

const scenario = (id: string, run: Scenario["run"], varies?: RegExp): Scenario => ({
  id: `gRPC: ${id}`,
  kind: "grpc",
  run,
  ...(varies !== undefined && { varies }),
});

export const GRPC: readonly Scenario[] = [
  scenario("a call with metadata in both directions", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      request.reply(
        200,
        "\0\0\0\0\x02ok",
        { ...GRPC_TYPE, "x-initial": request.header("x-sent") ?? "" },
        { "grpc-status": "0", "x-trailing": "1" },
      ),
    );
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask({ headers: { "x-sent": "1" } });
  }),
  scenario("streams of all kinds", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      says(request, request.path.endsWith("Collect") ? [messagesOf(request).join()] : ["1", "2"]),
    );
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask({ path: "collect", pieces: ["a", "b", "c"] });
    await bench.ask({ path: "expand" });
    await bench.ask({ path: "chat", pieces: ["a", "b"] });
  }),
  scenario("every status is the caller's", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      ends(request, request.number, `status ${request.number}`),
    );
    const once = { retry: { attempts: 1 }, breaker: { consecutiveFailures: 0, successRatio: 0 } };
    await bench.start({ services: { orders: bench.service([server], once) } });
    await bench.askTimes(16);
  }),
  scenario("a status behind messages", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      says(request, ["1", "2"], { "grpc-status": "9", "grpc-message": "no more" }),
    );
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask({ path: "expand" });
  }),
  scenario("UNAVAILABLE is tried elsewhere where the route allows it", async (bench) => {
    await bench.start({ services: { orders: bench.service(await two(bench, busy), IDEMPOTENT) } });
    await bench.askTimes(2);
  }),
  scenario("UNAVAILABLE is not repeated by itself", async (bench) => {
    await bench.start({ services: { orders: bench.service(await two(bench, busy)) } });
    await bench.askTimes(2);
  }),
  scenario("a route by service and method, with changes of metadata", async (bench) => {
    const routes = [
      {
        name: "one",
        matches: [{ method: { service: "t.T", method: "Unary" } }],
        filters: [{ requestHeaderModifier: { set: [{ name: "x-tier", value: "7" }] } }],
      },
      { name: "service", matches: [{ method: { service: "t.T" } }] },
    ];
    const server = await bench.upstream("a", good);
    await bench.start({ services: { orders: bench.service([server], { routes }) } });
    await bench.ask({ headers: { "x-tier": "gold" } });
    await bench.ask({ path: "collect" });
  }),
  scenario("no connection to one endpoint", async (bench) => {
    const address = await freeAddress();
    bench.named("none", address);
    const server = await bench.upstream("good", good);
    await bench.start({ services: { orders: bench.service([{ address }, server]) } });
    await bench.askTimes(3);
  }),
  scenario("no connection to any", async (bench) => {
    const address = await freeAddress();
    bench.named("none", address);
    const breaker = { minOpen: "1m" };
    await bench.start({ services: { orders: bench.service([{ address }], { breaker }) } });
    await bench.askTimes(2);
  }),
  scenario("a refused stream is sent elsewhere", async (bench) => {
    const servers = await two(bench, (request) => request.refuse());
    await bench.start({ services: { orders: bench.service(servers) } });
    await bench.askTimes(2);
  }),
  scenario("a connection that ends before the reply", async (bench) => {
    const servers = await two(bench, (request) => request.reset());
    await bench.start({ services: { orders: bench.service(servers) } });
    await bench.askTimes(2);
  }),
  scenario("a stream that breaks off", async (bench) => {
    const server = await bench.upstream("a", (request) => {
      request.begin("\0\0\0\0\x01a", GRPC_TYPE);
      setTimeout(() => request.reset(), 30);
    });
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask({ path: "expand" });
  }),
  scenario("a reply without a status", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      request.reply(200, "\0\0\0\0\x01a", { ...GRPC_TYPE, "content-length": [] }),
    );
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask();
  }),
  scenario("a server that speaks no gRPC", async (bench) => {
    const server = await bench.upstream("a", (request) =>
      request.reply(503, "<html>", { "content-type": "text/html" }),
    );
    const once = { retry: { attempts: 1 } };
    await bench.start({ services: { orders: bench.service([server], once) } });
    await bench.ask();
  }),
  scenario("a server that says when to come again", async (bench) => {
    const servers = await two(bench, (request) =>
      ends(request, 8, "full", { "grpc-retry-pushback-ms": "20000" }),
    );
    await bench.start({ services: { orders: bench.service(servers, IDEMPOTENT) } });
    await bench.askTimes(2, { timeoutMs: 10_000 });
  }),
  scenario(
    "the deadline of a client",
    async (bench) => {
      const server = await bench.upstream("silent", (request: Arrived) => {
        if (messagesOf(request)[0] === "warm") good(request);
      });
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask({ body: "warm" });
      await bench.ask({ timeoutMs: 400 });
    },
    /[.]outcome$|^metric inmesh\.(?:attempt|call)|^snapshot .*\.failures$/,
  ),
  scenario(
    "the deadline of the service",
    async (bench) => {
      const server = await bench.upstream("slow", (request) =>
        setTimeout(() => good(request), request.number === 1 ? 0 : 600),
      );
      const routes = [
        {
          name: "later",
          matches: [{ method: { method: "Unary" } }],
          timeouts: { request: "300ms" },
        },
      ];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      await bench.ask({ path: "collect" });
      await bench.ask({ path: "unary" });
    },
    /[.]outcome$|^metric inmesh\.(?:attempt|call)|^snapshot .*\.failures$/,
  ),
  scenario("the client cancels", async (bench) => {
    const server = await bench.upstream("silent", () => {});
    await bench.start({ services: { orders: bench.service([server]) } });
    await bench.ask({ leaves: until(() => server.seen.length === 1) });
  }),
  scenario("too many calls are in progress", async (bench) => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const server = await bench.upstream("holds", (request) => void held.then(() => good(request)));
    const limits = { maxInFlight: 1 };
    await bench.start({ services: { orders: bench.service([server], { limits }) } });
    const first = bench.ask();
    await until(() => server.seen.length === 1);
    await bench.ask();
    release();
    await first;
  }),
];
