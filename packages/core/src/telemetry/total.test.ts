/** Counters that are kept elsewhere: read with each scrape, at every place that measurements go to. */
import { expect, it } from "vitest";
import { fanOut } from "./fan-out.ts";
import { guardedTelemetry } from "./guarded.ts";
import { Recorder } from "./recorder.ts";
import type { Telemetry } from "./telemetry.ts";

const PICKS = { name: "acme.picks", unit: "{pick}", description: "Picks." };

it("a total is a counter whose value is read, and ends with its function", () => {
  const recorder = new Recorder();
  let value = 3;
  const end = recorder.total(PICKS, { endpoint: "a" }, () => value);
  expect(recorder.read()).toMatchObject([{ kind: "counter", name: "acme.picks", value: 3 }]);
  value = 5;
  expect(recorder.read()).toMatchObject([{ value: 5 }]);
  expect([recorder.size, recorder.most]).toEqual([1, 1]);
  // One with the same labels takes its place, and the end of the first does not end it.
  const endSecond = recorder.total(PICKS, { endpoint: "a" }, () => 1);
  end();
  expect(recorder.read()).toMatchObject([{ value: 1 }]);
  endSecond();
  expect(recorder.read()).toEqual([]);
});

it("an application's telemetry without totals gets them as gauges, whose faults stay its own", () => {
  const recorder = new Recorder();
  const gauges: string[] = [];
  const old: Telemetry = {
    counter: () => ({ add() {} }),
    histogram: () => ({ record() {} }),
    gauge: ({ name }) => {
      gauges.push(name);
      return () => {
        throw new Error("a fault of the application");
      };
    },
  };
  const all = fanOut([recorder, guardedTelemetry(old)]);
  const end = all.total!(PICKS, {}, () => 7);
  expect(gauges).toEqual(["acme.picks"]);
  expect(recorder.read()).toMatchObject([{ kind: "counter", value: 7 }]);
  end();
  expect(recorder.read()).toEqual([]);
});
