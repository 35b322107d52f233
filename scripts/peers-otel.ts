/**
 * `npm run peers:otel`: builds the official OpenTelemetry Collector, with a receiver of OTLP and an exporter that prints,
 * by its own builder in an exact version, into a folder outside the repository, and prints its name. Needs Go; takes a few
 * minutes once. packages/inmesh/test/collector.test.ts runs with it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { otelcol, OTELCOL_FOLDER, OTELCOL_STABLE_VERSION, OTELCOL_VERSION } from "./otelcol.ts";

const manifest = `dist:
  name: otelcol
  description: receives OTLP for a test
  output_path: ${OTELCOL_FOLDER}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v${OTELCOL_VERSION}
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v${OTELCOL_VERSION}
conf_resolver:
  default_uri_scheme: yaml
providers:
  - gomod: go.opentelemetry.io/collector/confmap/provider/yamlprovider v${OTELCOL_STABLE_VERSION}
`;

if (otelcol() === undefined) {
  mkdirSync(OTELCOL_FOLDER, { recursive: true });
  const file = join(OTELCOL_FOLDER, "manifest.yaml");
  writeFileSync(file, manifest);
  const builder = `go.opentelemetry.io/collector/cmd/builder@v${OTELCOL_VERSION}`;
  const env = { ...process.env, GOBIN: OTELCOL_FOLDER };
  execFileSync("go", ["install", builder], { env, stdio: "inherit" });
  execFileSync(join(OTELCOL_FOLDER, "builder"), [`--config=${file}`], { stdio: "inherit" });
}
console.log(otelcol());
