/** A process with 20,000 series, as Prometheus counts them, that is scraped again and again. */
import { metricProducer, metricsPage } from "@inmesh/core/metrics";
import { Recorder } from "@inmesh/core/spi";
import { createMesh } from "inmesh";

export interface Taken {
  /** From the question to the last line. */
  readonly ms: number[];
  /** The longest time in which the event loop did nothing else, of each round. */
  readonly stallMs: number[];
}

export interface TelemetryRun {
  readonly page: Taken;
  readonly collection: Taken;
  readonly lines: number;
}

const ROUTES = 20;
const ENDPOINTS = 1_000;
const SERVICES = 22;
const DURATIONS = ["call.duration", "attempt.duration"];
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** 22 services with 20 routes each, and 1,000 endpoints: as many series as a process may have. Most are limits of histograms. */
function filled(): Recorder {
  const recorder = new Recorder();
  for (let service = 0; service < SERVICES; service++) {
    for (let route = 0; route < ROUTES; route++) {
      const common = { service: `service-${service}`, route: `route-${route}`, protocol: "http" };
      const labels = { ...common, direction: "outbound", outcome: "success" };
      for (const name of DURATIONS) {
        const took = {
          name: `bench.${name}`,
          unit: "s",
          description: "Durations.",
          bounds: SECONDS,
        };
        recorder.histogram(took, labels).record(route / 100);
      }
      for (const reason of ["none", "timeout", "reset"]) {
        const counter = { name: "bench.calls", unit: "{call}", description: "Calls." };
        recorder.counter(counter, { ...labels, status: "2xx", reason }).add(service * route);
      }
    }
  }
  for (const name of ["in_flight", "picks", "latency"]) {
    for (let i = 0; i < ENDPOINTS; i++) {
      const gauge = { name: `bench.${name}`, unit: "{x}", description: "Of an endpoint." };
      const labels = {
        service: `service-${i % SERVICES}`,
        endpoint: `10.0.${i >> 8}.${i & 255}:80`,
      };
      recorder.gauge(gauge, labels, () => i);
    }
  }
  return recorder;
}

async function take(rounds: number, once: () => Promise<unknown>): Promise<Taken> {
  const ms: number[] = [];
  const stallMs: number[] = [];
  for (let round = -5; round < rounds; round++) {
    let longest = 0;
    let isOver = false;
    let before = performance.now();
    const turn = (): void => {
      const now = performance.now();
      longest = Math.max(longest, now - before);
      before = now;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    const startedAt = performance.now();
    await once();
    const elapsed = performance.now() - startedAt;
    isOver = true;
    await new Promise((resolve) => setImmediate(resolve));
    // The first rounds are those in which the code is compiled.
    if (round < 0) continue;
    ms.push(elapsed);
    stallMs.push(longest);
  }
  return { ms, stallMs };
}

const recorder = filled();
const { runtime } = createMesh({ env: {} });
const mesh = { metrics: () => recorder.read(), runtime };
const { body } = await metricsPage(mesh, "application/openmetrics-text");
const page = await take(Number(process.argv[2]), () =>
  metricsPage(mesh, "application/openmetrics-text"),
);
const collection = await take(Number(process.argv[2]), () => metricProducer(mesh).collect());
const run: TelemetryRun = { page, collection, lines: body.match(/^[^#]/gm)!.length };
console.log(JSON.stringify(run));
process.exit();
