import { describe, expect, it } from "vitest";
import { Call } from "./call.ts";
import type { MeshInput, ServiceInput } from "./config/input.ts";
import type { EndpointSink } from "./discovery/discovery.ts";
import type { EndpointInfo } from "./endpoint-info.ts";
import { MeshError } from "./errors.ts";
import { createMesh } from "./mesh.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import {
  StubRequest,
  stubProtocol,
  type StubExchange,
  type StubServer,
} from "./testing/stub-transport.ts";

interface Sent {
  readonly call: Call<StubRequest>;
  code: number;
  error: MeshError | undefined;
  /** When it was answered; -1: not yet. */
  at: number;
}

const at = (i: number): EndpointInfo => ({ host: `10.0.0.${i}`, port: 80 });

/** Services whose discovery is played by the test: `sinks` has one of each that is watched. */
function setUp(serve: StubServer, config: MeshInput, known: Record<string, EndpointInfo[]> = {}) {
  const runtime = new SimRuntime(11);
  const sinks = new Map<string, EndpointSink>();
  const mesh = createMesh({
    env: {},
    runtime,
    config,
    discovery: ({ name }) => ({
      source: "test",
      watch(sink) {
        sinks.set(name, sink);
        if (known[name] !== undefined) sink.replace(known[name]);
        return { refresh() {}, stop: () => void sinks.delete(name) };
      },
    }),
  });
  const hosts: string[] = [];
  const protocol = stubProtocol((exchange, address) => {
    hosts.push(address);
    serve(exchange, address);
  });
  const send = (path = "/", method = "GET", name = "orders"): Sent => {
    const call = new Call(name, new StubRequest(path, method), method === "GET", true);
    const sent: Sent = { call, code: 0, error: undefined, at: -1 };
    mesh
      .service(name, protocol)
      .current(call)
      .then(
        (reply) => Object.assign(sent, { code: reply.code, at: runtime.now() }),
        (error: MeshError) => Object.assign(sent, { error, at: runtime.now() }),
      );
    return sent;
  };
  const state = (name = "orders") => mesh.snapshot().services.find((one) => one.name === name)!;
  return { runtime, mesh, sinks, hosts, send, state };
}

const orders = (input: ServiceInput, others: Record<string, ServiceInput> = {}): MeshInput => ({
  services: { orders: { url: "http://orders", ...input }, ...others },
});
const three = { orders: [at(1), at(2), at(3)] };
const failing: StubServer = (exchange) => exchange.reply("failure", 503);
const ok: StubServer = (exchange) => exchange.reply();

describe("retry and deadline", () => {
  const wait =
    (retryAfterMs: number): StubServer =>
    (exchange) =>
      exchange.reply("overloaded", 503, { retryAfterMs, waitsForAll: true });

  it("a deadline that strikes during a pause ends it in the same turn", async () => {
    const { runtime, send, hosts, state } = setUp(wait(400), orders({}), three);
    const sent = send();
    await runtime.advance(100);
    const error = new MeshError({
      code: "deadline_exceeded",
      reason: "call_deadline",
      message: "over",
      progress: "maybe-processed",
    });
    sent.call.cancel(error, "timeout");
    await runtime.advance(1000);
    expect([sent.error, sent.at, hosts.length]).toEqual([error, 100, 1]);
    expect(state().callsInFlight).toBe(0);
  });

  it("a second pause that would pass the deadline gives the failure back at once", async () => {
    const { runtime, mesh, send, hosts } = setUp(
      wait(400),
      orders({ timeouts: { requestMs: 700 }, retry: { attempts: 5 } }),
      three,
    );
    const sent = send();
    await runtime.advance(2000);
    expect([sent.code, sent.at, hosts.length]).toEqual([503, 400, 2]);
    expect(decisions(mesh)).toEqual({ sent: 1, deadline: 1 });
  });

  it("the deadline ends the wait for discovery", async () => {
    const input = orders({ timeouts: { requestMs: 200 } });
    const { runtime, sinks, send, hosts, state } = setUp(ok, input);
    const sent = send();
    await runtime.advance(1000);
    expect([sent.error?.reason, sent.at]).toEqual(["call_deadline", 200]);
    sinks.get("orders")!.replace([at(1)]);
    await runtime.advance(5000);
    expect([hosts.length, state().callsInFlight]).toEqual([0, 0]);
  });
});

function decisions(mesh: ReturnType<typeof createMesh>): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const series of mesh.metrics()) {
    if (series.name !== "inmesh.retry.decisions" || series.kind !== "counter") continue;
    const decision = series.labels["decision"]!;
    counted[decision] = (counted[decision] ?? 0) + series.value;
  }
  return counted;
}

