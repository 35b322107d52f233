/**
 * The server ends requests by itself while their handlers are at work. These run in a process of their
 * own: a handler that throws ends it, and it has to end with 0.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ServerLimits, ServerSnapshot } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { onTestFinished, runBeside } from "./support/beside.ts";
import { H2Client } from "./support/h2-client.ts";
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  reset,
  RST_STREAM,
} from "./support/h2-peer.ts";
import { RawClient } from "./support/raw-client.ts";
import { sleep } from "./wire.ts";

interface Report {
  readonly notes: Readonly<Record<string, readonly string[]>>;
  readonly snapshot: ServerSnapshot;
}

interface Running {
  readonly child: ChildProcess;
  readonly port: number;
  report(): Promise<Report>;
  /** Its exit code, after all of its handlers have had their time. */
  end(): Promise<number | null>;
}

const CHILD = fileURLToPath(new URL("children/cut-handlers.ts", import.meta.url));
const FLAGS = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];

async function start(
  http2: boolean,
  given: boolean,
  limits: Partial<ServerLimits> = {},
): Promise<Running> {
  const child = fork(CHILD, [JSON.stringify({ http2, given, limits })], { execArgv: FLAGS });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit") as Promise<[number | null]>;
  const [{ port }] = (await Promise.race([once(child, "message"), exited])) as [{ port: number }];
  return {
    child,
    port,
    async report() {
      child.send("report");
      return ((await Promise.race([once(child, "message"), exited])) as [Report])[0];
    },
    async end() {
      await sleep(300);
      child.send("close");
      await sleep(200);
      child.send("exit");
      return (await exited)[0];
    },
  };
}

const head = (path: string): Record<string, string> => ({
  ":method": "POST",
  ":scheme": "http",
  ":path": path,
  ":authority": "svc",
  "content-type": "text/plain",
});

/** Three bytes of a body that is longer, and then silence. */
async function beginPost(http2: boolean, port: number, path: string): Promise<Begun> {
  if (!http2) {
    const client = await RawClient.to(port);
    onTestFinished(() => void client.socket.destroy());
    client.send(
      `POST ${path} HTTP/1.1\r\nhost: svc\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nabc`,
    );
    return {
      raw: client,
      status: async () => (await client.reply()).status,
      leave: () => client.socket.destroy(),
    };
  }
  const client = await H2Client.to(port);
  client.send(
    frame(HEADERS, END_HEADERS, 1, block(head(path))),
    frame(DATA, 0, 1, Buffer.from("abc")),
  );
  return {
    raw: client.raw,
    async status() {
      const { payload } = await client.until(
        (one) => one.type === HEADERS && one.id === 1,
        "a head",
      );
      await client.until((one) => one.type === RST_STREAM && one.id === 1, "the end of the stream");
      // A literal status of three digits, or one of the static table's.
      return Number(/\d{3}/.exec(payload.toString("latin1"))?.[0] ?? payload[0]);
    },
    leave: () => client.send(reset(1, 8)),
  };
}

interface Begun {
  readonly raw: RawClient;
  status(): Promise<number>;
  leave(): void;
}

const SHORT = { bodyIdleTimeoutMs: 200, writeStallTimeoutMs: 200 };
/** Those whose reply has not begun. */
const QUIET = [
  "/listener",
  "/heard",
  "/await",
  "/unread",
  "/busy",
  "/paused",
  "/pipe",
  "/pipeline",
];
const FRAMEWORKS = ["/connect", "/koa", "/fastify"];
/** HTTP/2; a server that is given. */
const SERVERS = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

/** What a handler hears whose client has gone in the middle of a body. */
function expectCut(report: Report, path: string): void {
  const notes = report.notes[path]!;
  expect(notes, path).toContain("aborted");
  expect(notes, path).not.toContain("end");
  expect(
    notes.filter((note) => note === "close"),
    path,
  ).toEqual(["close"]);
  expect(notes, path).toContain("whole false, aborted true");
  expect(
    notes.filter((note) => note === "response close"),
    path,
  ).toHaveLength(1);
}

function expectAllCut(report: Report, paths: readonly string[]): void {
  for (const path of paths) expectCut(report, path);
  expect(report.notes["/heard"]).toContain("error aborted");
  expect(report.notes["/await"]).toEqual(
    expect.arrayContaining(["rejected ECONNRESET", "finally"]),
  );
  expect(report.snapshot.requestsInFlight).toBe(0);
}

/** These answer behind the end of their requests. */
const LATE = new Set(["/unread", "/busy"]);
const SETTLE_MS = 20_000;

/** All handlers have heard of the end, and have answered it. */
async function settled(server: Running, paths: readonly string[]): Promise<Report> {
  const endsAt = performance.now() + SETTLE_MS;
  for (;;) {
    const report = await server.report();
    const isOver = paths.every((path) => {
      const notes = report.notes[path]!;
      const heard = notes.includes("close") && notes.includes("response close");
      return heard && (!LATE.has(path) || notes.includes("answered"));
    });
    if (isOver || performance.now() > endsAt) break;
    await sleep(20);
  }
  await sleep(200); // what comes twice
  return server.report();
}

