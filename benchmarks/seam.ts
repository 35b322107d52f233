/** What the mesh itself costs a call: everything of the pipeline, nothing of the network. */
import { child } from "./child.ts";
import type { SeamRun } from "./child/seam.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "cost of the full pipeline per call, over a stub that replies at once";

const BAR_US = 1.5;

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const processes = quick ? 1 : 3;
  const [calls, rounds] = quick ? ["5000", "5"] : ["100000", "15"];
  const runs: Record<string, SeamRun[]> = { mesh: [], bare: [], cockatiel: [] };
  // Interleaved, so that a slow minute of the machine falls on all of them.
  for (let i = 0; i < processes; i++) {
    for (const [kind, of] of Object.entries(runs)) {
      progress(`seam: ${kind}, process ${i + 1} of ${processes}`);
      of.push(await child<SeamRun>("seam.ts", [kind, calls!, rounds!]));
    }
  }
  const all = (kind: string, of: (run: SeamRun) => number[]): number[] => runs[kind]!.flatMap(of);
  const bytes = (kind: string): number[] => runs[kind]!.map(({ bytesPerCall }) => bytesPerCall);
  return [
    row(
      "seam.us_per_call",
      "µs",
      all("mesh", ({ cpuUs }) => cpuUs),
      BAR_US,
    ),
    row(
      "seam.us_per_call.wall",
      "µs",
      all("mesh", ({ wallUs }) => wallUs),
    ),
    row(
      "seam.us_per_call.bare",
      "µs",
      all("bare", ({ cpuUs }) => cpuUs),
    ),
    row(
      "seam.us_per_call.cockatiel",
      "µs",
      all("cockatiel", ({ cpuUs }) => cpuUs),
    ),
    row("seam.bytes_per_call", "B", bytes("mesh")),
    row("seam.bytes_per_call.bare", "B", bytes("bare")),
    row("seam.bytes_per_call.cockatiel", "B", bytes("cockatiel")),
  ];
}
