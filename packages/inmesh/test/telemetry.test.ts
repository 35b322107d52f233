/** `inmesh/telemetry` in processes of their own: with the SDK, beside another one, and what everyone else loads. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import { decodeMetrics, type Request } from "./otlp-decoder.ts";

const FIXTURES = join(import.meta.dirname, "fixtures");
const APP = join(FIXTURES, "telemetry-app.ts");

interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  began: (kill: (signal: NodeJS.Signals) => void, out: () => string) => void = () => {},
): Promise<Ran> {
  const child = spawn(
    process.execPath,
    ["--conditions=inmesh-source", "--unhandled-rejections=strict", ...args],
    { env: { PATH: process.env["PATH"] ?? "", OTEL_SERVICE_NAME: "caller", ...env } },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  began(
    (signal) => void child.kill(signal),
    () => out,
  );
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, out, err };
}

interface OtlpSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly parentSpanId?: string;
}

interface Collected {
  readonly url: string;
  readonly spans: OtlpSpan[];
  readonly metrics: Request[];
  /** Traces that requests of the exporters carried: none may. */
  readonly traced: string[];
}

/** Takes OTLP, metrics in both encodings and traces as JSON. */
async function collector(answers = true): Promise<Collected> {
  const spans: OtlpSpan[] = [];
  const metrics: Request[] = [];
  const traced: string[] = [];
  const take = async (request: IncomingMessage): Promise<void> => {
    const { traceparent } = request.headers;
    if (traceparent !== undefined) traced.push(String(traceparent));
    const body = await buffer(request);
    const isJson = request.headers["content-type"] === "application/json";
    if (request.url === "/v1/metrics") {
      metrics.push(isJson ? (JSON.parse(body.toString()) as Request) : decodeMetrics(body));
    } else if (request.url === "/v1/traces" && isJson) {
      const { resourceSpans } = JSON.parse(body.toString()) as {
        resourceSpans: { scopeSpans: { spans: OtlpSpan[] }[] }[];
      };
      for (const { scopeSpans } of resourceSpans) {
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
    }
  };
  const server = createServer((request, response) => {
    void take(request).then(() => answers && response.end());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    metrics,
    traced,
  };
}

const exportsTo = (url: string, protocol = "http/json"): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  OTEL_LOGS_EXPORTER: "none",
});

/** The value of a counter in the last export that has it, by service and mesh. */
function countedCalls(metrics: readonly Request[]): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const { resourceMetrics } of metrics) {
    for (const { scopeMetrics } of resourceMetrics) {
      for (const { metrics: ofScope } of scopeMetrics) {
        for (const metric of ofScope.filter(({ name }) => name === "inmesh.calls")) {
          for (const point of metric.sum!.dataPoints) {
            const labels = Object.fromEntries(
              point.attributes.map(({ key, value }) => [key, value.stringValue]),
            );
            if (labels["inmesh.direction"] !== "outbound") continue;
            const key = `${labels["inmesh.service"]} ${labels["inmesh.mesh"] ?? 1}`;
            counted[key] = point.asDouble!;
          }
        }
      }
    }
  }
  return counted;
}

describe("the one line", () => {
  it.each(["--import", "--require"])(
    "node %s inmesh/telemetry exports spans and series of every mesh as the process ends",
    async (flag) => {
      const { url, spans, metrics, traced } = await collector();
      const { code, err, out } = await run([flag, "inmesh/telemetry", APP], exportsTo(url));
      expect([code, err]).toEqual([0, ""]);
      expect(out).toContain("called http://");
      expect(spans.map(({ name, kind }) => `${name} ${kind}`).toSorted()).toEqual([
        ...Array.from({ length: 3 }, () => "GET 2"),
        ...Array.from({ length: 3 }, () => "GET 3"),
        "inmesh orders 1",
        "inmesh orders 1",
        "inmesh others 1",
      ]);
      expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(3);
      expect(countedCalls(metrics)).toEqual({ "orders 1": 2, "others 2": 1 });
      expect(traced).toEqual([]);
    },
  );

  it("protobuf, the default, arrives as well, also of meshes that are closed", async () => {
    const { url, metrics } = await collector();
    const env = { ...exportsTo(url), APP_MODE: "close", OTEL_TRACES_EXPORTER: "none" };
    delete (env as Record<string, string>)["OTEL_EXPORTER_OTLP_PROTOCOL"];
    const { code, err } = await run(["--import", "inmesh/telemetry", APP], env);
    expect([code, err.replace(/^OTEL_TRACES_EXPORTER.*\n/gm, "")]).toEqual([0, ""]);
    expect(countedCalls(metrics)).toEqual({ "orders 1": 2, "others 2": 1 });
  });

  it("leaves signals to the application", async () => {
    const { url } = await collector();
    const { signal, out } = await run(
      ["--import", "inmesh/telemetry", APP],
      { ...exportsTo(url), APP_MODE: "signal" },
      (kill, soFar) => {
        const timer = setInterval(() => {
          if (!soFar().includes("listeners")) return;
          clearInterval(timer);
          kill("SIGTERM");
        }, 10);
      },
    );
    expect([signal, out]).toEqual(["SIGTERM", expect.stringContaining("listeners 0 0")]);
  });

  it.each([
    ["never answers", true],
    ["is not there", false],
  ])("does not keep the process when the collector %s", async (_, there) => {
    const url = there ? (await collector(false)).url : "http://127.0.0.1:9";
    const env = { ...exportsTo(url), APP_MODE: "timed" };
    const { code, out } = await run(["--import", "inmesh/telemetry", APP], env);
    expect(code).toBe(0);
    // The exporters would try for 20 seconds. It is two, on a machine without other work.
    const [, leftMs] = /left after ([\d.]+) ms/.exec(out) ?? [];
    expect(Number(leftMs)).toBeLessThan(8_000);
  });

  it("does not end the process over what the application begins at its end, whatever the collector does", async () => {
    const { url } = await collector(false);
    const env = { ...exportsTo(url), APP_MODE: "begins" };
    const { code, out, err } = await run(["--import", "inmesh/telemetry", APP], env);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("the work is done");
  });

  it("is off with OTEL_SDK_DISABLED", async () => {
    const { url, spans, metrics } = await collector();
    const { code, err } = await run(["--import", "inmesh/telemetry", APP], {
      ...exportsTo(url),
      OTEL_SDK_DISABLED: "true",
    });
    expect([code, err, spans, metrics]).toEqual([0, "", [], []]);
  });
});

