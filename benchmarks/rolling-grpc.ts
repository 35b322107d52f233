/**
 * Rolling restarts of five gRPC servers under calls of all four kinds: no unary call may fail, no
 * message may get lost, and a stream that must end says UNAVAILABLE, by which its caller knows that
 * it may begin anew. `npm run check:rolling -- --grpc`.
 */
import type { RollingGrpcLoad, RollingGrpcRun } from "./child/rolling-grpc.ts";
import { duplicatesOf, roll, ServerPlace, type ServerOptions } from "./fleet.ts";
import { row, type Options, type Row } from "./report.ts";
import { freePort } from "../scripts/free-port.ts";

const SERVERS = 5;
const PER_SECOND = 500;
const RESTARTS = 20;
const QUICK_RESTARTS = 2;
/** The variants for context show their failures soon. */
const CONTEXT_RESTARTS = 3;

interface Variant {
  readonly name: string;
  readonly wrapped: boolean;
  readonly client: RollingGrpcLoad["client"];
}

type Result = RollingGrpcRun & { readonly duplicates: number };

export async function runGrpc({ quick, progress }: Options): Promise<Row[]> {
  const restarts = quick ? QUICK_RESTARTS : RESTARTS;
  const measure = async (variant: Variant, times: number): Promise<Result> => {
    const result = await measured(variant, times);
    const { calls, failedUnary, lostMessages, endedStreams, brokenStreams, errors } = result;
    progress(
      `rolling: grpc, ${variant.name}, ${times} restarts, ${calls} calls: ${failedUnary} unary failed, ${lostMessages} messages lost, ${endedStreams} streams ended, ${brokenStreams} broken`,
    );
    for (const error of errors) progress(`  ${error}`);
    return result;
  };
  const ours = await measure({ name: "inmesh", wrapped: true, client: "inmesh" }, restarts);
  const context = Math.min(restarts, CONTEXT_RESTARTS);
  const rows = [
    row("rolling.grpc.failed_unary", "{call}", [ours.failedUnary], 0),
    row("rolling.grpc.lost_messages", "{message}", [ours.lostMessages], 0),
    row("rolling.grpc.broken_streams", "{stream}", [ours.brokenStreams], 0),
    row("rolling.grpc.duplicate_calls", "{call}", [ours.duplicates], 0),
    row("rolling.grpc.ended_streams", "{stream}", [ours.endedStreams]),
    row("rolling.grpc.slowest_unary_ms", "ms", [ours.slowestUnaryMs]),
    row("rolling.grpc.calls", "{call}", [ours.calls]),
  ];
  for (const variant of [
    { name: "plain_server", wrapped: false, client: "inmesh" },
    { name: "plain_client", wrapped: true, client: "plain" },
    { name: "plain_both", wrapped: false, client: "plain" },
  ] as const) {
    const result = await measure(variant, context);
    const { calls, failedUnary, lostMessages, endedStreams, brokenStreams } = result;
    const name = `rolling.grpc.${variant.name}`;
    const failed = failedUnary + endedStreams + brokenStreams;
    rows.push(
      row(`${name}.failed_per_1000`, "{call}", [(1000 * failed) / calls]),
      row(`${name}.lost_messages`, "{message}", [lostMessages]),
    );
  }
  return rows;
}

async function measured({ wrapped, client }: Variant, restarts: number): Promise<Result> {
  const seen = new Map<string, number>();
  const servers: ServerPlace<ServerOptions>[] = [];
  for (let i = 0; i < SERVERS; i++) {
    servers.push(
      new ServerPlace("rolling-grpc-server.ts", { port: await freePort(), wrapped }, seen),
    );
  }
  const ports = servers.map(({ port }) => port);
  const load: RollingGrpcLoad = { client, ports, perSecond: PER_SECOND };
  const result = await roll<ServerOptions, RollingGrpcRun>({
    servers,
    client: "rolling-grpc.ts",
    load,
    restarts,
  });
  return { ...result, duplicates: duplicatesOf(seen) };
}
