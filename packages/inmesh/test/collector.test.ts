/**
 * What `inmesh/telemetry` exports, as the official OpenTelemetry Collector understands it, in each of the three
 * protocols of OTLP. Left out where there is no Collector: `npm run peers:otel` builds one.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { otelcol } from "../../../scripts/otelcol.ts";
import { freePort } from "../../../scripts/free-port.ts";

const APP = join(import.meta.dirname, "fixtures", "telemetry-app.ts");
const program = otelcol();
if (program === undefined) {
  console.log("collector.test.ts is left out: no OpenTelemetry Collector, see npm run peers:otel");
}

/** What it has printed so far: everything that it received, in words. */
async function collector(grpc: number, http: number): Promise<() => string> {
  const config = JSON.stringify({
    receivers: {
      otlp: {
        protocols: {
          grpc: { endpoint: `127.0.0.1:${grpc}` },
          http: { endpoint: `127.0.0.1:${http}` },
        },
      },
    },
    exporters: { debug: { verbosity: "detailed" } },
    service: {
      telemetry: { metrics: { level: "none" } },
      pipelines: {
        metrics: { receivers: ["otlp"], exporters: ["debug"] },
        traces: { receivers: ["otlp"], exporters: ["debug"] },
      },
    },
  });
  const child = spawn(program!, [`--config=yaml:${config}`]);
  onTestFinished(() => void child.kill("SIGKILL"));
  let printed = "";
  const keep = (chunk: Buffer): void => void (printed += chunk.toString());
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  await vi.waitFor(() => expect(printed).toContain("Everything is ready"), 20_000);
  return () => printed;
}

/** The lines about the metrics of that name, in the last export that has it. */
function aboutMetric(printed: string, name: string): string {
  const from = printed.lastIndexOf(`-> Name: ${name}\n`);
  if (from < 0) throw new Error(`no metric ${name}`);
  const end = printed.indexOf("\nMetric #", from);
  return printed.slice(from, end < 0 ? undefined : end);
}

for (const protocol of ["grpc", "http/protobuf", "http/json"]) {
  it.skipIf(program === undefined)(
    `the Collector takes metrics and spans by ${protocol}`,
    { timeout: 60_000 },
    async () => {
      const [grpc, http] = [await freePort(), await freePort()];
      const printed = await collector(grpc, http);
      const app = spawn(
        process.execPath,
        ["--conditions=inmesh-source", "--import", "inmesh/telemetry", APP],
        {
          env: {
            PATH: process.env["PATH"] ?? "",
            OTEL_SERVICE_NAME: "caller",
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${protocol === "grpc" ? grpc : http}`,
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_LOGS_EXPORTER: "none",
          },
          cwd: import.meta.dirname,
        },
      );
      let said = "";
      app.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      const [code] = (await once(app, "close")) as [number | null];
      expect([code, said]).toEqual([0, ""]);
      await vi.waitFor(() => expect(printed()).toContain("Name           : inmesh others"), 20_000);
      const text = printed();
      expect(text).toContain("service.name: Str(caller)");
      const calls = aboutMetric(text, "inmesh.calls");
      expect(calls).toContain("-> Unit: {call}");
      expect(calls).toContain("-> DataType: Sum");
      expect(calls).toContain("-> IsMonotonic: true");
      expect(calls).toContain("-> AggregationTemporality: Cumulative");
      const duration = aboutMetric(text, "http.client.request.duration");
      expect(duration).toContain("-> DataType: Histogram");
      expect(duration).toContain("http.request.method: Str(GET)");
      expect(duration).toContain("http.response.status_code: Int(200)");
      expect(text.match(/Name {11}: inmesh orders/g)).toHaveLength(2);
      expect(text).toMatch(/Kind {11}: Client/);
      expect(text).toMatch(/Kind {11}: Server/);
      expect(text).not.toMatch(/\b(?:error|refused|dropp)\w*\t/i);
    },
  );
}
