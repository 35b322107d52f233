/** What the mesh itself costs a call: everything of the pipeline, nothing of the network. The bar is a time: see `undisturbed`. */
import { child } from "./child.ts";
import type { SeamRun } from "./child/seam.ts";
import { quantile, row, undisturbed, type Options, type Row } from "./report.ts";

export const describe = "cost of the full pipeline per call, over a stub that replies at once";

const BAR_US = 1.5;
/** What an observer may cost that takes every hook of a call and does nothing in it. */
const OBSERVED_BAR_NS = 150;

/** Many short processes, so that a slow minute of the machine is a part of the run and not half of it. */
const PROCESSES = 10;
const ROUNDS = 5;
/** Of a round: some 150 ms, because CPU time is counted in steps of up to 4 ms. */
const CALLS = {
  mesh: 100_000,
  observed: 100_000,
  tapped: 100_000,
  bare: 500_000,
  cockatiel: 20_000,
};

type Kind = keyof typeof CALLS;
const KINDS = Object.keys(CALLS) as Kind[];

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const processes = quick ? 1 : PROCESSES;
  const runs: Record<Kind, SeamRun[]> = {
    mesh: [],
    observed: [],
    tapped: [],
    bare: [],
    cockatiel: [],
  };
  for (let i = 0; i < processes; i++) {
    for (const kind of KINDS) {
      const calls = quick ? 5_000 : CALLS[kind];
      runs[kind].push(await child<SeamRun>("seam.ts", [kind, String(calls), String(ROUNDS)]));
    }
    const us = KINDS.map((kind) => `${kind} ${quantile(runs[kind].at(-1)!.cpuUs, 0.5).toFixed(3)}`);
    progress(`seam: processes ${i + 1} of ${processes}: ${us.join(", ")} µs`);
  }
  const cpuUs = (kind: Kind): number[] => runs[kind].flatMap((one) => one.cpuUs);
  const wallUs = runs.mesh.flatMap((one) => one.wallUs);
  // Process by process: the two that are compared ran one after the other.
  const overMeshNs = (kind: Kind): number[] =>
    runs[kind].map(({ cpuUs: its }, i) => {
      return 1000 * (quantile(its, 0.25) - quantile(runs.mesh[i]!.cpuUs, 0.25));
    });
  const bytes = (kind: Kind): number[] => runs[kind].map(({ bytesPerCall }) => bytesPerCall);
  return [
    undisturbed("seam.us_per_call", "µs", cpuUs("mesh"), BAR_US),
    row("seam.us_per_call.median", "µs", cpuUs("mesh")),
    undisturbed("seam.us_per_call.wall", "µs", wallUs),
    row("seam.ns_per_call.observed", "ns", overMeshNs("observed"), OBSERVED_BAR_NS),
    row("seam.ns_per_call.tapped", "ns", overMeshNs("tapped")),
    undisturbed("seam.us_per_call.bare", "µs", cpuUs("bare")),
    undisturbed("seam.us_per_call.cockatiel", "µs", cpuUs("cockatiel")),
    row("seam.bytes_per_call", "B", bytes("mesh")),
    row("seam.bytes_per_call.observed", "B", bytes("observed")),
    row("seam.bytes_per_call.bare", "B", bytes("bare")),
    row("seam.bytes_per_call.cockatiel", "B", bytes("cockatiel")),
  ];
}
