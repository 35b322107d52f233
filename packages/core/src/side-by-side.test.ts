/** Two attempts of a call in flight, in virtual time: each has its own end, and the call has one. */
import { describe, expect, it } from "vitest";
import { Call, type Attempt, type Outcome } from "./call.ts";
import type { ServiceInput } from "./config/input.ts";
import { ServedRequest } from "./context.ts";
import { MeshError, type NoRetry } from "./errors.ts";
import type { Handler } from "./handler.ts";
import { createMesh } from "./mesh.ts";
import type { EndedAttempt, EndedCall } from "./observe/observer.ts";
import { retry } from "./retry/retry.ts";
import { callEnds } from "./telemetry/record.ts";
import { sideBySide, type SideBySideOptions } from "./testing/side-by-side.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import {
  StubReply,
  StubRequest,
  stubProtocol,
  type StubExchange,
} from "./testing/stub-transport.ts";

const A = "10.0.0.1:80";
const B = "10.0.0.2:80";

const lost = (): MeshError =>
  new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: "lost",
    progress: "maybe-processed",
  });

interface SetUp extends SideBySideOptions {
  readonly input?: ServiceInput;
  readonly change?: (call: Call<StubRequest>) => void;
  /** No layer of the application above the attempts: retry itself ends the call. */
  readonly served?: ServedRequest;
}

async function setUp({ input, change, served, ...options }: SetUp = {}) {
  const runtime = new SimRuntime(3);
  const exchanges: StubExchange[] = [];
  const addresses: string[] = [];
  const mesh = createMesh({
    env: {},
    runtime,
    attemptLayers: [sideBySide<StubRequest, StubReply>(options) as never],
  });
  const events: string[] = [];
  const attempts: EndedAttempt[] = [];
  const calls: EndedCall[] = [];
  mesh.observe({
    attemptStarted: ({ number, kind }) => void events.push(`start ${number} ${kind}`),
    attemptEnded: (attempt) => {
      attempts.push(attempt);
      events.push(`end ${attempt.number} ${attempt.outcome} ${attempt.error?.reason ?? "none"}`);
    },
    callEnded: (call) => {
      calls.push(call);
      events.push(`call ${call.outcome} ${call.status} ${call.error?.reason ?? "none"}`);
    },
  });
  const protocol = stubProtocol((exchange, address) => {
    exchanges.push(exchange);
    addresses.push(address);
  });
  const service = mesh.service("orders", protocol, {
    discovery: { static: [A, B] },
    timeouts: { requestMs: 1_000 },
    ...input,
  });
  const call = new Call("orders", new StubRequest("/"), true, true);
  served?.adopt(call);
  change?.(call);
  const end: { reply?: StubReply; error?: unknown } = {};
  const sent = service.current(call).then(
    (reply) => void (end.reply = reply),
    (error: unknown) => void (end.error = error),
  );
  await runtime.runUntil(1);
  const snapshot = () => mesh.snapshot().services[0]!;
  const counted = (name: string) =>
    mesh
      .metrics()
      .filter((series) => series.name === name)
      .map(
        (series) =>
          `${series.labels["kind"] ?? ""} ${series.labels["outcome"]} ${"value" in series ? series.value : 0}`,
      );
  /** Nothing is held any more: by no endpoint, and by no list of calls. */
  const expectNothingHeld = (): void => {
    expect(snapshot().endpoints.filter(({ inFlight }) => inFlight !== 0)).toEqual([]);
    expect(snapshot().callsInFlight).toBe(0);
    expect(call.ended).toBe(true);
  };
  return {
    runtime,
    mesh,
    call,
    end,
    sent,
    events,
    attempts,
    calls,
    exchanges,
    addresses,
    snapshot,
    counted,
    expectNothingHeld,
  };
}

const hedgeLost = (error: unknown): boolean =>
  error instanceof MeshError && error.code === "cancelled" && error.reason === "hedge_lost";

