/**
 * A hundred changes of the configuration file and a hundred `mesh.update` a second under load, with
 * real server processes: no call may fail, and neither heap nor handles may grow. Also
 * `npm run check:config`.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ConfigResult } from "./child/config.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe =
  "100 configuration changes a second under load: failed calls, heap, handles";

const CLIENT = "config.ts";
const SERVERS = 4;
const CHANGES_PER_SECOND = 100;
/** A machine that was busy makes up for what it missed, a few at a time. */
const MAX_AT_ONCE = 5;
const SECONDS = 20;
const QUICK_SECONDS = 3;
/** Before growth means anything, caches are filled and functions compiled. */
const SETTLE_MS = 20_000;
/** A tenth of the time the file is wrong, as files that people edit are. */
const ROUND = 100;
const WRONG_FROM = 90;
const FLAGS = ["--no-warnings", "--expose-gc", "--conditions=inmesh-source"];
/** V8 optimizes for minutes, and keeps lists of what it did: they would hide what the mesh keeps. */
const PLAIN = ["--no-opt", "--no-maglev", "--no-sparkplug", "--no-flush-bytecode"];

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-check-config-"));
  const file = join(folder, "mesh.yaml");
  const children: ChildProcess[] = [];
  const forked = async (name: string, ...args: string[]): Promise<[ChildProcess, unknown]> => {
    const path = fileURLToPath(new URL(`./child/${name}`, import.meta.url));
    const execArgv = name === CLIENT ? [...FLAGS, ...PLAIN] : FLAGS;
    const child = fork(path, args, { execArgv });
    children.push(child);
    const [first] = (await once(child, "message")) as [unknown];
    return [child, first];
  };
  let writing: NodeJS.Timeout | undefined;
  try {
    const servers = await Promise.all(
      Array.from({ length: SERVERS }, () => forked("config-server.ts")),
    );
    const ports = servers.map(([, port]) => port as number);
    replace(file, textOf(0, ports));
    const [client] = await forked(CLIENT, file, JSON.stringify(ports));
    const ask = async <T>(question: string): Promise<T> => {
      const answer = once(client, "message");
      client.send(question);
      return ((await answer) as [T])[0];
    };
    let written = 0;
    const change = async (forMs: number): Promise<void> => {
      client.send("start");
      const startedAt = performance.now();
      let changes = 0;
      writing = setInterval(() => {
        const due = (CHANGES_PER_SECOND * (performance.now() - startedAt)) / 1000;
        for (let i = 0; i < MAX_AT_ONCE && changes < due; i++, changes++) {
          const n = ++written;
          replace(file, n % ROUND >= WRONG_FROM ? "services: [" : textOf(n, ports));
        }
      }, 1000 / CHANGES_PER_SECOND);
      await sleep(forMs);
    };
    const calm = async (): Promise<number> => {
      clearInterval(writing);
      replace(file, textOf(0, ports));
      return await ask<number>("calm");
    };
    progress("config: warming up");
    await change(quick ? 500 : 3_000);
    const handlesBefore = await calm();
    progress("config: changing");
    await change(quick ? 500 : SETTLE_MS);
    const from = await ask<ConfigResult>("result");
    written = 0;
    const seconds = quick ? QUICK_SECONDS : SECONDS;
    await sleep(1000 * seconds);
    const to = await ask<ConfigResult>("result");
    const changes = written;
    const handles = (await calm()) - handlesBefore;
    for (const error of to.errors) progress(`config: ${error}`);
    if (to.calls === from.calls) throw new Error("no call was made");
    const samples = to.heap.slice(from.heap.length);
    const perSecond = (before: number, after: number): number => (after - before) / seconds;
    return [
      row("config.failed", "{call}", [to.failed], 0),
      row("config.heap_slope_kb_per_s", "kB/s", [slope(samples)], quick ? null : 1),
      row("config.handles_growth", "{handle}", [handles], 0),
      row("config.calls", "{call}", [to.calls - from.calls]),
      row("config.slowest_ms", "ms", [to.slowestMs]),
      row("config.changes_per_s", "1/s", [perSecond(0, changes)]),
      row("config.applied_per_s.file", "1/s", [perSecond(from.applied.file, to.applied.file)]),
      row("config.applied_per_s.code", "1/s", [perSecond(from.applied.code, to.applied.code)]),
      row("config.refused", "{update}", [to.applied.refused - from.applied.refused]),
    ];
  } finally {
    clearInterval(writing);
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lists, timeouts, routes and a service that comes and goes; `orders` can always be called. */
function textOf(n: number, ports: readonly number[]): string {
  const listed = ports.filter((_, i) => i !== n % ports.length).map((port) => `127.0.0.1:${port}`);
  const all = ports.map((port) => `127.0.0.1:${port}`);
  const services: Record<string, unknown> = {
    orders: {
      discovery: { static: listed },
      timeouts: { request: `${5_000 + (n % 7)}ms`, backendRequest: "4s" },
      breaker: { consecutiveFailures: 5 + (n % 3) },
    },
    other: { discovery: { static: all } },
  };
  if (n % 2 === 0) services[`extra-${n % 5}`] = { url: "http://127.0.0.1:9" };
  // JSON is YAML too.
  return JSON.stringify({ services }, null, 1);
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Least squares, in kilobytes per second. */
function slope(samples: readonly { readonly at: number; readonly kb: number }[]): number {
  const n = samples.length;
  const meanAt = samples.reduce((sum, { at }) => sum + at, 0) / n;
  const meanKb = samples.reduce((sum, { kb }) => sum + kb, 0) / n;
  let above = 0;
  let below = 0;
  for (const { at, kb } of samples) {
    above += (at - meanAt) * (kb - meanKb);
    below += (at - meanAt) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
