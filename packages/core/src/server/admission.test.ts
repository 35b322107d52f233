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

  it("a limit of 1 serves one sheddable request", () => {
    const admission = new Admission({ maxInFlight: 1, maxLoopDelayMs: 250 }, new SimRuntime(1));
    expect(admission.refuses(request("sheddable"), Infinity)).toBeUndefined();
  });
});

describe("LoopDelay", () => {
  const beats = (delay: LoopDelay, lateMs: number, times: number): void => {
    for (let i = 0; i < times; i++) delay.observe(lateMs, 20 + lateMs);
  };

  it("one pause of 500 ms is no overload, three in a row are", () => {
    const delay = new LoopDelay(250, new SimRuntime(1));
    beats(delay, 500, 1);
    expect(delay.exceeded()).toBe(false);
    beats(delay, 500, 2);
    expect(delay.exceeded()).toBe(true);
  });

  it("comes down within about a second of calm, below nine tenths of the limit", () => {
    const delay = new LoopDelay(250, new SimRuntime(1));
    beats(delay, 400, 10);
    let calm = 0;
    while (delay.exceeded()) {
      beats(delay, 0, 1);
      calm++;
    }
    expect(calm * 20).toBeLessThan(1_000);
    expect(delay.delayMs).toBeLessThanOrEqual(225);
    beats(delay, 240, 1);
    expect(delay.exceeded()).toBe(false);
  });

  it("beats while requests come and until the delay is forgotten, then sleeps", async () => {
    const runtime = new SimRuntime(1);
    let armed = 0;
    const after = runtime.after.bind(runtime);
    runtime.after = (...args) => {
      armed++;
      return after(...args);
    };
    const delay = new LoopDelay(250, runtime);
    delay.exceeded();
    await runtime.advance(1_000);
    expect(armed).toBe(2);
    delay.exceeded();
    expect(armed).toBe(3);
  });
});
