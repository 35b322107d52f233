/**
 * The client of the tail benchmark: calls in an open loop, each on its own instant whatever became
 * of the others. argv is `TailLoad` as JSON; prints `TailRun` as JSON.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "../report.ts";
import { load, type TailLoad, type TailProtocol } from "./tail-protocol.ts";

export interface TailRun {
  readonly calls: number;
  readonly failed: number;
  /** From the instant a call was due to its last byte, without calls that failed; null: all did. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** The first few errors, to look for their cause. */
  readonly errors: readonly string[];
}

/** So that client and servers run code that has run before; what these calls teach is thrown away. */
async function warm(protocol: TailProtocol, given: TailLoad): Promise<void> {
  const { proxy } = given;
  for (const [place, port] of given.ports.entries()) {
    const alone = proxy && { ...proxy, service: proxy.alone[place]! };
    const client = protocol.open({ ...given, ports: [port], attempts: 1, proxy: alone });
    const calls = Array.from({ length: given.warmCalls }, () => client.call());
    await Promise.allSettled(calls);
    await client.close();
  }
}

async function main(given: TailLoad): Promise<TailRun> {
  const protocol = await load(given.protocol);
  await warm(protocol, given);
  const client = protocol.open(given);
  const calls = Math.round(given.perSecond * given.seconds);
  const latencies: number[] = [];
  const errors: string[] = [];
  let failed = 0;
  const one = async (dueAt: number): Promise<void> => {
    try {
      await client.call();
      latencies.push(performance.now() - dueAt);
    } catch (error) {
      failed++;
      if (errors.length < 5) errors.push(String(error));
    }
  };
  const pending: Promise<void>[] = [];
  const startedAt = performance.now();
  while (pending.length < calls) {
    const dueAt = startedAt + (pending.length * 1000) / given.perSecond;
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    pending.push(one(dueAt));
  }
  await Promise.all(pending);
  await client.close();
  const [p50, p99] =
    latencies.length === 0 ? [null, null] : [quantile(latencies, 0.5), quantile(latencies, 0.99)];
  return { calls, failed, p50, p99, errors };
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as TailLoad)));
