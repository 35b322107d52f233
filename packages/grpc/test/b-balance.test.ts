/** Section B of the fault matrix, gRPC client: what balancing, breakers and budget do on real connections. */
import { setTimeout as pause } from "node:timers/promises";
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import { callInfo } from "@inmesh/grpc";
import { expect, it } from "vitest";
import { startChild } from "../../http/test/support/children.ts";
import { infoOf, TestDiscovery } from "../../http/test/support/discovery.ts";
import { SeededRuntime } from "../../http/test/wire.ts";
import { counted, get } from "./support/bench.ts";
import type { OrdersClient, OrdersHandlers, OrdersServer } from "./support/orders.ts";
import {
  clientOf,
  endpointOf,
  failed,
  serverOf,
  until,
  type Caller,
  expectNothingLeft,
} from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

type Get = OrdersHandlers["get"];

const down: Get = (_call, done) => done({ code: Status.UNAVAILABLE, details: "down" });
const after =
  (ms: number, then: Get = (_call, done) => done(null, {})): Get =>
  (call, done) =>
    void setTimeout(then, ms, call, done);

/** One server for each `get`, and a client of all of them whose draws are the same in every run. */
async function balanced(
  gets: readonly Get[],
  input: ServiceInput = {},
): Promise<Caller & { readonly servers: readonly OrdersServer[] }> {
  const servers = await Promise.all(gets.map((one) => serverOf({ get: one })));
  const caller = clientOf(
    servers.map(({ address }) => address),
    input,
    { runtime: new SeededRuntime(42) },
  );
  return { ...caller, servers };
}

/** Calls without a pause, `width` at a time, while `goesOn` says so; what they ended with, counted. */
async function load(
  client: OrdersClient,
  width: number,
  goesOn: (calls: number) => boolean,
): Promise<Record<string, number>> {
  const ends: Record<string, number> = {};
  let calls = 0;
  const worker = async (): Promise<void> => {
    while (goesOn(calls)) {
      calls++;
      const end = await get(client, {}).then(
        () => "OK",
        (error: ServiceError) => Status[error.code]!,
      );
      ends[end] = (ends[end] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return ends;
}

const first =
  (calls: number) =>
  (made: number): boolean =>
    made < calls;

expectNothingLeft();

it("B1 GC: everything fails: at most 1.2 × the load and 1/s; the error is the last attempt's", async () => {
  const startedAt = performance.now();
  const { client, mesh, servers } = await balanced([down, down, down], {
    routes: [{ name: "vouched", idempotent: true }],
  });
  const calls = 300;
  expect(await load(client, 4, first(calls))).toEqual({ UNAVAILABLE: calls });
  const elapsedS = (performance.now() - startedAt) / 1_000;
  const received = servers.reduce((sum, server) => sum + server.calls, 0);
  // The reserve is 1/s over a window of ten seconds.
  expect(received).toBeLessThanOrEqual(1.2 * calls + 10 + elapsedS);
  expect(received).toBeGreaterThan(calls);
  const { retryBudget } = mesh.snapshot().services[0]!;
  expect(retryBudget.withdrawn).toBe(received - calls);
  expect(retryBudget.refused).toBeGreaterThan(calls / 2);
  expect(counted(mesh, "inmesh.retry.decisions", { decision: "budget" })).toBe(retryBudget.refused);
  const last = await failed(get(client, {}));
  expect(last.details).toBe("down");
  expect(callInfo(last)!.attempts).toBe(1);
  expect(servers.map(({ address }) => address)).toContain(callInfo(last)!.endpoint);
});

it("B2 GC: a slow endpoint of three is hardly picked once it is known", async () => {
  const { client, mesh, servers } = await balanced([after(200), after(4), after(4)]);
  await load(client, 4, first(40));
  const before = endpointOf(mesh, servers[0]!.address).picks;
  expect(await load(client, 4, first(400))).toEqual({ OK: 400 });
  // A third would be 133. On a busy machine the others are slow as well, now and then.
  expect(endpointOf(mesh, servers[0]!.address).picks - before).toBeLessThanOrEqual(60);
});

it("B3 GC: an endpoint that fails fast attracts nothing and is taken out", async () => {
  const { client, mesh, servers } = await balanced([down, after(3), after(3)]);
  const { UNAVAILABLE = 0 } = await load(client, 4, first(300));
  expect(UNAVAILABLE).toBeLessThanOrEqual(10);
  expect(endpointOf(mesh, servers[0]!.address).picks).toBeLessThanOrEqual(15);
  // Where calls may be repeated, no caller sees any of it.
  const vouched = await balanced([down, after(3), after(3)], {
    routes: [{ name: "vouched", idempotent: true }],
  });
  expect(await load(vouched.client, 4, first(300))).toEqual({ OK: 300 });
});

it("B4 GC: all fail: who answers gets the load, evenly; who refuses stays out", async () => {
  const answering = [await serverOf({ get: down }), await serverOf({ get: down })];
  const refusing = await freeAddress();
  const { client, mesh } = clientOf([refusing, ...answering.map(({ address }) => address)]);
  await load(client, 2, first(100));
  expect(mesh.snapshot().services[0]!.panic).toBe(true);
  const picks = (address: string): number => endpointOf(mesh, address).picks;
  const before = answering.map(({ address }) => picks(address));
  const refused = picks(refusing);
  expect(await load(client, 2, first(200))).toEqual({ UNAVAILABLE: 200 });
  // Whether it is back is asked by a handshake, not by a call.
  expect(picks(refusing) - refused).toBe(0);
  for (const [i, { address }] of answering.entries()) {
    expect(picks(address) - before[i]!).toBeGreaterThan(200 * 0.3);
  }
});

it("B4 GC: the last endpoint is never taken out for its answers", async () => {
  const { client, servers } = await balanced([down]);
  expect(await load(client, 1, first(100))).toEqual({ UNAVAILABLE: 100 });
  expect(servers[0]!.calls).toBe(100);
});

it("B4 GC: all refuse: the call fails at once, without a queue", async () => {
  const { client } = clientOf([await freeAddress(), await freeAddress()]);
  await load(client, 1, first(10));
  const took: number[] = [];
  for (let i = 0; i < 50; i++) {
    const startedAt = performance.now();
    const error = await failed(get(client, {}));
    took.push(performance.now() - startedAt);
    expect(error).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "no_endpoint", reason: "all_open", progress: "not-sent" },
    });
  }
  // The median: any one of them may meet a busy machine.
  expect(took.toSorted((a, b) => a - b)[25]).toBeLessThan(5);
});