describe("two attempts side by side", () => {
  it("go to two endpoints, and the one that answers first is the call's", async () => {
    const mesh = await setUp();
    expect(mesh.addresses.toSorted()).toEqual([A, B]);
    expect(mesh.snapshot().callsInFlight).toBe(1);
    mesh.exchanges[1]!.reply("success", 201);
    await mesh.sent;
    expect(mesh.end.reply?.code).toBe(201);
    expect(mesh.call.attempt?.number).toBe(2);
    expect(mesh.call.attempts).toBe(2);
    expect(mesh.events).toEqual([
      "start 1 first",
      "start 2 hedge",
      "end 2 success none",
      "end 1 abandoned hedge_lost",
      "call success 201 none",
    ]);
    expect(mesh.attempts[0]!.retryReason).toBe(undefined);
    // Later news of the one that lost change nothing.
    mesh.exchanges[0]!.reply("failure", 500);
    expect(mesh.events).toHaveLength(5);
    expect(mesh.counted("inmesh.attempts").toSorted()).toEqual([
      "first abandoned 1",
      "hedge success 1",
    ]);
    expect(mesh.counted("inmesh.calls")).toEqual([" success 1"]);
    mesh.expectNothingHeld();
  });

  it("the first wins although the second is the later one: status and code are the first's", async () => {
    const mesh = await setUp();
    mesh.exchanges[0]!.reply("success", 203);
    await mesh.sent;
    expect(mesh.calls[0]).toMatchObject({ status: 203, attempts: 2, outcome: "success" });
    expect(mesh.attempts.map(({ number, outcome }) => [number, outcome])).toEqual([
      [1, "success"],
      [2, "abandoned"],
    ]);
    mesh.expectNothingHeld();
  });

  it("both succeed in one turn: one reply, and one end for each", async () => {
    const mesh = await setUp();
    mesh.exchanges[0]!.reply("success", 200);
    mesh.exchanges[1]!.reply("success", 201);
    await mesh.sent;
    expect(mesh.end.reply?.code).toBe(200);
    expect(mesh.events.filter((event) => event.startsWith("end"))).toHaveLength(2);
    expect(mesh.events.filter((event) => event.startsWith("call"))).toHaveLength(1);
    mesh.expectNothingHeld();
  });

  it("the body of the chosen one ends the call, not that of the other", async () => {
    const mesh = await setUp();
    mesh.exchanges[0]!.reply("success", 200, { open: true });
    mesh.exchanges[1]!.reply("success", 200, { open: true });
    await mesh.sent;
    expect(mesh.events).toEqual(["start 1 first", "start 2 hedge", "end 2 abandoned hedge_lost"]);
    expect(mesh.call.ended).toBe(false);
    mesh.exchanges[0]!.end();
    expect(mesh.events.slice(3)).toEqual(["end 1 success none", "call success 200 none"]);
    mesh.expectNothingHeld();
  });

  it("one fails, the other is the call's, and only the one that failed is charged", async () => {
    const mesh = await setUp();
    mesh.exchanges[0]!.fail(lost());
    await mesh.runtime.runUntil(5);
    expect(mesh.end).toEqual({});
    mesh.exchanges[1]!.reply();
    await mesh.sent;
    expect(mesh.end.reply?.code).toBe(200);
    expect(mesh.attempts.map(({ outcome }) => outcome)).toEqual(["failure", "success"]);
    mesh.expectNothingHeld();
  });

  it("the endpoint of the one that lost keeps its breaker closed, that of one that failed does not", async () => {
    const states = async (fails: boolean): Promise<string[]> => {
      const mesh = await setUp({ input: { breaker: { consecutiveFailures: 1 } } });
      if (fails) mesh.exchanges[0]!.fail(lost());
      mesh.exchanges[1]!.reply();
      await mesh.sent;
      return mesh
        .snapshot()
        .endpoints.map(({ breaker }) => breaker.state)
        .toSorted();
    };
    expect(await states(false)).toEqual(["closed", "closed"]);
    expect(await states(true)).toEqual(["closed", "open"]);
  });

  it("both fail: both count as attempts of retry.attempts, and a third needs room for it", async () => {
    const two = await setUp({ input: { retry: { attempts: 2 } } });
    for (const exchange of two.exchanges) exchange.fail(lost());
    await two.sent;
    expect(two.end.error).toMatchObject({
      reason: "reset_before_response",
      attempts: 2,
      noRetry: "attempts",
    });
    two.expectNothingHeld();

    let asked = 0;
    const three = await setUp({
      input: { retry: { attempts: 3 } },
      second: () => (asked++ === 0 ? Promise.resolve() : new Promise(() => {})),
    });
    for (const exchange of three.exchanges) exchange.fail(lost());
    await three.runtime.runUntil(500);
    expect(three.exchanges).toHaveLength(3);
    const { attempt } = three.exchanges[2]!;
    expect([attempt.number, attempt.kind]).toEqual([3, "retry"]);
    three.exchanges[2]!.reply();
    await three.sent;
    expect(three.calls[0]).toMatchObject({ attempts: 3, status: 200 });
    three.expectNothingHeld();
  });

  it("the caller cancels while both run: both end, once each, before the call does", async () => {
    const mesh = await setUp();
    const error = new MeshError({
      code: "cancelled",
      reason: "caller",
      message: "gone",
      progress: "maybe-processed",
    });
    mesh.call.cancel(error, "abandoned");
    await mesh.sent;
    expect(mesh.end.error).toBe(error);
    expect(mesh.events).toEqual([
      "start 1 first",
      "start 2 hedge",
      "end 1 abandoned caller",
      "end 2 abandoned caller",
      "call abandoned undefined caller",
    ]);
    mesh.expectNothingHeld();
  });

  it("the deadline passes while both run: both are timeouts, and so is the call", async () => {
    const mesh = await setUp();
    await mesh.runtime.runUntil(1_001);
    expect(mesh.events.slice(2)).toEqual([
      "end 1 timeout call_deadline",
      "end 2 timeout call_deadline",
      "call timeout undefined call_deadline",
    ]);
    mesh.expectNothingHeld();
  });

  it("the caller of the request being served goes: both end", async () => {
    const served = new ServedRequest();
    const mesh = await setUp({ served });
    served.leave();
    await mesh.sent;
    expect(mesh.attempts.map(({ outcome }) => outcome)).toEqual(["abandoned", "abandoned"]);
    mesh.expectNothingHeld();
  });

  it("close of the mesh ends both when its time is over", async () => {
    const mesh = await setUp();
    const closing = mesh.mesh.close(100);
    await mesh.runtime.runUntil(200);
    await closing;
    expect(mesh.attempts.map(({ error }) => error?.reason)).toEqual(["shutdown", "shutdown"]);
    mesh.expectNothingHeld();
  });

  it("one that waits for discovery ends as any other", async () => {
    const runtime = new SimRuntime(3);
    const mesh = createMesh({
      env: {},
      runtime,
      attemptLayers: [sideBySide() as never],
      discovery: () => ({ source: "test", watch: () => () => {} }) as never,
    });
    const service = mesh.service(
      "orders",
      stubProtocol(() => {}),
      {
        url: "http://orders:80",
      },
    );
    const call = new Call("orders", new StubRequest("/"), true, true);
    const sent = service.current(call).catch((error: unknown) => error);
    await runtime.runUntil(10);
    call.choose(call.beside![1]!);
    const error = new MeshError({
      code: "cancelled",
      reason: "caller",
      message: "gone",
      progress: "not-sent",
    });
    call.cancel(error, "abandoned");
    await runtime.runUntil(20);
    expect(await sent).toBe(error);
    expect(call.beside!.map((attempt) => attempt.error?.reason)).toEqual(["hedge_lost", "caller"]);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });
});

