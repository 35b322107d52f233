/**
 * Rolling restarts of five real server processes under load: what fails, and whether any POST
 * arrives twice. With both halves of inmesh nothing may fail; a plain server and a plain client are
 * there to show what each half saves alone. Also `npm run check:rolling`.
 */
import type { RollingLoad, RollingRun } from "./child/rolling.ts";
import type { RollingServer } from "./child/rolling-server.ts";
import { duplicatesOf, roll, ServerPlace } from "./fleet.ts";
import { row, type Options, type Row } from "./report.ts";
import { runGrpc } from "./rolling-grpc.ts";
import { freePort } from "../scripts/free-port.ts";

export const describe = "20 rolling restarts of 5 servers under load: failed calls, double POSTs";

const SERVERS = 5;
const PER_SECOND = 1000;
const RESTARTS = 20;
const QUICK_RESTARTS = 2;
/** The variants for context show their failures soon. */
const CONTEXT_RESTARTS = 3;
interface Variant {
  readonly name: string;
  readonly http2: boolean;
  readonly wrapped: boolean;
  readonly client: RollingLoad["client"];
}

/** What each half saves alone, and what is lost without both. */
const CONTEXT: readonly Variant[] = [
  { name: "plain_server", http2: false, wrapped: false, client: "inmesh" },
  { name: "plain_client", http2: false, wrapped: true, client: "plain" },
  { name: "plain_both", http2: false, wrapped: false, client: "plain" },
];

type Result = RollingRun & { readonly duplicates: number };

export async function run(options: Options): Promise<Row[]> {
  return options.grpc ? runGrpc(options) : runHttp(options);
}

async function runHttp({ quick, progress }: Options): Promise<Row[]> {
  const restarts = quick ? QUICK_RESTARTS : RESTARTS;
  const measure = async (variant: Variant, times: number): Promise<Result> => {
    const result = await measured(variant, times);
    const { calls, failed, duplicates, slowestMs, errors } = result;
    progress(
      `rolling: ${variant.name}, ${times} restarts: ${failed} of ${calls} failed, ${duplicates} double POSTs, slowest ${slowestMs.toFixed(0)} ms`,
    );
    for (const error of errors) progress(`  ${error}`);
    return result;
  };
  const both = { wrapped: true, client: "inmesh" } as const;
  const http1 = await measure({ name: "http1", http2: false, ...both }, restarts);
  const http2 = await measure({ name: "http2", http2: true, ...both }, restarts);
  const context: Row[] = [];
  // Of the quick form the last alone, once, which shows that this load fails where nothing protects it.
  for (const variant of quick ? CONTEXT.slice(-1) : CONTEXT) {
    const result = await measure(variant, quick ? 1 : CONTEXT_RESTARTS);
    context.push(...perThousand(`rolling.${variant.name}`, result));
  }
  return [
    row("rolling.failed", "{call}", [http1.failed + http2.failed], 0),
    row("rolling.duplicate_posts", "{call}", [http1.duplicates + http2.duplicates], 0),
    row("rolling.slowest_ms", "ms", [Math.max(http1.slowestMs, http2.slowestMs)]),
    row("rolling.calls", "{call}", [http1.calls + http2.calls]),
    row("rolling.failed.http1", "{call}", [http1.failed], 0),
    row("rolling.failed.http2", "{call}", [http2.failed], 0),
    row("rolling.slowest_ms.http1", "ms", [http1.slowestMs]),
    row("rolling.slowest_ms.http2", "ms", [http2.slowestMs]),
    ...context,
  ];
}

function perThousand(name: string, { failed, calls, duplicates }: Result): Row[] {
  return [
    row(`${name}.failed_per_1000`, "{call}", [(1000 * failed) / calls]),
    row(`${name}.duplicate_posts`, "{call}", [duplicates]),
  ];
}

async function measured(variant: Variant, restarts: number): Promise<Result> {
  const seen = new Map<string, number>();
  const servers: ServerPlace<RollingServer>[] = [];
  const { wrapped, http2, client } = variant;
  for (let i = 0; i < SERVERS; i++) {
    const options = { port: await freePort(), wrapped, http2 };
    servers.push(new ServerPlace("rolling-server.ts", options, seen));
  }
  const ports = servers.map(({ port }) => port);
  const load: RollingLoad = { client, http2, wrapped, ports, perSecond: PER_SECOND };
  const result = await roll<RollingServer, RollingRun>({
    servers,
    client: "rolling.ts",
    load,
    restarts,
  });
  return { ...result, duplicates: duplicatesOf(seen) };
}
