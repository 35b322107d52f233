/** What hostile names can cost the memory of metrics, at each limit, one above it, and far above it. */
import { expect, it } from "vitest";
import { createMesh } from "../mesh.ts";
import { metricsPage } from "../metrics/page.ts";
import { CALL_ACTIVE, CALL_DURATION, CALLS } from "./instruments.ts";
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

it("B10 CO: what is folded is counted, and the number of series stays", () => {
  const recorder = new Recorder();
  let folded = 0;
  recorder.onOverflow = () => folded++;
  for (let i = 0; i < 2_000; i++) {
    recorder.counter(CALLS, { service: `s${i}` });
    recorder.histogram(CALL_DURATION, { service: `s${i}` });
    recorder.gauge(CALL_ACTIVE, { service: `s${i}` }, () => 1);
  }
  const size = 2_000 * (1 + 1 + CALL_DURATION.bounds.length + 3);
  expect([recorder.size, folded]).toEqual([size, 0]);
  const [counter, histogram] = [
    recorder.counter(CALLS, { service: "one more" }),
    recorder.histogram(CALL_DURATION, { service: "one more" }),
  ];
  expect(folded).toBe(0);
  for (let i = 0; i < 3; i++) {
    counter.add(2);
    histogram.record(1);
  }
  recorder.gauge(CALL_ACTIVE, { service: "one more" }, () => 1);
  expect(folded).toBe(7);
  expect(recorder.size).toBe(size + 1 + CALL_DURATION.bounds.length + 3);
  const others = recorder.read().filter(({ labels }) => labels["service"] === "other");
  expect(others).toMatchObject([{ count: 3, sum: 3 }, { value: 6 }]);
});

it("B10 CO: a mesh counts what its recorder folds", async () => {
  const mesh = createMesh({ env: {} });
  const own = { name: "acme.hits", unit: "{hit}", description: "Hits." };
  for (let i = 0; i < 2_005; i++) mesh.telemetry.counter(own, { page: `p${i}` }).add(1);
  const valueOf = (name: string): unknown => mesh.metrics().find((one) => one.name === name);
  expect(valueOf("inmesh.metrics.overflow")).toMatchObject({
    value: 5,
    labels: { limit: "metric" },
  });
  const { body } = await metricsPage(mesh);
  expect(valueOf("inmesh.metrics.series")).toMatchObject({
    value: body.match(/^[^#\n]/gm)!.length,
  });
  await mesh.close(0);
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
