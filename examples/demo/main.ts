/**
 * `npm run demo`: five servers that misbehave on a timeline, and the same load through plain undici
 * round robin and through inmesh, side by side. Both go to the same five processes: at 200 requests
 * a second and server these idle most of the time, slowness and failure are timers and not work, so
 * one side does not slow the other, and both meet exactly the same faults.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createMesh, meshClient, type Mesh } from "inmesh";
import { PrometheusError } from "../../dashboards/prometheus.ts";
import { Fleet } from "./fleet.ts";
import { run, type Send, type Side } from "./load.ts";
import { Observed } from "./observe.ts";
import { roundRobin } from "./round-robin.ts";
import { page, rows } from "./summary.ts";
import { plainLine, stamp, table, type View } from "./table.ts";
import { timeline, windows, type Step } from "./timeline.ts";

const SERVERS = 5;
const MIN_SECONDS = 5;
const HELP = `Usage: npm run demo -- [--seconds N] [--graceful] [--registry]
                           [--json] [--observe]

  --seconds N  length of the run, ${MIN_SECONDS} to 3600 (default 30)
  --graceful   the servers are wrapped by meshServer: they drain before they
               stop, and say before any work that they are overloaded; nothing
               may fail
  --registry   as --graceful, and the servers are found through the registry of
               this machine: each announces itself, and no address is written
  --json       one JSON object on standard output, and nothing else there
  --observe    a Prometheus reads the demo each second; prints its address and
               queries worth trying, and runs until Ctrl-C after the end
               (with --json it ends with the demo)
  --prometheus PATH  the program for --observe (default: the one on the PATH)
  --help       this text
`;
const WITHOUT = `--observe needs a Prometheus: install it (on Debian and Ubuntu: apt-get install
prometheus), or name the program with --prometheus PATH. Without --observe the
demo needs none.
`;
const REDRAW_MS = 250;
/** A young process compiles more than it answers; that is not what is compared here. */
const WARM_UP_SECONDS = 1.5;
const PLAIN_LINES = 15;
/** inmesh's defaults, for the side that has none. */
const TIMEOUTS = { requestMs: 15_000, connectMs: 1_000 };

interface Arguments {
  readonly seconds: number;
  readonly graceful: boolean;
  /** The servers announce themselves, and the mesh finds them by that. */
  readonly registry: boolean;
  readonly json: boolean;
  /** The program that observes. */
  readonly prometheus: string | undefined;
}

