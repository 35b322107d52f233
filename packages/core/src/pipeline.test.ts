import { describe, expect, it } from "vitest";
import { type Attempt, Call, type Reply } from "./call.ts";
import type { ServiceInput } from "./config/input.ts";
import { MeshError } from "./errors.ts";
import type { Layer } from "./handler.ts";
import { createMesh, type Mesh } from "./mesh.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubServer } from "./testing/stub-transport.ts";

const ENDPOINTS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

function setUp(serve: StubServer, input: ServiceInput = {}, more: MeshOptions = {}) {
  const runtime = more.runtime instanceof SimRuntime ? more.runtime : new SimRuntime(7);
  const mesh: Mesh = createMesh({ env: {}, ...more, runtime });
  const tried: string[] = [];
  const protocol = stubProtocol((exchange, address) => {
    tried.push(address);
    serve(exchange, address);
  });
  const service = mesh.service("orders", protocol, {
    discovery: { static: ENDPOINTS },
    ...input,
  });
  const send = (method = "GET", change: (call: Call<StubRequest>) => void = () => {}) => {
    const call = new Call("orders", new StubRequest("/", method), method === "GET", true);
    change(call);
    const state: { call: Call; code: number; error?: MeshError; at: number } = {
      call: call as Call,
      code: 0,
      at: -1,
    };
    service.current(call).then(
      (reply) => {
        state.code = reply.code;
        state.at = runtime.now();
      },
      (error: MeshError) => {
        state.error = error;
        state.at = runtime.now();
      },
    );
    return state;
  };
  const inFlight = (): number =>
    mesh.snapshot().services[0]!.endpoints.reduce((sum, one) => sum + one.inFlight, 0);
  return { runtime, mesh, tried, send, inFlight };
}

const lost = (progress: "not-sent" | "maybe-processed"): MeshError =>
  new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: "lost",
    progress,
  });
const failing: StubServer = (exchange) => exchange.reply("failure", 503);

describe("G14 CO: what a reply says about a further attempt", () => {
  const TIMES = 2;
  const asked = async (
    more: { retryAfterMs?: number; waitsForAll?: boolean; final?: boolean },
    requestMs: number,
  ) => {
    const at: number[] = [];
    const { runtime, send } = setUp(
      ({ reply }) => {
        at.push(runtime.now());
        reply("overloaded", 503, more);
      },
      { retry: { attempts: TIMES }, timeouts: { requestMs } },
    );
    const startedAt = runtime.now();
    const state = send();
    await runtime.advance(requestMs);
    return { sentMs: at.map((one) => one - startedAt), tookMs: state.at - startedAt, state };
  };

  it("G14 CO: none: it is the last attempt, at once", async () => {
    const { sentMs, tookMs, state } = await asked({ final: true }, 10_000);
    expect(sentMs).toEqual([0]);
    expect([state.code, tookMs]).toEqual([503, 0]);
  });

  it.each([0, 1, 700, 9_000])("G14 CO: one in %i ms: exactly then", async (retryAfterMs) => {
    const { sentMs } = await asked({ retryAfterMs }, 10_000);
    expect(sentMs).toEqual([0, retryAfterMs]);
  });

  it("G14 CO: one beyond the deadline: the failure goes back now", async () => {
    for (const retryAfterMs of [10_000, 10_001, 10 ** 9]) {
      const { sentMs, tookMs, state } = await asked({ retryAfterMs, waitsForAll: true }, 10_000);
      expect(sentMs).toEqual([0]);
      expect([state.code, tookMs]).toEqual([503, 0]);
    }
  });
});