/** Ten calls to a process of its own, which goes on while this one stands still for half a second. */
async function stalledCalls(
  ms: number,
  input: ServiceInput,
): Promise<Caller & { readonly ends: readonly string[] }> {
  // With no module but Node's: an empty message is five zero bytes.
  await using server = await startChild(`
    const head = { ":status": 200, "content-type": "application/grpc" };
    const server = require("node:http2").createServer();
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      const answer = () => {
        if (stream.destroyed) return;
        stream.respond(head, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.alloc(5));
      };
      stream.resume();
      setTimeout(answer, headers["x-warm"] ? 0 : ${ms});
    });
    server.listen(0, "127.0.0.1", () => ready(server.address().port));
  `);
  const caller = clientOf([`127.0.0.1:${server.port}`], input);
  const warm = new Metadata();
  warm.set("x-warm", "1");
  for (let i = 0; i < 10; i++) await get(caller.client, {}, {}, warm);
  const calls = Array.from({ length: 10 }, () =>
    get(caller.client, {}).then(
      () => "OK",
      (error: ServiceError) => Status[error.code]!,
    ),
  );
  // Until the requests have left; the stall would hold them back too.
  await pause(20);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  const ends = await Promise.all(calls);
  return { ...caller, ends };
}

const TEN = { length: 10 };

