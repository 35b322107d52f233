/** One Telemetry in front of several: what is measured goes to all of them, in their order. */
import { totalIn, type Telemetry } from "./telemetry.ts";

/** With one it is that one itself, so that a call pays for a second only where there is one. */
export function fanOut(all: readonly Telemetry[]): Telemetry {
  if (all.length === 1) return all[0]!;
  return {
    counter(instrument, labels) {
      const counters = all.map((one) => one.counter(instrument, labels));
      return {
        add(value, traceId) {
          for (const counter of counters) counter.add(value, traceId);
        },
      };
    },
    histogram(instrument, labels) {
      const histograms = all.map((one) => one.histogram(instrument, labels));
      return {
        record(value, traceId) {
          for (const histogram of histograms) histogram.record(value, traceId);
        },
      };
    },
    gauge(instrument, labels, read) {
      const removals = all.map((one) => one.gauge(instrument, labels, read));
      return () => {
        for (const remove of removals) remove();
      };
    },
    total(instrument, labels, read) {
      const removals = all.map((one) => totalIn(one, instrument, labels, read));
      return () => {
        for (const remove of removals) remove();
      };
    },
  };
}
