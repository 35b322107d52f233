import { describe, expect, it } from "vitest";
import { ServedRequest, type Priority } from "../context.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Admission } from "./admission.ts";
import { LoopDelay } from "./loop-delay.ts";

const request = (priority: Priority = "normal"): ServedRequest => new ServedRequest({ priority });

describe("Admission", () => {
  it.each([
    ["sheddable", 8],
    ["normal", 10],
    ["critical", 11],
  ] as const)(
    "of 10, %s requests are begun while fewer than %i are in progress",
    (priority, most) => {
      const admission = new Admission(
        { maxInFlight: 10, maxLoopDelayMs: Infinity },
        new SimRuntime(1),
      );
      admission.inFlight = most - 1;
      expect(admission.refuses(request(priority), Infinity)).toBeUndefined();
      admission.inFlight = most;
      expect(admission.refuses(request(priority), Infinity)).toBe("concurrency");
    },
  );

  it("what has no time left is refused first, whatever its priority", () => {
    const admission = new Admission({ maxInFlight: 0, maxLoopDelayMs: 250 }, new SimRuntime(1));
    expect(admission.refuses(request("critical"), 0)).toBe("expired_on_arrival");
    expect(admission.refuses(request("critical"), 1)).toBe("concurrency");
  });

  it("says which requests it refuses, by what is watched", async () => {
    const runtime = new SimRuntime(1);
    const admission = new Admission({ maxInFlight: 10, maxLoopDelayMs: 200 }, runtime);
    const levels = [0, 8, 10, 11].map((inFlight) => {
      admission.inFlight = inFlight;
      return admission.level("in_flight");
    });
    expect(levels).toEqual([0, 1, 2, 3]);
    admission.inFlight = 0;
    expect([admission.level("loop"), admission.level("heap")]).toEqual([0, 0]);
    // A queue is standing for requests that may have half of 200 ms, and then for the others too.
    for (const [turnMs, level] of [
      [80, 1],
      [320, 2],
    ] as const) {
      for (let i = 0; i < 20; i++) {
        expect(admission.refuses(request(), Infinity)).toBeUndefined();
        runtime.stall(turnMs);
        await runtime.advance(0);
      }
      expect(admission.refuses(request(), Infinity)).toBeUndefined();
      runtime.stall(150);
      expect(admission.refuses(request("sheddable"), Infinity)).toBe("loop_delay");
      expect(admission.level("loop")).toBe(level);
    }
    await runtime.advance(5_000);
    expect(admission.level("loop")).toBe(0);
  });

  it("a limit of 1 serves one sheddable request", () => {
    const admission = new Admission({ maxInFlight: 1, maxLoopDelayMs: 250 }, new SimRuntime(1));
    expect(admission.refuses(request("sheddable"), Infinity)).toBeUndefined();
  });
});

describe("LoopDelay", () => {
  const turn = async (runtime: SimRuntime, ms: number): Promise<void> => {
    runtime.stall(ms);
    await runtime.advance(0);
  };

  it("a queue is standing when every turn of half a second was late", async () => {
    const runtime = new SimRuntime(1);
    const delay = new LoopDelay(runtime, () => 0);
    for (let i = 0; i < 4; i++) {
      delay.begins(Infinity, Infinity);
      await turn(runtime, 320);
    }
    expect(delay.leastMs).toBe(300);
    delay.begins(Infinity, Infinity);
    await turn(runtime, 20);
    expect(delay.leastMs).toBe(0);
  });

  it("its options may change while requests run: the loop is watched from then on", async () => {
    const runtime = new SimRuntime(1);
    const options = { maxInFlight: 100, maxLoopDelayMs: Infinity };
    const admission = new Admission(options, runtime);
    const lateTurns = async (): Promise<void> => {
      for (let i = 0; i < 4; i++) {
        expect(admission.refuses(request(), Infinity)).toBeUndefined();
        await turn(runtime, 320);
      }
      expect(admission.refuses(request(), Infinity)).toBeUndefined();
      runtime.stall(300);
    };
    await lateTurns();
    expect(admission.refuses(request(), Infinity)).toBeUndefined();
    options.maxLoopDelayMs = 200;
    admission.configure();
    await lateTurns();
    expect(admission.refuses(request(), Infinity)).toBe("loop_delay");
    options.maxLoopDelayMs = Infinity;
    admission.configure();
    expect(admission.refuses(request(), Infinity)).toBeUndefined();
    admission.inFlight = 100;
    options.maxInFlight = 101;
    expect(admission.refuses(request(), Infinity)).toBe("concurrency");
    admission.configure();
    expect(admission.refuses(request(), Infinity)).toBeUndefined();
  });

  it("refuses what is left of a turn, never its first, and the important never", async () => {
    const runtime = new SimRuntime(1);
    const admission = new Admission({ maxInFlight: 100, maxLoopDelayMs: 200 }, runtime);
    for (let i = 0; i < 4; i++) {
      expect(admission.refuses(request(), Infinity)).toBeUndefined();
      await turn(runtime, 320);
    }
    expect(admission.refuses(request(), Infinity)).toBeUndefined();
    runtime.stall(150);
    expect(admission.refuses(request("sheddable"), Infinity)).toBe("loop_delay");
    expect(admission.refuses(request(), 150)).toBe("loop_delay");
    expect(admission.refuses(request(), 200)).toBeUndefined();
    expect(admission.refuses(request(), Infinity)).toBeUndefined();
    runtime.stall(100);
    expect(admission.refuses(request(), Infinity)).toBe("loop_delay");
    expect(admission.refuses(request("critical"), Infinity)).toBeUndefined();
    expect(admission.overloaded).toBe(true);
    await runtime.advance(1_000);
    expect(admission.overloaded).toBe(false);
  });

  it("beats while requests come, then sleeps", async () => {
    const runtime = new SimRuntime(1);
    let armed = 0;
    const beat = runtime.beat.bind(runtime);
    runtime.beat = (...args) => {
      armed++;
      beat(...args);
    };
    const delay = new LoopDelay(runtime, () => 0);
    delay.begins(1_000, Infinity);
    await runtime.advance(1_000);
    expect(armed).toBe(2);
    delay.begins(1_000, Infinity);
    expect(armed).toBe(3);
  });
});
