/** `--observe`: a Prometheus beside the demo, which reads what both sides did, each second. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Mesh } from "inmesh";
import { metricsPage } from "inmesh/metrics";
import { Prometheus } from "../../dashboards/prometheus.ts";
import type { Sample, Side } from "./load.ts";

const RULES = fileURLToPath(new URL("../../packages/inmesh/prometheus/rules.yml", import.meta.url));
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What is worth trying first, with what it shows. */
export const QUERIES: readonly (readonly [words: string, query: string])[] = [
  [
    "share of requests that failed, with inmesh and with round robin",
    `sum by (side) (rate(demo_requests_total{outcome="failure"}[5s])) / sum by (side) (rate(demo_requests_total[5s]))`,
  ],
  [
    "99 of 100 requests are faster, in seconds",
    "histogram_quantile(0.99, sum by (side, le) (rate(demo_request_duration_seconds_bucket[5s])))",
  ],
  [
    "attempts per call: what retries add",
    `sum(rate(inmesh_attempts_total[5s])) / sum(rate(inmesh_calls_total{inmesh_direction="outbound"}[5s]))`,
  ],
];

export class Observed {
  /** Of the metrics of the demo. */
  readonly page: string;
  readonly prometheus: Prometheus;
  readonly #close: () => void;

  private constructor(page: string, prometheus: Prometheus, close: () => void) {
    this.page = page;
    this.prometheus = prometheus;
    this.#close = close;
  }

  /** Throws a PrometheusError if there is none. */
  static async start(mesh: Mesh, program: string): Promise<Observed> {
    const server = createServer(async (request, response) => {
      const { contentType, body } = await metricsPage(mesh, request.headers.accept);
      response.setHeader("content-type", contentType).end(body);
    }).listen(0, "127.0.0.1");
    const close = (): void => {
      server.closeAllConnections();
      server.close();
    };
    await once(server, "listening");
    const page = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const targets = { demo: page };
      const prometheus = await Prometheus.start({ program, targets, rules: [RULES] });
      return new Observed(page, prometheus, close);
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Counts what a side did, beside what the mesh counts of itself. */
  watch(mesh: Mesh, side: Side): (sample: Sample) => void {
    const labels = { side: side.name };
    const requests = {
      name: "demo.requests",
      unit: "{request}",
      description: "Requests that ended.",
    };
    const counters = ["success", "failure"].map((outcome) =>
      mesh.telemetry.counter(requests, { ...labels, outcome }),
    );
    const duration = mesh.telemetry.histogram(
      {
        name: "demo.request.duration",
        unit: "s",
        description: "From when a request was due to its end.",
        bounds: SECONDS,
      },
      labels,
    );
    return ({ ok, dueAt, endedAt }) => {
      counters[ok ? 0 : 1]!.add(1);
      duration.record((endedAt - dueAt) / 1000);
    };
  }

  /** What a person needs to look at it. */
  lines(): string[] {
    const ui = `http://${this.prometheus.address}`;
    const queries = QUERIES.flatMap(([words, query]) => ["", `  ${words}:`, `    ${query}`]);
    return [
      `Prometheus     ${ui}`,
      `metrics page   http://${this.page}/metrics`,
      "Worth trying there:",
      ...queries,
      "",
      "",
    ];
  }

  async stop(): Promise<void> {
    await this.prometheus.stop();
    this.#close();
  }
}
