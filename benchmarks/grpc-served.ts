/**
 * What `meshGrpcServer` costs a server, beside the same handler on bare grpc-js: CPU per unary call
 * of the whole process. Both servers run at once and take turns, as the clients do in grpc.ts. The
 * client is grpc-js's and sends what a call over the mesh carries: a deadline, and a trace. Rows of
 * the grpc benchmark.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type CallOptions,
  type Client,
} from "@grpc/grpc-js";
import { ask } from "./child.ts";
import { BYTES } from "./child/grpc-service.ts";
import { atATime } from "./child/loops.ts";
import type { Served } from "./child/served.ts";
import { quantile, row, type Options, type Row } from "./report.ts";
import { inTurns, ratios, setMedians, type Amounts, type Player } from "./turns.ts";

const BAR = 1.08;
/** Calls at a time. */
export const CONCURRENCY = 50;
export const KINDS = ["bare", "mesh"] as const;
export type Kind = (typeof KINDS)[number];

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly address: string;
}

/** Answers each message with a `Served`. */
export async function startServer(kind: Kind): Promise<ServerProcess> {
  const path = fileURLToPath(new URL("./child/grpc-served.ts", import.meta.url));
  const child = fork(path, [kind], {
    execArgv: ["--no-warnings", "--conditions=inmesh-source"],
  });
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return { child, address: `127.0.0.1:${port}` };
}

interface BytesClient extends Client {
  echo(
    message: Buffer,
    metadata: Metadata,
    options: CallOptions,
    done: (error: Error | null, reply: Buffer) => void,
  ): void;
}

const Bytes = makeGenericClientConstructor(BYTES, "Bytes");
const message = Buffer.alloc(25, 7);
export const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const metadata = new Metadata();
metadata.set("traceparent", TRACEPARENT);

const CALLS = 400;
const AMOUNTS: Amounts = { sets: 5, rounds: 20, turns: 2, warmTurns: 20 };
const QUICK: Amounts = { sets: 1, rounds: 2, turns: 4, warmTurns: 20 };

export async function serverRows({ quick, progress }: Options): Promise<Row[]> {
  const amounts = quick ? QUICK : AMOUNTS;
  const samples = await inTurns(KINDS, amounts, start, (set, soFar) => {
    const ratio = quantile(ratios(soFar, "mesh", "bare", "cpuUs"), 0.5).toFixed(3);
    progress(`grpc: ${set} of ${amounts.sets} pairs of servers: ${ratio}`);
  });
  const cpuUs = (kind: Kind): number[] => samples[kind].map((one) => one.cpuUs);
  const each = setMedians(ratios(samples, "mesh", "bare", "cpuUs"), amounts);
  return [
    row("grpc.cpu_ratio.server", "×", each, BAR),
    row("grpc.cpu_us.server", "µs", cpuUs("mesh")),
    row("grpc.cpu_us.server.bare", "µs", cpuUs("bare")),
  ];
}

async function start(kind: Kind): Promise<Player<"cpuUs">> {
  const { child, address } = await startServer(kind);
  const client = new Bytes(address, credentials.createInsecure(), {
    "grpc.enable_channelz": 0,
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as BytesClient;
  return {
    async turn() {
      await ask(child, {});
      await atATime(CONCURRENCY, CALLS, () => echo(client));
      const { cpuUs, requests } = await ask<Served>(child, {});
      if (requests !== CALLS) throw new Error(`${kind}: ${CALLS} calls, ${requests} served`);
      return { cpuUs: cpuUs / CALLS };
    },
    close() {
      client.close();
      child.disconnect();
    },
  };
}

function echo(client: BytesClient): Promise<void> {
  return new Promise((resolve, reject) => {
    client.echo(message, metadata, { deadline: Date.now() + 5_000 }, (error, reply) => {
      if (error !== null) reject(error);
      else if (reply.length !== message.length) reject(new Error("another reply"));
      else resolve();
    });
  });
}
