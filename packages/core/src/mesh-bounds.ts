/** How full is what a mesh holds itself, as gauges that are read with each scrape. */
import { MAX_ENDPOINT_SERIES, type EndpointSeriesCount } from "./backend-series.ts";
import type { ReplayMemory } from "./replay/memory.ts";
import { type Bounds, type Fill, fullest } from "./telemetry/bounds.ts";
import { METRICS_OVERFLOW, METRICS_SERIES } from "./telemetry/instruments.ts";
import { MAX_SERIES, MAX_SERIES_PER_METRIC, type Recorder } from "./telemetry/recorder.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";

/** Services of one mesh, those that clients opened by URL included. */
export const MAX_SERVICES = 500;

interface Held {
  readonly services: ReadonlyMap<string, { readonly load: Fill }>;
  readonly replayMemory: ReplayMemory;
  readonly endpointSeries: EndpointSeriesCount;
  /** Undefined: a telemetry of the application's counts. */
  readonly recorder: Recorder | undefined;
}

export function addBounds(
  bounds: Bounds,
  { services, replayMemory, endpointSeries, recorder }: Held,
): void {
  bounds.add("services", () => ({ size: services.size, limit: MAX_SERVICES }));
  bounds.add("calls", () => fullest([...services.values()].map(({ load }) => load)));
  bounds.add("replay_bytes", () => ({ size: replayMemory.bytes, limit: replayMemory.maxBytes }));
  bounds.add("endpoint_series", () => ({
    size: endpointSeries.count,
    limit: MAX_ENDPOINT_SERIES,
  }));
  if (recorder === undefined) return;
  bounds.add("metric_series", () => ({ size: recorder.most, limit: MAX_SERIES_PER_METRIC }));
  bounds.add("process_series", () => ({ size: recorder.size, limit: MAX_SERIES }));
}

/** How much there is to read. Gives the end of its gauge. */
export function measureRecorder(recorder: Recorder, telemetry: Telemetry): () => void {
  const overflow = {
    metric: telemetry.counter(METRICS_OVERFLOW, { limit: "metric" }),
    process: telemetry.counter(METRICS_OVERFLOW, { limit: "process" }),
  };
  recorder.onOverflow = (limit) => overflow[limit].add(1);
  return telemetry.gauge(METRICS_SERIES, {}, () => recorder.size);
}
