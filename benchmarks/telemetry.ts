/** What it costs to take 20,000 series out of a process: as a page for Prometheus, and for OpenTelemetry. */
import { child } from "./child.ts";
import type { TelemetryRun } from "./child/telemetry.ts";
import { row, undisturbed, type Options, type Row } from "./report.ts";

export const describe = "time and stall of a scrape of 20,000 series";

const SCRAPE_BAR_MS = 50;
const STALL_BAR_MS = 10;

export async function run({ quick, progress }: Options): Promise<Row[]> {
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
