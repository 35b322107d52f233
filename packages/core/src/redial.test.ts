import { expect, it } from "vitest";
import { Redial } from "./redial.ts";
import { SimRuntime } from "./testing/sim-runtime.ts";

function make(seed = 7): { redial: Redial; runtime: SimRuntime; pauseMs(): number } {
  const runtime = new SimRuntime(seed);
  const redial = new Redial(runtime);
  return { redial, runtime, pauseMs: () => redial.pauseMs(runtime.now()) };
}

it("one connection that served nothing is followed by another at once", () => {
  const { redial, pauseMs } = make();
  expect(pauseMs()).toBe(0);
  redial.ended(false);
  expect(pauseMs()).toBe(0);
});

it("further ones by pauses within 100 ms and a ceiling that doubles up to 10 s", () => {
  const { redial, pauseMs } = make();
  redial.ended(false);
  const longest: number[] = [];
  for (let failedInARow = 2; failedInARow < 12; failedInARow++) {
    let most = 0;
    for (let i = 0; i < 100; i++) {
      const { redial: other, pauseMs: ofOther } = make();
      for (let n = 0; n < failedInARow; n++) other.ended(false);
      most = Math.max(most, ofOther());
    }
    redial.ended(false);
    longest.push(most);
    expect(pauseMs()).toBeGreaterThanOrEqual(100);
    expect(pauseMs()).toBeLessThanOrEqual(Math.min(10_000, 100 * 2 ** failedInARow));
  }
  expect(longest.at(-1)).toBeGreaterThan(1_000);
});

it("a connection that served ends the row", async () => {
  const { redial, runtime, pauseMs } = make();
  redial.ended(false);
  redial.ended(false);
  await runtime.advance(10_000);
  expect(pauseMs()).toBe(0);
  redial.ended(true);
  redial.ended(false);
  expect(pauseMs()).toBe(0);
});

it("a dial that failed is followed by a short pause", () => {
  const { redial, pauseMs } = make();
  redial.failed();
  expect(pauseMs()).toBe(100);
});

it("a connection of no use is replaced at most ten times a second, and ends the row if it served", async () => {
  const { redial, runtime, pauseMs } = make();
  expect(redial.replaces(false)).toBe(true);
  expect(pauseMs()).toBe(0);
  expect(redial.replaces(false)).toBe(false);
  await runtime.advance(100);
  expect(redial.replaces(false)).toBe(true);
  expect(pauseMs()).toBeGreaterThanOrEqual(100); // the second in a row that brought nothing
  await runtime.advance(10_000);
  expect(redial.replaces(true)).toBe(true);
  expect(pauseMs()).toBe(0);
});
