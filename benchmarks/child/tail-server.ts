/**
 * One server of the tail benchmark, forked: argv is the protocol, what is wrong with it, and a seed.
 * Sends `{ port }` when it listens, and `{ served }`, the calls that reached it, to any message.
 */
import { load, type Protocol } from "./tail-protocol.ts";

export type Fault = "none" | "fail_fast" | "slow" | "refused";

const FLOOR_MS = 10;
const MEAN_MS = 10;
const SLOW_FACTOR = 20;

const [protocol = "http", fault = "none", seed = "1"] = process.argv.slice(2);
let state = Number(seed) >>> 0;
let served = 0;

/** Mulberry32: every run sees the same delays. */
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const { serve } = await load(protocol as Protocol);
const server = await serve((done) => {
  served++;
  if (fault === "fail_fast") return done(true);
  const delayMs = FLOOR_MS - Math.log(1 - random()) * MEAN_MS;
  setTimeout(done, fault === "slow" ? delayMs * SLOW_FACTOR : delayMs, false);
});
if (fault === "refused") await server.close();
process.on("message", () => process.send!({ served }));
process.on("disconnect", () => process.exit());
process.send!({ port: server.port });
