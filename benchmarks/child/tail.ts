/**
 * The client of the tail benchmark: GETs in an open loop, each on its own instant whatever became
 * of the others. argv is `TailLoad` as JSON; prints `TailRun` as JSON.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createMesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { Pool } from "undici";
import { quantile } from "../report.ts";

export interface TailLoad {
  readonly client: "inmesh" | "round_robin";
  /** `retry.attempts` of inmesh. */
  readonly attempts: number;
  readonly ports: readonly number[];
  readonly perSecond: number;
  readonly seconds: number;
}

export interface TailRun {
  readonly calls: number;
  readonly failed: number;
  /** From the instant a call was due to its last byte; calls that failed are left out. */
  readonly p50: number;
  readonly p99: number;
  /** The first few errors, for whoever wonders. */
  readonly errors: readonly string[];
}

interface Client {
  /** Reads the whole reply; resolves to its status. */
  get(): Promise<number>;
  close(): Promise<void>;
}

function meshed({ ports, attempts }: TailLoad): Client {
  const endpoints = ports.map((port) => `127.0.0.1:${port}`);
  const service = { discovery: { static: endpoints }, retry: { attempts } };
  const mesh = createMesh({ env: {}, config: { services: { orders: service } } });
  const client = meshClient("orders", { mesh });
  return {
    async get() {
      const reply = await client.fetch("/orders/1");
      await reply.text();
      return reply.status;
    },
    close: () => mesh.close(0),
  };
}

function roundRobin({ ports }: TailLoad): Client {
  const pools = ports.map((port) => new Pool(`http://127.0.0.1:${port}`));
  let turn = 0;
  return {
    async get() {
      const pool = pools[turn++ % pools.length]!;
      const { statusCode, body } = await pool.request({ path: "/orders/1", method: "GET" });
      await body.text();
      return statusCode;
    },
    close: async () => void (await Promise.all(pools.map((pool) => pool.destroy()))),
  };
}

async function main(load: TailLoad): Promise<TailRun> {
  const client = load.client === "inmesh" ? meshed(load) : roundRobin(load);
  const calls = Math.round(load.perSecond * load.seconds);
  const latencies: number[] = [];
  const errors: string[] = [];
  let failed = 0;
  const one = async (dueAt: number): Promise<void> => {
    try {
      const status = await client.get();
      if (status !== 200) throw new Error(`status ${status}`);
      latencies.push(performance.now() - dueAt);
    } catch (error) {
      failed++;
      if (errors.length < 5) errors.push(String(error));
    }
  };
  const pending: Promise<void>[] = [];
  const startedAt = performance.now();
  while (pending.length < calls) {
    const dueAt = startedAt + (pending.length * 1000) / load.perSecond;
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    pending.push(one(dueAt));
  }
  await Promise.all(pending);
  await client.close();
  const [p50, p99] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
  return { calls, failed, p50, p99, errors };
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as TailLoad)));
