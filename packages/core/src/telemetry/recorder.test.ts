/** What hostile names can cost the memory of metrics, at each limit, one above it, and far above it. */
import { expect, it } from "vitest";
import { createMesh } from "../mesh.ts";
import { metricsPage } from "../metrics/page.ts";
import { CALL_ACTIVE, CALL_DURATION, CALLS } from "./instruments.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Recorder } from "./recorder.ts";
import type { Series } from "./telemetry.ts";

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
  recorder.onOverflow = (limit) => (expect(limit).toBe("metric"), folded++);
  const short = { ...CALL_DURATION, name: "acme.took", bounds: [1] };
  for (let i = 0; i < 2_000; i++) {
    recorder.counter(CALLS, { service: `s${i}` });
    recorder.histogram(short, { service: `s${i}` });
    recorder.gauge(CALL_ACTIVE, { service: `s${i}` }, () => 1);
  }
  const size = 2_000 * (1 + 1 + short.bounds.length + 3);
  expect([recorder.size, folded]).toEqual([size, 0]);
  const [counter, histogram] = [
    recorder.counter(CALLS, { service: "one more" }),
    recorder.histogram(short, { service: "one more" }),
  ];
  expect(folded).toBe(0);
  for (let i = 0; i < 3; i++) {
    counter.add(2);
    histogram.record(1);
  }
  recorder.gauge(CALL_ACTIVE, { service: "one more" }, () => 1);
  expect(folded).toBe(7);
  expect(recorder.size).toBe(size + 1 + short.bounds.length + 3);
  const others = recorder.read().filter(({ labels }) => labels["service"] === "other");
  expect(others).toMatchObject([{ count: 3, sum: 3 }, { value: 6 }]);
});

it.each([
  [1_176, 1_176, 0],
  [1_177, 1_177, 1],
  [100_000, 1_177, 98_824],
])(
  "B10 CO: %i histograms of one process are %i series, %i counted as other",
  (distinct, series, folded) => {
    const recorder = new Recorder();
    const limits: string[] = [];
    recorder.onOverflow = (limit) => limits.push(limit);
    // 17 lines each, and 1,176 of them are 19,992.
    for (let i = 0; i < distinct; i++) {
      recorder.histogram(CALL_DURATION, { service: `s${i}` }).record(1);
    }
    recorder.histogram(CALL_DURATION, { service: "s0" }).record(1);
    const read = recorder.read() as (Series & { kind: "histogram" })[];
    expect(read).toHaveLength(series);
    const countOf = (service: string): number | undefined =>
      read.find(({ labels }) => labels["service"] === service)?.count;
    expect(countOf("s0")).toBe(2);
    expect(countOf("other")).toBe(folded === 0 ? undefined : folded);
    expect(new Set(limits)).toEqual(new Set(folded === 0 ? [] : ["process"]));
    expect(limits).toHaveLength(folded);
    expect(recorder.size).toBe(series * 17);
  },
);

it("B10 CO: gauges count for the process too, and give their place back", () => {
  const recorder = new Recorder();
  const limits: string[] = [];
  recorder.onOverflow = (limit) => limits.push(limit);
  const removals = Array.from({ length: 20_000 }, (_, i) => {
    const gauge = { ...CALL_ACTIVE, name: `acme.level.${i % 10}` };
    return recorder.gauge(gauge, { service: `s${i}` }, () => 1);
  });
  expect([recorder.size, limits]).toEqual([20_000, []]);
  const another = (): (() => void) => recorder.gauge(CALL_ACTIVE, { service: "one" }, () => 1);
  const left = another();
  expect([recorder.size, limits]).toEqual([20_000, ["process"]]);
  left();
  expect(recorder.size).toBe(20_000);
  removals[0]!();
  removals[0]!();
  another();
  expect([recorder.size, limits]).toEqual([20_000, ["process"]]);
  // The same labels again take the place of what was there.
  another();
  expect(recorder.size).toBe(20_000);
});

it("keeps the last exemplar of each bucket, and makes none for what is not sampled", () => {
  const runtime = new SimRuntime(1);
  const recorder = new Recorder(runtime);
  const took = recorder.histogram({ ...CALL_DURATION, name: "acme.took", bounds: [1, 2] }, {});
  const hits = recorder.counter(CALLS, {});
  took.record(0.5);
  hits.add(1);
  expect(
    recorder.read().map((one) => ("exemplars" in one || "exemplar" in one) as boolean),
  ).toEqual([false, false]);
  const [a, b] = ["a".repeat(32), "b".repeat(32)];
  took.record(0.25, a);
  took.record(0.75, b);
  took.record(9, a);
  hits.add(2, b);
  const atWallMs = runtime.wallNow();
  expect(recorder.read()).toMatchObject([
    {
      exemplars: [
        { traceId: b, value: 0.75, atWallMs },
        undefined,
        { traceId: a, value: 9, atWallMs },
      ],
    },
    { exemplar: { traceId: b, value: 2, atWallMs } },
  ]);
});

it("of a bucket that is filled often keeps one exemplar in 16, and again each once it is rare", async () => {
  const runtime = new SimRuntime(1);
  const recorder = new Recorder(runtime);
  const hits = recorder.counter(CALLS, {});
  const last = (): string | undefined => {
    const [one] = recorder.read() as (Series & { kind: "counter" })[];
    return one!.exemplar?.traceId.replace(/0+$/, "");
  };
  const hit = (trace: string): string | undefined => {
    hits.add(1, trace.padEnd(32, "0"));
    return last();
  };
  expect([hit("a1"), hit("a2"), hit("a3")]).toEqual(["a1", "a2", "a2"]);
  for (let more = 0; more < 14; more++) hit("a4");
  expect(last()).toBe("a2");
  await runtime.advance(5_000);
  expect([hit("b1"), hit("b2")]).toEqual(["b1", "b2"]);
  await runtime.advance(5_000);
  for (let more = 0; more < 15; more++) hit("b3");
  expect([last(), hit("c1")]).toEqual(["b2", "c1"]);
  await runtime.advance(5_000);
  expect(hit("d1")).toBe("d1");
});

it("B10 CO: a mesh counts what its recorder folds", async () => {
  const mesh = createMesh({ env: {} });
  const own = { name: "acme.hits", unit: "{hit}", description: "Hits." };
  for (let i = 0; i < 2_005; i++) mesh.telemetry.counter(own, { page: `p${i}` }).add(1);
  const valueOf = (name: string): unknown => mesh.metrics().find((one) => one.name === name);
  const overflow = (): unknown =>
    mesh
      .metrics()
      .filter(({ name }) => name === "inmesh.metrics.overflow")
      .map((one) => [one.labels["limit"], "value" in one && one.value]);
  expect(overflow()).toEqual([
    ["metric", 5],
    ["process", 0],
  ]);
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
