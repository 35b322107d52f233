/**
 * mesh-proxy for ten minutes (`--seconds N`) under a load of everything: HTTP/1 with lengths and with chunks, HTTP/2, gRPC and
 * TCP in both directions, transfers that are broken off, clients that come and go, and a file that changes. Its memory
 * has to be flat once it is warm, and nothing may fail that was not broken off. Also `npm run soak:proxy`.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MeshProxy, replace } from "./proxy-program.ts";
import { GRPC, http1, HTTP2, TCP, type Client, type Way } from "./proxy-ways.ts";
import { quantile, row, type Options, type Row } from "./report.ts";

export const describe = "mesh-proxy for ten minutes under a load of everything: memory, failures";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SECONDS = 600;
const QUICK_SECONDS = 20;
/** Of the whole: V8 compiles, and its young generation takes minutes to find its size. */
const WARM_SHARE = 0.5;
const SAMPLE_MS = 1_000;
const RELOAD_MS = 5_000;
/** Of each way, at a time. */
const CLIENTS = 3;
const PAUSE_MS = 20;
const QUIET_MS = 1_000;
const MAX_BYTES = 65_536;
/** Every so many transfers of a client one is long, one is broken off, and the client comes anew. */
const LONG_EVERY = 50;
const LONG_BYTES = 1_048_576;
const BREAK_EVERY = 10;
const RENEW_EVERY = 200;
/** A transfer that takes longer has been lost. */
const LOST_MS = 30_000;
/** RSS between the first and the last third of the time after it is warm. */
const MAX_GROWTH_MB = 5;
/** What lives, between the time when it is warm and the end, without load at both: a leak shows there first. */
const MAX_LIVE_GROWTH_MB = 1;
const MAX_ERRORS_SHOWN = 5;

const WAYS: readonly Way[] = [http1("http1", false), http1("chunked", true), HTTP2, GRPC, TCP];

export async function run({ quick, progress, seconds }: Options): Promise<Row[]> {
  if (process.platform !== "linux") throw new Error("proxy-soak: needs /proc, so it runs on Linux");
  progress("proxy-soak: building the packages");
  await promisify(execFile)("npm", ["run", "--silent", "build"], { cwd: ROOT });
  const folder = mkdtempSync(join(tmpdir(), "inmesh-soak-"));
  const file = join(folder, "mesh.json");
  const closers: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const load = new Load();
  try {
    const endpoints = new Map<string, string[]>();
    for (const { name, serve } of WAYS) {
      const servers = [await serve(), await serve()];
      closers.push(...servers.map(({ close }) => close));
      endpoints.set(
        name,
        servers.map(({ port }) => `127.0.0.1:${port}`),
      );
    }
    replace(file, configOf(0, endpoints));
    const proxy = await MeshProxy.start(file, { built: true, watched: true });
    closers.push(() => proxy.stop("SIGKILL"));
    for (const way of WAYS) load.start(way, proxy.port(way.name));
    const samples: number[] = [];
    const durationMs = 1_000 * (seconds ?? (quick ? QUICK_SECONDS : SECONDS));
    const startedAt = performance.now();
    let live = 0;
    for (let n = 1, reloads = 0; n * SAMPLE_MS <= durationMs; n++) {
      if (n * SAMPLE_MS === durationMs * WARM_SHARE) live = await quietLiveMb(proxy, load);
      await pause(Math.max(0, startedAt + n * SAMPLE_MS - performance.now()));
      samples.push(proxy.rssMb());
      if ((n * SAMPLE_MS) % RELOAD_MS === 0) replace(file, configOf(++reloads, endpoints));
      if ((n * SAMPLE_MS) % (durationMs / 10) !== 0) continue;
      progress(
        `proxy-soak: ${n} s: ${samples.at(-1)!.toFixed(1)} MB, ${load.made} transfers, ${load.broken} broken off, ${load.failed} failed`,
      );
    }
    const mostMb = proxy.rssMb("VmHWM");
    const grown = (await quietLiveMb(proxy, load)) - live;
    await load.stop();
    for (const error of load.errors) progress(`proxy-soak: ${error}`);
    return [
      ...rowsOf(samples, mostMb, load),
      row("proxy.soak.live_mb", "MB", [live]),
      row("proxy.soak.live_growth_mb", "MB", [grown], MAX_LIVE_GROWTH_MB),
    ];
  } finally {
    await load.stop();
    for (const close of closers.toReversed()) await close();
  }
}

