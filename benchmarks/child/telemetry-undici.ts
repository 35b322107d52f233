/**
 * Requests of undici's own pool to a server in another process, with an SDK that records one in a hundred: argv is
 * `plain` or `instrumented` (instrumentation-undici), the server's address, the requests per round and the rounds.
 * Prints microseconds of CPU time per request, round by round, as JSON.
 */
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { Pool } from "undici";
import { threadMs } from "../child.ts";
import { traceSampled } from "./sampled-tracing.ts";

const CONCURRENT = 50;
const WARM_ROUNDS = 2;

const [kind = "instrumented", origin = "", perRound = "10000", rounds = "5"] =
  process.argv.slice(2);
const exported = traceSampled();
if (kind === "instrumented") new UndiciInstrumentation().enable();
const pool = new Pool(origin, { connections: CONCURRENT });
let left = 0;

async function work(): Promise<void> {
  while (left-- > 0) {
    const { body } = await pool.request({ path: "/orders/1", method: "GET" });
    await body.dump();
  }
}

const cpuUs: number[] = [];
for (let round = -WARM_ROUNDS; round < Number(rounds); round++) {
  const before = threadMs();
  left = Number(perRound);
  await Promise.all(Array.from({ length: CONCURRENT }, work));
  if (round >= 0) cpuUs.push(((threadMs() - before) * 1000) / Number(perRound));
}
if (kind === "plain" && exported.count > 0) throw new Error("a request was traced");
process.stdout.write(JSON.stringify(cpuUs));
process.exit();