describe("an attempt that a layer holds", () => {
  it("is not sent any more once another was chosen, or the call was cancelled", async () => {
    for (const cancels of [false, true]) {
      const runtime = new SimRuntime(3);
      let sends = 0;
      const held: (() => void)[] = [];
      const mesh = createMesh({
        env: {},
        runtime,
        attemptLayers: [
          sideBySide() as never,
          (inner) => (attempt) =>
            attempt.number === 1
              ? inner(attempt)
              : new Promise((resolve, reject) => {
                  held.push(() => inner(attempt).then(resolve, reject));
                }),
        ],
      });
      const service = mesh.service(
        "orders",
        stubProtocol((exchange) => {
          sends++;
          if (!cancels) exchange.reply();
        }),
        { discovery: { static: [A, B] } },
      );
      const call = new Call("orders", new StubRequest("/"), true, true);
      const sent = service.current(call).catch((error: unknown) => error);
      await runtime.runUntil(1);
      if (cancels) call.cancel(lost(), "abandoned");
      held[0]!();
      await runtime.runUntil(50);
      await sent;
      expect(sends).toBe(1);
      expect(call.beside![1]!.error?.reason).toBe(cancels ? "reset_before_response" : "hedge_lost");
      expect(mesh.snapshot().services[0]!.endpoints.map(({ inFlight }) => inFlight)).toEqual([
        0, 0,
      ]);
    }
  });
});

