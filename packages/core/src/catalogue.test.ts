/** Metrics that need no socket: endpoints, waits, refusals, discovery and the mesh itself, in virtual time. */
import { expect, it } from "vitest";
import { Call } from "./call.ts";
import { ENDPOINT_STATES } from "./cluster/endpoint-state.ts";
import type { MeshInput, ServiceInput } from "./config/input.ts";
import type { EndpointSink } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { MeshError } from "./errors.ts";
import { createMesh, type Mesh } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import type { IdentitySink } from "./tls/identity.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubExchange } from "./testing/stub-transport.ts";
import { VERSION } from "./version.ts";

/** The value of the one series with these labels; undefined: there is none. Of a histogram its count. */
function read(mesh: Mesh, name: string, labels: Record<string, string> = {}): number | undefined {
  const fits = (one: Record<string, string>): boolean =>
    Object.entries(labels).every(([key, value]) => one[key] === value);
  const found = mesh.metrics().filter((one) => one.name === name && fits(one.labels));
  if (found.length > 1) throw new Error(`${name}: ${found.length} series`);
  const [series] = found;
  return series?.kind === "histogram" ? series.count : series?.value;
}

const endpoint = (i: number, more: Partial<EndpointInfo> = {}): EndpointInfo => ({
  host: `10.0.${i >> 8}.${i & 255}`,
  port: 80,
  ...more,
});
const many = (count: number): EndpointInfo[] =>
  Array.from({ length: count }, (_, i) => endpoint(i));

function setUp(
  first: readonly EndpointInfo[] | undefined,
  more: MeshOptions = {},
  orders: ServiceInput = {},
) {
  const runtime = new SimRuntime(1);
  let sink: EndpointSink | undefined;
  const config: MeshInput = {
    services: { orders: { discovery: { static: ["10.9.9.9:80"] }, ...orders } },
  };
  const mesh = createMesh({
    env: {},
    runtime,
    config,
    discovery: () => ({
      source: "test",
      watch(given) {
        sink = given;
        if (first !== undefined) given.replace(first);
        return { refresh() {}, stop() {} };
      },
    }),
    ...more,
  });
  const exchanges: StubExchange[] = [];
  const protocol = stubProtocol((exchange) => void exchanges.push(exchange));
  const service = mesh.service("orders", protocol);
  const call = () => service.current(new Call("orders", new StubRequest("/"), true, true));
  return { runtime, mesh, call, exchanges, say: () => sink! };
}

it("endpoints are counted by state and zone, and every state is there, 0 included", async () => {
  const { runtime, mesh, call, exchanges, say } = setUp(
    [
      endpoint(1, { zone: "a" }),
      endpoint(2, { zone: "b" }),
      endpoint(3),
      endpoint(4, { zone: "a", draining: true }),
    ],
    { zone: "a" },
    { retry: { attempts: 1 } },
  );
  void call();
  await runtime.advance(0);
  exchanges[0]!.reply();
  const counts = (): Record<string, number> =>
    Object.fromEntries(
      mesh
        .metrics()
        .flatMap((one) =>
          one.name === "inmesh.endpoints" && one.kind === "gauge"
            ? [[`${one.labels["state"]} ${one.labels["zone"]}`, one.value]]
            : [],
        ),
    );
  const none = Object.fromEntries(
    ENDPOINT_STATES.flatMap((state) =>
      ["local", "remote", "unknown"].map((zone) => [`${state} ${zone}`, 0]),
    ),
  );
  const all = { ...none, "available local": 1, "available remote": 1, "available unknown": 1 };
  expect(counts()).toEqual({ ...all, "draining local": 1 });
  const updates = (op: string): number | undefined => read(mesh, "inmesh.balancer.updates", { op });
  expect([updates("add"), updates("change")]).toEqual([4, 0]);

  say().change([endpoint(4, { zone: "a" })], []);
  await runtime.advance(200);
  expect(updates("change")).toBe(1);
  say().change([endpoint(1, { zone: "a", weight: 3 })], []);
  await runtime.advance(200);
  expect(updates("change")).toBe(2);
  expect(counts()).toEqual({ ...all, "available local": 2 });
  for (let i = 0; i < 40; i++) {
    const before = exchanges.length;
    call().catch(() => {});
    await runtime.advance(0);
    const refused = new MeshError({
      code: "connect_failed",
      reason: "connect_refused",
      message: "refused",
      progress: "not-sent",
    });
    for (const one of exchanges.slice(before)) {
      if (one.attempt.endpoint!.zone === "b") one.fail(refused, "failure", true);
      else one.reply();
    }
  }
  expect(counts()["refusing remote"]).toBe(1);
  const picks = (zone: string): number => read(mesh, "inmesh.balancer.picks", { zone })!;
  expect(picks("local") + picks("remote") + picks("unknown")).toBe(exchanges.length);
  expect(Math.min(picks("local"), picks("remote"), picks("unknown"))).toBeGreaterThan(0);
  const state = (of: string): number | undefined =>
    read(mesh, "inmesh.endpoint.state", { endpoint: "10.0.0.2:80", state: of });
  expect([state("closed"), state("open"), state("half-open")]).toEqual([0, 1, 0]);
  await mesh.close(0);
});

