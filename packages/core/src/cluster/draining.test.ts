/** Endpoints that discovery calls draining: no new attempts, and those in flight go on. */
import { expect, it } from "vitest";
import { Call } from "../call.ts";
import type { EndpointSink } from "../discovery/discovery.ts";
import { createMesh } from "../mesh.ts";
import type { EndpointChange } from "../observe/observer.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubExchange } from "../testing/stub-transport.ts";

const A = { host: "10.0.0.1", port: 80 };
const B = { host: "10.0.0.2", port: 80 };

function setUp() {
  const runtime = new SimRuntime(1);
  let sink: EndpointSink | undefined;
  const mesh = createMesh({
    env: {},
    runtime,
    config: { services: { orders: { discovery: { static: ["10.9.9.9:80"] } } } },
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
  const protocol = stubProtocol((exchange, address) => void waiting.push({ exchange, address }));
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

it("D9 CO: a call says so when every endpoint is draining", async () => {
  const { runtime, mesh, call, say } = setUp();
  const refused = call();
  await runtime.advance(0);
  say().replace([A, B].map((info) => ({ ...info, draining: true })));
  await runtime.advance(200);
  await expect(call()).rejects.toMatchObject({
    code: "no_endpoint",
    reason: "no_endpoints",
    progress: "not-sent",
    message: expect.stringContaining("all 2 endpoints of orders are draining") as string,
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