/** With no transfer in progress. */
async function quietLiveMb(proxy: MeshProxy, load: Load): Promise<number> {
  await load.pause();
  try {
    return await proxy.liveMb();
  } finally {
    load.goOn();
  }
}

function rowsOf(samples: readonly number[], most: number, load: Load): Row[] {
  const warm = samples.slice(Math.floor(samples.length * WARM_SHARE));
  const third = Math.floor(warm.length / 3);
  const growth = quantile(warm.slice(-third), 0.5) - quantile(warm.slice(0, third), 0.5);
  return [
    row("proxy.soak.transfers", "transfers", [load.made]),
    row("proxy.soak.broken_off", "transfers", [load.broken]),
    row("proxy.soak.failed", "transfers", [load.failed], 0),
    row("proxy.soak.rss_mb", "MB", warm),
    row("proxy.soak.rss_mb.most", "MB", [most]),
    row("proxy.soak.growth_mb", "MB", [growth], MAX_GROWTH_MB),
    row("proxy.soak.slope_mb_per_hour", "MB/h", [slope(warm) * 3_600]),
  ];
}

/** By least squares, for each sample. */
function slope(samples: readonly number[]): number {
  const middle = (samples.length - 1) / 2;
  let up = 0;
  let down = 0;
  for (const [n, value] of samples.entries()) {
    up += (n - middle) * value;
    down += (n - middle) ** 2;
  }
  return up / down;
}

/** Each differs from the one before it: endpoints, a limit of time, a route. */
function configOf(n: number, endpoints: ReadonlyMap<string, readonly string[]>): object {
  const services = WAYS.map(({ name, service }) => {
    const all = endpoints.get(name)!;
    return [
      name,
      {
        ...service,
        discovery: { static: n % 3 === 2 ? all.slice(0, 1) : all },
        timeouts: { request: `${60 + (n % 5)}s` },
        ...(n % 2 === 0 && { routes: [{ name: "read", matches: [{ method: "GET" }] }] }),
      },
    ];
  });
  const listeners = WAYS.map(({ name, listener }) => [
    name,
    { ...listener, listen: "127.0.0.1:0", service: name, idleTimeout: `${1 + (n % 7)}m` },
  ]);
  return {
    services: Object.fromEntries(services),
    proxy: { listeners: Object.fromEntries(listeners) },
  };
}

class Load {
  made = 0;
  broken = 0;
  failed = 0;
  readonly errors: string[] = [];
  readonly #clients: Promise<void>[] = [];
  #isOver = false;
  #busy = 0;
  #paused: PromiseWithResolvers<void> | undefined = undefined;

  /** Resolves when nothing is in progress. */
  async pause(): Promise<void> {
    this.#paused = Promise.withResolvers();
    while (this.#busy > 0) await pause(PAUSE_MS);
    // For what the other side has still to hear, such as of a transfer that was broken off.
    await pause(QUIET_MS);
  }

  goOn(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  start(way: Way, port: number): void {
    for (let n = 0; n < CLIENTS; n++) this.#clients.push(this.#client(way, port, n));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  /** Does not reject. */
  async #client(way: Way, port: number, first: number): Promise<void> {
    let client: Client | undefined;
    for (let n = first; !this.#isOver; n++) {
      await this.#paused?.promise;
      this.#busy++;
      try {
        if (n % RENEW_EVERY === RENEW_EVERY - 1) {
          client?.close();
          client = undefined;
        }
        client ??= await way.open(port);
        await this.#transfer(client, n);
      } catch (error) {
        this.failed++;
        if (this.errors.length < MAX_ERRORS_SHOWN)
          this.errors.push(`${way.name}: ${String(error)}`);
        client?.close();
        client = undefined;
      }
      this.#busy--;
      await pause(PAUSE_MS * Math.random() * 2);
    }
    client?.close();
  }

  async #transfer(client: Client, n: number): Promise<void> {
    const direction = n % 2 === 0 ? "up" : "down";
    if (n % BREAK_EVERY === BREAK_EVERY - 1 || n % BREAK_EVERY === 4) {
      await inTime(client.breakOff(direction));
      this.broken++;
      return;
    }
    const bytes = n % LONG_EVERY < 2 ? LONG_BYTES : 1 + Math.floor(Math.random() * MAX_BYTES);
    const got = await inTime(client[direction](bytes));
    if (got !== bytes) throw new Error(`${got} of ${bytes} bytes have arrived, ${direction}`);
    this.made++;
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = pause(LOST_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`nothing for ${LOST_MS} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