type Play = (server: Running, http2: boolean, paths: readonly string[]) => Promise<void>;

/** Against all four, at the same time. */
async function onAll(limits: Partial<ServerLimits>, play: Play): Promise<void> {
  await Promise.all(
    SERVERS.map(async ([http2, given]) => {
      const server = await start(http2, given, limits);
      await play(server, http2, [...QUIET, ...FRAMEWORKS, ...(http2 ? [] : ["/express"])]);
      expect(await server.end(), `http2 ${http2}, given ${given}`).toBe(0);
    }),
  );
}

/** All of their handlers are at work. */
async function beginAll(
  server: Running,
  http2: boolean,
  paths: readonly string[],
): Promise<Begun[]> {
  const begun = await Promise.all(paths.map((path) => beginPost(http2, server.port, path)));
  for (;;) {
    const { notes } = await server.report();
    if (paths.every((path) => path in notes)) return begun;
    await sleep(5);
  }
}

describe.concurrent("R1 LS", { timeout: 90_000 }, () => {
  runBeside();
  it("R1 LS: a body that stalls is answered with 408; no handler takes it for whole, or crashes", async () => {
    await onAll(SHORT, async (server, http2, paths) => {
      const begun = await beginAll(server, http2, paths);
      expect(await Promise.all(begun.map((one) => one.status()))).toEqual(paths.map(() => 408));
      const report = await settled(server, paths);
      expectAllCut(report, paths);
      expect(report.snapshot.refused).toEqual({ body_timeout: paths.length });
    });
  });

  it("R1 LS: likewise with the limits as they are by default", { timeout: 90_000 }, async () => {
    await onAll({}, async (server, http2) => {
      const paths = ["/listener", "/heard", "/await", ...FRAMEWORKS];
      const begun = await beginAll(server, http2, paths);
      await sleep(30_000);
      expect(await Promise.all(begun.map((one) => one.status()))).toEqual(paths.map(() => 408));
      expectAllCut(await settled(server, paths), paths);
    });
  });

  it("R1 LS: the end of a drain looks to a handler like the end of the client", async () => {
    await onAll({}, async (server, http2, paths) => {
      await beginAll(server, http2, paths);
      server.child.send("close");
      expectAllCut(await settled(server, paths), paths);
    });
  });

  it("R1 LS: a client that goes in the middle of its body looks the same", async () => {
    await onAll({}, async (server, http2, paths) => {
      for (const one of await beginAll(server, http2, paths)) one.leave();
      expectAllCut(await settled(server, paths), paths);
    });
  });

  it("R1 LS: a reset behind an early reply over HTTP/2 does not make the body whole", async () => {
    await Promise.all(
      [false, true].map(async (given) => {
        const server = await start(true, given);
        const { raw, leave } = await beginPost(true, server.port, "/early");
        await raw.until(() => raw.text.includes("early"), "the reply");
        leave();
        await sleep(200);
        const { notes } = await server.report();
        expect(notes["/early"]).toContain("rejected ECONNRESET");
        expect(notes["/early"]).not.toContain("end");
        expect(await server.end()).toBe(0);
      }),
    );
  });

  it("R1 LS: a body that is here, or has no room, is not waited for while its handler does not read", async () => {
    await Promise.all(
      [false, true].map(async (given) => {
        const server = await start(true, given, SHORT);
        for (const bytes of [3, 60_000]) {
          const client = await H2Client.to(server.port);
          client.send(
            frame(HEADERS, END_HEADERS, 1, block(head("/slow-to-read"))),
            ...Array.from({ length: Math.ceil(bytes / 15_000) }, () =>
              frame(DATA, 0, 1, Buffer.alloc(Math.min(bytes, 15_000))),
            ),
            // All of it, or as much as the window of a stream lets through.
            bytes === 3 ? frame(DATA, END_STREAM, 1) : frame(DATA, 0, 1, Buffer.alloc(5_535)),
          );
          await sleep(1_000);
          if (bytes > 3) client.send(frame(DATA, END_STREAM, 1, Buffer.from("end")));
          await client.reply(1);
          expect(client.raw.text).toContain(`read ${bytes === 3 ? 3 : 65_538}`);
        }
        expect((await server.report()).snapshot.refused).toEqual({});
        expect(await server.end()).toBe(0);
      }),
    );
  });

  it("R1 LS: a reply that has begun is cut, and its request with it", async () => {
    await onAll(SHORT, async (server, http2) => {
      const paths = ["/begun", "/echo", "/large"];
      const [, , large] = await beginAll(server, http2, paths);
      large!.raw.socket.pause();
      let report: Report;
      do {
        await sleep(50);
        report = await server.report();
      } while (report.snapshot.requestsInFlight > 0);
      await sleep(100);
      report = await server.report();
      for (const path of paths) expectCut(report, path);
      expect(report.snapshot.refused).toEqual({ body_timeout: 2, write_stall: 1 });
    });
  });
});
