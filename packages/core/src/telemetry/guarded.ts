/**
 * An application's own telemetry, whose faults stay its own (P2): what throws is not measured, and
 * neither fails a call nor keeps a mesh from closing. Our own recorder does without this.
 */
import { totalIn, type Counter, type Histogram, type Telemetry } from "./telemetry.ts";

const NO_COUNTER: Counter = { add() {} };
const NO_HISTOGRAM: Histogram = { record() {} };

/** Nothing is measured: pipelines and servers leave their records out for it. */
export const NO_TELEMETRY: Telemetry = {
  counter: () => NO_COUNTER,
  histogram: () => NO_HISTOGRAM,
  gauge: () => () => {},
};

export function guardedTelemetry(inner: Telemetry): Telemetry {
  return {
    counter: (instrument, labels) => {
      const counter = safely(() => inner.counter(instrument, labels)) ?? NO_COUNTER;
      return {
        add(value, traceId) {
          try {
            counter.add(value, traceId);
          } catch {
            // not measured
          }
        },
      };
    },
    histogram: (instrument, labels) => {
      const histogram = safely(() => inner.histogram(instrument, labels)) ?? NO_HISTOGRAM;
      return {
        record(value, traceId) {
          try {
            histogram.record(value, traceId);
          } catch {
            // not measured
          }
        },
      };
    },
    gauge: (instrument, labels, read) => {
      const remove = safely(() => inner.gauge(instrument, labels, read));
      return () => {
        safely(() => remove?.());
      };
    },
    total: (instrument, labels, read) => {
      const remove = safely(() => totalIn(inner, instrument, labels, read));
      return () => {
        safely(() => remove?.());
      };
    },
  };
}

function safely<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
