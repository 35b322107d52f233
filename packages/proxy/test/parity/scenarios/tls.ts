/** Servers that speak TLS, with the certificates that they should have and with others, and another protocol on a connection. */
import { TestCa, type Issued } from "../../../../http/test/support/ca.ts";
import { wrongPeers } from "../../../../http/test/support/tls.ts";
import { says, messagesOf } from "../grpc.ts";
import type { Bench } from "../bench.ts";
import type { Scenario } from "../scenario.ts";
import type { Arrived, Serve } from "../upstream.ts";

const good = (request: Arrived): void => request.reply(200, "good");
const goodGrpc: Serve = (request) => says(request, [`good ${messagesOf(request).join()}`]);

const ca = new TestCa();
const served = ca.issue();
const mine = ca.issue();
const mutual = { ...served, ca: ca.cert, requestCert: true, rejectUnauthorized: true };
const breaker = { minOpen: "1m" };
/** How often an endpoint that is out is dialled depends on the time. */
const REDIALS =
  /^metric inmesh\.(?:connection\.opened\{.*reason=(?!none)|connect\.duration\{phase=tcp|tls\.handshakes\{.*result=(?!ok))/;

const serviceOf = (
  bench: Bench,
  servers: readonly { readonly address: string }[],
  own?: Issued,
): object =>
  bench.service(servers, {
    scheme: "https",
    authority: "svc",
    breaker,
    tls: { ca: ca.cert, ...own },
  });

const scenario = (id: string, run: Scenario["run"], more: Partial<Scenario> = {}): Scenario => ({
  id: `TLS: ${id}`,
  kind: "outbound",
  varies: REDIALS,
  run,
  ...more,
});

export const TLS: readonly Scenario[] = [
  scenario("a server that is the one that was meant", async (bench) => {
    const server = await bench.upstream("a", good, undefined, served);
    await bench.start({ services: { orders: serviceOf(bench, [server]) } });
    await bench.askTimes(3);
  }),
  ...wrongPeers(ca).map(([what, pair]) =>
    scenario(`a certificate that is ${what}, and another endpoint`, async (bench) => {
      const servers = [
        await bench.upstream("wrong", good, undefined, pair),
        await bench.upstream("good", good, undefined, served),
      ];
      await bench.start({ services: { orders: serviceOf(bench, servers) } });
      await bench.askTimes(2);
    }),
  ),
  scenario("none but a certificate of another authority", async (bench) => {
    const stray = new TestCa("other").issue();
    const server = await bench.upstream("wrong", good, undefined, stray);
    await bench.start({ services: { orders: serviceOf(bench, [server]) } });
    await bench.askTimes(2);
  }),
  scenario("a server that wants to see our certificate", async (bench) => {
    const server = await bench.upstream("a", good, undefined, mutual);
    await bench.start({ services: { orders: serviceOf(bench, [server], mine) } });
    await bench.askTimes(2);
  }),
  scenario("a server that speaks no TLS", async (bench) => {
    const servers = [
      await bench.upstream("plain", good),
      await bench.upstream("good", good, undefined, served),
    ];
    await bench.start({ services: { orders: serviceOf(bench, servers) } });
    await bench.askTimes(2);
  }),
  scenario(
    "a server that agrees on HTTP/1.1 where HTTP/2 was offered",
    async (bench) => {
      const server = await bench.upstream("a", good, 1, served);
      await bench.start({ services: { orders: serviceOf(bench, [server]) } });
      await bench.askTimes(3);
    },
    { up: [2] },
  ),
  scenario(
    "gRPC",
    async (bench) => {
      const server = await bench.upstream("a", goodGrpc, 2, served);
      await bench.start({ services: { orders: serviceOf(bench, [server]) } });
      await bench.askTimes(2);
    },
    { kind: "grpc", id: "gRPC: over TLS" },
  ),
  scenario(
    "gRPC",
    async (bench) => {
      const other = ca.issue({ names: ["other.test"] });
      const server = await bench.upstream("wrong", goodGrpc, 2, other);
      await bench.start({ services: { orders: serviceOf(bench, [server]) } });
      await bench.askTimes(2);
    },
    { kind: "grpc", id: "gRPC: over TLS, with a certificate for another name" },
  ),
];

export const UPGRADES: readonly Scenario[] = [
  scenario(
    "another protocol",
    async (bench) => {
      const server = await bench.upstream("a", good);
      server.agreesTo("echo");
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask({ path: "/chat", upgrade: "echo" });
      await bench.ask();
    },
    { id: "upgrade: a connection that goes on in another protocol", up: [1], down: [1] },
  ),
];
