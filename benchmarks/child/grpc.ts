/**
 * One client of the gRPC benchmark in a fresh process. argv is `GrpcLoad` as JSON; prints `GrpcRun`
 * as JSON. CPU is the whole process's, all threads, user and system.
 */
import { credentials, makeGenericClientConstructor, type Client } from "@grpc/grpc-js";
import { createMesh } from "@inmesh/core";
import { meshGrpc } from "@inmesh/grpc";
import { quantile } from "../report.ts";
import { BYTES, MESSAGE_BYTES } from "./grpc-service.ts";

export type GrpcClient = "inmesh" | "bare";

export interface GrpcLoad {
  readonly client: GrpcClient;
  readonly port: number;
  readonly concurrency: number;
  readonly warmCalls: number;
  readonly calls: number;
  /** Messages of each stream, up and down. */
  readonly messages: number;
}

export interface GrpcRun {
  readonly cpuUs: number;
  readonly p50: number;
  readonly p99: number;
  /** Messages per millisecond through streams, half of them up. */
  readonly perMs: number;
}

interface BytesClient extends Client {
  echo(message: Buffer, done: (error: Error | null, reply: Buffer) => void): void;
  up(done: (error: Error | null, reply: Buffer) => void): NodeJS.WritableStream;
  down(message: Buffer): NodeJS.ReadableStream;
}

const load = JSON.parse(process.argv[2]!) as GrpcLoad;
const Bytes = makeGenericClientConstructor(BYTES, "Bytes");
const mesh = createMesh({
  env: {},
  config: {
    services: { bytes: { discovery: { static: [{ host: "127.0.0.1", port: load.port }] } } },
  },
});
const client = (load.client === "inmesh"
  ? new Bytes(...meshGrpc("bytes", { mesh }))
  : new Bytes(`127.0.0.1:${load.port}`, credentials.createInsecure(), {
      "grpc.enable_channelz": 0,
    })) as unknown as BytesClient;
const message = Buffer.alloc(25, 7);

function echo(): Promise<void> {
  return new Promise((resolve, reject) => {
    client.echo(message, (error, reply) => {
      if (error !== null) reject(error);
      else if (reply.length !== message.length) reject(new Error("another reply"));
      else resolve();
    });
  });
}

async function calls(count: number, latencies: number[]): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const startedAt = performance.now();
      await echo();
      latencies.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: load.concurrency }, worker));
}

function up(count: number): Promise<void> {
  const bytes = Buffer.alloc(MESSAGE_BYTES, 7);
  return new Promise((resolve, reject) => {
    const stream = client.up((error, reply) => {
      if (error !== null) reject(error);
      else if (Number(String(reply)) !== count) reject(new Error("messages were lost"));
      else resolve();
    });
    let left = count;
    const more = (): void => {
      while (left > 0) {
        left--;
        if (!stream.write(bytes)) return void stream.once("drain", more);
      }
      stream.end();
    };
    more();
  });
}

function down(count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = client.down(Buffer.from(String(count)));
    let got = 0;
    stream.on("data", () => got++);
    stream.on("error", reject);
    stream.on("end", () => {
      if (got === count) resolve();
      else reject(new Error("messages were lost"));
    });
  });
}

await calls(load.warmCalls, []);
const latencies: number[] = [];
const before = process.cpuUsage();
await calls(load.calls, latencies);
const { user, system } = process.cpuUsage(before);

await up(load.messages / 4);
await down(load.messages / 4);
const startedAt = performance.now();
await up(load.messages);
await down(load.messages);
const perMs = (2 * load.messages) / (performance.now() - startedAt);

const result: GrpcRun = {
  cpuUs: (user + system) / load.calls,
  p50: quantile(latencies, 0.5),
  p99: quantile(latencies, 0.99),
  perMs,
};
process.stdout.write(JSON.stringify(result));
client.close();
await mesh.close(0);
