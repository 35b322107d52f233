/** A process that stands still, in virtual time. */
import { SimRuntime } from "@inmesh/core/testing";
import { expect, it } from "vitest";
import { FreezeWatch } from "./freeze-watch.ts";

/** Its timers are late by what it stood still. */
class FreezingRuntime extends SimRuntime {
  frozenMs = 0;
  override now(): number {
    return super.now() + this.frozenMs;
  }
}

function watched() {
  const runtime = new FreezingRuntime();
  const watch = new FreezeWatch(runtime);
  let thaws = 0;
  const stop = watch.use(() => thaws++);
  return { runtime, watch, stop, thaws: () => thaws };
}

it("L7 GC: says nothing while timers are on time, and once when they were not", async () => {
  const { runtime, watch, thaws } = watched();
  await runtime.advance(3_600_000);
  runtime.frozenMs += 4_900;
  await runtime.advance(10_000);
  expect(thaws()).toBe(0);
  runtime.frozenMs += 60_000;
  await runtime.advance(10_000);
  expect(thaws()).toBe(1);
  watch.look(runtime.now());
  expect(thaws()).toBe(1);
});

it("L7 GC: a call of the very turn it wakes up in knows of it before the timers do", async () => {
  const { runtime, watch, thaws } = watched();
  await runtime.advance(1_000);
  runtime.frozenMs += 60_000;
  watch.look(runtime.now());
  expect(thaws()).toBe(1);
  await runtime.advance(10_000);
  expect(thaws()).toBe(1);
});

it("L7 GC: time without users is not a freeze", async () => {
  const { runtime, watch, stop, thaws } = watched();
  stop();
  await runtime.advance(60_000);
  watch.look(runtime.now());
  let later = 0;
  watch.use(() => later++);
  watch.look(runtime.now());
  await runtime.advance(60_000);
  expect([thaws(), later]).toEqual([0, 0]);
});
