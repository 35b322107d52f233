/**
 * The registry of a machine: servers that are killed in the middle of their work are gone at once, whatever they leave
 * behind, and a new one is called soon (`--only kills`); 500 of them cost little (`--only many`). Also
 * `npm run check:registry`.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createMesh, meshClient, type HttpMesh, type MeshClient } from "@inmesh/http";
import { ask } from "./child.ts";
import type { ManyRequest } from "./child/registry-many.ts";
import type { WatcherRequest } from "./child/registry-watcher.ts";
import { quantile, row, type Options, type Row } from "./report.ts";

export const describe = "the registry of a machine: kills, new servers, 500 servers";

const KILLS = 200;
const QUICK_KILLS = 8;
/** Of these nothing is watching at their end, so that all they leave behind is there for the next reader. */
const UNWATCHED_RATIO = 0.25;
const SLOTS = 4;
const SERVERS = 500;
const FLAGS = ["--no-warnings", "--expose-gc", "--conditions=inmesh-source"];

export async function run(options: Options): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-check-registry-"));
  const dir = join(folder, "run");
  // 200 processes compile the same code.
  const NODE_COMPILE_CACHE = join(folder, "cache");
  const children: ChildProcess[] = [];
  const forked = async (
    script: string,
    args: readonly string[],
  ): Promise<[ChildProcess, unknown]> => {
    const path = fileURLToPath(new URL(`./child/${script}`, import.meta.url));
    const env = { ...process.env, INMESH_REGISTRY: dir, NODE_COMPILE_CACHE };
    const child = fork(path, args, { execArgv: FLAGS, env });
    children.push(child);
    const [first] = (await once(child, "message")) as [unknown];
    return [child, first];
  };
  try {
    const wanted = (part: string): boolean => part.startsWith(options.only ?? "");
    const rows: Row[] = [];
    if (wanted("kills")) rows.push(...(await kills(dir, forked, options)));
    if (wanted("many")) rows.push(...(await many(dir, forked, options)));
    return rows;
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

type Fork = (script: string, args: readonly string[]) => Promise<[ChildProcess, unknown]>;

async function kills(dir: string, forked: Fork, { quick, progress }: Options): Promise<Row[]> {
  const total = quick ? QUICK_KILLS : KILLS;
  const unwatched = Math.ceil(total * UNWATCHED_RATIO);
  const calledMs: number[] = [];
  const goneMs: number[] = [];
  let stale = 0;
  let left = total;
  const mesh = createMesh({ registry: dir, env: {} });
  const slot = async (name: string): Promise<void> => {
    const client = meshClient(name, { mesh });
    // What the first call loads is not the registry's.
    await client.fetch("/").catch(() => {});
    while (left > unwatched) {
      left--;
      const [child, listensAt] = await forked("registry-server.ts", [name]);
      const answer = await firstAnswer(client);
      calledMs.push(Date.now() - Number(listensAt));
      if (answer !== String(child.pid)) stale++;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      const endedAt = performance.now();
      while (endpointsOf(mesh, name) > 0 && performance.now() - endedAt < 5_000) await sleep(1);
      goneMs.push(performance.now() - endedAt);
      if (endpointsOf(mesh, name) > 0) stale++;
      if (goneMs.length % 20 === 0)
        progress(`registry: ${goneMs.length} of ${total} killed, ${stale} stale`);
    }
  };
  await Promise.all(Array.from({ length: SLOTS }, (_, i) => slot(`orders-${i}`)));
  await mesh.close(0);
  progress("registry: killed while nothing watches");
  const killed = async (): Promise<void> => {
    while (left > 0) {
      left--;
      if (left % 20 === 0) progress(`registry: ${total - left} of ${total} killed`);
      const [child] = await forked("registry-server.ts", ["cart"]);
      // It listens before it is announced, and the next one that announces itself clears away a half-written entry.
      const isIts = (file: string): boolean =>
        file.includes(`~${child.pid}-`) && file.endsWith(".json");
      while (!readdirSync(dir).some(isIts)) await sleep(1);
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  };
  await Promise.all(Array.from({ length: SLOTS }, killed));
  // The pid of half of them is that of a living process now: this one.
  const files = readdirSync(dir).filter((file) => /\.(json|sock)$/.test(file));
  const ids = [...new Set(files.map((file) => /([0-9]+-[0-9a-f]{8})\./.exec(file)![1]!))];
  for (const id of ids.slice(0, Math.ceil(ids.length / 2))) {
    const reused = id.replace(/^[0-9]+/, String(process.pid));
    for (const file of files.filter((one) => one.includes(id))) {
      renameSync(join(dir, file), join(dir, file.replace(id, reused)));
    }
  }
  const reader = createMesh({ registry: dir, env: {} });
  await meshClient("cart", { mesh: reader })
    .fetch("/")
    .catch(() => {});
  stale += endpointsOf(reader, "cart");
  await sleep(500);
  await reader.close(0);
  return [
    row("registry.stale", "{entry}", [stale], 0),
    row("registry.left_behind", "{file}", [readdirSync(dir).length], 0),
    row("registry.killed", "{process}", [total]),
    row("registry.called_ms.max", "ms", [Math.max(...calledMs)], 1_000),
    row("registry.called_ms", "ms", calledMs),
    row("registry.gone_ms.max", "ms", [Math.max(...goneMs)], 1_000),
    row("registry.gone_ms", "ms", goneMs),
  ];
}

async function many(dir: string, forked: Fork, { quick, progress }: Options): Promise<Row[]> {
  const servers = quick ? SERVERS / 5 : SERVERS;
  const seconds = quick ? 1 : 10;
  const [announcer] = await forked("registry-many.ts", [dir]);
  const [watcher] = await forked("registry-watcher.ts", [dir, "many"]);
  const announce = (request: ManyRequest): Promise<{ times: number[]; at: number }> =>
    ask(announcer, request);
  const watch = (request: WatcherRequest): Promise<number> => ask(watcher, request);
  progress(`registry: ${servers} servers of other names`);
  const emptyHeap = await watch({ heap: true });
  const idle = await watch({ cpuSeconds: seconds });
  const others = await announce({ announce: servers, name: "other", own: true });
  const idleBesideOthers = await watch({ cpuSeconds: seconds });
  const othersHeap = await watch({ heap: true });
  progress(`registry: ${servers} servers of one name`);
  const seen = watch({ endpoints: servers });
  const { times, at } = await announce({ announce: servers, name: "many", own: false });
  const visibleMs = Math.max(0, (await seen) - at);
  const heap = await watch({ heap: true });
  const idleWithAll = await watch({ cpuSeconds: seconds });
  const busy = watch({ cpuSeconds: seconds });
  const changes = await ask<number>(announcer, { churn: seconds } satisfies ManyRequest);
  const churned = await busy;
  return [
    row("registry.servers", "{server}", [servers]),
    row("registry.announce_ms", "ms", others.times, quick ? null : 20),
    row("registry.announce_ms.all", "ms", times.slice(-50), quick ? null : 20),
    row("registry.announce_ms.p99", "ms", [quantile(times, 0.99)]),
    row("registry.visible_ms.all", "ms", [visibleMs], 1_000),
    row("registry.watcher_bytes_per_server", "By", [(heap - othersHeap) / servers]),
    row("registry.watcher_bytes_per_other", "By", [(othersHeap - emptyHeap) / servers]),
    row("registry.watcher_cpu.alone", "%", [idle]),
    row("registry.watcher_cpu.beside_others", "%", [idleBesideOthers], quick ? null : 2),
    row("registry.watcher_cpu.all", "%", [idleWithAll], quick ? null : 5),
    row("registry.watcher_cpu.changing", "%", [churned]),
    row("registry.changes_per_s", "1/s", [changes / seconds]),
  ];
}

/** Of the first call that succeeds. */
async function firstAnswer(client: MeshClient): Promise<string> {
  for (const startedAt = performance.now(); performance.now() - startedAt < 10_000;) {
    const answer = await client.fetch("/").then(
      (reply) => reply.text(),
      () => "",
    );
    if (answer !== "") return answer;
    await sleep(2);
  }
  throw new Error("a server that listens was not called within 10 s");
}

function endpointsOf(mesh: HttpMesh, name: string): number {
  return mesh.snapshot().services.find((service) => service.name === name)?.endpoints.length ?? 0;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
