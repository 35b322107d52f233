/** What an endpoint and a call in flight keep in memory. */
import { child } from "./child.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "bytes per endpoint, and per call in flight";

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const rows: Row[] = [];
  const add = async (metric: string, kind: string, count: number): Promise<void> => {
    progress(metric);
    const samples: number[] = [];
    for (let i = 0; i < (quick ? 1 : 5); i++) {
      samples.push(await child<number>("memory.ts", [kind, String(count)]));
    }
    rows.push(row(metric, "B", samples));
  };
  await add("memory.bytes_per_endpoint.1000", "endpoints", 1_000);
  await add("memory.bytes_per_endpoint.10000", "endpoints", 10_000);
  await add("memory.bytes_per_call_in_flight", "calls", 10_000);
  return rows;
}