describe("pipeline", () => {
  it("a retry avoids the endpoint that failed, and stops at `attempts`", async () => {
    const { runtime, tried, send, inFlight } = setUp(failing, { retry: { attempts: 3 } });
    const state = send();
    await runtime.advance(2000);
    expect(state.code).toBe(503);
    expect(new Set(tried).size).toBe(3);
    expect(inFlight()).toBe(0);
  });

  it.each([
    ["POST", "maybe-processed", 2, 1],
    ["GET", "maybe-processed", 2, 2],
    // Three re-sends; they cost no attempt, so the policy's own retry is still to come.
    ["POST", "not-sent", 1, 4],
    ["POST", "not-sent", 2, 4],
  ] as const)("%s that ended %s, of %d attempts, is sent %d times", async (...row) => {
    const [method, progress, attempts, times] = row;
    const serve: StubServer = (exchange) => exchange.fail(lost(progress));
    const { runtime, tried, send } = setUp(serve, { retry: { attempts } });
    const state = send(method);
    await runtime.advance(2000);
    expect(state.error?.code).toBe("connection_lost");
    expect(tried).toHaveLength(times);
  });

  it("a nacked POST is sent again", async () => {
    let n = 0;
    const { runtime, tried, send } = setUp((exchange) =>
      n++ === 0 ? exchange.reply("overloaded", 503, { nacked: true }) : exchange.reply(),
    );
    const state = send("POST");
    await runtime.advance(2000);
    expect([state.code, tried.length]).toEqual([200, 2]);
  });

  it("a body that cannot be replayed, and a call that is itself a retry, are sent once", async () => {
    for (const change of [
      (call: Call<StubRequest>) => void (call.replayable = false),
      (call: Call<StubRequest>) => void (call.inheritedAttempt = 2),
    ]) {
      const { runtime, tried, send } = setUp(failing);
      send("GET", change);
      await runtime.advance(2000);
      expect(tried).toHaveLength(1);
    }
  });

  it("Retry-After is waited for; beyond the deadline the reply returns at once", async () => {
    for (const [hint, times, at] of [
      [400, 2, 400],
      [5000, 1, 0],
    ] as const) {
      const { runtime, tried, send } = setUp(
        (exchange) => exchange.reply("overloaded", 429, { retryAfterMs: hint, waitsForAll: true }),
        { timeouts: { requestMs: 1000 } },
      );
      const state = send();
      await runtime.advance(2000);
      expect([tried.length, state.at]).toEqual([times, at]);
    }
  });

  it("the deadline ends an attempt that is never answered", async () => {
    const { runtime, send, inFlight } = setUp(() => {}, { timeouts: { requestMs: 500 } });
    const state = send();
    await runtime.advance(2000);
    expect([state.error?.reason, state.at, inFlight()]).toEqual(["call_deadline", 500, 0]);
  });

  it("a cancelled call ends in the same turn, in an attempt and in a pause", async () => {
    for (const serve of [
      () => {},
      ((exchange) => exchange.reply("overloaded", 503, { retryAfterMs: 900 })) as StubServer,
    ]) {
      const { runtime, send, inFlight } = setUp(serve);
      const state = send();
      await runtime.advance(100);
      const error = new MeshError({
        code: "cancelled",
        reason: "caller",
        message: "left",
        progress: "maybe-processed",
      });
      state.call.cancel(error, "abandoned");
      await runtime.advance(0);
      expect([state.error, state.at, inFlight()]).toEqual([error, 100, 0]);
    }
  });

  it("close() ends calls after the grace, and refuses later ones", async () => {
    const { runtime, mesh, send } = setUp(() => {});
    const state = send();
    await runtime.advance(10);
    void mesh.close(200);
    const late = send();
    await runtime.advance(1000);
    expect([state.error?.reason, state.at]).toEqual(["shutdown", 210]);
    expect(late.error?.code).toBe("closed");
  });

  it("B1 CO: when everything fails, load is at most 1.2 times plus one a second", async () => {
    for (const seed of [1, 2, 3]) {
      const runtime = new SimRuntime(seed);
      const { tried, send } = setUp(failing, { retry: { attempts: 3 } }, { runtime });
      for (let i = 0; i < 1000; i++) {
        await runtime.advance(20);
        send();
      }
      await runtime.advance(2000);
      // One free retry a second for 20 s, and one more: the window moves in steps of a second, and
      // the last call stands on a step.
      expect(tried.length, `seed ${seed}`).toBeLessThanOrEqual(1.2 * 1000 + 20 + 1);
      expect(tried.length, `seed ${seed}`).toBeGreaterThan(1000);
    }
  });

  it("a layer of attempts is refused where layers of calls belong", () => {
    const layer: Layer<Attempt, Reply> = (inner) => inner;
    // @ts-expect-error an attempt's layer cannot wrap a call
    const options: MeshOptions = { callLayers: [layer] };
    expect(options.callLayers).toHaveLength(1);
  });
});
