import { expect, it } from "vitest";
import { StreamEnds } from "./stream-ends.ts";

it("a hundred streams that were reset from here are enough, however many were answered", () => {
  const ends = new StreamEnds();
  for (let i = 1; i < 100; i++) {
    ends.answered();
    expect(ends.reset()).toBe(false);
  }
  expect(ends.reset()).toBe(true);
  for (let i = 101; i < 150; i++) ends.reset();
  expect(ends.resetsSpent).toBe(false);
  ends.reset();
  expect(ends.resetsSpent).toBe(true);
});

it("two refusals in a row are enough, and each further one; an answer in between begins anew", () => {
  const ends = new StreamEnds();
  expect([ends.refused(), ends.refused(), ends.refused()]).toEqual([false, true, true]);
  expect(ends.served).toBe(false);
  ends.answered();
  expect([ends.refused(), ends.refused()]).toEqual([false, true]);
  expect(ends.served).toBe(true);
});
