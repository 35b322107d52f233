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

export function readersOfEnv(env: Env, producer: MeshMetricProducer): EnvReaders {
  const named = (env["OTEL_METRICS_EXPORTER"] ?? "").split(",").map((name) => name.trim());
  const exporters = new Set(named.filter((name) => name !== ""));
  if (exporters.size === 0) exporters.add("otlp");
  const readers: MetricReader[] = [];
  const mistakes: string[] = [];
  if (exporters.has("none")) return { readers, mistakes };
  const metricProducers = [producer];
  const { PeriodicExportingMetricReader, ConsoleMetricExporter } = loadOfSdk(
    "@opentelemetry/sdk-metrics",
  ) as typeof import("@opentelemetry/sdk-metrics");
  const periodic = (exporter: unknown): MetricReader =>
    new PeriodicExportingMetricReader({
      exporter: exporter as PeriodicExportingMetricReaderOptions["exporter"],
      metricProducers,
      ...timesOf(env),
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
        readers.push(prometheus(env, metricProducers));
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

function prometheus(env: Env, metricProducers: readonly MeshMetricProducer[]): MetricReader {
  const { PrometheusExporter } = loadOfSdk("@opentelemetry/exporter-prometheus") as {
    PrometheusExporter: Made<MetricReader>;
  };
  const host = env["OTEL_EXPORTER_PROMETHEUS_HOST"];
  const port = millisOf(env["OTEL_EXPORTER_PROMETHEUS_PORT"]);
  return new PrometheusExporter({
    metricProducers,
    ...(host && { host }),
    ...(port !== undefined && { port }),
  });
}

/** An export may not last longer than the time until the next. */
function timesOf(env: Env): { exportIntervalMillis: number; exportTimeoutMillis: number } {
  const exportIntervalMillis = millisOf(env["OTEL_METRIC_EXPORT_INTERVAL"]) ?? 60_000;
  const timeout = millisOf(env["OTEL_METRIC_EXPORT_TIMEOUT"]) ?? 30_000;
  return { exportIntervalMillis, exportTimeoutMillis: Math.min(timeout, exportIntervalMillis) };
}

function millisOf(text: string | undefined): number | undefined {
  const value = Number(text);
  return text === undefined || text.trim() === "" || !(value > 0) || !Number.isFinite(value)
    ? undefined
    : value;
}
