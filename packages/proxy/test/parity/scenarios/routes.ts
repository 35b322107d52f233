/** Routes: which one a call takes, what it changes in heads, and where it leads. */
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";
import { freeAddress } from "../../../../../scripts/free-port.ts";

const good = (request: Arrived): void => request.reply(200, "good");

export const ROUTES: readonly Scenario[] = [
  {
    id: "routes: by path, method, header and query, the most specific first",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", good);
      const routes = [
        { name: "prefix", matches: [{ path: { value: "/v1" } }] },
        { name: "exact", matches: [{ path: { type: "Exact", value: "/v1/orders" } }] },
        { name: "regex", matches: [{ path: { type: "RegularExpression", value: "/v[23]/.*" } }] },
        { name: "method", matches: [{ path: { value: "/v1" }, method: "DELETE" }] },
        {
          name: "header",
          matches: [{ path: { value: "/v1" }, headers: [{ name: "X-Tier", value: "gold" }] }],
        },
        {
          name: "query",
          matches: [{ path: { value: "/v1" }, queryParams: [{ name: "beta", value: "1" }] }],
        },
      ];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      await bench.ask({ path: "/v1/other" });
      await bench.ask({ path: "/v1/orders" });
      await bench.ask({ path: "/v2/x?y=1" });
      await bench.ask({ path: "/v1/x", method: "DELETE" });
      await bench.ask({ path: "/v1/x", headers: { "x-tier": "gold" } });
      await bench.ask({ path: "/v1/x?beta=1&beta=2" });
      await bench.ask({ path: "/v10" });
      await bench.ask({ path: "/V1/%6frders" });
    },
  },
  {
    id: "routes: filters change heads of requests and replies",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) =>
        request.reply(200, "ok", {
          server: "a",
          "x-powered-by": "php",
          "set-cookie": ["a=1"],
          "retry-after": "7",
        }),
      );
      const routes = [
        {
          name: "changed",
          filters: [
            {
              requestHeaderModifier: {
                set: [{ name: "X-Tier", value: "7" }],
                add: [{ name: "X-Via", value: "route" }],
                remove: ["X-Debug", "X-Absent"],
              },
            },
            {
              responseHeaderModifier: {
                set: [{ name: "Server", value: "mesh" }],
                add: [{ name: "Set-Cookie", value: "b=2" }],
                remove: ["X-Powered-By", "Retry-After"],
              },
            },
          ],
        },
      ];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      await bench.ask({ headers: { "x-tier": "gold", "x-via": "caller", "x-debug": ["1", "2"] } });
    },
  },
  {
    id: "routes: every attempt has the same changes, and what is taken from a reply was read before",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) =>
        request.number < 3 ? request.reply(503, "busy", { "retry-after": "0" }) : good(request),
      );
      const routes = [
        {
          name: "changed",
          retry: { attempts: 3, backoff: "1ms", maxBackoff: "2ms" },
          filters: [
            { requestHeaderModifier: { add: [{ name: "x-via", value: "route" }] } },
            { responseHeaderModifier: { remove: ["retry-after"] } },
          ],
        },
      ];
      await bench.start({ services: { orders: bench.service([server], { routes }) } });
      await bench.ask();
    },
  },
  {
    id: "routes: a split by weights, from a seed",
    kind: "outbound",
    run: async (bench) => {
      const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
      const routes = [
        {
          name: "split",
          backendRefs: [
            { name: "orders", weight: 70 },
            { name: "canary", weight: 30 },
          ],
        },
      ];
      await bench.start({
        services: { orders: bench.service([a], { routes }), canary: bench.service([b]) },
      });
      await bench.askTimes(20);
    },
  },
  {
    id: "routes: a destination of a split has no endpoint, and the others get its share",
    kind: "outbound",
    run: async (bench) => {
      const address = await freeAddress();
      bench.named("none", address);
      const a = await bench.upstream("a", good);
      const routes = [
        {
          name: "split",
          backendRefs: [
            { name: "orders", weight: 50 },
            { name: "canary", weight: 50 },
          ],
        },
      ];
      await bench.start({
        services: {
          orders: bench.service([a], { routes }),
          canary: bench.service([{ address }], { breaker: { minOpen: "1m" } }),
        },
      });
      await bench.askTimes(12);
    },
  },
  {
    id: "routes: another service gets all calls of a route, under its own authority",
    kind: "outbound",
    run: async (bench) => {
      const [a, b] = [await bench.upstream("a", good), await bench.upstream("b", good)];
      const routes = [
        { name: "moved", matches: [{ path: { value: "/v2" } }], backendRefs: [{ name: "next" }] },
      ];
      await bench.start({
        services: {
          orders: bench.service([a], { routes }),
          next: bench.service([b], { authority: "next.shop" }),
        },
      });
      await bench.ask({ path: "/v2/x" });
      await bench.ask({ path: "/v1/x" });
    },
  },
];