it("each endpoint has latency, cost, attempts and picks, until ten minutes after it has gone", async () => {
  const { runtime, mesh, call, exchanges, say } = setUp(many(2));
  const sent = [call(), call()];
  await runtime.advance(30);
  const of = (name: string, at = 0): number | undefined =>
    read(mesh, `inmesh.endpoint.${name}`, { endpoint: `10.0.0.${at}:80` });
  expect([of("in_flight"), of("in_flight", 1)]).toEqual([1, 1]);
  for (const one of exchanges) one.reply();
  await Promise.all(sent);
  expect([of("in_flight"), of("picks"), of("picks", 1)]).toEqual([0, 1, 1]);
  expect(of("latency")).toBeCloseTo(0.03, 3);
  expect(of("cost")).toBeCloseTo(30, 0);

  say().replace([endpoint(1)]);
  await runtime.advance(599_000);
  expect(of("picks")).toBe(1);
  const picks = (): number => read(mesh, "inmesh.balancer.picks", { zone: "unknown" })!;
  expect(picks()).toBe(2); // also of one that is forgotten
  await runtime.advance(2_000);
  expect([of("picks"), of("state"), of("latency")]).toEqual([undefined, undefined, undefined]);
  expect([of("picks", 1), picks()]).toEqual([1, 2]);
  await mesh.close(0);
});

it("a service of more than 50 endpoints has no series for each, until it is small again", async () => {
  const { runtime, mesh, call, say } = setUp(many(50));
  call().catch(() => {});
  await runtime.advance(0);
  const series = (): number =>
    mesh.metrics().filter(({ name }) => name === "inmesh.endpoint.picks").length;
  expect(series()).toBe(50);
  say().replace(many(51));
  await runtime.advance(200);
  expect(series()).toBe(0);
  say().replace(many(20));
  await runtime.advance(200);
  expect(series()).toBe(20);
  await mesh.close(0);
});

it("a mesh has series for at most 500 endpoints", async () => {
  const names = ["orders", ...Array.from({ length: 10 }, (_, i) => `s${i}`)];
  const services = Object.fromEntries(
    names.map((name) => [name, { discovery: { static: ["10.9.9.9:80"] } }]),
  );
  const { runtime, mesh } = setUp(many(50), { config: { services } }, {});
  const protocol = stubProtocol(() => {});
  for (const name of names) {
    const { current } = mesh.service(name, protocol);
    current(new Call(name, new StubRequest("/"), true, true)).catch(() => {});
  }
  await runtime.advance(0);
  const all = mesh.metrics().filter(({ name }) => name === "inmesh.endpoint.picks");
  expect(all).toHaveLength(500);
  const fill = (name: string): number | undefined =>
    read(mesh, `inmesh.bounded.${name}`, { structure: "endpoint_series" });
  expect([fill("size"), fill("limit")]).toEqual([500, 500]);
  await mesh.close(0);
});

it("waiting for discovery is a wait in the queue, and no overhead of the mesh", async () => {
  const { runtime, mesh, call, exchanges, say } = setUp(undefined);
  const sent = call();
  await runtime.advance(400);
  expect(read(mesh, "inmesh.queue.depth")).toBe(1);
  say().replace(many(1));
  await runtime.advance(0);
  exchanges[0]!.reply();
  await sent;
  expect(read(mesh, "inmesh.queue.depth")).toBe(0);
  const waits = mesh.metrics().find(({ name }) => name === "inmesh.queue.duration");
  expect(waits).toMatchObject({ count: 1, labels: { service: "orders", protocol: "stub" } });
  expect(waits).toHaveProperty("sum", expect.closeTo(0.4, 3));
  expect(read(mesh, "inmesh.overhead.duration", { direction: "outbound" })).toBe(0);
  await mesh.close(0);
});

it("overhead is measured of one call in 64", async () => {
  const { runtime, mesh, call, exchanges } = setUp(many(1));
  for (let i = 0; i < 129; i++) {
    const sent = call();
    await runtime.advance(0);
    exchanges.at(-1)!.reply();
    await sent;
  }
  expect(read(mesh, "inmesh.overhead.duration", { direction: "outbound" })).toBe(3);
  await mesh.close(0);
});

