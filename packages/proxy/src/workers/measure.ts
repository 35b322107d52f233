/** What is measured of workers, by the process that starts them. */
import { WORKERS, WORKERS_ENDED, type Counter, type Telemetry } from "@inmesh/core/spi/telemetry";

/** What of a worker is looked at. */
interface Measured {
  readonly serving: unknown;
  readonly restartsInMs: number | undefined;
}

/** Gives what counts those that end unasked. */
export function measureWorkers(telemetry: Telemetry, all: readonly Measured[]): Counter {
  const count = (state: string, is: (worker: Measured) => boolean): void =>
    void telemetry.gauge(WORKERS, { state }, () => all.filter(is).length);
  count("serving", ({ serving }) => serving !== undefined);
  count("starting", (one) => one.serving === undefined && one.restartsInMs === undefined);
  count("ended", ({ restartsInMs }) => restartsInMs !== undefined);
  return telemetry.counter(WORKERS_ENDED, {});
}
