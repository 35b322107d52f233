/** Endpoints that discovery calls draining: no new attempts beside others, and those in flight go on. */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import { MeshError } from "../errors.ts";
import { createMesh } from "../mesh.ts";
import type { EndpointChange } from "../observe/observer.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubExchange } from "../testing/stub-transport.ts";

const A = { host: "10.0.0.1", port: 80 };
const B = { host: "10.0.0.2", port: 80 };

function setUp(kind: (typeof KINDS)[number] = "peak-ewma") {
  const runtime = new SimRuntime(1);
  let sink: EndpointSink | undefined;
  const mesh = createMesh({
    env: {},
    runtime,
    config: {
      services: { orders: { discovery: { static: ["10.9.9.9:80"] }, balancer: { kind } } },
    },
    discovery: () => ({
      source: "test",
      watch(given) {
        sink = given;
        given.replace([A, B]);
        return { refresh() {}, stop() {} };
      },
    }),
  });
  const waiting: { readonly exchange: StubExchange; readonly address: string }[] = [];
  const protocol = stubProtocol(
    (exchange, address) => void waiting.push({ exchange, address }),
    () => Promise.resolve(false),
  );
  const service = mesh.service("orders", protocol);
  const call = () => service.current(new Call("orders", new StubRequest("/"), true, true));
  return { runtime, mesh, waiting, call, say: () => sink! };
}

it("D9 CO: a draining endpoint gets no new attempts, and those in flight go on to their end", async () => {
  const { runtime, mesh, waiting, call, say } = setUp();
  const changes: EndpointChange[] = [];
  mesh.observe({ endpointChanged: (change) => void changes.push(change) });
  const first = Array.from({ length: 4 }, call);
  await runtime.advance(0);
  expect(new Set(waiting.map(({ address }) => address)).size).toBe(2);
  changes.length = 0;

  say().change([{ ...A, draining: true }], []);
  await runtime.advance(200);
  expect(changes).toMatchObject([{ kind: "draining", endpoint: "10.0.0.1:80", draining: true }]);
  const [a] = mesh.snapshot().services[0]!.endpoints;
  expect(a).toMatchObject({ address: "10.0.0.1:80", draining: true });
  expect(a!.inFlight).toBeGreaterThan(0);

  const later = Array.from({ length: 20 }, call);
  await runtime.advance(0);
  expect(waiting.slice(4).map(({ address }) => address)).toEqual(
    Array.from({ length: 20 }, () => "10.0.0.2:80"),
  );
  for (const { exchange } of waiting) exchange.reply();
  const replies = await Promise.all([...first, ...later]);
  expect(replies.map(({ code }) => code)).toEqual(Array.from({ length: 24 }, () => 200));

  // It was not meant, or the deployment was taken back.
  say().change([A], []);
  await runtime.advance(200);
  expect(changes.at(-1)).toMatchObject({ kind: "draining", draining: false });
  const back = Array.from({ length: 20 }, call);
  await runtime.advance(0);
  expect(waiting.slice(24).some(({ address }) => address === "10.0.0.1:80")).toBe(true);
  for (const { exchange } of waiting.slice(24)) exchange.reply();
  await Promise.all(back);
  await mesh.close(0);
});

const REFUSED = new MeshError({
  code: "connect_failed",
  reason: "connect_refused",
  message: "refused",
  progress: "not-sent",
});
const KINDS = ["peak-ewma", "least-request", "round-robin", "random"] as const;

describe.each(KINDS)("D9 CO: with %s", (kind) => {
  /** Which endpoints get calls, each of which succeeds. */
  const used = async ({ runtime, waiting, call }: ReturnType<typeof setUp>): Promise<string[]> => {
    waiting.length = 0;
    const calls = Array.from({ length: 20 }, call);
    await runtime.advance(0);
    const addresses = [...new Set(waiting.map(({ address }) => address))].toSorted();
    for (const { exchange } of waiting) exchange.reply();
    await Promise.all(calls);
    return addresses;
  };
  const [a, b] = ["10.0.0.1:80", "10.0.0.2:80"];
  const going = (info: EndpointInfo) => ({ ...info, draining: true });

  it("what drains is used where nothing else is there, one of weight 0 first", async () => {
    const bench = setUp(kind);
    const { runtime, mesh, say } = bench;
    expect(await used(bench)).toEqual([a, b]);
    const becomes = async (...infos: EndpointInfo[]): Promise<string[]> => {
      say().replace(infos);
      await runtime.advance(200);
      return used(bench);
    };
    expect(await becomes(going(A), going(B))).toEqual([a, b]);
    expect(await becomes(going(A), { ...B, weight: 0 })).toEqual([b]);
    expect(await becomes(going(A), B)).toEqual([b]);
    expect(await becomes(going(A))).toEqual([a]);
    expect(await becomes(going(A), { ...going(B), serving: false })).toEqual([a]);
    await mesh.close(0);
  });

  it("what drains is used while everything else is out", async () => {
    const bench = setUp(kind);
    const { runtime, mesh, waiting, call, say } = bench;
    await used(bench);
    say().replace([going(A), B]);
    await runtime.advance(200);
    waiting.length = 0;
    const pending = call();
    await runtime.advance(0);
    expect(waiting.map(({ address }) => address)).toEqual([b]);
    waiting[0]!.exchange.fail(REFUSED, "failure", true);
    // Its retry goes there already.
    for (let ms = 0; ms < 1_000 && waiting.length < 2; ms++) await runtime.advance(1);
    expect(waiting.map(({ address }) => address)).toEqual([b, a]);
    waiting[1]!.exchange.reply();
    await pending;
    expect(await used(bench)).toEqual([a]);
    await mesh.close(0);
  });
});

it("D9 CO: a call says so when no endpoint serves any more", async () => {
  const { runtime, mesh, call, say } = setUp();
  const refused = call();
  await runtime.advance(0);
  say().replace([A, B].map((info) => ({ ...info, draining: true, serving: false })));
  await runtime.advance(200);
  await expect(call()).rejects.toMatchObject({
    code: "no_endpoint",
    reason: "no_endpoints",
    progress: "not-sent",
    message: expect.stringContaining("none of the 2 endpoints of orders serves any more") as string,
  });
  await Promise.all([mesh.close(0), expect(refused).rejects.toMatchObject({ code: "cancelled" })]);
});

it("D9 CO: an open breaker and a draining endpoint: back in use only after both", async () => {
  const { runtime, mesh, waiting, call, say } = setUp();
  const states = () => mesh.snapshot().services[0]!.endpoints.map(({ breaker }) => breaker.state);
  for (let i = 0; i < 60 && !states().includes("open"); i++) {
    const pending = call();
    await runtime.advance(0);
    while (waiting.length > 0) {
      const { exchange, address } = waiting.shift()!;
      if (address === "10.0.0.1:80") exchange.reply("failure");
      else exchange.reply();
      await runtime.advance(100);
    }
    await pending;
  }
  expect(states()).toContain("open");
  say().change([{ ...A, draining: true }], []);
  await runtime.advance(120_000);
  const many = Array.from({ length: 10 }, call);
  await runtime.advance(0);
  expect(new Set(waiting.map(({ address }) => address))).toEqual(new Set(["10.0.0.2:80"]));
  for (const { exchange } of waiting) exchange.reply();
  await Promise.all(many);
  await mesh.close(0);
});
