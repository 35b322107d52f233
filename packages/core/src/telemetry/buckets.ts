/** Upper bounds of histograms, in seconds. */
import type { Instrument } from "./telemetry.ts";

export type Histogrammed = Instrument & { readonly bounds: readonly number[] };

/** Of calls, waits and connects: a connection inside a cluster takes less than a millisecond. */
export const SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
/** Of what the mesh itself takes of a call. */
export const OVERHEAD_SECONDS: readonly number[] = [
  0.000001, 0.000005, 0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005,
];
/** Limits in seconds for how long a change of endpoints takes. */
export const UPDATE_SECONDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
];
