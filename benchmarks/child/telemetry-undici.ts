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

/** Each the root of a trace, as the calls of the mesh that it is compared with. */
async function one(): Promise<void> {
  const { body } = await pool.request({ path: "/orders/1", method: "GET" });
  await body.dump();
}

async function work(): Promise<void> {
  while (left-- > 0) await one();
}

const cpuUs: number[] = [];
for (let round = -WARM_ROUNDS; round < Number(rounds); round++) {
  const before = threadMs();
  left = Number(perRound);
  await Promise.all(Array.from({ length: CONCURRENT }, work));
  if (round >= 0) cpuUs.push(((threadMs() - before) * 1000) / Number(perRound));
}
await exported.flush();
const made = Number(perRound) * (Number(rounds) + WARM_ROUNDS);
const share = exported.count / made;
const isRight = kind === "plain" ? share === 0 : share > 0.004 && share < 0.02;
if (!isRight) throw new Error(`${share} of the requests were recorded`);
process.stdout.write(JSON.stringify(cpuUs));
process.exit();
