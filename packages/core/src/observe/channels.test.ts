/** The channels of `node:diagnostics_channel`: published while somebody listens, and nothing otherwise. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, it, onTestFinished } from "vitest";
import { Call } from "../call.ts";
import { MeshError } from "../errors.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";

function setUp() {
  const runtime = new SimRuntime(3);
  const mesh = createMesh({ env: {}, runtime });
  let fails = false;
  const protocol = stubProtocol((exchange) => {
    if (!fails) return exchange.reply();
    const message = "no connection";
    const about = { code: "connect_failed", reason: "connect_refused" } as const;
    exchange.fail(new MeshError({ ...about, message, progress: "not-sent" }), "failure", true);
  });
  const service = mesh.service("orders", protocol, { discovery: { static: ["10.0.0.1:80"] } });
  const send = () => {
    const call = new Call("orders", new StubRequest("/a"), true, true);
    return { call, sent: service.current(call).catch((error: unknown) => error) };
  };
  return { mesh, runtime, send, fail: () => (fails = true) };
}

function listen(name: string): unknown[] {
  const told: unknown[] = [];
  const listener = (message: unknown): void => void told.push(message);
  subscribe(name, listener);
  onTestFinished(() => void unsubscribe(name, listener));
  return told;
}

it("a subscriber of one channel hears of the calls that begin after it came, in every mesh", async () => {
  const first = setUp();
  const second = setUp();
  const { call } = first.send();
  expect(call.observed).toBeUndefined();
  const ends = listen("inmesh:call:end");
  await first.send().sent;
  await second.send().sent;
  expect(ends).toMatchObject([
    { service: "orders", path: "/a", outcome: "success", status: 200 },
    { service: "orders", outcome: "success" },
  ]);
  expect(first.mesh.snapshot().observers.attached).toBe(1);
  await first.mesh.close();
  await second.mesh.close();
});

it("start and end of a call are the same object, and an attempt may get header fields", async () => {
  const { mesh, send } = setUp();
  const starts = listen("inmesh:call:start");
  const ends = listen("inmesh:call:end");
  const attempts = listen("inmesh:attempt:end");
  const setting = (attempt: unknown): void =>
    (attempt as { setHeader(name: string, value: string): void }).setHeader("x-own", "1");
  subscribe("inmesh:attempt:start", setting);
  onTestFinished(() => void unsubscribe("inmesh:attempt:start", setting));
  const { call, sent } = send();
  await sent;
  expect(starts).toHaveLength(1);
  expect(ends[0]).toBe(starts[0]);
  expect(attempts).toMatchObject([{ number: 1, endpoint: "10.0.0.1:80", status: 200 }]);
  expect(call.attempt?.headers?.given).toEqual(["x-own", "1"]);
  await mesh.close();
});

it("with the last subscriber gone, calls are not observed, and an observer stays", async () => {
  const { mesh, send } = setUp();
  const told: unknown[] = [];
  const listener = (message: unknown): void => void told.push(message);
  subscribe("inmesh:call:end", listener);
  await send().sent;
  unsubscribe("inmesh:call:end", listener);
  const { call, sent } = send();
  expect(call.observed).toBeUndefined();
  await sent;
  expect(told).toHaveLength(1);
  expect(mesh.snapshot().observers.attached).toBe(0);
  const ended: unknown[] = [];
  mesh.observe({ callEnded: (one) => void ended.push(one) });
  subscribe("inmesh:call:end", listener);
  await send().sent;
  unsubscribe("inmesh:call:end", listener);
  await send().sent;
  expect([ended.length, told.length]).toEqual([2, 2]);
  await mesh.close();
});

it("breakers, discovery, configuration and warnings are published, of a mesh without a log too", async () => {
  const breakers = listen("inmesh:breaker");
  const discoveries = listen("inmesh:discovery");
  const configs = listen("inmesh:config");
  const warnings = listen("inmesh:warning");
  const { mesh, runtime, send, fail } = setUp();
  await send().sent;
  await runtime.advance(10);
  expect(discoveries).toMatchObject([{ service: "orders", state: "current", endpoints: 1 }]);
  fail();
  const { sent } = send();
  await runtime.advance(1_000);
  await sent;
  expect(breakers[0]).toMatchObject({ kind: "breaker", breaker: "open", endpoint: "10.0.0.1:80" });
  expect(warnings).toContainEqual(
    expect.objectContaining({ level: "warn", event: "breaker.ejected", service: "orders" }),
  );
  mesh.update({});
  await runtime.advance(10);
  expect(configs.length).toBeGreaterThan(0);
  const closed = mesh.close(0);
  await runtime.advance(10);
  await closed;
});