it("B5 GC: our loop stalls: replies that came meanwhile are delivered, nothing is repeated", async () => {
  for (const timeouts of [{ requestMs: 400 }, { backendRequestMs: 400 }]) {
    const { mesh, ends } = await stalledCalls(100, {
      timeouts,
      routes: [{ name: "vouched", idempotent: true }],
    });
    expect(ends).toEqual(Array.from(TEN, () => "OK"));
    expect(counted(mesh, "inmesh.attempts")).toBe(20);
    expect(mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(0);
    const [endpoint] = mesh.snapshot().services[0]!.endpoints;
    expect(endpoint).toMatchObject({
      breaker: { state: "closed", consecutiveFailures: 0 },
      penaltyMs: 0,
    });
    // Its own 100 ms, not the half second that we were away.
    expect(endpoint!.latencyMs).toBeLessThan(300);
  }
});

it("B5 GC: our loop stalls: deadlines missed meanwhile are not charged", async () => {
  const { mesh, ends } = await stalledCalls(2_000, { timeouts: { requestMs: 300 } });
  expect(ends).toEqual(Array.from(TEN, () => "DEADLINE_EXCEEDED"));
  expect(counted(mesh, "inmesh.attempts", { outcome: "timeout" })).toBe(0);
  expect(counted(mesh, "inmesh.attempts", { outcome: "abandoned" })).toBe(10);
  expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({
    breaker: { state: "closed", consecutiveFailures: 0 },
    penaltyMs: 0,
  });
});

it.each([
  ["RESOURCE_EXHAUSTED", Status.RESOURCE_EXHAUSTED],
  ["UNAVAILABLE", Status.UNAVAILABLE],
])(
  "B9 GC: %s with a pushback cools one endpoint without opening its breaker",
  async (name, code) => {
    const metadata = new Metadata();
    metadata.set("grpc-retry-pushback-ms", "5000");
    const busy: Get = (_call, done) => done({ code, details: "busy", metadata });
    const { client, mesh, servers } = await balanced([busy, after(1)]);
    const ends = await load(client, 2, first(100));
    expect(ends[name] ?? 0).toBeLessThanOrEqual(4);
    const endpoint = endpointOf(mesh, servers[0]!.address);
    expect(endpoint.breaker.state).toBe("closed");
    expect(endpoint.busyForMs).toBeGreaterThan(3_000);
  },
);

it("B15 GC: a new endpoint in a busy set: at most 2 × its fair share at any time, no error", async () => {
  const servers = await Promise.all(Array.from({ length: 6 }, () => serverOf({ get: after(8) })));
  const infos = servers.map(({ address }) => infoOf(address));
  const newcomer = infos.pop()!;
  const { address } = servers[5]!;
  const discovery = new TestDiscovery((sink) => sink.replace(infos));
  const { client, mesh } = clientOf(
    ["127.0.0.1:1"],
    { balancer: { slowStartMs: 1_000 } },
    { discovery: () => discovery, runtime: new SeededRuntime(7) },
  );
  const total = (): number =>
    mesh.snapshot().services[0]!.endpoints.reduce((sum, { picks }) => sum + picks, 0);
  await load(client, 10, first(300));
  discovery.sink!.change([newcomer], []);
  await until(() => mesh.snapshot().services[0]!.endpoints.length === 6);
  let on = true;
  const loading = load(client, 10, () => on);
  const shares: number[] = [];
  for (let part = 0; part < 5; part++) {
    const [all, its] = [total(), endpointOf(mesh, address).picks];
    // As many as a quiet machine makes in that time: shares of few are chance.
    await pause(350);
    await until(() => total() - all > 200);
    shares.push((endpointOf(mesh, address).picks - its) / (total() - all));
  }
  on = false;
  expect(Object.keys(await loading)).toEqual(["OK"]);
  for (const share of shares) expect(share).toBeLessThanOrEqual(2 / 6);
  // It grows: little at first, its part in the end.
  expect(shares[0]).toBeLessThan(shares[4]!);
  expect(shares[4]).toBeGreaterThan(0.5 / 6);
});

it("B17 GC: an endpoint that fails 30 % of its calls is taken out", async () => {
  let n = 0;
  const grey: Get = (call, done) => (n++ % 10 < 3 ? down : after(3))(call, done);
  const { client, mesh, servers } = await balanced([grey, after(3), after(3)]);
  const { UNAVAILABLE = 0 } = await load(client, 4, first(400));
  expect(UNAVAILABLE).toBeLessThan(20);
  expect(endpointOf(mesh, servers[0]!.address).picks).toBeLessThan(400 / 3);
});
