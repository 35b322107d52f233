/** The parts that a call is made of, and what a change among 10,000 endpoints costs. */
import { child } from "./child.ts";
import type { PartsRun } from "./child/parts.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "pick, record, match, budget and timer in ns; updates of 10,000 endpoints";

const PICK_RATIO_BAR = 1.2;
const STALL_BAR_MS = 10;

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const processes = quick ? 1 : 5;
  const runs: PartsRun[] = [];
  for (let i = 0; i < processes; i++) {
    progress(`parts: process ${i + 1} of ${processes}`);
    runs.push(await child<PartsRun>("parts.ts", quick ? ["quick"] : []));
  }
  const all = (name: string): number[] => runs.flatMap((one) => one[name]!);
  const small = all("pick.10");
  // Round by round: both halves of a ratio are taken within milliseconds of each other.
  const ratios = all("pick.10000").map((large, i) => large / small[i]!);
  // The worst update of each process. The median of those: a worst over all would be the worst
  // that the machine's other work did to us.
  const stalls = runs.map(
    (one) => Math.max(...one["update.change"]!, ...one["update.replace"]!) / 1000,
  );
  return [
    row("parts.pick_ns.10", "ns", small),
    row("parts.pick_ns.1000", "ns", all("pick.1000")),
    row("parts.pick_ns.10000", "ns", all("pick.10000")),
    row("parts.pick_ns.zones", "ns", all("pick.zones")),
    row("parts.pick_ratio.10000_vs_10", "×", ratios, PICK_RATIO_BAR),
    row("parts.record_ns", "ns", all("record.10")),
    row("parts.record_ns.10000", "ns", all("record.10000")),
    row("parts.match_ns", "ns", all("match")),
    row("parts.budget_ns", "ns", all("budget")),
    row("parts.timer_ns", "ns", all("timer")),
    row("parts.timer_ns.node", "ns", all("timer.node")),
    row("parts.update_us.change", "µs", all("update.change")),
    row("parts.update_us.replace", "µs", all("update.replace")),
    row("parts.update_stall_ms", "ms", stalls, STALL_BAR_MS),
  ];
}
