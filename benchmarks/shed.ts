/**
 * What load shedding is worth: the goodput of `meshServer` as a share of the same handler's on bare
 * node:http. Goodput are the replies within the caller's deadline; where it has none, all replies. Every
 * load is made twice alike, by the same seed, against one server and then the other, in an order that
 * changes with each round. Ratios are rounded to whole percents: a thousandth is the luck of a reply before
 * or after the end. Connections are open before a load begins, as they are between services; callers read a
 * late reply and drop it. Those of `leaving` close their connection instead and come back on another, of
 * which Node accepts one in each turn of its loop: most wait where no server sees them.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import { atLeast, row, type Options, type Row } from "./report.ts";

export const describe = "goodput of meshServer below, at and over capacity, beside bare node:http";

const KINDS = ["bare", "mesh"] as const;
type Kind = (typeof KINDS)[number];

interface Work {
  readonly ioMs: number;
  readonly cpuMs: number;
}

interface Load {
  readonly seconds: number;
  /** Of so many seconds each, in turns with the other server: what else the machine does meets both. */
  readonly slices?: number;
  /** In a closed loop: callers, each of which asks again when it has its reply. */
  readonly callers?: number;
  /** In an open loop: a Poisson stream of so many times what the server can do. */
  readonly load?: number;
  readonly work: (random: () => number) => Work;
  /** Milliseconds; none: the caller waits for ever. */
  readonly deadlineMs?: number;
  /** The server does not hear of the deadline. */
  readonly untold?: true;
  /** When the deadline has passed, the caller closes its connection. */
  readonly leaves?: true;
  readonly bar: number;
}

/** Milliseconds of processor per request of an open loop, on average. */
const CPU_MS = 20;
const cpu = (): Work => ({ ioMs: 0, cpuMs: CPU_MS });
/** Short ones, long ones, and ones that wait for something first. */
const mixed = (random: () => number): Work => {
  const kind = random();
  if (kind < 0.6) return { ioMs: 0, cpuMs: 5 };
  if (kind < 0.8) return { ioMs: 30, cpuMs: 35 };
  return { ioMs: 0, cpuMs: 50 };
};
const each = (cpuMs: number) => (): Work => ({ ioMs: 0, cpuMs });

const LOADS: Readonly<Record<string, Load>> = {
  "closed.below": { seconds: 1, slices: 3, callers: 1, work: each(100), bar: 1 },
  "closed.at": { seconds: 1, slices: 3, callers: 4, work: each(100), bar: 1 },
  "closed.over": { seconds: 3, slices: 2, callers: 64, work: each(CPU_MS), bar: 1 },
  "open.cpu.below": { seconds: 2, slices: 2, load: 0.7, work: cpu, deadlineMs: 500, bar: 1 },
  "open.cpu.at": { seconds: 6, load: 1, work: cpu, deadlineMs: 500, bar: 1 },
  "open.cpu.over": { seconds: 6, load: 1.5, work: cpu, deadlineMs: 500, bar: 1.3 },
  "open.mixed.below": { seconds: 2, slices: 2, load: 0.7, work: mixed, deadlineMs: 500, bar: 1 },
  "open.mixed.at": { seconds: 6, load: 1, work: mixed, deadlineMs: 500, bar: 1 },
  "open.mixed.over": { seconds: 6, load: 1.5, work: mixed, deadlineMs: 500, bar: 1.3 },
  "open.cpu.over.untold": {
    seconds: 8,
    load: 1.5,
    work: cpu,
    deadlineMs: 1_500,
    untold: true,
    bar: 1,
  },
  "open.cpu.over.leaving": {
    seconds: 6,
    load: 1.5,
    work: cpu,
    deadlineMs: 500,
    leaves: true,
    bar: 1,
  },
};

/** Those of a quick run. */
const QUICK = new Set(["closed.at", "open.cpu.over", "open.mixed.below", "open.mixed.over"]);
/** Of the seconds of a load, in a quick run. */
const QUICK_SHARE = 0.7;
const ROUNDS = 3;
const CONNECTIONS = 400;
const MAX_CONNECTIONS = 1_000;
const NO_WORK: Load = { seconds: 0, work: each(0), bar: 0 };

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const ratios = new Map<string, number[]>();
  const perSecond = new Map<string, Record<Kind, number[]>>();
  const loads = Object.entries(LOADS)
    .filter(([name]) => !quick || QUICK.has(name))
    .map(([name, load]) => [name, quick ? shorter(load) : load] as const);
  for (let round = 1; round <= (quick ? 1 : ROUNDS); round++) {
    const servers = { bare: await Server.start("bare"), mesh: await Server.start("mesh") };
    try {
      for (const [name, load] of loads) {
        const [bare, mesh] = [none(), none()];
        for (let slice = 0; slice < (load.slices ?? 1); slice++) {
          for (const kind of (round + slice) % 2 === 1 ? KINDS : KINDS.toReversed()) {
            add(kind === "bare" ? bare : mesh, await servers[kind].play(load, round * 10 + slice));
          }
        }
        push(ratios, name, Math.round((100 * perSecondOf(mesh)) / perSecondOf(bare)) / 100);
        const both = perSecond.get(name) ?? { bare: [], mesh: [] };
        perSecond.set(name, both);
        both.bare.push(perSecondOf(bare));
        both.mesh.push(perSecondOf(mesh));
        progress(`shed: ${round}, ${name}: bare ${said(bare)}, mesh ${said(mesh)}`);
      }
    } finally {
      for (const server of Object.values(servers)) server.stop();
    }
  }
  const rows: Row[] = [];
  for (const [name, { bar }] of loads) {
    rows.push(atLeast(`shed.goodput_ratio.${name}`, "×", ratios.get(name)!, bar));
  }
  for (const [name, { bare, mesh }] of perSecond) {
    rows.push(
      row(`shed.goodput.${name}`, "/s", mesh),
      row(`shed.goodput.${name}.bare`, "/s", bare),
    );
  }
  return rows;
}