describe("beside what is there", () => {
  it("an SDK that is registered is kept, one line says so, and our spans are in it", async () => {
    const { url, spans } = await collector();
    const { code, out, err } = await run(
      [join(FIXTURES, "telemetry-registered.ts")],
      exportsTo(url),
    );
    expect(code).toBe(0);
    expect(out.trim()).toBe(
      JSON.stringify({ state: "registered", spans: ["GET", "inmesh orders"] }),
    );
    const lines = err.split("\n").filter((line) => line.includes("inmesh/telemetry"));
    expect(lines).toEqual([expect.stringContaining("is registered already")]);
    expect(spans).toEqual([]);
  });

  it.each(["@opentelemetry/sdk-node", "@opentelemetry/api"])(
    "without %s the error says what to install",
    async (missing) => {
      const without = ["--require", join(FIXTURES, "without-sdk.cjs")];
      const args = [...without, "--import", "inmesh/telemetry", APP];
      const { code, err } = await run(args, { MISSING: missing });
      expect(code).toBe(1);
      expect(err).toContain(
        "inmesh/telemetry starts the SDK of OpenTelemetry, which is not installed: npm install @opentelemetry/api @opentelemetry/sdk-node",
      );
    },
  );

  it("inmesh/traces without the API says what to install", async () => {
    const without = ["--require", join(FIXTURES, "without-sdk.cjs")];
    const args = [...without, "--import", "inmesh/traces", APP];
    const { code, err } = await run(args, { MISSING: "@opentelemetry/api" });
    expect(code).toBe(1);
    expect(err).toContain(
      "inmesh/traces makes spans by the API of OpenTelemetry, which is not installed: npm install @opentelemetry/api",
    );
  });

  it("what the standard variables say wrong is said in a line, and does no harm", async () => {
    const { url, spans } = await collector();
    const env = { ...exportsTo(url), OTEL_METRICS_EXPORTER: "otlp,statsd" };
    const { code, err } = await run(["--import", "inmesh/telemetry", APP], env);
    expect([code, spans.length]).toEqual([0, 9]);
    expect(err).toContain(
      'OTEL_METRICS_EXPORTER: "statsd" is none of otlp, console, prometheus, none',
    );
  });

  it("times that Node or an exporter cannot keep are replaced by the defaults, and said in a line", async () => {
    const { url, metrics } = await collector();
    const env = {
      ...exportsTo(url),
      OTEL_TRACES_EXPORTER: "none",
      OTEL_METRIC_EXPORT_INTERVAL: "99999999999",
      OTEL_METRIC_EXPORT_TIMEOUT: "-1",
    };
    const { code, err } = await run(["--import", "inmesh/telemetry", APP], env);
    expect([code, metrics.length]).toEqual([0, 1]);
    expect(err).toContain(
      'OTEL_METRIC_EXPORT_INTERVAL: "99999999999" is no whole number from 100 to 2147483647; 60000 is used',
    );
    expect(err).toContain(
      'OTEL_METRIC_EXPORT_TIMEOUT: "-1" is no whole number from 1 to 2147483647; 30000 is used',
    );
    expect(err).not.toContain("TimeoutOverflowWarning");
  });

  it("a port of the prometheus exporter that is taken is said in a line, and does no harm", async () => {
    const { url } = await collector();
    const { port } = new URL(url);
    const env = {
      OTEL_TRACES_EXPORTER: "none",
      OTEL_METRICS_EXPORTER: "prometheus",
      OTEL_EXPORTER_PROMETHEUS_HOST: "127.0.0.1",
      OTEL_EXPORTER_PROMETHEUS_PORT: port,
    };
    const { code, err } = await run(["--import", "inmesh/telemetry", APP], env);
    expect(code).toBe(0);
    expect(err).toContain(`the prometheus exporter cannot listen on port ${port}`);
  });
});

it("nothing else of inmesh loads a file of OpenTelemetry, and inmesh/traces the API alone", async () => {
  const { out, code } = await run([join(FIXTURES, "telemetry-loaded.ts")]);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual({
    inmesh: [],
    "inmesh/metrics": [],
    "inmesh/traces": ["@opentelemetry/api"],
  });
});
