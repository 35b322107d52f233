/** What observers see beside calls: endpoints, discovery, configuration, and requests being served. */
import { ConnectionPeer } from "../tls/peer.ts";
import { expect, it } from "vitest";
import { Call } from "../call.ts";
import { ServedRequest } from "../context.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import type { ConfigChange, DiscoveryChange, EndpointChange, ObservedCall } from "./observer.ts";

function setUp() {
  const runtime = new SimRuntime(3);
  let sink: EndpointSink | undefined;
  const mesh = createMesh({
    env: {},
    runtime,
    discovery: () => ({
      source: "test",
      watch(given) {
        sink = given;
        return { refresh() {}, stop() {} };
      },
    }),
  });
  let outcome: "success" | "failure" = "success";
  const protocol = stubProtocol((exchange) => exchange.reply(outcome, 200));
  const service = mesh.service("orders", protocol, {
    discovery: { static: ["10.9.9.9:80"] }, // the mesh has its own
    breaker: { consecutiveFailures: 3 },
    idleMs: 60_000,
  });
  const send = () =>
    service.current(new Call("orders", new StubRequest(), false, true)).catch(() => {});
  const endpoints: EndpointChange[] = [];
  const discoveries: DiscoveryChange[] = [];
  const configs: ConfigChange[] = [];
  mesh.observe({
    endpointChanged: (change) => void endpoints.push(change),
    discoveryChanged: (change) => void discoveries.push(change),
    configChanged: (change) => void configs.push(change),
  });
  return {
    runtime,
    mesh,
    send,
    endpoints,
    discoveries,
    configs,
    sink: () => sink!,
    fail: () => (outcome = "failure"),
  };
}

const a = { host: "10.0.0.1", port: 80 };
const b = { host: "10.0.0.2", port: 80, zone: "z2" };

it("endpoints and discovery: what came, went, got another weight, failed, and fell asleep", async () => {
  const { runtime, mesh, send, sink, endpoints, discoveries } = setUp();
  void send();
  sink().replace([a, b]);
  await runtime.advance(200);
  expect(endpoints.map(({ kind, endpoint, zone }) => [kind, endpoint, zone])).toEqual([
    ["added", "10.0.0.1:80", undefined],
    ["added", "10.0.0.2:80", "z2"],
  ]);
  expect(discoveries).toEqual([
    {
      service: "orders",
      protocol: "stub",
      source: "test",
      state: "current",
      endpoints: 2,
      error: undefined,
    },
  ]);

  endpoints.length = discoveries.length = 0;
  sink().replace([a, b]); // nothing new
  await runtime.advance(200);
  expect([endpoints, discoveries]).toEqual([[], []]);

  sink().replace([{ ...a, weight: 3 }]);
  await runtime.advance(200);
  expect(endpoints.map(({ kind, endpoint, weight }) => [kind, endpoint, weight])).toEqual([
    ["weight", "10.0.0.1:80", 3],
    ["removed", "10.0.0.2:80", 1],
  ]);

  discoveries.length = 0;
  const error = new Error("no answer");
  sink().failed(error);
  sink().failed(error);
  await runtime.advance(200);
  sink().replace([{ ...a, weight: 3 }]);
  await runtime.advance(200);
  expect(discoveries.map((one) => [one.state, one.endpoints, one.error])).toEqual([
    ["stale", 1, error],
    ["current", 1, undefined],
  ]);

  discoveries.length = 0;
  await runtime.advance(120_000);
  expect(discoveries.map((one) => [one.state, one.endpoints])).toEqual([["idle", 0]]);
  await mesh.close();
});

it("a breaker's states, with what opened it", async () => {
  const { runtime, mesh, send, sink, endpoints, fail } = setUp();
  void send();
  sink().replace([a]);
  await runtime.advance(200);
  endpoints.length = 0;
  fail();
  for (let i = 0; i < 10; i++) {
    await send();
    await runtime.advance(10);
  }
  await runtime.advance(60_000);
  expect(endpoints[0]).toEqual({
    service: "orders",
    protocol: "stub",
    kind: "breaker",
    endpoint: "10.0.0.1:80",
    zone: undefined,
    weight: 1,
    draining: false,
    breaker: "open",
    trigger: "streak",
  });
  expect(endpoints[1]).toMatchObject({ kind: "breaker", breaker: "half-open", trigger: "streak" });
  await mesh.close();
});

it("configuration: applied, unchanged, and refused with its mistakes", async () => {
  const { mesh, configs } = setUp();
  mesh.update({ services: { users: { url: "http://users" } } });
  mesh.update({ services: { users: { url: "http://users" } } });
  expect(() => mesh.update({ services: { users: { url: "no url" } } })).toThrow("users");
  await Promise.resolve();
  expect(configs.map(({ source, result }) => [source, result])).toEqual([
    ["code", "applied"],
    ["code", "unchanged"],
    ["code", "refused"],
  ]);
  expect(configs[0]?.version).toBe(configs[2]?.version);
  expect(configs[2]?.mistakes[0]?.path).toBe("services.users.url");
  await mesh.close();
});

it("P2 CO: a hook that changes the mesh in the middle of a change finds it done", async () => {
  const { runtime, mesh, send, sink } = setUp();
  let closing: Promise<void> | undefined;
  mesh.observe({ endpointChanged: () => void (closing ??= mesh.close(0)) });
  void send();
  sink().replace([a, b]);
  await runtime.advance(200);
  await closing;
  expect(mesh.snapshot().state).toBe("closed");
  expect(mesh.snapshot().observers.errors).toBe(0);
});

it("a request being served is reported from its head to its end, once, and calls made for it know it", async () => {
  const { runtime, mesh, sink } = setUp();
  const received: string[] = [];
  const calls: ObservedCall[] = [];
  mesh.observe({
    servedStarted: (one) => void received.push(`start ${one.id} ${one.path} ${one.header("a")}`),
    servedEnded: (one) =>
      void received.push(`end ${one.outcome} ${one.status} ${one.reason} ${one.durationMs}`),
    callStarted: (call) => void calls.push(call),
  });
  const served = new ServedRequest();
  served.observed = mesh.observers.servedStarted({
    protocol: "http",
    service: "s",
    route: "default",
    method: "GET",
    path: "/x",
    query: "",
    fields: () => [["a", "1"]],
    httpVersion: "1.1",
    header: (name) => (name === "a" ? "1" : undefined),
    deadlineAt: served.deadlineAt,
    attempt: 1,
    priority: "normal",
    traceparent: undefined,
    tracestate: undefined,
    peer: ConnectionPeer.unknown,
  });
  const call = new Call("orders", new StubRequest(), true, true);
  served.adopt(call);
  const sent = mesh
    .service(
      "orders",
      stubProtocol((exchange) => exchange.reply()),
    )
    .current(call);
  sink().replace([a]);
  await runtime.advance(30);
  await sent;
  served.observed?.ended("success", 200, undefined);
  served.observed?.ended("failure", 500, "late");
  expect(received).toEqual(["start 1 /x 1", "end success 200 undefined 30"]);
  expect(calls[0]?.servedFor).toBe(served.observed);
  await mesh.close();
});
