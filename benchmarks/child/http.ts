/**
 * One client of the HTTP benchmark in a fresh process: GETs in a closed loop over all endpoints.
 * argv is `HttpLoad` as JSON; prints `HttpRun` as JSON. CPU is the whole process's, all threads,
 * user and system. Bytes are those of the JavaScript heap: what `heapUsed` grows by between two
 * samples that no collection fell between (a young generation of 64 MiB makes those the rule).
 */
import { PerformanceObserver } from "node:perf_hooks";
import { context, metrics, trace } from "@opentelemetry/api";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BatchSpanProcessor,
  InMemorySpanExporter,
  StackContextManager,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import {
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap,
} from "cockatiel";
import { createMesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { Pool } from "undici";
import { quantile } from "../report.ts";
import { closedLoop, type ClosedLoop } from "./loops.ts";

export type HttpClient = "inmesh" | "undici_rr" | "dispatch" | "glued" | "fetch";

export interface HttpLoad {
  readonly client: HttpClient;
  readonly ports: readonly number[];
  readonly concurrency: number;
  readonly warmCalls: number;
  readonly calls: number;
}

export interface HttpRun {
  readonly cpuUs: number;
  readonly p50: number;
  readonly p99: number;
  readonly bytesPerCall: number;
}

const BODY = '{"order":1,"state":"paid"}';
const PATH = "/orders/1";
const TIMEOUT_MS = 15_000;

type Get = () => Promise<string>;

const SUBJECTS: Record<HttpClient, (ports: readonly number[]) => Get> = {
  inmesh(ports) {
    const endpoints = ports.map((port) => `127.0.0.1:${port}`);
    const services = { orders: { discovery: { static: endpoints } } };
    const client = meshClient("orders", { mesh: createMesh({ env: {}, config: { services } }) });
    return async () => (await client.fetch(PATH)).text();
  },

  undici_rr(ports) {
    const next = turns(pools(ports));
    return async () => {
      const { body } = await next().request({ path: PATH, method: "GET" });
      return body.text();
    };
  },

  /** The least that undici can be asked to do: no stream, no promise but one. */
  dispatch(ports) {
    const next = turns(pools(ports));
    return () =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        next().dispatch(
          { path: PATH, method: "GET" },
          {
            onRequestStart() {},
            onResponseStart() {},
            onResponseData(_controller, chunk) {
              chunks.push(chunk);
            },
            onResponseEnd() {
              resolve((chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString());
            },
            onResponseError: (_controller, error) => reject(error),
          },
        );
      });
  },

  /** What a careful team glues together: policies per endpoint, and traces and metrics per call. */
  glued(ports) {
    context.setGlobalContextManager(new StackContextManager());
    trace.setGlobalTracerProvider(
      new TracerProvider({
        spanProcessors: [new BatchSpanProcessor({ exporter: new DroppingExporter() })],
      }),
    );
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    metrics.setGlobalMeterProvider(
      new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter })] }),
    );
    new UndiciInstrumentation().enable();
    const next = turns(
      pools(ports).map((pool) => ({
        pool,
        policy: wrap(
          retry(handleAll, { maxAttempts: 1, backoff: new ExponentialBackoff() }),
          circuitBreaker(handleAll, {
            halfOpenAfter: 1_000,
            breaker: new ConsecutiveBreaker(7),
          }),
          timeout(TIMEOUT_MS, TimeoutStrategy.Cooperative),
        ),
      })),
    );
    return () => {
      const { pool, policy } = next();
      return policy.execute(async ({ signal }) => {
        const { statusCode, body } = await pool.request({ path: PATH, method: "GET", signal });
        if (statusCode >= 500) throw new Error(`status ${statusCode}`);
        return body.text();
      });
    };
  },

  fetch(ports) {
    const next = turns(ports.map((port) => `http://127.0.0.1:${port}${PATH}`));
    return async () => (await fetch(next())).text();
  },
};

/** Keeps nothing, so that what the process collects is the clients' own. */
class DroppingExporter extends InMemorySpanExporter {
  override export(...[, done]: Parameters<InMemorySpanExporter["export"]>): void {
    done({ code: 0 });
  }
}

function pools(ports: readonly number[]): Pool[] {
  return ports.map((port) => new Pool(`http://127.0.0.1:${port}`, { connections: 32 }));
}

function turns<T>(of: readonly T[]): () => T {
  let turn = 0;
  return () => of[turn++ % of.length]!;
}

async function main(load: HttpLoad): Promise<HttpRun> {
  const get = SUBJECTS[load.client](load.ports);
  const loop = { get, body: BODY, concurrency: load.concurrency };
  await closedLoop(loop, load.warmCalls);
  const took: number[] = [];
  const before = process.cpuUsage();
  await closedLoop(loop, load.calls, took);
  const { user, system } = process.cpuUsage(before);
  return {
    cpuUs: (user + system) / load.calls,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    bytesPerCall: await allocated(loop),
  };
}

/** Outside of the timed part: sampling and an observer of collections cost something. */
async function allocated(loop: ClosedLoop): Promise<number> {
  const ROUNDS = 15;
  const CALLS = 500;
  let collections = 0;
  const observer = new PerformanceObserver(
    (list) => void (collections += list.getEntries().length),
  );
  observer.observe({ entryTypes: ["gc"] });
  const samples: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const [seen, before] = [collections, process.memoryUsage().heapUsed];
    await closedLoop(loop, CALLS);
    const after = process.memoryUsage().heapUsed;
    await new Promise(setImmediate); // entries of collections are delivered in a later turn
    if (collections === seen && after > before) samples.push((after - before) / CALLS);
  }
  observer.disconnect();
  return samples.length === 0 ? Number.NaN : quantile(samples, 0.5);
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as HttpLoad)));
process.exit();
