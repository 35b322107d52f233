/**
 * Rolling restarts of five real server processes under load: what fails, and whether any POST
 * arrives twice. With both halves of inmesh nothing may fail; a plain server and a plain client are
 * there to show what each half saves alone. Also `npm run check:rolling`.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import type { RollingLoad, RollingRun } from "./child/rolling.ts";
import type { FromRollingServer, RollingServer } from "./child/rolling-server.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "20 rolling restarts of 5 servers under load: failed calls, double POSTs";

const SERVERS = 5;
const PER_SECOND = 1000;
const RESTARTS = 20;
const QUICK_RESTARTS = 2;
/** The variants for context show their failures soon. */
const CONTEXT_RESTARTS = 3;
/** Between two servers: the fleet is whole again. */
const PAUSE_MS = 150;
/** A server of ours that does not stop is a failure of its own… */
const STOP_WITHIN_MS = 20_000;
/** …and a plain one often does not while its keep-alive connections are used: it is killed. */
const PLAIN_STOP_WITHIN_MS = 2_000;
const FLAGS = ["--no-warnings", "--conditions=inmesh-source"];

interface Variant {
  readonly name: string;
  readonly http2: boolean;
  readonly wrapped: boolean;
  readonly client: RollingLoad["client"];
}

type Result = RollingRun & { readonly duplicates: number };

export async function run({ quick, progress }: Options): Promise<Row[]> {
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
  const context = Math.min(restarts, CONTEXT_RESTARTS);
  const plainServer = await measure(
    { name: "plain_server", http2: false, wrapped: false, client: "inmesh" },
    context,
  );
  const plainClient = await measure(
    { name: "plain_client", http2: false, wrapped: true, client: "plain" },
    context,
  );
  const none = await measure(
    { name: "plain_both", http2: false, wrapped: false, client: "plain" },
    context,
  );
  return [
    row("rolling.failed", "{call}", [http1.failed + http2.failed], 0),
    row("rolling.duplicate_posts", "{call}", [http1.duplicates + http2.duplicates], 0),
    row("rolling.slowest_ms", "ms", [Math.max(http1.slowestMs, http2.slowestMs)]),
    row("rolling.calls", "{call}", [http1.calls + http2.calls]),
    row("rolling.failed.http1", "{call}", [http1.failed], 0),
    row("rolling.failed.http2", "{call}", [http2.failed], 0),
    row("rolling.slowest_ms.http1", "ms", [http1.slowestMs]),
    row("rolling.slowest_ms.http2", "ms", [http2.slowestMs]),
    ...perThousand("rolling.plain_server", plainServer),
    ...perThousand("rolling.plain_client", plainClient),
    ...perThousand("rolling.plain_both", none),
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
  const servers: Server[] = [];
  let client: ChildProcess | undefined;
  try {
    for (let i = 0; i < SERVERS; i++) {
      const { wrapped, http2 } = variant;
      servers.push(new Server({ port: await freePort(), wrapped, http2 }, seen));
    }
    await Promise.all(servers.map((server) => server.start()));
    const load: RollingLoad = {
      client: variant.client,
      http2: variant.http2,
      ports: servers.map(({ port }) => port),
      perSecond: PER_SECOND,
    };
    client = fork(script("rolling.ts"), [JSON.stringify(load)], { execArgv: FLAGS });
    await once(client, "message");
    await sleep(1000);
    for (let i = 0; i < restarts; i++) {
      for (const server of servers) {
        await server.stop();
        await server.start();
        await sleep(PAUSE_MS);
      }
    }
    const ended = once(client, "message");
    client.send("stop");
    const [result] = (await ended) as [RollingRun];
    for (const server of servers) await server.stop();
    const duplicates = [...seen.values()].filter((times) => times > 1).length;
    return { ...result, duplicates };
  } finally {
    client?.kill("SIGKILL");
    for (const server of servers) server.kill();
  }
}

class Server {
  readonly port: number;
  readonly #options: RollingServer;
  readonly #seen: Map<string, number>;
  #process: ChildProcess | undefined;

  constructor(options: RollingServer, seen: Map<string, number>) {
    this.#options = options;
    this.port = options.port;
    this.#seen = seen;
  }

  async start(): Promise<void> {
    const child = fork(script("rolling-server.ts"), [JSON.stringify(this.#options)], {
      execArgv: FLAGS,
    });
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.on("message", (message) => {
        const news = message as FromRollingServer;
        if ("listening" in news) return resolve();
        for (const id of news.posts) this.#seen.set(id, (this.#seen.get(id) ?? 0) + 1);
      });
      child.once("exit", () => reject(new Error(`the server on ${this.port} ended early`)));
    });
  }

  /** SIGTERM, and until the process is gone. */
  async stop(): Promise<void> {
    const child = this.#process!;
    child.removeAllListeners("exit");
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    const { wrapped } = this.#options;
    const graceMs = wrapped ? STOP_WITHIN_MS : PLAIN_STOP_WITHIN_MS;
    const late = setTimeout(() => child.kill("SIGKILL"), graceMs);
    const [code] = (await gone) as [number | null];
    clearTimeout(late);
    if (wrapped && code !== 0) throw new Error(`the server on ${this.port} did not stop (${code})`);
  }

  kill(): void {
    this.#process?.removeAllListeners("exit");
    this.#process?.kill("SIGKILL");
  }
}

/** Below the ports that outgoing connections get: a stopped server's port must stay free for it. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const free = await new Promise<boolean>((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

function script(name: string): string {
  return fileURLToPath(new URL(`./child/${name}`, import.meta.url));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
