/**
 * What metrics and traces cost: a call, beside one of which nothing is measured, and beside what
 * instrumentation-undici adds to a request; a process that takes 20,000 series out, as a
 * page for Prometheus and for OpenTelemetry; and the memory of one that is called by a million names.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { child } from "./child.ts";
import type { TelemetryRun } from "./child/telemetry.ts";
import type { NamesRun } from "./child/telemetry-names.ts";
import { quantile, row, undisturbed, type Options, type Row } from "./report.ts";

export const describe =
  "cost of metrics and traces per call, of a scrape of 20,000 series, and of a million names";

const METRICS_BAR_US = 0.5;
/** Metrics, and spans of one call in a hundred. */
const SAMPLED_BAR_US = 1.5;
/** Of what instrumentation-undici adds to a request in the same run, with the same sampling. */
const RATIO_BAR = 0.1;
/** Three bytes for each name would be 2 MB. */
const HEAP_BAR_MB = 2;
/** Node keeps garbage for as long as it likes. */
const RSS_BAR_MB = 32;

const SCRAPE_BAR_MS = 50;
const STALL_BAR_MS = 10;

/** Fresh processes in turns, forth and back, so that a slow minute of the machine falls on both. */
const PAIRS = 12;
/** `roots` beside `off`: each call is the root of a trace; `traces` beside `spans`: it is below a span of the application. */
const KINDS = ["off", "metrics", "roots", "spans", "traces"] as const;
/** Of a round: some 150 ms, because CPU time is counted in steps of up to 4 ms. */
const CALLS = 100_000;
const ROUNDS = 5;
/** Of undici, over a socket: each costs some twenty times as much as one of the calls. */
const REQUESTS = 10_000;

/** What instrumentation-undici adds to a request, in as many pairs. */
async function undiciCosts({ quick, progress }: Options): Promise<number[]> {
  const server = createServer((_, response) => void response.end("x")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const args = [origin, String(quick ? 2_000 : REQUESTS), String(ROUNDS)];
  const costs: number[] = [];
  for (let i = 0; i < (quick ? 1 : PAIRS); i++) {
    const taken = { plain: 0, instrumented: 0 };
    const kinds =
      i % 2 === 0 ? (["plain", "instrumented"] as const) : (["instrumented", "plain"] as const);
    for (const kind of kinds) {
      taken[kind] = quantile(await child<number[]>("telemetry-undici.ts", [kind, ...args]), 0.25);
    }
    costs.push(taken.instrumented - taken.plain);
    progress(`telemetry: instrumentation-undici, pair ${i + 1}: ${costs[i]!.toFixed(3)} µs`);
  }
  server.closeAllConnections();
  server.close();
  return costs;
}

async function callRows(options: Options): Promise<Row[]> {
  const { quick, progress } = options;
  const pairs = quick ? 1 : PAIRS;
  const calls = quick ? 5_000 : CALLS;
  const taken: Record<(typeof KINDS)[number], number[][]> = {
    off: [],
    metrics: [],
    roots: [],
    spans: [],
    traces: [],
  };
  for (let i = 0; i < pairs; i++) {
    const kinds = i % 2 === 0 ? KINDS : KINDS.toReversed();
    for (const kind of kinds) {
      const args = [kind, String(calls), String(ROUNDS)];
      taken[kind].push(await child<number[]>("telemetry-calls.ts", args));
    }
    const us = kinds.map((kind) => `${kind} ${quantile(taken[kind].at(-1)!, 0.25).toFixed(3)}`);
    progress(`telemetry: calls, pair ${i + 1} of ${pairs}: ${us.join(", ")} µs`);
  }
  // Pair by pair: the two that are compared ran one after the other.
  const over = (kind: keyof typeof taken, base: keyof typeof taken): number[] =>
    taken[kind].map((one, i) => quantile(one, 0.25) - quantile(taken[base][i]!, 0.25));
  const sampled = over("roots", "off");
  const theirs = await undiciCosts(options);
  return [
    row("telemetry.us_per_call.metrics", "µs", over("metrics", "off"), METRICS_BAR_US),
    row("telemetry.us_per_call.sampled_1pct", "µs", sampled, SAMPLED_BAR_US),
    row("telemetry.us_per_call.sampled_1pct_below", "µs", over("traces", "spans")),
    row("telemetry.us_per_call.otel_undici", "µs", theirs),
    row(
      "telemetry.ratio.otel_undici",
      "ratio",
      sampled.map((ours, i) => ours / theirs[i]!),
      RATIO_BAR,
    ),
    undisturbed("telemetry.us_per_call.off", "µs", taken.off.flat()),
  ];
}

async function nameRows({ quick, progress }: Options): Promise<Row[]> {
  const count = quick ? 20_000 : 1_000_000;
  progress(`telemetry: ${count} names`);
  const { series, heapGrowthMb, rssGrowthMb } = await child<NamesRun>("telemetry-names.ts", [
    String(count),
  ]);
  return [
    row("telemetry.names.series_growth", "lines", [series[1] - series[0]], 0),
    row("telemetry.names.heap_growth_mb", "MB", [heapGrowthMb], HEAP_BAR_MB),
    row("telemetry.names.rss_growth_mb", "MB", [rssGrowthMb], RSS_BAR_MB),
    row("telemetry.names.series", "lines", [series[1]]),
  ];
}

export async function run(options: Options): Promise<Row[]> {
  return [
    ...(await callRows(options)),
    ...(await scrapeRows(options)),
    ...(await nameRows(options)),
  ];
}

async function scrapeRows({ quick, progress }: Options): Promise<Row[]> {
  const rounds = quick ? 10 : 100;
  progress(`telemetry: ${rounds} scrapes`);
  const taken = await child<TelemetryRun>("telemetry.ts", [String(rounds)]);
  return [
    undisturbed("telemetry.scrape_ms", "ms", taken.page.ms, SCRAPE_BAR_MS),
    undisturbed("telemetry.scrape_stall_ms", "ms", taken.page.stallMs, STALL_BAR_MS),
    undisturbed("telemetry.collect_ms", "ms", taken.collection.ms),
    undisturbed("telemetry.collect_stall_ms", "ms", taken.collection.stallMs, STALL_BAR_MS),
    row("telemetry.scrape_lines", "lines", [taken.lines]),
  ];
}
