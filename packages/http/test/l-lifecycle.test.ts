/** Section L of the fault matrix, library client: what happens to the process that calls. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { frame, h2Peer, HEADERS, ok, PING } from "./support/h2-peer.ts";
import { peerOf, sleep, until } from "./wire.ts";

const CHILDREN: string = join(import.meta.dirname, "children");

/** Debian's place for it, or where `LIBFAKETIME` says. */
const libfaketime: string | undefined = [
  process.env["LIBFAKETIME"] ?? "",
  ...globSync("/usr/lib/*/faketime/libfaketime.so.1"),
].find((path) => path !== "" && existsSync(path));

interface WallClockReport {
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** For thirty calls, one after the other. */
  readonly connections: number;
  readonly healedMs: number;
  readonly closedMs: number;
  readonly budgets: readonly number[];
  readonly durations: readonly { readonly count: number; readonly sum: number }[];
  readonly deadline: { readonly tookMs: number };
  readonly backoff: { readonly tookMs: number };
  readonly retryAfter: { readonly tookMs: number };
}

async function runWallClock(
  imports: readonly string[],
  args: readonly string[],
  env: Record<string, string>,
): Promise<WallClockReport> {
  const child = spawn(
    process.execPath,
    [
      "--conditions=inmesh-source",
      "--disable-warning=ExperimentalWarning",
      ...imports.map((path) => `--import=${path}`),
      join(CHILDREN, "wall-clock.ts"),
      ...args,
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } },
  );
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await once(child, "close");
  return JSON.parse(out) as WallClockReport;
}

function expectUnmoved(report: WallClockReport): void {
  // It did jump, in both directions, by an hour at least.
  expect(report.forwardMs).toBeGreaterThan(3_000_000);
  expect(report.backwardMs).toBeGreaterThan(3_000_000);
  expect(report).toMatchObject({
    plainEnds: ["ok"],
    deadline: { end: "call_deadline" },
    backoff: { end: "ok" },
    retryAfter: { end: "ok" },
    opened: "open",
    healed: "closed",
  });
  // A connection that looks an hour old is still a fresh one.
  expect(report.connections).toBeLessThanOrEqual(2);
  expect(report.deadline.tookMs).toBeGreaterThan(195);
  expect(report.deadline.tookMs).toBeLessThan(1_000);
  expect(report.backoff.tookMs).toBeLessThan(1_000);
  expect(report.retryAfter.tookMs).toBeGreaterThan(950);
  expect(report.retryAfter.tookMs).toBeLessThan(2_500);
  expect(report.healedMs).toBeLessThan(8_000);
  expect(report.closedMs).toBeLessThan(2_000);
  for (const balance of report.budgets) {
    expect(balance).toBeGreaterThanOrEqual(0);
    expect(balance).toBeLessThanOrEqual(1_000);
  }
  expect(report.durations.length).toBeGreaterThan(0);
  for (const { count, sum } of report.durations) {
    expect(sum).toBeGreaterThanOrEqual(0);
    // In seconds: no call took longer than this test.
    expect(sum / Math.max(1, count)).toBeLessThan(5);
  }
}

describe("L: lifecycle, library client", () => {
  it("L8 LC: each look at the wall clock shows another time, and nothing is early, late or negative", async () => {
    expectUnmoved(await runWallClock([join(CHILDREN, "jumping-clock.ts")], [], {}));
  });

  it("L8 LC priv: the system's wall clock jumps (libfaketime)", async (context) => {
    if (libfaketime === undefined) return context.skip("libfaketime is not installed");
    const folder = mkdtempSync(join(tmpdir(), "inmesh-"));
    try {
      const file = join(folder, "faketime");
      writeFileSync(file, "+0\n");
      const report = await runWallClock([], [file], {
        LD_PRELOAD: libfaketime,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
        TZ: "UTC",
      });
      expectUnmoved(report);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

interface Ended {
  readonly path: string;
  readonly end: string;
  readonly tookMs: number;
  readonly breaker: string;
}

/** A process of `freezes.ts`, and the calls that have ended in it. */
function startCalling(address: string, version: string): { pid: number; ended: Ended[] } {
  const child = spawn(
    process.execPath,
    [
      "--conditions=inmesh-source",
      "--disable-warning=ExperimentalWarning",
      join(CHILDREN, "freezes.ts"),
      address,
      version,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended: Ended[] = [];
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (text + chunk.toString()).split("\n");
    text = lines.pop()!;
    for (const line of lines) ended.push(JSON.parse(line) as Ended);
  });
  return { pid: child.pid!, ended };
}

describe.concurrent("L7 LC: a process is stopped for six seconds", () => {
  /** The connections of before are open, and no server listens on them any more. */
  const forgotten = { h1: false, h2: false };
  const slow: Record<string, (() => void) | undefined> = {};
  const peers = {
    h1: () =>
      peerOf(async (connection) => {
        for (;;) {
          const { head } = await connection.readRequest();
          if (head.includes(" /slow ")) await new Promise<void>((go) => (slow["h1"] = go));
          else if (forgotten.h1 && connection.number <= 2) return connection.hold();
          await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
      }),
    h2: () =>
      h2Peer(async (connection) => {
        await connection.open();
        let requests = 0;
        for (;;) {
          const got = await connection.next();
          if (forgotten.h2 && connection.number === 1) continue;
          if (got.type === PING) await connection.write(frame(PING, 1, 0, got.payload));
          if (got.type !== HEADERS) continue;
          if (connection.number === 1 && ++requests === 2) {
            slow["h2"] = () => void connection.write(ok(got.id));
          } else await connection.write(ok(got.id));
        }
      }),
  };

  for (const version of ["h1", "h2"] as const) {
    it(`L7 LC: over ${version}, calls go on over new connections, and a reply that came meanwhile counts`, async () => {
      const peer = await peers[version]();
      const { pid, ended } = startCalling(peer.address, version);
      await until(() => slow[version] !== undefined && ended.length >= 3, 20_000);
      process.kill(pid, "SIGSTOP");
      await sleep(500); // replies that were on their way are there
      const before = peer.connections;
      slow[version]!();
      await sleep(100);
      forgotten[version] = true;
      await sleep(5_900);
      const count = ended.length;
      process.kill(pid, "SIGCONT");
      await until(() => ended.length >= count + 15, 20_000);
      // Its deadline of four seconds had passed while the process could not look.
      expect(ended.find(({ path }) => path === "/slow")).toMatchObject({ end: "ok" });
      expect(new Set(ended.map(({ end }) => end))).toEqual(new Set(["ok"]));
      expect(new Set(ended.map(({ breaker }) => breaker))).toEqual(new Set(["closed"]));
      expect(peer.connections).toBeGreaterThan(before);
      process.kill(pid, "SIGKILL");
    }, 60_000);
  }
});
