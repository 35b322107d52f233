/**
 * Durations under the names of OpenTelemetry's semantic conventions, beside those of the mesh. Core knows no
 * protocol, so the protocol says what the instrument is, what distinguishes series, and what their attributes are:
 * a text of a closed set (the method) and a number (the result). Attributes are made for the first of their kind;
 * what follows finds its series by text and number.
 */
import type { Attempt, Call } from "../call.ts";
import type { ServiceConfig } from "../config/types.ts";
import type { MeshError } from "../errors.ts";
import type { Histogrammed } from "./buckets.ts";
import type { Histogram, Labels, Telemetry } from "./telemetry.ts";

/**
 * `on`: always; `off`: never; `auto`: of each call, attempt or request exactly once, by the mesh, or by the
 * instrumentation of OpenTelemetry that sees it too.
 */
export type StandardMetrics = "auto" | "on" | "off";

export const STANDARD_METRICS: readonly StandardMetrics[] = ["auto", "on", "off"];

/** One standard instrument, as a protocol records it for what is one to it: an attempt, a call, a request served. */
export interface StandardDuration<T> {
  /** In seconds. */
  readonly instrument: Histogrammed;
  /** One of a closed set of texts, never one that came from outside. */
  methodOf(of: T): string;
  /** Its result, and what else distinguishes series: a whole number from 0 to 65,535. `error`: why there is no reply, or no whole one. */
  numberOf(of: T, error: MeshError | undefined): number;
  /** For each series once. `reason`: of a failure of the mesh's own, or of a request that was refused or cut short. */
  attributesOf(method: string, number: number, reason: string | undefined): Labels;
  /** An instrumentation of the application records the same under the same name. Left out: there is none. */
  countedElsewhere?(of: T): boolean;
}

/** What a protocol records of the calls of its clients; one of the two. */
export interface StandardClient<Req> {
  attempts?(service: ServiceConfig): StandardDuration<Attempt<Req>>;
  calls?(service: ServiceConfig): StandardDuration<Call<Req>>;
}

/** The limits that the conventions give, in seconds. */
export const STANDARD_SECONDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

/** What stands for a name that is in no closed set. */
export const OTHER_NAME = "_OTHER";

/** A method of RFC 9110, PATCH (RFC 5789) or QUERY as it is; every other is `_OTHER`. Methods are case-sensitive. */
export function knownMethod(method: string): string {
  switch (method) {
    case "GET":
    case "POST":
    case "PUT":
    case "DELETE":
    case "HEAD":
    case "OPTIONS":
    case "PATCH":
    case "CONNECT":
    case "TRACE":
    case "QUERY":
      return method;
    default:
      return OTHER_NAME;
  }
}

const DEFAULT_PORTS = { http: "80", https: "443" } as const;

/** `server.port`: that of the authority, or the scheme's own. */
export function serverPort({
  scheme,
  authority,
}: Pick<ServiceConfig, "scheme" | "authority">): string {
  return /:(\d+)$/.exec(authority)?.[1] ?? DEFAULT_PORTS[scheme];
}

const NUMBERS = 65_536;

/** The series of one instrument, bound when they are first needed. */
export class StandardSeries<T> {
  readonly #telemetry: Telemetry;
  readonly #duration: StandardDuration<T>;
  readonly #asks: boolean;
  readonly #byMethod = new Map<string, Map<number, Histogram>>();
  /** From 1; what has none is 0. */
  readonly #reasons = new Map<string, number>();

  /** Undefined where nothing is recorded. */
  static of<T>(
    telemetry: Telemetry,
    mode: StandardMetrics,
    duration: StandardDuration<T> | undefined,
  ): StandardSeries<T> | undefined {
    if (duration === undefined || mode === "off") return undefined;
    return new StandardSeries(telemetry, mode, duration);
  }

  private constructor(telemetry: Telemetry, mode: StandardMetrics, duration: StandardDuration<T>) {
    this.#telemetry = telemetry;
    this.#duration = duration;
    this.#asks = mode === "auto" && duration.countedElsewhere !== undefined;
  }

  /** The same of something that an instrumentation sees as well. */
  recordOnce(
    of: T,
    error: MeshError | undefined,
    reason: string | undefined,
    elapsedMs: number,
    traceId: string | undefined,
  ): void {
    if (this.#asks && this.#duration.countedElsewhere!(of)) return;
    this.record(of, error, reason, elapsedMs, traceId);
  }

  record(
    of: T,
    error: MeshError | undefined,
    reason: string | undefined,
    elapsedMs: number,
    traceId: string | undefined,
  ): void {
    const method = this.#duration.methodOf(of);
    const number = this.#duration.numberOf(of, error);
    const key = reason === undefined ? number : number + NUMBERS * this.#numberOf(reason);
    const histogram =
      this.#byMethod.get(method)?.get(key) ?? this.#bind(method, number, reason, key);
    histogram.record(elapsedMs / 1000, traceId);
  }

  #numberOf(reason: string): number {
    let number = this.#reasons.get(reason);
    if (number === undefined) this.#reasons.set(reason, (number = this.#reasons.size + 1));
    return number;
  }

  #bind(method: string, number: number, reason: string | undefined, key: number): Histogram {
    const { instrument } = this.#duration;
    const attributes = this.#duration.attributesOf(method, number, reason);
    const histogram = this.#telemetry.histogram(instrument, attributes);
    let series = this.#byMethod.get(method);
    if (series === undefined) this.#byMethod.set(method, (series = new Map()));
    series.set(key, histogram);
    return histogram;
  }
}
