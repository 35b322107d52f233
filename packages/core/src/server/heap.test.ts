import { expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Admission } from "./admission.ts";
import { HeapWatch } from "./heap.ts";
import { ServedRequest } from "../context.ts";

it("B7 CO: above the limit until it is a twentieth below it, checked while requests come", async () => {
  const runtime = new SimRuntime(1);
  let looks = 0;
  let ratio = 0.5;
  const heap = new HeapWatch(0.9, runtime, () => {
    looks++;
    return ratio;
  });
  const after = async (next: number): Promise<boolean> => {
    ratio = next;
    heap.exceeded();
    await runtime.advance(20);
    return heap.exceeded();
  };
  expect(await after(0.9)).toBe(false);
  expect(await after(0.91)).toBe(true);
  expect(await after(0.89)).toBe(true);
  expect(await after(0.86)).toBe(true);
  expect(await after(0.85)).toBe(false);
  expect(await after(0.89)).toBe(false);
  // No request comes: it sleeps, and wakes with the next one.
  await runtime.advance(1_000);
  const before = looks;
  await runtime.advance(60_000);
  expect(looks).toBe(before);
  expect(await after(0.91)).toBe(true);
  expect(looks).toBe(before + 1);
});

it("B7 CO: where less than half of the limit is in use it is read a fifth as often, and at once more often again", async () => {
  const runtime = new SimRuntime(1);
  let looks = 0;
  let ratio = 0.44;
  const heap = new HeapWatch(0.9, runtime, () => {
    looks++;
    return ratio;
  });
  const looksIn = async (ms: number): Promise<number> => {
    const before = looks;
    for (let passed = 0; passed < ms; passed += 5) {
      heap.exceeded();
      await runtime.advance(5);
    }
    return looks - before;
  };
  // The first look comes soon, whatever it will find.
  expect(await looksIn(20)).toBe(1);
  expect(await looksIn(1_000)).toBe(10);
  ratio = 0.46;
  expect(await looksIn(100)).toBe(1);
  expect(await looksIn(1_000)).toBe(50);
});

it("B7 CO: of this process there is a share between 0 and 1, and a full heap refuses every request", async () => {
  const runtime = new SimRuntime(1);
  const limits = { maxInFlight: 10, maxLoopDelayMs: Infinity };
  const calm = new Admission({ ...limits, maxHeapRatio: 1 }, runtime);
  const full = new Admission({ ...limits, maxHeapRatio: 0 }, runtime);
  for (const admission of [calm, full]) admission.refuses(new ServedRequest({}), Infinity);
  await runtime.advance(20);
  const critical = new ServedRequest({ priority: "critical" });
  expect(calm.refuses(critical, Infinity)).toBeUndefined();
  expect(calm.overloaded).toBe(false);
  expect(full.refuses(critical, Infinity)).toBe("heap");
  expect(full.overloaded).toBe(true);
});
