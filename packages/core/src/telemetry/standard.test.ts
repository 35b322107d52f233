/** Series of a standard instrument: made once for each kind, found by text and number, and left to others that record them. */
import { expect, it } from "vitest";
import { sampledTraceId } from "../traceparent.ts";
import { Recorder } from "./recorder.ts";
import { StandardSeries, type StandardDuration, type StandardMetrics } from "./standard.ts";
import type { Series } from "./telemetry.ts";

interface Thing {
  readonly method: string;
  readonly status: number;
  readonly seen?: boolean;
}

let made = 0;
const duration: StandardDuration<Thing> = {
  instrument: { name: "acme.duration", unit: "s", description: "Durations.", bounds: [1] },
  methodOf: ({ method }) => method,
  numberOf: ({ status }) => status,
  attributesOf(method, number, reason) {
    made++;
    return { method, status: String(number), ...(reason !== undefined && { reason }) };
  },
  countedElsewhere: ({ seen }) => seen === true,
};

function seriesOf(mode: StandardMetrics): {
  recorder: Recorder;
  series: StandardSeries<Thing> | undefined;
} {
  const recorder = new Recorder();
  return { recorder, series: StandardSeries.of(recorder, mode, duration) };
}

const read = (recorder: Recorder): unknown[] =>
  (recorder.read() as (Series & { kind: "histogram" })[]).map(({ labels, count, sum }) => [
    labels,
    count,
    sum,
  ]);

it("attributes are made once for each kind, whatever its reason", () => {
  const { recorder, series } = seriesOf("auto");
  made = 0;
  for (let i = 0; i < 100; i++) {
    series!.record({ method: "a", status: 1 }, undefined, undefined, 1_000, undefined);
    series!.record({ method: "a", status: 1 }, undefined, "reset", 2_000, undefined);
    series!.record({ method: "b", status: 65_535 }, undefined, "reset", 3_000, undefined);
    series!.record({ method: "b", status: 65_535 }, undefined, "late", 4_000, undefined);
  }
  expect(made).toBe(4);
  expect(read(recorder)).toEqual([
    [{ method: "a", status: "1" }, 100, 100],
    [{ method: "a", status: "1", reason: "reset" }, 100, 200],
    [{ method: "b", status: "65535", reason: "reset" }, 100, 300],
    [{ method: "b", status: "65535", reason: "late" }, 100, 400],
  ]);
});

it.each([
  ["auto", 1],
  ["on", 2],
] as const)("%s: what another records too is recorded %i times in 2", (mode, times) => {
  const { recorder, series } = seriesOf(mode);
  series!.recordOnce(
    { method: "a", status: 1, seen: true },
    undefined,
    undefined,
    1_000,
    undefined,
  );
  series!.recordOnce({ method: "a", status: 1 }, undefined, undefined, 1_000, undefined);
  expect(read(recorder)).toEqual([[{ method: "a", status: "1" }, times, times]]);
});

it("off, and a protocol that has none, record nothing", () => {
  expect(seriesOf("off").series).toBeUndefined();
  expect(StandardSeries.of(new Recorder(), "on", undefined)).toBeUndefined();
});

it.each([..."0123456789abcdef"])(
  "flags that end with %s are sampled by their last bit",
  (digit) => {
    const id = "0af7651916cd43dd8448eb211c80319c";
    const isSampled = (Number.parseInt(digit, 16) & 1) === 1;
    expect(sampledTraceId(`00-${id}-b7ad6b7169203331-0${digit}`)).toBe(isSampled ? id : undefined);
  },
);

it.each([
  "",
  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0B",
  "00-00000000000000000000000000000000-b7ad6b7169203331-01",
  "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  '00-0af7651916cd43dd8448"} 1\n1c80319c-b7ad6b7169203331-01',
])("%j is no sampled trace", (text) => {
  expect(sampledTraceId(text)).toBeUndefined();
});
