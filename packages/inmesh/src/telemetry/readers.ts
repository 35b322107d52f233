/**
 * The readers of metrics that the standard variables ask for, with our producer in them. `NodeSDK` makes the same
 * ones of the same variables, but takes no producer for those that it makes.
 */
import type { MeshMetricProducer } from "@inmesh/core/metrics";
import type {
  MetricReader,
  PeriodicExportingMetricReaderOptions,
} from "@opentelemetry/sdk-metrics";
import { loadOfSdk } from "./sdk.cjs";

type Env = Readonly<Record<string, string | undefined>>;
type Made<T> = new (options?: object) => T;

const OTLP: Readonly<Record<string, string>> = {
  grpc: "@opentelemetry/exporter-metrics-otlp-grpc",
  "http/json": "@opentelemetry/exporter-metrics-otlp-http",
  "http/protobuf": "@opentelemetry/exporter-metrics-otlp-proto",
};
const DEFAULT_PROTOCOL = "http/protobuf";

export interface EnvReaders {
  readonly readers: MetricReader[];
  /** What the variables say that stands for nothing. */
  readonly mistakes: string[];
}

/** `report` hears of what goes wrong later, such as a port that is taken. */
export function readersOfEnv(
  env: Env,
  producer: MeshMetricProducer,
  report: (mistake: string) => void,
): EnvReaders {
  const named = (env["OTEL_METRICS_EXPORTER"] ?? "").split(",").map((name) => name.trim());
  const exporters = new Set(named.filter((name) => name !== ""));
  if (exporters.size === 0) exporters.add("otlp");
  const readers: MetricReader[] = [];
  const mistakes: string[] = [];
  if (exporters.has("none")) return { readers, mistakes };
  const metricProducers = [producer];
  const times = timesOf(env, mistakes);
  const { PeriodicExportingMetricReader, ConsoleMetricExporter } = loadOfSdk(
    "@opentelemetry/sdk-metrics",
  ) as typeof import("@opentelemetry/sdk-metrics");
  const periodic = (exporter: unknown): MetricReader =>
    new PeriodicExportingMetricReader({
      exporter: exporter as PeriodicExportingMetricReaderOptions["exporter"],
      metricProducers,
      ...times,
    });
  for (const name of exporters) {
    switch (name) {
      case "otlp":
        readers.push(periodic(otlp(env, mistakes)));
        break;
      case "console":
        readers.push(periodic(new ConsoleMetricExporter()));
        break;
      case "prometheus":
        readers.push(prometheus(env, metricProducers, mistakes, report));
        break;
      default:
        mistakes.push(
          `OTEL_METRICS_EXPORTER: ${JSON.stringify(name)} is none of otlp, console, prometheus, none`,
        );
    }
  }
  return { readers, mistakes };
}

function otlp(env: Env, mistakes: string[]): unknown {
  const given =
    env["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] || env["OTEL_EXPORTER_OTLP_PROTOCOL"] || "";
  const protocol = given.trim() || DEFAULT_PROTOCOL;
  const known = Object.hasOwn(OTLP, protocol);
  if (!known) {
    mistakes.push(
      `OTEL_EXPORTER_OTLP_PROTOCOL: ${JSON.stringify(protocol)} is none of ${Object.keys(OTLP).join(", ")}; ${DEFAULT_PROTOCOL} is used`,
    );
  }
  const { OTLPMetricExporter } = loadOfSdk(OTLP[known ? protocol : DEFAULT_PROTOCOL]!) as {
    OTLPMetricExporter: Made<unknown>;
  };
  return new OTLPMetricExporter();
}

function prometheus(
  env: Env,
  metricProducers: readonly MeshMetricProducer[],
  mistakes: string[],
  report: (mistake: string) => void,
): MetricReader {
  const { PrometheusExporter } = loadOfSdk("@opentelemetry/exporter-prometheus") as {
    PrometheusExporter: new (options: object, started: (error?: Error) => void) => MetricReader;
  };
  const host = env["OTEL_EXPORTER_PROMETHEUS_HOST"];
  const port = numberOf(env, "OTEL_EXPORTER_PROMETHEUS_PORT", PORT, mistakes);
  return new PrometheusExporter(
    { metricProducers, port, ...(host && { host }) },
    // It says nothing itself without OTEL_LOG_LEVEL, and a process without metrics is not noticed before they are needed.
    (error) => {
      if (error instanceof Error) {
        report(
          `OTEL_METRICS_EXPORTER: the prometheus exporter cannot listen on port ${port} (${error.message}); OTEL_EXPORTER_PROMETHEUS_PORT chooses another one`,
        );
      }
    },
  );
}

interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly byDefault: number;
}

const PORT: NumberRange = { min: 1, max: 65_535, byDefault: 9_464 };
/**
 * Node makes 1 ms of a longer delay than 2^31 - 1 ms, and of one below 1 ms: the process would do nothing but export.
 * Nothing needs series more often than once in 100 ms.
 */
const INTERVAL: NumberRange = { min: 100, max: 2_147_483_647, byDefault: 60_000 };
const TIMEOUT: NumberRange = { min: 1, max: 2_147_483_647, byDefault: 30_000 };

/** An export may not last longer than the time until the next. */
function timesOf(
  env: Env,
  mistakes: string[],
): { exportIntervalMillis: number; exportTimeoutMillis: number } {
  const exportIntervalMillis = numberOf(env, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL, mistakes);
  const timeout = numberOf(env, "OTEL_METRIC_EXPORT_TIMEOUT", TIMEOUT, mistakes);
  return { exportIntervalMillis, exportTimeoutMillis: Math.min(timeout, exportIntervalMillis) };
}

/** The default, with a mistake, where the variable has no whole number of the range. */
function numberOf(
  env: Env,
  name: string,
  { min, max, byDefault }: NumberRange,
  mistakes: string[],
): number {
  const text = env[name]?.trim() ?? "";
  if (text === "") return byDefault;
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  mistakes.push(
    `${name}: ${JSON.stringify(text)} is no whole number from ${min} to ${max}; ${byDefault} is used`,
  );
  return byDefault;
}
