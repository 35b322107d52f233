import fc from "fast-check";
import { expect, it } from "vitest";
import { SimRuntime } from "../../testing/sim-runtime.ts";
import { Expiring } from "./expiring.ts";

it("forgets what has expired, and the least recently used beyond its bound", async () => {
  const runtime = new SimRuntime(1);
  const memory = new Expiring<number>(2, runtime);
  memory.set("a", 1, 100);
  memory.set("b", 2, 200);
  expect(memory.get("a")).toBe(1);
  memory.set("c", 3, 100); // `b` was used longest ago
  expect(memory.get("b")).toBeUndefined();
  expect([memory.get("a"), memory.get("c")]).toEqual([1, 3]);
  await runtime.advance(100);
  expect([memory.get("a"), memory.get("c")]).toEqual([undefined, undefined]);
  expect(memory.size).toBe(0);
  memory.set("d", 4, 100);
  memory.clear();
  expect(memory.get("d")).toBeUndefined();
});

it("is never larger than its bound, and gives nothing but the last value that was set", async () => {
  const keys = fc.constantFrom("a", "b", "c", "d");
  const steps = fc.array(fc.tuple(keys, fc.integer({ min: 0, max: 30 }), fc.boolean()));
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (all, max) => {
      const runtime = new SimRuntime(1);
      const memory = new Expiring<number>(max, runtime);
      const last = new Map<string, { value: number; until: number }>();
      for (const [i, [key, ms, sets]] of all.entries()) {
        if (sets) {
          memory.set(key, i, ms);
          last.set(key, { value: i, until: runtime.now() + ms });
        } else {
          const seen = memory.get(key);
          const said = last.get(key);
          if (seen !== undefined) {
            expect(seen).toBe(said?.value);
            expect(runtime.now()).toBeLessThan(said!.until);
          }
        }
        expect(memory.size).toBeLessThanOrEqual(max);
        await runtime.advance(ms % 3);
      }
    }),
  );
});
