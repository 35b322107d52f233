/** P2: a layer of the application that never settles holds up no call for longer than a deadline. */
import { expect, it } from "vitest";
import { Call, type Attempt, type Reply } from "./call.ts";
import { MeshError } from "./errors.ts";
import type { Layer } from "./handler.ts";
import { createMesh } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubServer } from "./testing/stub-transport.ts";

const never = <T>(): Promise<T> => new Promise(() => {});

interface End {
  at: number;
  code: number;
  error: unknown;
}

function meshWith(options: MeshOptions, serve: StubServer = (exchange) => exchange.reply()) {
  const runtime = new SimRuntime(1);
  const mesh = createMesh({ env: {}, runtime, ...options });
  const service = mesh.service("orders", stubProtocol(serve), {
    discovery: { static: ["10.0.0.1:80"] },
    timeouts: { requestMs: 500 },
    routes: [
      { name: "long", matches: [{ path: { value: "/long" } }], timeouts: { requestMs: 5_000 } },
    ],
  });
  const call = (path = "/", deadlineAt?: number): End => {
    const end: End = { at: -1, code: 0, error: undefined };
    service
      .current(new Call("orders", new StubRequest(path), true, true, deadlineAt))
      .then(({ code }) => (end.code = code))
      .catch((error: unknown) => (end.error = error))
      .finally(() => (end.at = runtime.now()));
    return end;
  };
  const inFlight = (): number => mesh.snapshot().services[0]!.callsInFlight;
  return { runtime, mesh, call, inFlight };
}

const hangingCall: Layer<Call, Reply> = () => () => never();
const hangingAttempt: Layer<Attempt, Reply> = () => () => never();
/** Lets the call through, and keeps its reply to itself. */
const hangingReply: Layer<Attempt, Reply> = (inner) => async (attempt) => {
  await inner(attempt);
  return never();
};

for (const [what, options] of Object.entries({
  "a call layer": { callLayers: [hangingCall] },
  "an attempt layer": { attemptLayers: [hangingAttempt] },
  "an attempt layer, with the reply": { attemptLayers: [hangingReply] },
} satisfies Record<string, MeshOptions>)) {
  it(`P2: ${what} that never settles: the call ends at its deadline`, async () => {
    const { runtime, call, inFlight } = meshWith(options);
    const [plain, sooner] = [call(), call("/", 200)];
    await runtime.advance(5_000);
    expect(plain.error).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
    expect([sooner.at, plain.at]).toEqual([210, 510]);
    expect(inFlight()).toBe(0);
  });

  it(`P2: ${what} that never settles: a close ends its call`, async () => {
    const { runtime, mesh, call, inFlight } = meshWith(options);
    const end = call();
    await runtime.advance(1);
    const closing = mesh.close(50);
    await runtime.advance(100);
    await closing;
    expect(end).toMatchObject({ at: 61, error: { code: "cancelled", reason: "shutdown" } });
    expect(inFlight()).toBe(0);
  });
}

it("P2: a layer may take its time: the route's deadline counts, not the service's", async () => {
  const slow: Layer<Call, Reply> = (inner) => async (call) => {
    const reply = await inner(call);
    await runtime.sleep(300);
    return reply;
  };
  const { runtime, call } = meshWith({ callLayers: [slow] }, (exchange) => {
    runtime.after(2_000, () => exchange.reply(), undefined);
  });
  const end = call("/long");
  await runtime.advance(10_000);
  expect(end).toMatchObject({ at: 2_300, code: 200 });
});

it("P2: a call layer may answer in the place of every endpoint: the call is a success, and is over", async () => {
  const answer = { outcome: "success", code: 204, discard() {} } as unknown as Reply;
  const { runtime, mesh, call, inFlight } = meshWith({
    callLayers: [() => () => Promise.resolve(answer)],
  });
  const end = call();
  await runtime.advance(1);
  expect(end).toEqual({ at: 0, code: 204, error: undefined });
  expect(inFlight()).toBe(0);
  const counted = mesh.metrics().find(({ name }) => name === "inmesh.calls");
  expect(counted).toMatchObject({ labels: { outcome: "success" }, value: 1 });
});

it("P2: what the attempt says of its end comes before the guard's word", async () => {
  const passing: Layer<Attempt, Reply> = (inner) => async (attempt) => inner(attempt);
  const { runtime, call } = meshWith({ attemptLayers: [passing] }, () => {});
  const end = call();
  await runtime.advance(5_000);
  expect(end.at).toBe(500);
  expect(end.error).toBeInstanceOf(MeshError);
  expect(String(end.error)).toContain("orders → 10.0.0.1:80: deadline exceeded");
});
