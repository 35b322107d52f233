/** An application that is called: what its server, or the proxy before it, lets through. */
import { H2Client } from "../../../../http/test/support/h2-client.ts";
import {
  frame,
  head,
  settings,
  WINDOW_UPDATE,
  words,
} from "../../../../http/test/support/h2-peer.ts";
import { until } from "../bench.ts";
import { leastImportantFirst } from "../least-important.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";

const INITIAL_WINDOW_SIZE = 4;
const GET = { ":method": "GET", ":scheme": "http", ":path": "/", ":authority": "orders" };

const good = (request: Arrived): void => request.reply(200, "good");

export const SERVED: readonly Scenario[] = [
  {
    id: "served: requests and replies",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({}, (request) =>
        request.reply(request.path === "/bad" ? 500 : 200, `${request.method} ${request.body}`, {
          "x-two": ["1", "2"],
        }),
      );
      await bench.ask({ path: "/a?b=c", headers: { "user-agent": "curl/8" } });
      await bench.ask({ method: "POST", path: "/a", body: "x".repeat(2_000) });
      await bench.ask({ path: "/bad" });
      await bench.ask({ method: "PUT", pieces: ["one ", "two"] });
    },
  },
  {
    id: "served: an application that says it is overloaded",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({}, (request) => request.reply(503, "full", { "retry-after": "7" }));
      await bench.ask();
    },
  },
  {
    id: "served: too many requests in progress, the least important go first",
    kind: "inbound",
    run: (bench) =>
      leastImportantFirst(bench, (options, take) =>
        bench.start(options, (request) => take(() => request.reply(200, "held"))),
      ),
  },
  ...(["edge", "local", "mesh"] as const).map((posture): Scenario => ({
    id: `served: no request is allowed, posture ${posture}`,
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture, limits: { maxInFlight: 0 } }, good);
      await bench.ask();
    },
  })),
  {
    id: "served: no time is left on arrival",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, good);
      await bench.ask({ timeoutMs: 0 });
      await bench.ask({ timeoutMs: 5_000 });
    },
  },
  {
    id: "served: too many hops",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh", limits: { maxHops: 2 } }, good);
      await bench.ask({ headers: { "x-mesh-hops": "3" } });
      await bench.ask({ headers: { "x-mesh-hops": "2" } });
    },
  },
  {
    id: "served: heads that are too large",
    kind: "inbound",
    run: async (bench) => {
      await bench.start(
        {
          posture: "mesh",
          limits: {
            maxHeaderCount: 20,
            maxHeaderNameBytes: 40,
            maxHeaderValueBytes: 500,
            maxTargetBytes: 200,
          },
        },
        good,
      );
      const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`x-${i}`, "1"]));
      await bench.ask({ headers: many });
      await bench.ask({ headers: { [`x-${"n".repeat(60)}`]: "1" } });
      await bench.ask({ headers: { "x-value": "v".repeat(600) } });
      await bench.ask({ path: `/${"t".repeat(300)}` });
      await bench.ask({ path: "/after" });
    },
  },
  {
    id: "served: another host than those that the configuration names",
    kind: "inbound",
    run: async (bench) => {
      const server = { authorities: ["orders", "orders.shop:8080"] };
      await bench.start({ posture: "mesh", server }, good);
      for (const to of ["orders", "orders:80", "ORDERS.shop:8080", "orders.shop", "other"]) {
        await bench.ask({ to });
      }
    },
  },
  {
    id: "served: identities that something in front vouches for",
    kind: "inbound",
    run: async (bench) => {
      const server = { keepHeaders: ["X-Forwarded-Client-Cert", "connection"] };
      await bench.start({ posture: "mesh", server }, good);
      const headers = { "x-forwarded-client-cert": "By=a", "x-client-cert-dn": "forged" };
      await bench.ask({ headers });
    },
  },
  {
    id: "served: names with an underscore, where the configuration refuses them",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh", server: { refuseUnderscores: true } }, good);
      await bench.ask({ headers: { x_user: "1" } });
      await bench.ask({ headers: { "x-user": "1" } });
    },
  },
  {
    id: "served: limits of the configuration",
    kind: "inbound",
    run: async (bench) => {
      const server = { posture: "mesh", limits: { maxInFlight: 0 } };
      await bench.start({ server }, good);
      await bench.ask();
      await bench.mesh.update({
        ...bench.config,
        servers: { served: { ...server, limits: { maxInFlight: 1 } } },
      } as never);
      await bench.ask();
    },
  },
  {
    id: "served: methods that are not served",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, good);
      await bench.ask({ method: "TRACE" });
      await bench.ask({ path: "/after" });
    },
  },
  {
    id: "served: targets that two readers take differently",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, good);
      for (const path of ["/a/../b", "/a/%2e%2e/b", "/a//b", "/a%00b", "/a%2fb", "/a?b#c"]) {
        await bench.ask({ path });
      }
    },
  },
  {
    id: "served: an expectation that is none",
    kind: "inbound",
    down: [1],
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, good);
      await bench.ask({ method: "POST", headers: { expect: "200-ok" }, body: "x" });
    },
  },
  {
    id: "served: what a server of the mesh says of itself does not come from its application",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, (request) =>
        request.reply(200, "ok", { "x-mesh-nack": "1", "x-mesh-final": "1", "x-mesh-own": "1" }),
      );
      await bench.ask();
    },
  },
  {
    id: "served: the application breaks off in its reply",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, (request) => {
        request.begin("half", { "content-length": "20" });
        setTimeout(() => request.reset(), 20);
      });
      await bench.ask();
    },
  },
  {
    id: "served: the application ends the connection without a reply",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, (request) => request.reset());
      await bench.ask();
    },
  },
  {
    id: "served: a client that owes the rest of its body",
    kind: "inbound",
    down: [1],
    run: async (bench) => {
      const limits = { bodyIdleTimeoutMs: 300, headersCheckMs: 300 };
      await bench.start({ posture: "mesh", limits }, good);
      await bench.ask({
        method: "POST",
        headers: { "content-length": "10" },
        pieces: ["half", ""],
      });
    },
  },
  {
    id: "served: a client that opens its window byte by byte",
    kind: "inbound",
    down: [2],
    run: async (bench) => {
      const limits = {
        writeStallTimeoutMs: 500,
        minReplyRate: 5_000,
        headersCheckMs: 100,
        // On a busy machine it would be refused instead.
        maxLoopDelayMs: 60_000,
      };
      await bench.start({ posture: "mesh", limits }, (request) =>
        request.reply(200, "x".repeat(1 << 20)),
      );
      const client = await H2Client.to(Number(bench.address.split(":")[1]));
      client.send(settings(INITIAL_WINDOW_SIZE, 1), head(1, GET, true));
      const timer = setInterval(() => client.send(frame(WINDOW_UPDATE, 0, 1, words(1))), 50);
      try {
        await until(() => (bench.refused["write_stall"] ?? 0) > 0);
      } finally {
        clearInterval(timer);
        client.raw.socket.destroy();
      }
    },
    // How much it took until then depends on the time, and so does what its end meets on the way.
    varies: /[sS]entBytes$|\.http\.response\.body\.size$|^metric inmesh\.connection\.closed/,
  },
  {
    id: "served: the client goes before there is a reply",
    kind: "inbound",
    run: async (bench) => {
      let come = 0;
      await bench.start({ posture: "mesh" }, () => void come++);
      await bench.ask({ leaves: until(() => come === 1) });
    },
  },
  {
    id: "served: the deadline passes while the application works",
    kind: "inbound",
    run: async (bench) => {
      await bench.start(
        { posture: "mesh" },
        (request) => void setTimeout(() => request.reply(200, "late"), 300),
      );
      await bench.ask({ timeoutMs: 100 });
    },
  },
  {
    id: "served: questions about health",
    kind: "inbound",
    run: async (bench) => {
      await bench.start({ posture: "mesh" }, (request) => request.reply(404, "no such page"));
      await bench.ask({ path: "/livez" });
      await bench.ask({ path: "/readyz" });
    },
  },
  {
    id: "served: a drain lets requests in progress end, and asks their clients to go",
    kind: "inbound",
    run: async (bench) => {
      let release = (): void => {};
      const held = new Promise<void>((resolve) => (release = resolve));
      let begun = 0;
      await bench.start(
        { posture: "mesh", server: { discoveryWait: "20ms", idleWait: "20ms" } },
        (request) => {
          begun++;
          void held.then(() => request.reply(200, "held"));
        },
      );
      const asked = bench.ask();
      await until(() => begun === 1);
      bench.note("before", bench.state);
      const drained = bench.drain(5_000);
      bench.note("during", bench.state);
      release();
      await asked;
      await drained;
      bench.note("after", bench.state);
    },
  },
];
