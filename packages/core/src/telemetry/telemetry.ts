/**
 * The contract of measurement. Instruments are bound to their labels when a route or cluster is
 * compiled, so a call touches numbers and never a map of labels. Names follow OpenTelemetry
 * (`inmesh.<noun>.<aspect>`, UCUM units).
 */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(value: number): void;
}

export interface Histogram {
  /** In the instrument's unit; durations are seconds. */
  record(value: number): void;
}

export interface Instrument {
  readonly name: string;
  /** UCUM: `s`, `By`, `{call}`. */
  readonly unit: string;
  /** One sentence. */
  readonly description: string;
}

export interface Telemetry {
  counter(instrument: Instrument, labels: Labels): Counter;
  histogram(
    instrument: Instrument & { readonly bounds: readonly number[] },
    labels: Labels,
  ): Histogram;
  /** `read` is called by a reader, never by a call. Returns the function that removes the gauge. */
  gauge(instrument: Instrument, labels: Labels, read: () => number): () => void;
}

interface SeriesOfAnyKind extends Instrument {
  labels: Labels;
  /**
   * When the series began, in milliseconds since 1970 by the wall clock: what a counter or a histogram
   * counts, it has counted since then.
   */
  startedAtWallMs: number;
}

/** One series, as a reader sees it. Plain data. */
export type Series =
  | (SeriesOfAnyKind & { kind: "counter" | "gauge"; value: number })
  | (SeriesOfAnyKind & {
      kind: "histogram";
      count: number;
      sum: number;
      /** Upper bounds; `counts` has one more entry, for what is above the last. */
      bounds: readonly number[];
      counts: readonly number[];
    });
