/**
 * One client of the gRPC benchmark in a process of its own, forked: argv is `GrpcLoad` as JSON. Each
 * message is a `GrpcSlice` to do, and is answered with what it took. CPU is the whole process's, all
 * threads, user and system.
 */
import { credentials, makeGenericClientConstructor, type Client } from "@grpc/grpc-js";
import { createMesh } from "@inmesh/core";
import { meshGrpc } from "@inmesh/grpc";
import { quantile } from "../report.ts";
import { BYTES, MESSAGE_BYTES } from "./grpc-service.ts";
import { atATime } from "./loops.ts";

export type GrpcClient = "inmesh" | "bare";

export interface GrpcLoad {
  readonly client: GrpcClient;
  readonly port: number;
  readonly concurrency: number;
}

/** Unary calls, or messages of a stream up and as many of a stream down. */
export interface GrpcSlice {
  readonly kind: "unary" | "stream";
  readonly count: number;
}

/**
 * CPU per call or message in microseconds, milliseconds per call or message, and of unary calls two
 * quantiles of how long one took.
 */
export type GrpcRun = Readonly<Record<"cpuUs" | "msPer" | "p50" | "p99", number>>;

interface BytesClient extends Client {
  echo(message: Buffer, done: (error: Error | null, reply: Buffer) => void): void;
  up(done: (error: Error | null, reply: Buffer) => void): NodeJS.WritableStream;
  down(message: Buffer): NodeJS.ReadableStream;
}

const load = JSON.parse(process.argv[2]!) as GrpcLoad;
const Bytes = makeGenericClientConstructor(BYTES, "Bytes");
const client = (load.client === "inmesh"
  ? new Bytes(...meshGrpc("bytes", { mesh: meshTo(load.port) }))
  : new Bytes(`127.0.0.1:${load.port}`, credentials.createInsecure(), {
      "grpc.enable_channelz": 0,
    })) as unknown as BytesClient;
const message = Buffer.alloc(25, 7);

function meshTo(port: number) {
  return createMesh({
    env: {},
    config: { services: { bytes: { discovery: { static: [{ host: "127.0.0.1", port }] } } } },
  });
}

function echo(): Promise<void> {
  return new Promise((resolve, reject) => {
    client.echo(message, (error, reply) => {
      if (error !== null) reject(error);
      else if (!reply.equals(message)) reject(new Error("another reply"));
      else resolve();
    });
  });
}

async function timedEcho(latencies: number[]): Promise<void> {
  const startedAt = performance.now();
  await echo();
  latencies.push(performance.now() - startedAt);
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

async function run({ kind, count }: GrpcSlice): Promise<GrpcRun> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const before = process.cpuUsage();
  if (kind === "unary") await atATime(load.concurrency, count, () => timedEcho(latencies));
  else {
    await up(count);
    await down(count);
  }
  const { user, system } = process.cpuUsage(before);
  const done = kind === "unary" ? count : 2 * count;
  return {
    cpuUs: (user + system) / done,
    msPer: (performance.now() - startedAt) / done,
    p50: kind === "unary" ? quantile(latencies, 0.5) : 0,
    p99: kind === "unary" ? quantile(latencies, 0.99) : 0,
  };
}

process.on("message", (slice: GrpcSlice) => {
  void run(slice).then((result) => process.send!(result));
});
process.on("disconnect", () => process.exit());
process.send!("ready");
