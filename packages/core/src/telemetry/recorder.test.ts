/** What hostile names can cost the memory of metrics, at each limit, one above it, and far above it. */
import { expect, it } from "vitest";
import { CALLS } from "./instruments.ts";
import { Recorder } from "./recorder.ts";

it.each([
  [2_000, 2_000, 0],
  [2_001, 2_001, 1],
  [50_000, 2_001, 48_000],
])("B10: %i distinct labels make %i series, %i counted as other", (distinct, series, folded) => {
  const recorder = new Recorder();
  for (let i = 0; i < distinct; i++) recorder.counter(CALLS, { service: `s${i}` }).add(1);
  // What is known goes on being counted by its own name.
  recorder.counter(CALLS, { service: "s0" }).add(1);
  const read = recorder.read();
  expect(read).toHaveLength(series);
  const valueOf = (service: string): unknown =>
    read.find(({ labels }) => labels["service"] === service);
  expect(valueOf("s0")).toMatchObject({ value: 2 });
  if (folded > 0) expect(valueOf("other")).toMatchObject({ value: folded });
});

it.each([
  [128, 128],
  [129, 128],
  [100_000, 128],
])("B10: a label of %i characters is kept with %i", (length, kept) => {
  const recorder = new Recorder();
  recorder.counter(CALLS, { service: "s".repeat(length) }).add(1);
  expect(recorder.read()[0]!.labels["service"]).toHaveLength(kept);
});
