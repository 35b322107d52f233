import { expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { inTurns } from "./turns.ts";

/** Each step takes `ms`. */
function* steps(runtime: SimRuntime, count: number, ms: number): Generator<undefined, string> {
  for (let i = 0; i < count; i++) {
    runtime.stall(ms);
    yield;
  }
  return "done";
}

it("short work is done at once", () => {
  expect(inTurns(new SimRuntime(1), steps(new SimRuntime(1), 1_000, 0))).toBe("done");
});

it("long work gives way after 4 ms, and others run in between", async () => {
  const runtime = new SimRuntime(1);
  const result = inTurns(runtime, steps(runtime, 20, 1), 1);
  expect(result).toBeInstanceOf(Promise);
  expect(runtime.now()).toBeLessThanOrEqual(5);
  // How late a timer of every millisecond is.
  const ranAt: number[] = [runtime.now()];
  const next = (): void => {
    ranAt.push(runtime.now());
    runtime.after(1, next, undefined);
  };
  runtime.after(1, next, undefined);
  await runtime.advance(60);
  expect(await result).toBe("done");
  const gaps = ranAt.slice(1).map((at, i) => at - ranAt[i]!);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(6);
});

it("what the work throws is thrown, or rejects", async () => {
  const runtime = new SimRuntime(1);
  function* failing(ms: number): Generator<undefined, void> {
    runtime.stall(ms);
    yield;
    throw new Error("no");
  }
  expect(() => inTurns(runtime, failing(0), 1)).toThrow("no");
  const later = inTurns(runtime, failing(5), 1) as Promise<void>;
  const rejected = expect(later).rejects.toThrow("no");
  await runtime.advance(1);
  await rejected;
});
