/**
 * The client of the rollout: an application in a pod, which knows the name of a Service and nothing else. An open loop
 * of GET and POST over HTTP and of unary calls over gRPC, until the parent says stop; every answer is checked.
 */
import { makeGenericClientConstructor, Metadata, type Client } from "@grpc/grpc-js";
import { kubernetes } from "@inmesh/discovery-k8s";
import { meshGrpc } from "@inmesh/grpc";
import { createMesh, meshClient } from "inmesh";
import { atATime, openLoop } from "./loops.ts";
import { ROLLING } from "./rolling-grpc-service.ts";

export interface RolloutLoad {
  readonly perSecond: number;
  /** Where the files of the service account are; undefined: where Kubernetes mounts them. */
  readonly account: string | undefined;
}

export interface RolloutRun {
  readonly calls: number;
  readonly failed: number;
  readonly slowestMs: number;
  /** Where the endpoints of each of its services came from. */
  readonly source: readonly string[];
  /** By what they say, for people. */
  readonly errors: readonly string[];
  /** Lines of the log, by event. */
  readonly events: Readonly<Record<string, number>>;
}

interface RollingClient extends Client {
  unary(
    id: string,
    metadata: Metadata,
    options: { readonly deadline: number },
    done: (error: Error | null, reply: string) => void,
  ): void;
}

type Kind = "get" | "post" | "unary";

/** Of 8 calls 3 are GET, 3 POST, and 2 of gRPC. */
const TURN: readonly Kind[] = ["get", "post", "unary", "get", "post", "get", "unary", "post"];
const ORDER = JSON.stringify({ item: "a book", count: 3 });
const TIMEOUT_MS = 10_000;
const WARM_CALLS = 400;
const WARM_AT_A_TIME = 8;
const MAX_ERRORS = 8;

const load = JSON.parse(process.argv[2]!) as RolloutLoad;
const events: Record<string, number> = {};
const { account } = load;
const mesh = createMesh({
  log: ({ event }) => void (events[event] = (events[event] ?? 0) + 1),
  ...(account !== undefined && {
    discoveries: [kubernetes({ serviceAccountDir: account })],
  }),
});
const orders = meshClient("http://orders.shop.svc", { mesh });
const Rolling = makeGenericClientConstructor(ROLLING, "Rolling");
const grpc = new Rolling(
  ...meshGrpc("http://orders.shop.svc:9090", { mesh }),
) as unknown as RollingClient;
const nothing = new Metadata();

async function send(kind: Kind, id: string): Promise<void> {
  if (kind === "unary") {
    const reply = await new Promise<string>((resolve, reject) => {
      const deadline = Date.now() + TIMEOUT_MS;
      grpc.unary(id, nothing, { deadline }, (error, text) =>
        error === null ? resolve(text) : reject(error),
      );
    });
    if (reply !== id) throw new Error(`the reply of another call: ${reply}`);
    return;
  }
  const reply = await orders.fetch("/v1/orders", {
    method: kind === "get" ? "GET" : "POST",
    headers: { "x-request-id": id },
    body: kind === "get" ? null : ORDER,
    timeoutMs: TIMEOUT_MS,
  });
  const wanted = String(kind === "get" ? 0 : ORDER.length);
  const text = await reply.text();
  if (reply.status !== 200 || text !== wanted) throw new Error(`status ${reply.status}: ${text}`);
}

let warmed = 0;
await atATime(WARM_AT_A_TIME, WARM_CALLS, () => {
  const number = warmed++;
  return send(TURN[number % TURN.length]!, `${process.pid}-warm-${number}`);
});

const errors = new Map<string, { count: number; readonly first: string }>();
const startedAt = performance.now();
let failed = 0;
let slowestMs = 0;

async function one(number: number): Promise<void> {
  const kind = TURN[number % TURN.length]!;
  const dueAt = performance.now();
  try {
    await send(kind, `${process.pid}-${number}`);
    slowestMs = Math.max(slowestMs, performance.now() - dueAt);
  } catch (error) {
    failed++;
    // Of one reason, for one endpoint or another.
    const text = String(error).replaceAll(/\d+\.\d+\.\d+\.\d+:\d+/g, "a pod");
    const known = errors.get(text);
    const first = `${((dueAt - startedAt) / 1_000).toFixed(2)} s, ${kind}`;
    if (known !== undefined) known.count++;
    else if (errors.size < MAX_ERRORS) errors.set(text, { count: 1, first });
  }
}

openLoop(load.perSecond, one, async (calls) => {
  const source = mesh.snapshot().services.map(({ discovery }) => discovery.source);
  await mesh.close(0);
  const said = Array.from(errors, ([text, { count, first }]) => `${count} × ${text} (${first})`);
  const run: RolloutRun = { calls, failed, slowestMs, source, errors: said, events };
  return run;
});