function shorter(load: Load): Load {
  return { ...load, seconds: load.seconds * QUICK_SHARE };
}

function push(lists: Map<string, number[]>, name: string, value: number): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}

interface Run {
  /** Replies within the deadline. */
  good: number;
  refused: number;
  /** The caller had left. */
  late: number;
  /** How long it took; in a closed loop to the last reply. */
  ms: number;
}

function none(): Run {
  return { good: 0, refused: 0, late: 0, ms: 0 };
}

function add(sum: Run, { good, refused, late, ms }: Run): void {
  sum.ms += ms;
  sum.good += good;
  sum.refused += refused;
  sum.late += late;
}

function perSecondOf({ good, ms }: Run): number {
  return (1_000 * good) / ms;
}

function said({ good, refused, late }: Run): string {
  return `${good} good, ${refused} refused, ${late} late`;
}

class Server {
  readonly #stop: () => void;
  readonly #pool: Pool;

  constructor(stop: () => void, port: number) {
    this.#stop = stop;
    this.#pool = new Pool(`http://127.0.0.1:${port}`, {
      connections: MAX_CONNECTIONS,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  static async start(kind: Kind): Promise<Server> {
    const path = fileURLToPath(new URL("./child/shed-server.ts", import.meta.url));
    const child = fork(path, [kind], {
      execArgv: ["--no-warnings", "--conditions=inmesh-source"],
    });
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    return new Server(() => child.disconnect(), port);
  }

  async play(load: Load, seed: number): Promise<Run> {
    await this.#connect();
    const seen = none();
    const random = mulberry32(seed);
    const startedAt = performance.now();
    const endsAt = startedAt + load.seconds * 1_000;
    const call = async (): Promise<void> => {
      const status = await this.#get(load, load.work(random));
      if (status === 503) seen.refused++;
      else if (status === undefined) seen.late++;
      else if (status !== 200) throw new Error(`status ${status}`);
      else seen.good++;
    };
    const pending: Promise<void>[] = [];
    if (load.callers !== undefined) {
      const caller = async (): Promise<void> => {
        while (performance.now() < endsAt) await call();
      };
      for (let i = 0; i < load.callers; i++) pending.push(caller());
    } else {
      const meanMs = CPU_MS / load.load!;
      let dueAt = performance.now();
      for (;;) {
        dueAt += -Math.log(1 - random()) * meanMs;
        if (dueAt > endsAt) break;
        const waitMs = dueAt - performance.now();
        if (waitMs > 0) await sleep(waitMs);
        pending.push(call());
      }
      await sleep(Math.max(0, endsAt - performance.now()));
    }
    await Promise.all(pending);
    seen.ms = (load.callers === undefined ? endsAt : performance.now()) - startedAt;
    return seen;
  }

  /** Also waits for what is left of the load before: none of it may meet the next. */
  async #connect(): Promise<void> {
    const work = { ioMs: 20, cpuMs: 0 };
    await this.#get(NO_WORK, work);
    await sleep(50);
    await Promise.all(Array.from({ length: CONNECTIONS }, () => this.#get(NO_WORK, work)));
    await sleep(50);
  }

  /** The status; undefined if the deadline passed first. */
  async #get(load: Load, { ioMs, cpuMs }: Work): Promise<number | undefined> {
    const { deadlineMs = Infinity, untold, leaves } = load;
    const headers: Record<string, string> = {};
    if (deadlineMs !== Infinity && !untold) headers["x-mesh-timeout-ms"] = String(deadlineMs);
    const signal = leaves === true ? AbortSignal.timeout(deadlineMs) : null;
    const startedAt = performance.now();
    try {
      const { statusCode, body } = await this.#pool.request({
        path: `/${ioMs}/${cpuMs}`,
        method: "GET",
        headers,
        signal,
      });
      await body.dump();
      return performance.now() - startedAt <= deadlineMs ? statusCode : undefined;
    } catch (error) {
      if (signal?.aborted === true) return undefined;
      throw error;
    }
  }

  stop(): void {
    void this.#pool.destroy();
    this.#stop();
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The same requests at the same times for both servers. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
