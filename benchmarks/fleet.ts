/** Server processes that are stopped and started again: what rolling restarts are made of. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** How scripts of this folder are run: from source. */
export const FLAGS: readonly string[] = ["--no-warnings", "--conditions=inmesh-source"];
/** A server of ours that does not stop is a failure of its own… */
const STOP_WITHIN_MS = 20_000;
/** …and a plain one often does not while its connections are used: it is killed. */
const PLAIN_STOP_WITHIN_MS = 2_000;

export interface ServerOptions {
  readonly port: number;
  /** By our server half. */
  readonly wrapped: boolean;
}

/** What such a process tells. */
export type FromServer = { readonly listening: number } | { readonly ids: readonly string[] };

/** One place in the fleet: a script of `child/`, which gets its options as JSON. */
export class ServerPlace<O extends ServerOptions> {
  readonly port: number;
  readonly #script: string;
  readonly #options: O;
  readonly #seen: Map<string, number>;
  #process: ChildProcess | undefined;

  /** `seen` counts the ids that servers report. */
  constructor(name: string, options: O, seen: Map<string, number>) {
    this.#script = script(name);
    this.#options = options;
    this.port = options.port;
    this.#seen = seen;
  }

  async start(): Promise<void> {
    const child = fork(this.#script, [JSON.stringify(this.#options)], { execArgv: [...FLAGS] });
    this.#process = child;
    await new Promise<void>((resolve, reject) => {
      child.on("message", (message) => {
        const news = message as FromServer;
        if ("listening" in news) return resolve();
        for (const id of news.ids) this.#seen.set(id, (this.#seen.get(id) ?? 0) + 1);
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

export interface Rolling<O extends ServerOptions> {
  readonly servers: readonly ServerPlace<O>[];
  /** Scripts of `child/`; the client gets its load as JSON, says when it is ready, and its result at the end. */
  readonly client: string;
  readonly load: unknown;
  readonly restarts: number;
}

/** Between two servers: the fleet is whole again. */
const PAUSE_MS = 150;

/** All of them, one after the other, so many times, while the client calls. */
export async function roll<O extends ServerOptions, Result>(rolling: Rolling<O>): Promise<Result> {
  const { servers } = rolling;
  let client: ChildProcess | undefined;
  try {
    await Promise.all(servers.map((server) => server.start()));
    client = fork(script(rolling.client), [JSON.stringify(rolling.load)], { execArgv: [...FLAGS] });
    await once(client, "message");
    await sleep(1000);
    for (let i = 0; i < rolling.restarts; i++) {
      for (const server of servers) {
        await server.stop();
        await server.start();
        await sleep(PAUSE_MS);
      }
    }
    const ended = once(client, "message");
    client.send("stop");
    const [result] = (await ended) as [Result];
    for (const server of servers) await server.stop();
    return result;
  } finally {
    client?.kill("SIGKILL");
    for (const server of servers) server.kill();
  }
}

/** More than once. */
export function duplicatesOf(seen: ReadonlyMap<string, number>): number {
  return [...seen.values()].filter((times) => times > 1).length;
}

function script(name: string): string {
  return fileURLToPath(new URL(`./child/${name}`, import.meta.url));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
