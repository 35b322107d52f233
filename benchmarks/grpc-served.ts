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
import { BYTES } from "./child/grpc-service.ts";
import type { Served } from "./child/server.ts";
import { quantile, row, type Options, type Row } from "./report.ts";

const BAR = 1.08;
const CONCURRENCY = 50;
const KINDS = ["bare", "mesh"] as const;
type Kind = (typeof KINDS)[number];

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
const metadata = new Metadata();
metadata.set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

/** How much of what: fresh pairs of servers, rounds in them, turns in a round, calls in one. */
const AMOUNTS = { pairs: 4, rounds: 6, turns: 8, calls: 400 };
const QUICK = { pairs: 1, rounds: 2, turns: 2, calls: 200 };
const WARM_TURNS = 20;

export async function serverRows({ quick, progress }: Options): Promise<Row[]> {
  const { pairs, rounds, turns, calls } = quick ? QUICK : AMOUNTS;
  const samples: Record<Kind, number[]> = { bare: [], mesh: [] };
  const ratios = (): number[] => samples.mesh.map((cpuUs, i) => cpuUs / samples.bare[i]!);
  for (let pair = 1; pair <= pairs; pair++) {
    const servers = await Promise.all(KINDS.map(start));
    const round = async (count: number): Promise<Record<Kind, number>> => {
      const sums = { bare: 0, mesh: 0 };
      for (let turn = 0; turn < count; turn++) {
        for (const server of turn % 2 === 0 ? servers : servers.toReversed()) {
          sums[server.kind] += await measure(server, calls);
        }
      }
      return { bare: sums.bare / count, mesh: sums.mesh / count };
    };
    try {
      await round(WARM_TURNS);
      for (let i = 0; i < rounds; i++) {
        const { bare, mesh } = await round(turns);
        samples.bare.push(bare);
        samples.mesh.push(mesh);
      }
    } finally {
      for (const { client, child } of servers) {
        client.close();
        child.disconnect();
      }
    }
    progress(`grpc: ${pair} of ${pairs} pairs of servers: ${quantile(ratios(), 0.5).toFixed(3)}`);
  }
  return [
    row("grpc.cpu_ratio.server", "×", ratios(), BAR),
    row("grpc.cpu_us.server", "µs", samples.mesh),
    row("grpc.cpu_us.server.bare", "µs", samples.bare),
  ];
}

interface Started {
  readonly kind: Kind;
  readonly child: ChildProcess;
  readonly client: BytesClient;
}

async function start(kind: Kind): Promise<Started> {
  const path = fileURLToPath(new URL("./child/grpc-served.ts", import.meta.url));
  const child = fork(path, [kind], {
    execArgv: ["--no-warnings", "--conditions=inmesh-source"],
  });
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const client = new Bytes(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.enable_channelz": 0,
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as BytesClient;
  return { kind, child, client };
}

/** Microseconds of CPU per call. */
async function measure({ kind, child, client }: Started, calls: number): Promise<number> {
  await ask(child);
  await load(client, calls);
  const { cpuUs, requests } = await ask(child);
  if (requests !== calls) throw new Error(`${kind}: ${calls} calls, ${requests} served`);
  return cpuUs / calls;
}

async function ask(child: ChildProcess): Promise<Served> {
  child.send("asked");
  const [served] = (await once(child, "message")) as [Served];
  return served;
}

async function load(client: BytesClient, calls: number): Promise<void> {
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await echo(client);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
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