it("calls above the limit are shed, and the limit is there to compare", async () => {
  const { runtime, mesh, call } = setUp(many(1), {}, { limits: { maxInFlight: 2 } });
  const refused: unknown[] = [];
  for (let i = 0; i < 5; i++) {
    call().catch((error: unknown) => void refused.push((error as MeshError).reason));
  }
  await runtime.advance(0);
  expect(refused).toEqual(["concurrency", "concurrency", "concurrency"]);
  const outbound = { direction: "outbound", service: "orders" };
  expect(read(mesh, "inmesh.shed", { ...outbound, reason: "concurrency" })).toBe(3);
  expect(read(mesh, "inmesh.concurrency.limit", outbound)).toBe(2);
  const fill = (name: string): number | undefined =>
    read(mesh, `inmesh.bounded.${name}`, { structure: "calls" });
  expect([fill("size"), fill("limit")]).toEqual([2, 2]);
  await mesh.close(0);
});

it("discovery says when it last named endpoints, how long that took, and how often it began again", async () => {
  let throws = true;
  const { runtime, mesh, call } = setUp(undefined, {
    discovery: () => ({
      source: "test",
      watch(sink) {
        if (throws) throw new Error("the registry is not there");
        sink.replace(many(1));
        return { refresh() {}, stop() {} };
      },
    }),
  });
  call().catch(() => {});
  await runtime.advance(1_000);
  const of = (name: string): number | undefined =>
    read(mesh, `inmesh.discovery.${name}`, { service: "orders", source: "test" });
  expect([of("watch.restarts"), of("last_update.timestamp"), of("update.duration")]).toEqual([
    0,
    undefined,
    0,
  ]);
  throws = false;
  await runtime.advance(5_000);
  expect([of("watch.restarts"), of("update.duration")]).toEqual([1, 1]);
  const ageS = runtime.wallNow() / 1_000 - of("last_update.timestamp")!;
  expect(ageS).toBeGreaterThan(0);
  expect(ageS).toBeLessThan(2);
  await mesh.close(0);
});

it("configuration says when what a source says was last taken into force", async () => {
  const { runtime, mesh } = setUp(many(1));
  const at = (): number | undefined =>
    read(mesh, "inmesh.config.last_applied.timestamp", { source: "code" });
  const startedAt = runtime.wallNow() / 1_000;
  expect(at()).toBe(startedAt);
  await runtime.advance(7_000);
  mesh.update({ services: { orders: { discovery: { static: ["10.9.9.8:80"] } } } });
  expect(at()).toBeCloseTo(startedAt + 7, 3);
  await mesh.close(0);
});

it("the mesh says its versions, how full its tables are, and what its process does", async () => {
  const { mesh } = setUp(many(1));
  const build = { version: VERSION, node: process.version, package: "@inmesh/core" };
  expect(read(mesh, "inmesh.build.info", build)).toBe(1);
  const heap = read(mesh, "inmesh.runtime.heap.utilization")!;
  expect(heap).toBeGreaterThan(0);
  expect(heap).toBeLessThan(1);
  const structures = mesh
    .metrics()
    .flatMap((one) => (one.name === "inmesh.bounded.size" ? [one.labels["structure"]] : []));
  expect(structures.toSorted()).toEqual([
    "calls",
    "endpoint_series",
    "endpoints",
    "endpoints_departed",
    "metric_series",
    "process_series",
    "queue",
    "replay_bytes",
    "services",
  ]);
  const services = (name: string): number | undefined =>
    read(mesh, `inmesh.bounded.${name}`, { structure: "services" });
  expect([services("size"), services("limit")]).toEqual([1, 500]);
  await mesh.close(0);
  expect(read(mesh, "inmesh.handles", { kind: "socket" })).toBe(0);
});

it("the loop's delay and utilization are those of the last ten seconds", async () => {
  const { runtime, mesh } = setUp(many(1));
  const delay = (quantile: string): number | undefined =>
    read(mesh, "inmesh.runtime.loop.delay", { quantile });
  expect(delay("0.99")).toBe(0); // nothing was measured before the first reading
  await new Promise((resolve) => setTimeout(resolve, 60));
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(delay("0.99")).toBeGreaterThan(0.2);
  expect(delay("0.5")).toBeLessThan(0.2);
  expect(read(mesh, "inmesh.runtime.loop.utilization")).toBeGreaterThan(0.3);
  await runtime.advance(10_000);
  expect(delay("0.99")).toBeGreaterThan(0.2); // the whole window
  await new Promise((resolve) => setTimeout(resolve, 60));
  await runtime.advance(10_000);
  expect(delay("0.99")).toBeLessThan(0.2);
  await mesh.close(0);
});

it("lines that are left out of the log are counted", async () => {
  const lines: string[] = [];
  let sink: IdentitySink | undefined;
  const { mesh } = setUp(many(1), {
    log: ({ event }) => void lines.push(event),
    identities: [{ name: "flapping", watch: (given) => ((sink = given), { stop() {} }) }],
  });
  const suppressed = (): number | undefined =>
    read(mesh, "inmesh.log.suppressed", { reason: "rate" });
  expect(suppressed()).toBe(0);
  for (let i = 0; i < 25; i++) sink!.failed(new Error(`attempt ${i}`));
  expect([lines.filter((event) => event === "identity.refused").length, suppressed()]).toEqual([
    20, 5,
  ]);
  await mesh.close(0);
});
