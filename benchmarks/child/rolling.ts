/**
 * The client of the rolling restart: an open loop of mixed requests until the parent says stop.
 * Every answer is checked: its status, and its bytes. Before it, some calls in which client and servers
 * run their code for the first time, at a pace that even a busy machine keeps up with.
 */
import { Readable } from "node:stream";
import { createMesh, meshClient } from "inmesh";
import { Pool } from "undici";
import { atATime, openLoop } from "./loops.ts";
import { CHUNK_BYTES, CHUNK_EVERY_MS, CHUNKS } from "./rolling-work.ts";

export interface RollingLoad {
  readonly client: "inmesh" | "plain";
  readonly http2: boolean;
  /** The servers are of the mesh: a refusal before any work may be believed. */
  readonly wrapped: boolean;
  readonly ports: readonly number[];
  readonly perSecond: number;
}

export interface RollingRun {
  readonly calls: number;
  readonly failed: number;
  readonly failedByKind: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  /** By what they say, for people: how many, and when the first began. */
  readonly errors: readonly string[];
}

type Kind = "get" | "post" | "download" | "upload";
type Body = string | Readable | null;
type Send = (method: string, path: string, id: string, body: Body) => Promise<[number, number]>;

const TURN: readonly Kind[] = ["get", "post", "get", "download", "get", "post", "upload", "get"];
const MAX_ERRORS = 8;
const WARM_CALLS = 1_000;
const WARM_AT_A_TIME = 10;
const TIMEOUT_MS = 10_000;
const ORDER = JSON.stringify({ item: "a book", count: 3 });

const load = JSON.parse(process.argv[2]!) as RollingLoad;

function upload(): Readable {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let i = 0; i < CHUNKS; i++) {
      yield Buffer.alloc(CHUNK_BYTES, "y");
      await new Promise((resolve) => setTimeout(resolve, CHUNK_EVERY_MS));
    }
  }
  return Readable.from(chunks());
}

/** Sends one request of a kind; throws if the answer is not the whole answer. */
async function sendOne(send: Send, kind: Kind, id: string): Promise<void> {
  const [method, path, body, bytes] =
    kind === "get"
      ? (["GET", "/item", null, 1] as const)
      : kind === "post"
        ? (["POST", "/order", ORDER, 2] as const)
        : kind === "download"
          ? (["GET", "/download", null, CHUNKS * CHUNK_BYTES] as const)
          : (["POST", "/upload", upload(), String(CHUNKS * CHUNK_BYTES).length] as const);
  const [status, length] = await send(method, path, id, body);
  if (status !== 200 || length !== bytes) throw new Error(`status ${status}, ${length} bytes`);
}

function client(): { send: Send; close(): Promise<void> } {
  const addresses = load.ports.map((port) => `127.0.0.1:${port}`);
  if (load.client === "inmesh") {
    const mesh = createMesh({
      env: {},
      config: {
        services: {
          orders: {
            discovery: { static: addresses },
            http2: load.http2,
            trustNacks: load.wrapped,
          },
        },
        defaults: { timeouts: { requestMs: TIMEOUT_MS } },
      },
    });
    const orders = meshClient("orders", { mesh });
    const send: Send = async (method, path, id, body) => {
      const reply = await orders.fetch(path, { method, headers: { "x-request-id": id }, body });
      return [reply.status, (await reply.bytes()).length];
    };
    return { send, close: () => mesh.close(0) };
  }
  const pools = addresses.map(
    (address) => new Pool(`http://${address}`, { headersTimeout: TIMEOUT_MS }),
  );
  let turn = 0;
  const send: Send = async (method, path, id, body) => {
    const pool = pools[turn++ % pools.length]!;
    const reply = await pool.request({ method, path, headers: { "x-request-id": id }, body });
    return [reply.statusCode, (await reply.body.bytes()).length];
  };
  return {
    send,
    close: async () => void (await Promise.all(pools.map((pool) => pool.destroy()))),
  };
}

const { send, close } = client();
const errors = new Map<string, { count: number; readonly first: string }>();
const failedByKind: Record<string, number> = {};
let failed = 0;
let slowestMs = 0;

async function one(number: number): Promise<void> {
  const kind = TURN[number % TURN.length]!;
  const dueAt = performance.now();
  try {
    await sendOne(send, kind, `${process.pid}-${number}`);
    slowestMs = Math.max(slowestMs, performance.now() - dueAt);
  } catch (error) {
    failed++;
    failedByKind[kind] = (failedByKind[kind] ?? 0) + 1;
    note(error, `${((dueAt - startedAt) / 1000).toFixed(2)} s, ${kind}`);
  }
}

function note(error: unknown, what: string): void {
  // Of one reason for one endpoint or another, or by an error of the system's own.
  const text = String(error).replaceAll(/127\.0\.0\.1:\d+/g, "a server");
  const known = errors.get(text);
  if (known !== undefined) known.count++;
  else if (errors.size < MAX_ERRORS) errors.set(text, { count: 1, first: what });
}

let warmed = 0;
await atATime(WARM_AT_A_TIME, WARM_CALLS, async () => {
  const number = warmed++;
  await sendOne(send, TURN[number % TURN.length]!, `${process.pid}-warm-${number}`);
});

const startedAt = performance.now();
openLoop(load.perSecond, one, async (calls) => {
  await close();
  const said = Array.from(errors, ([text, { count, first }]) => `${count} × ${text} (${first})`);
  const run: RollingRun = { calls, failed, failedByKind, slowestMs, errors: said };
  return run;
});