describe("retry and the others", () => {
  it("a retry that the budget refuses gives the failure back, and is counted", async () => {
    const retryBudget = { ratio: 0, minPerSecond: 0.2, windowMs: 10_000 };
    const { runtime, mesh, send, hosts, state } = setUp(failing, orders({ retryBudget }), three);
    const all = Array.from({ length: 5 }, () => send());
    await runtime.advance(1000);
    expect(all.map(({ code }) => code)).toEqual([503, 503, 503, 503, 503]);
    expect(hosts).toHaveLength(7);
    expect(decisions(mesh)).toEqual({ sent: 2, budget: 3, attempts: 2 });
    expect(state().retryBudget).toEqual({ balance: 0, refused: 3, withdrawn: 2 });
  });

  it("limits.maxInFlight counts calls, not attempts, and a refusal is not retried", async () => {
    const pending: StubExchange[] = [];
    const { runtime, mesh, send, hosts, state } = setUp(
      (exchange) => void pending.push(exchange),
      orders({ limits: { maxInFlight: 2 } }),
      three,
    );
    const first = [send(), send()];
    await runtime.advance(0);
    const refused = send();
    await runtime.advance(0);
    expect([refused.error?.code, refused.error?.reason]).toEqual(["overloaded", "concurrency"]);
    expect(hosts).toHaveLength(2);
    // While both are in their second attempt there is still no room, and their retries need none.
    for (const exchange of pending.splice(0)) exchange.reply("failure", 503);
    await runtime.advance(300);
    expect([pending.length, send().at]).toEqual([2, -1]);
    await runtime.advance(0);
    expect(hosts).toHaveLength(4);
    for (const exchange of pending.splice(0)) exchange.reply();
    await runtime.advance(0);
    expect(first.map(({ code }) => code)).toEqual([200, 200]);
    expect([state().callsInFlight, decisions(mesh)]).toEqual([0, { sent: 2 }]);
    send();
    await runtime.advance(0);
    expect(hosts).toHaveLength(5);
  });

  it("a call cancelled while it waits for discovery ends at once and is never sent", async () => {
    const { runtime, sinks, send, hosts, state } = setUp(ok, orders({}));
    const [left, stays] = [send(), send()];
    await runtime.advance(50);
    const error = new MeshError({
      code: "cancelled",
      reason: "caller",
      message: "left",
      progress: "not-sent",
    });
    left.call.cancel(error, "abandoned");
    await runtime.advance(0);
    expect([left.error, left.at]).toEqual([error, 50]);
    sinks.get("orders")!.replace([at(1)]);
    await runtime.advance(0);
    expect([stays.code, hosts.length, state().callsInFlight]).toEqual([200, 1, 0]);
  });
});

describe("routes", () => {
  it("a route has its own deadline, and its own verdict on repeating", async () => {
    const config = orders({
      timeouts: { requestMs: 1000 },
      routes: [
        {
          name: "short",
          matches: [{ path: { type: "PathPrefix", value: "/short" } }],
          timeouts: { requestMs: 100 },
        },
        {
          name: "again",
          matches: [{ path: { type: "PathPrefix", value: "/again" } }],
          idempotent: true,
        },
      ],
    });
    const serve: StubServer = (exchange, address) => {
      if (exchange.attempt.call.request.method === "POST") failing(exchange, address);
    };
    const { runtime, send, hosts } = setUp(serve, config, three);
    const [short, other] = [send("/short"), send("/other")];
    await runtime.advance(2000);
    expect([short.at, other.at, short.call.route]).toEqual([100, 1000, "short"]);
    hosts.length = 0;
    send("/again", "POST");
    await runtime.advance(1000);
    expect(hosts).toHaveLength(2);
    send("/other", "POST");
    await runtime.advance(1000);
    expect(hosts).toHaveLength(3);
  });

  const split = orders(
    {
      routes: [
        {
          name: "canary",
          matches: [{ path: { type: "PathPrefix", value: "/" } }],
          backendRefs: [
            { name: "blue", weight: 80 },
            { name: "green", weight: 20 },
          ],
        },
      ],
      idleMs: 1000,
    },
    { blue: { url: "http://blue" }, green: { url: "http://green", idleMs: 600_000 } },
  );

  it("backendRefs share calls by weight, and leave out a backend without endpoints", async () => {
    const known = { orders: [], blue: [at(1)], green: [at(2)] };
    const { runtime, sinks, send, hosts } = setUp(ok, split, known);
    for (let i = 0; i < 2000; i++) send();
    await runtime.advance(0);
    const share = (): number =>
      hosts.filter((host) => host === "10.0.0.2:80").length / hosts.length;
    expect(Math.abs(share() - 0.2)).toBeLessThan(0.03);
    sinks.get("blue")!.replace([]);
    await runtime.advance(100);
    hosts.length = 0;
    for (let i = 0; i < 200; i++) send();
    await runtime.advance(0);
    expect([hosts.length, share()]).toEqual([200, 1]);
  });

  it("a service that falls asleep leaves a shared backend to those who use it", async () => {
    const known = { orders: [], blue: [at(1)], green: [at(2)] };
    const { runtime, sinks, send } = setUp(ok, split, known);
    send();
    send("/", "GET", "green");
    await runtime.advance(900);
    expect([...sinks.keys()].sort()).toEqual(["blue", "green", "orders"]);
    await runtime.advance(1500);
    expect([...sinks.keys()]).toEqual(["green"]);
    const sent = send("/", "GET", "green");
    await runtime.advance(0);
    expect(sent.code).toBe(200);
    const again = send();
    await runtime.advance(0);
    expect(again.code).toBe(200);
  });
});

it("an idle service sleeps, and the next call wakes it", async () => {
  const pending: StubExchange[] = [];
  const config = orders({ idleMs: 1000, timeouts: { requestMs: 60_000 } });
  const { runtime, sinks, send, state } = setUp(
    (exchange) => void pending.push(exchange),
    config,
    three,
  );
  const slow = send();
  await runtime.advance(5000);
  expect([sinks.size, state().discovery.state]).toEqual([1, "current"]);
  pending[0]!.reply();
  await runtime.advance(3000);
  expect(slow.code).toBe(200);
  expect([sinks.size, state().discovery.state, state().endpoints]).toEqual([0, "idle", []]);
  const woken = send();
  await runtime.advance(0);
  pending[1]!.reply();
  await runtime.advance(0);
  expect([woken.code, sinks.size, state().discovery.state]).toEqual([200, 1, "current"]);
});
