/**
 * The contract of measurement. Instruments are bound to their labels when a route or cluster is
 * compiled, so a call touches numbers and never a map of labels. Names follow OpenTelemetry
 * (`inmesh.<noun>.<aspect>`, UCUM units).
 */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  /** `traceId`: of the sampled trace that it belongs to, 32 hexadecimal digits; undefined: there is none. */
  add(value: number, traceId?: string): void;
}

export interface Histogram {
  /** In the instrument's unit; durations are seconds. `traceId`: as of a counter. */
  record(value: number, traceId?: string): void;
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
  /**
   * A counter that is kept elsewhere: `read` gives a number that only rises, and is called by a reader, never by
   * a call. Returns the function that ends the series. Left out: such numbers are given to `gauge`.
   */
  total?(instrument: Instrument, labels: Labels, read: () => number): () => void;
}

/** `telemetry.total`, or what stands in for it. */
export function totalIn(
  telemetry: Telemetry,
  instrument: Instrument,
  labels: Labels,
  read: () => number,
): () => void {
  return telemetry.total === undefined
    ? telemetry.gauge(instrument, labels, read)
    : telemetry.total(instrument, labels, read);
}

interface SeriesOfAnyKind extends Instrument {
  labels: Labels;
  /**
   * When the series began, in milliseconds since 1970 by the wall clock: what a counter or a histogram
   * counts, it has counted since then.
   */
  startedAtWallMs: number;
}

/** What was measured last in a sampled trace, so that a graph leads to a trace. */
export interface Exemplar {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** What was recorded: in the unit of the instrument. */
  readonly value: number;
  /** In milliseconds since 1970, by the wall clock. */
  readonly atWallMs: number;
}

/** One series, as a reader sees it. Plain data. */
export type Series =
  | (SeriesOfAnyKind & {
      kind: "counter" | "gauge";
      value: number;
      /** Of a counter; undefined: it has counted nothing that was sampled. */
      exemplar?: Exemplar;
    })
  | (SeriesOfAnyKind & {
      kind: "histogram";
      count: number;
      sum: number;
      /** Upper bounds; `counts` has one more entry, for what is above the last. */
      bounds: readonly number[];
      counts: readonly number[];
      /** One for each of `counts`, undefined where nothing sampled was counted; left out where none has one. */
      exemplars?: readonly (Exemplar | undefined)[];
    });
