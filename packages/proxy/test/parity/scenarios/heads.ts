/** What travels in heads from hop to hop: traces, deadlines, attempts, priorities, identities. */
import type { Posture } from "@inmesh/http";
import { until } from "../bench.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived, Values } from "../upstream.ts";
import { LOADED } from "./times.ts";

const good = (request: Arrived): void => request.reply(200, "good");
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const IDENTITIES: Values = {
  "x-mesh-client-id": "forged",
  "x-mesh-anything": "1",
  "l5d-client-id": "forged",
  "x-envoy-peer-metadata": "forged",
  "x-forwarded-client-cert": "By=forged",
  "x-ssl-client-verify": "SUCCESS",
  "x-client-cert-dn": "forged",
  "ssl-client-cert": "forged",
  x_mesh_hops: "9",
  "x-kept": "1",
};
const TRACES: Values = {
  traceparent: TRACEPARENT,
  tracestate: "a=1,b=2",
  baggage: "user=7",
  b3: "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
  "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
  "uber-trace-id": "1:2:3:1",
};

/** One request with these fields, to a server in that posture, and what the next server gets. */
function hop(
  what: string,
  headers: Values,
  postures: readonly Posture[] = ["edge", "local", "mesh"],
): Scenario[] {
  return postures.map((posture) => ({
    id: `heads: ${what}, posture ${posture}`,
    kind: "hop",
    run: async (bench) => {
      const server = await bench.upstream("a", good);
      await bench.start({ posture, services: { orders: bench.service([server]) } });
      await bench.ask({ headers });
    },
  }));
}

export const HEADS: readonly Scenario[] = [
  ...hop("traces and baggage", TRACES),
  ...hop("identities that nothing verifies", IDENTITIES),
  ...hop("a deadline", { "x-mesh-timeout-ms": "4000" }),
  ...hop("an attempt number", { "x-mesh-attempt": "3" }),
  ...hop("hops", { "x-mesh-hops": "5" }),
  ...hop("a high priority", { "x-mesh-priority": "critical" }),
  ...hop("a low priority", { "x-mesh-priority": "sheddable" }),
  ...hop("a trace that is none", { traceparent: "00-nonsense", tracestate: "a=1" }, ["mesh"]),
  ...hop(
    "a trace state that is too long",
    { traceparent: TRACEPARENT, tracestate: `a=${"1".repeat(600)}` },
    ["mesh"],
  ),
  ...hop("a claim said twice", { "x-mesh-timeout-ms": ["100", "4000"] }, ["mesh"]),
  ...hop(
    "claims that are no numbers",
    { "x-mesh-timeout-ms": "1e3", "x-mesh-attempt": "-1", "x-mesh-hops": "many" },
    ["mesh"],
  ),
  ...hop("no time left", { "x-mesh-timeout-ms": "0" }, ["mesh", "edge"]),
  ...hop("more hops than there may be", { "x-mesh-hops": "17" }, ["mesh"]),
  ...hop("forwarding", {
    forwarded: "for=1.2.3.4",
    "x-forwarded-for": "1.2.3.4",
    "x-real-ip": "1.2.3.4",
  }),
  {
    id: "heads: what is a retry above is not repeated by policy",
    kind: "hop",
    run: async (bench) => {
      const busy = await bench.upstream("busy", (request) => request.reply(503, "busy"));
      await bench.start({ posture: "mesh", services: { orders: bench.service([busy]) } });
      await bench.ask({ headers: { "x-mesh-attempt": "2" } });
      await bench.ask();
    },
  },
  {
    id: "heads: what a hop has repeated in vain says so",
    kind: "hop",
    run: async (bench) => {
      const breaks = await bench.upstream("breaks", (request) => request.reset());
      await bench.start({ posture: "mesh", services: { orders: bench.service([breaks]) } });
      await bench.ask();
    },
  },
  {
    id: "heads: a deadline that comes in ends the call",
    kind: "hop",
    varies: LOADED,
    run: async (bench) => {
      const silent = await bench.upstream("silent", (request) => {
        if (request.path === "/warm") request.reply();
      });
      await bench.start({ posture: "mesh", services: { orders: bench.service([silent]) } });
      await bench.ask({ path: "/warm" });
      await bench.ask({ headers: { "x-mesh-timeout-ms": "250" } });
    },
  },
  {
    id: "heads: the caller of a hop has gone, and so has its call",
    kind: "hop",
    run: async (bench) => {
      const silent = await bench.upstream("silent", () => {});
      await bench.start({ posture: "mesh", services: { orders: bench.service([silent]) } });
      await bench.ask({ leaves: until(() => silent.seen.length === 1) });
    },
  },
  {
    id: "heads: what sends to itself ends in a loop",
    kind: "hop",
    up: [1],
    run: async (bench) => {
      const others = await bench.upstream("others", good);
      await bench.start({ posture: "mesh", services: { orders: bench.service([others]) } });
      bench.named("itself", bench.address);
      const itself = bench.service([bench], { http2: bench.way.down === 2 });
      await bench.mesh.update({ ...bench.config, services: { orders: itself } } as never);
      await bench.ask();
    },
  },
  {
    id: "heads: a service that is no peer gets nothing of the mesh",
    kind: "hop",
    run: async (bench) => {
      const server = await bench.upstream("third party", good);
      await bench.start({
        posture: "mesh",
        services: { orders: bench.service([server], { peer: false }) },
      });
      await bench.ask({
        headers: { ...TRACES, "x-mesh-priority": "critical", "x-mesh-hops": "2" },
      });
    },
  },
  {
    id: "heads: fields of the connection end with it",
    kind: "hop",
    down: [1],
    run: async (bench) => {
      const server = await bench.upstream("a", good);
      await bench.start({ posture: "mesh", services: { orders: bench.service([server]) } });
      await bench.ask({
        headers: {
          connection: "keep-alive, x-hop",
          "x-hop": "1",
          "keep-alive": "timeout=5",
          "proxy-authorization": "secret",
          "proxy-connection": "keep-alive",
        },
      });
    },
  },
];
