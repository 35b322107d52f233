/**
 * One server of the tail benchmark, forked: argv is what is wrong with it and a seed. Sends
 * `{ port }` when it listens, and `{ served }`, the requests that reached it, to any message.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export type Fault = "none" | "fail_fast" | "slow" | "refused";

const FLOOR_MS = 10;
const MEAN_MS = 10;
const SLOW_FACTOR = 20;

const [fault = "none", seed = "1"] = process.argv.slice(2);
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

const server = createServer((request, response) => {
  served++;
  request.resume();
  if (fault === "fail_fast") {
    response.statusCode = 500;
    response.end("failed");
    return;
  }
  const delayMs = FLOOR_MS - Math.log(1 - random()) * MEAN_MS;
  setTimeout(() => response.end("ok"), fault === "slow" ? delayMs * SLOW_FACTOR : delayMs);
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  if (fault === "refused") server.close(() => process.send!({ port }));
  else process.send!({ port });
});
process.on("message", () => process.send!({ served }));
process.on("disconnect", () => process.exit());
