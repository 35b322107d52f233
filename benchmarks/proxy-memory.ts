/**
 * What mesh-proxy keeps in memory: a gibibyte through it in each direction, over HTTP/1, HTTP/2 and TCP, and ten thousand
 * connections that are idle and then all used. The program is the built one, new for each row, and has served a little
 * before; a growth is from there to the most that the kernel has seen (VmHWM). Both ends are Node's own HTTP and
 * sockets, and count every byte. `npm run check:proxy` has these rows too.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MeshProxy, replace } from "./proxy-program.ts";
import { http1, HTTP2, TCP, type Way } from "./proxy-ways.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe =
  "memory of mesh-proxy: a gibibyte in each direction, ten thousand connections";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BYTES = 1_073_741_824;
const QUICK_BYTES = 134_217_728;
const MAX_GROWTH_MB = 20;
/** Before the growth is counted from there. */
const WARM_TRANSFERS = 200;
const WARM_BYTES = 2_048;
const CONNECTIONS = 10_000;
const QUICK_CONNECTIONS = 1_000;
/** Of those that are opened, or used, at a time. */
const AT_A_TIME = 100;

/** What all parts of it need of the options. */
type Given = Pick<Options, "quick" | "progress" | "only">;

export async function run({ quick, progress, only = "" }: Given): Promise<Row[]> {
  if (process.platform !== "linux")
    throw new Error("proxy-memory: needs /proc, so it runs on Linux");
  progress("proxy-memory: building the packages");
  await promisify(execFile)("npm", ["run", "--silent", "build"], { cwd: ROOT });
  return [
    ...(await transferRows({ quick, progress, only })),
    ...("idle".startsWith(only) ? await idleRows({ quick, progress }) : []),
  ];
}

// ── much at once ─────────────────────────────────────────────────────────────────────────────────

async function transferRows({ quick, progress, only = "" }: Given): Promise<Row[]> {
  const bytes = quick ? QUICK_BYTES : BYTES;
  const rows: Row[] = [];
  for (const way of [http1("http1", false), http1("chunked", true), HTTP2, TCP]) {
    for (const direction of ["up", "down"] as const) {
      if (!way.name.startsWith(only)) continue;
      const { before, most } = await transfer(way, direction, bytes);
      const megabytes = bytes / 1_048_576;
      progress(
        `proxy-memory: ${megabytes} MiB ${direction} over ${way.name}: ${before.toFixed(1)} MB before, ${most.toFixed(1)} at most`,
      );
      const suffix = way.name === "http1" ? "" : `.${way.name}`;
      rows.push(
        row(`proxy.rss_mb.gib_${direction}${suffix}`, "MB", [most - before], MAX_GROWTH_MB),
      );
    }
  }
  return rows;
}

async function transfer(
  way: Way,
  direction: "up" | "down",
  bytes: number,
): Promise<{ before: number; most: number }> {
  const server = await way.serve();
  const { proxy, stop } = await proxyTo(server.port, way);
  try {
    const client = await way.open(proxy.port("out"));
    for (let n = 0; n < WARM_TRANSFERS; n++) {
      for (const one of ["up", "down"] as const) check(await client[one](WARM_BYTES), WARM_BYTES);
    }
    await pause(500);
    const before = proxy.rssMb();
    proxy.forgetPeak();
    check(await client[direction](bytes), bytes);
    const most = proxy.rssMb("VmHWM");
    client.close();
    return { before, most };
  } finally {
    await stop();
    server.close();
  }
}

function check(got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${got} bytes of ${wanted} have arrived`);
}

async function proxyTo(
  port: number,
  { service, listener }: Pick<Way, "service" | "listener">,
): Promise<{ proxy: MeshProxy; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-bench-"));
  const file = join(folder, "mesh.json");
  replace(file, {
    services: {
      orders: {
        discovery: { static: [`127.0.0.1:${port}`] },
        timeouts: { request: "10m" },
        ...service,
      },
    },
    proxy: { listeners: { out: { listen: "127.0.0.1:0", service: "orders", ...listener } } },
  });
  try {
    const proxy = await MeshProxy.start(file, { built: true });
    const stop = async (): Promise<void> => {
      await proxy.stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    };
    return { proxy, stop };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

// ── many connections ─────────────────────────────────────────────────────────────────────────────

async function idleRows({ quick, progress }: Given): Promise<Row[]> {
  const count = quick ? QUICK_CONNECTIONS : CONNECTIONS;
  const needed = 2 * count;
  const allowed = descriptors();
  if (allowed < needed) {
    progress(
      `proxy-memory: ${count} connections need ${needed} descriptors, because a listener takes half of them at most, and a process may have ${allowed} here: raise the hard limit (ulimit -Hn, LimitNOFILE= of a unit); their rows are left out`,
    );
    return [];
  }
  const server = await http1("http1", false).serve();
  const { proxy, stop } = await proxyTo(server.port, { service: {}, listener: {} });
  const sockets: Socket[] = [];
  try {
    const port = proxy.port("out");
    await used(await opened(port, AT_A_TIME, sockets));
    await pause(500);
    const before = proxy.rssMb();
    progress(`proxy-memory: opening ${count} connections`);
    let failed = 0;
    while (sockets.length < count) failed += await used(await opened(port, AT_A_TIME, sockets));
    await pause(2_000);
    const idle = proxy.rssMb();
    for (let at = 0; at < count; at += AT_A_TIME)
      failed += await used(sockets.slice(at, at + AT_A_TIME));
    const most = proxy.rssMb("VmHWM");
    progress(
      `proxy-memory: ${before.toFixed(1)} MB with ${AT_A_TIME} connections, ${idle.toFixed(1)} with ${count}, ${most.toFixed(1)} at most; ${failed} requests failed`,
    );
    const kb = ((idle - before) * 1_024) / (count - AT_A_TIME);
    return [
      row(`proxy.connections.${count}.failed`, "requests", [failed], 0),
      row(`proxy.connections.${count}.rss_mb`, "MB", [idle]),
      row(`proxy.connections.${count}.rss_kb_each`, "KB", [kb]),
    ];
  } finally {
    for (const socket of sockets) socket.destroy();
    await stop();
    server.close();
  }
}

async function opened(port: number, count: number, all: Socket[]): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect({ host: "127.0.0.1", port }));
  all.push(...sockets);
  for (const socket of sockets) socket.on("error", () => {});
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return sockets;
}

/** A request on each; how many were not answered. */
async function used(sockets: readonly Socket[]): Promise<number> {
  const answers = sockets.map(
    (socket) =>
      new Promise<boolean>((resolve) => {
        let text = "";
        const done = (ok: boolean): void => {
          socket.off("data", read);
          socket.off("close", closed);
          resolve(ok);
        };
        const closed = (): void => done(false);
        const read = (chunk: Buffer): void => {
          text += chunk.toString("latin1");
          if (text.endsWith("0123456789")) done(text.startsWith("HTTP/1.1 200 "));
        };
        socket.on("data", read);
        socket.on("close", closed);
        if (socket.destroyed) closed();
        else socket.write("GET /10 HTTP/1.1\r\nHost: orders\r\n\r\n");
      }),
  );
  return (await Promise.all(answers)).filter((ok) => !ok).length;
}

/** Node raises the soft limit to the hard one as it starts. */
function descriptors(): number {
  const text = readFileSync("/proc/self/limits", "latin1");
  const [, soft] = /^Max open files\s+(\d+)/m.exec(text) ?? [];
  return soft === undefined ? Infinity : Number(soft);
}