function readArguments(): Arguments | string {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "30" },
        graceful: { type: "boolean", default: false },
        registry: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        observe: { type: "boolean", default: false },
        prometheus: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    const seconds = Number(values.seconds);
    if (!(seconds >= MIN_SECONDS && seconds <= 3600)) {
      return `--seconds must be a number from ${MIN_SECONDS} to 3600, got ${values.seconds}`;
    }
    const { registry, json, observe, prometheus } = values;
    const graceful = values.graceful || registry;
    const program = observe ? (prometheus ?? "prometheus") : undefined;
    return { seconds, graceful, registry, json, prometheus: program };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function demo(
  { seconds, graceful, registry, json, prometheus }: Arguments,
  stop: AbortSignal,
): Promise<void> {
  if (!json) process.stdout.write(`Starting ${SERVERS} servers and warming up…\n`);
  // One of its own: a demo must not be called by what else runs on this machine.
  const folder = registry ? mkdtempSync(join(tmpdir(), "inmesh-demo-")) : undefined;
  const fleet = await Fleet.start(SERVERS, graceful, folder);
  const mesh = createMesh({
    env: {},
    // Only who knows that every server is wrapped may believe a refusal that says "not processed".
    config: {
      services: {
        orders: {
          discovery: folder === undefined ? { static: fleet.addresses } : { registry: folder },
          trustNacks: graceful,
          // What the handlers refuse with Retry-After they refuse before any work.
          routes: [{ name: "all", overloadedMeansUnprocessed: graceful }],
        },
      },
    },
  });
  const orders = meshClient("orders", { mesh });
  const throughMesh: Send = async (method, path, headers) => {
    const body = method === "POST" ? "{}" : null;
    const reply = await orders.fetch(path, { method, headers, body });
    await reply.text();
    return { status: reply.status, endpoint: reply.mesh.endpoint };
  };
  const plain = roundRobin(fleet.addresses, TIMEOUTS);
  const inmesh: Side = { name: "inmesh", idPrefix: "inmesh-", send: throughMesh, samples: [] };
  const theirs: Side = { name: "round_robin", idPrefix: "rr-", send: plain.send, samples: [] };
  const sides = [inmesh, theirs];

  const observed =
    prometheus === undefined ? undefined : await startObserving(mesh, prometheus, json);
  await warmUp(sides, stop);
  if (observed !== undefined) for (const side of sides) side.onSample = observed.watch(mesh, side);
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const clock = (): number => performance.now() - startedAt;
  const view: View = { seconds, mesh, fleet, inmesh, roundRobin: theirs };
  const screen = new Screen(view, json, clock);
  const events = play(fleet, timeline(SERVERS, graceful), seconds, stop, (words) =>
    screen.say(words),
  );
  try {
    const load = run(sides, seconds, clock, stop);
    const [latestMs] = await Promise.all([load, events]);
    const cpu = process.cpuUsage(cpuBefore);
    const elapsedMs = clock();
    const result = {
      seconds,
      graceful,
      sides,
      fleet,
      windows: windows(seconds),
      series: mesh.metrics(),
      budget: mesh.snapshot().services[0]!.retryBudget,
      latestMs,
      cpu: (cpu.user + cpu.system) / 1000 / elapsedMs,
      requestMs: TIMEOUTS.requestMs,
      warmUpSeconds: WARM_UP_SECONDS,
    };
    screen.end();
    if (stop.aborted) return;
    if (json) {
      const document = { name: "demo", node: process.version, rows: rows(result) };
      process.stdout.write(`${JSON.stringify(document)}\n`);
    } else {
      process.stdout.write(page(result));
    }
    if (observed !== undefined && !json) {
      fleet.stop();
      process.stdout.write(
        `\nPrometheus keeps what it saw until Ctrl-C: http://${observed.prometheus.address}\n`,
      );
      await new Promise((resolve) => stop.addEventListener("abort", resolve));
    }
  } finally {
    screen.end();
    fleet.stop();
    await Promise.allSettled([mesh.close(0), plain.close(), observed?.stop()]);
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** What it prints goes to standard error with --json. */
async function startObserving(mesh: Mesh, program: string, json: boolean): Promise<Observed> {
  const output = json ? process.stderr : process.stdout;
  output.write("Starting Prometheus, which looks for the first time after five seconds…\n");
  const observed = await Observed.start(mesh, program);
  output.write(observed.lines().join("\n"));
  return observed;
}

async function warmUp(sides: readonly Side[], stop: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  const unseen = sides.map((side) => ({ ...side, idPrefix: "warm-up-", samples: [] }));
  await run(unseen, WARM_UP_SECONDS, () => performance.now() - startedAt, stop);
}

/** Lets the timeline happen. Steps wait for each other: a slow restart delays the next one. */
async function play(
  fleet: Fleet,
  steps: readonly Step[],
  seconds: number,
  stop: AbortSignal,
  say: (words: string) => void,
): Promise<void> {
  const startedAt = performance.now();
  for (const { at, words, act } of steps) {
    const waitMs = at * seconds * 1000 - (performance.now() - startedAt);
    if (waitMs > 0) await pause(waitMs, stop);
    if (stop.aborted) return;
    say(words);
    await act?.(fleet);
  }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stop.addEventListener("abort", done);
  });
}

/** A table drawn over itself on a terminal, lines elsewhere, nothing with --json. */
class Screen {
  readonly #view: View;
  readonly #clock: () => number;
  readonly #kind: "table" | "lines" | "none";
  readonly #timer: NodeJS.Timeout | undefined;
  #words = "";
  #height = 0;
  #ended = false;

  constructor(view: View, json: boolean, clock: () => number) {
    this.#view = view;
    this.#clock = clock;
    this.#kind = json ? "none" : process.stdout.isTTY ? "table" : "lines";
    if (this.#kind === "none") return;
    if (this.#kind === "table") process.stdout.write("\u001B[?25l");
    const everyMs =
      this.#kind === "table" ? REDRAW_MS : Math.max(500, (view.seconds * 1000) / PLAIN_LINES);
    this.#timer = setInterval(() => this.#draw(), everyMs);
  }

  say(words: string): void {
    this.#words = words;
    if (this.#kind === "lines") process.stdout.write(`${stamp(this.#clock())} ${words}\n`);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    if (this.#kind !== "table") return;
    this.#draw();
    process.stdout.write("\u001B[?25h");
  }

  #draw(): void {
    const now = this.#clock();
    if (this.#kind === "lines") {
      process.stdout.write(`${plainLine(this.#view, now)}\n`);
      return;
    }
    const lines = table(this.#view, now, this.#words);
    const back = this.#height === 0 ? "" : `\u001B[${this.#height}A`;
    this.#height = lines.length;
    process.stdout.write(`${back}${lines.map((line) => `\r\u001B[K${line}\n`).join("")}`);
  }
}

const read = readArguments();
if (typeof read === "string") {
  process.stderr.write(`${read}\n\n${HELP}`);
  process.exit(2);
}
const stop = new AbortController();
let code = 0;
for (const [signal, exitCode] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.on(signal, () => {
    code = exitCode;
    stop.abort();
  });
}
process.stdout.on("error", () => stop.abort()); // The reader of our output has left.
try {
  await demo(read, stop.signal);
} catch (error) {
  code = 1;
  const words = error instanceof Error ? error.stack : String(error);
  process.stderr.write(
    error instanceof PrometheusError ? `${error.message}\n${WITHOUT}` : `${words}\n`,
  );
}
process.exit(code);