describe("a second attempt is refused, and the call goes on with the first", () => {
  const CASES: readonly [NoRetry, (call: Call<StubRequest>) => void][] = [
    ["not_replayable", (call) => (call.replayable = false)],
    ["not_replayable", (call) => (call.exclusive = true)],
    ["not_idempotent", (call) => (call.idempotent = false)],
    ["layer", (call) => (call.inheritedAttempt = 2)],
  ];
  it.each(CASES)("%s", async (why, change) => {
    const refusals: NoRetry[] = [];
    const mesh = await setUp({ change, refused: (reason) => void refusals.push(reason) });
    expect(refusals).toEqual([why]);
    expect(mesh.exchanges).toHaveLength(1);
    mesh.exchanges[0]!.reply();
    await mesh.sent;
    expect(mesh.calls[0]).toMatchObject({ attempts: 1, notRetried: why, status: 200 });
    expect(mesh.call.beside).toBe(undefined);
    mesh.expectNothingHeld();
  });

  it("a call that is over has no further attempt", async () => {
    const mesh = await setUp();
    mesh.exchanges[0]!.reply();
    await mesh.sent;
    expect(mesh.call.attempt!.beside()).toBe("deadline");
  });
});

it("retry itself may end the call: with the attempt that was chosen", async () => {
  const runtime = new SimRuntime(3);
  const ends: [number, Outcome][] = [];
  const send: Handler<Attempt<StubRequest>, StubReply> = (attempt) =>
    new Promise((resolve, reject) => {
      const settled = (outcome: Outcome): void => {
        ends.push([attempt.number, outcome]);
        attempt.settle(outcome);
      };
      attempt.canceller = {
        cancelAttempt(error, outcome) {
          settled(outcome);
          reject(error);
        },
      };
      runtime.after(
        attempt.number === 1 ? 20 : 10,
        () => {
          if (attempt.outcome !== undefined) return;
          settled("success");
          resolve(new StubReply("success", 200, Promise.resolve(), () => {}));
        },
        undefined,
      );
    });
  const policy = {
    attempts: 2,
    codes: [],
    backoffBaseMs: 1,
    backoffMaxMs: 1,
    overloadedMeansUnprocessed: false,
  };
  const budget = { deposit: () => {}, withdraw: () => true };
  const recorder = { decided: () => {} };
  const run = retry<StubRequest, StubReply>(
    policy,
    budget,
    recorder,
    runtime,
    callEnds,
  )(sideBySide<StubRequest, StubReply>()(send));
  const call = new Call("orders", new StubRequest("/"), true, true);
  const sent = run(call);
  await runtime.runUntil(100);
  expect((await sent).code).toBe(200);
  expect(ends).toEqual([
    [2, "success"],
    [1, "abandoned"],
  ]);
  expect([call.ended, call.attempt!.number]).toEqual([true, 2]);
});

it("a call ends every attempt that a layer has left behind", async () => {
  const runtime = new SimRuntime(3);
  const left: Attempt[] = [];
  const mesh = createMesh({
    env: {},
    runtime,
    attemptLayers: [
      (inner) => (attempt) => {
        const second = attempt.beside() as typeof attempt;
        left.push(second);
        inner(second).catch(() => {});
        return inner(attempt); // it has forgotten to choose
      },
    ],
  });
  const service = mesh.service(
    "orders",
    stubProtocol((exchange) => {
      if (exchange.attempt.number === 1) exchange.reply();
    }),
    { discovery: { static: [A, B] } },
  );
  const call = new Call("orders", new StubRequest("/"), true, true);
  expect((await service.current(call)).code).toBe(200);
  expect(left.map(({ outcome, error }) => [outcome, hedgeLost(error)])).toEqual([
    ["abandoned", true],
  ]);
  expect(mesh.snapshot().services[0]!.endpoints.map(({ inFlight }) => inFlight)).toEqual([0, 0]);
});
