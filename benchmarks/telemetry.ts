/**
 * What metrics cost: a call, beside one of which nothing is measured; a process that takes 20,000 series out, as a
 * page for Prometheus and for OpenTelemetry; and the memory of one that is called by a million names.
 */
import { child } from "./child.ts";
import type { TelemetryRun } from "./child/telemetry.ts";
import type { NamesRun } from "./child/telemetry-names.ts";
import { quantile, row, undisturbed, type Options, type Row } from "./report.ts";

export const describe =
  "cost of metrics per call, of a scrape of 20,000 series, and of a million names";

const METRICS_BAR_US = 0.5;
/** 24 bytes for each name would be 17 MB. */
const RSS_BAR_MB = 16;

const SCRAPE_BAR_MS = 50;
const STALL_BAR_MS = 10;

/** Fresh processes in turns, forth and back, so that a slow minute of the machine falls on both. */
const PAIRS = 12;
/** Of a round: some 150 ms, because CPU time is counted in steps of up to 4 ms. */
const CALLS = 100_000;
const ROUNDS = 5;

async function callRows({ quick, progress }: Options): Promise<Row[]> {
  const pairs = quick ? 1 : PAIRS;
  const calls = quick ? 5_000 : CALLS;
  const taken = { off: [] as number[][], metrics: [] as number[][] };
  for (let i = 0; i < pairs; i++) {
    const kinds = i % 2 === 0 ? (["off", "metrics"] as const) : (["metrics", "off"] as const);
    for (const kind of kinds) {
      const args = [kind, String(calls), String(ROUNDS)];
      taken[kind].push(await child<number[]>("telemetry-calls.ts", args));
    }
    const us = kinds.map((kind) => `${kind} ${quantile(taken[kind].at(-1)!, 0.25).toFixed(3)}`);
    progress(`telemetry: calls, pair ${i + 1} of ${pairs}: ${us.join(", ")} µs`);
  }
  // Pair by pair: the two that are compared ran one after the other.
  const differences = taken.metrics.map((metrics, i) => {
    return quantile(metrics, 0.25) - quantile(taken.off[i]!, 0.25);
  });
  return [
    row("telemetry.us_per_call.metrics", "µs", differences, METRICS_BAR_US),
    undisturbed("telemetry.us_per_call.off", "µs", taken.off.flat()),
  ];
}

async function nameRows({ quick, progress }: Options): Promise<Row[]> {
  const count = quick ? 20_000 : 1_000_000;
  progress(`telemetry: ${count} names`);
  const { series, rssGrowthMb } = await child<NamesRun>("telemetry-names.ts", [String(count)]);
  return [
    row("telemetry.names.series_growth", "lines", [series[1] - series[0]], 0),
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
