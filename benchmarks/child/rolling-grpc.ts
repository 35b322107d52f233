/**
 * The client of the rolling restart of gRPC servers: an open loop of calls of all four kinds until
 * the parent says stop. Messages are numbered: none may be missing, come twice, or out of order.
 */
import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  status as Status,
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { openLoop } from "./loops.ts";
import { MESSAGE_EVERY_MS, MESSAGES, ROLLING } from "./rolling-grpc-service.ts";

export interface RollingGrpcLoad {
  /** `plain`: grpc-js's own round_robin over the same addresses. */
  readonly client: "inmesh" | "plain";
  readonly ports: readonly number[];
  readonly perSecond: number;
}

export interface RollingGrpcRun {
  readonly calls: number;
  readonly failedUnary: number;
  /** Missing, double or out of their order, where the call says that all is well. */
  readonly lostMessages: number;
  /** Streams that ended early, and whose caller got UNAVAILABLE: it may begin anew. */
  readonly endedStreams: number;
  /** Streams that ended early in any other way. */
  readonly brokenStreams: number;
  readonly slowestUnaryMs: number;
  /** A few, for people. */
  readonly errors: readonly string[];
}

interface RollingClient extends Client {
  unary(
    id: string,
    metadata: Metadata,
    options: CallOptions,
    done: (error: ServiceError | null, reply: string) => void,
  ): void;
  up(
    metadata: Metadata,
    options: CallOptions,
    done: (error: ServiceError | null, reply: string) => void,
  ): ClientWritableStream<string>;
  down(text: string, metadata: Metadata, options: CallOptions): ClientReadableStream<string>;
  both(metadata: Metadata, options: CallOptions): ClientDuplexStream<string, string>;
}

/** Throws what the call ended with; the number of messages that are not where they should be. */
type Kind = (number: number) => Promise<number>;

const MAX_ERRORS = 8;
const TIMEOUT_MS = 10_000;
const load = JSON.parse(process.argv[2]!) as RollingGrpcLoad;
const Rolling = makeGenericClientConstructor(ROLLING, "Rolling");
const nothing = new Metadata();
const options = (): CallOptions => ({ deadline: Date.now() + TIMEOUT_MS });

function open(): { client: RollingClient; close(): Promise<void> } {
  const addresses = load.ports.map((port) => `127.0.0.1:${port}`);
  if (load.client === "inmesh") {
    const mesh = createMesh({
      env: {},
      config: { services: { rolling: { discovery: { static: addresses }, trustNacks: true } } },
    });
    const client = new Rolling(...meshGrpc("rolling", { mesh })) as unknown as RollingClient;
    return { client, close: () => mesh.close(0) };
  }
  const client = new Rolling(`ipv4:${addresses.join(",")}`, credentials.createInsecure(), {
    "grpc.enable_channelz": 0,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  }) as unknown as RollingClient;
  return { client, close: () => Promise.resolve(client.close()) };
}

const { client, close } = open();

/** Sends the numbers with a pause between two, as long as a caller wants them. */
function send(stream: ClientWritableStream<string> | ClientDuplexStream<string, string>): void {
  let number = 0;
  const next = (): void => {
    if (stream.destroyed || stream.writableEnded) return;
    if (number === MESSAGES) return void stream.end();
    stream.write(String(number++));
    setTimeout(next, MESSAGE_EVERY_MS);
  };
  next();
}

/** Reads numbers to the end of the stream. */
function receive(
  stream: ClientReadableStream<string> | ClientDuplexStream<string, string>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0;
    let wrong = 0;
    stream.on("data", (text: string) => {
      if (Number(text) === count) count++;
      else wrong++;
    });
    stream.on("error", (error) => {
      // What came before a cut must be right as well.
      if (wrong > 0) resolve(wrong);
      else reject(error);
    });
    stream.on("end", () => stream.once("status", ({ code }) => code === Status.OK && over()));
    stream.on("status", ({ code }) => code === Status.OK && setImmediate(over));
    const over = (): void => resolve(wrong + (MESSAGES - count));
  });
}

const KINDS: readonly Kind[] = [
  (number) =>
    new Promise((resolve, reject) => {
      const id = `${process.pid}-${number}`;
      client.unary(id, nothing, options(), (error, reply) => {
        if (error !== null) reject(error);
        else resolve(reply === id ? 0 : 1);
      });
    }),
  () =>
    new Promise((resolve, reject) => {
      const stream = client.up(nothing, options(), (error, reply) => {
        if (error === null) resolve(MESSAGES - Number(reply));
        else if (error.code === Status.DATA_LOSS) resolve(1);
        else reject(error);
      });
      send(stream);
    }),
  () => receive(client.down("all", nothing, options())),
  () => {
    const stream = client.both(nothing, options());
    send(stream);
    return receive(stream);
  },
];

const startedAt = performance.now();
/** When first, and how often. */
const errors = new Map<string, { readonly at: string; times: number }>();
let failedUnary = 0;
let lostMessages = 0;
let endedStreams = 0;
let brokenStreams = 0;
let slowestUnaryMs = 0;

function note(kind: number, dueAt: number, what: string): void {
  const text = `kind ${kind}: ${what}`;
  const known = errors.get(text);
  if (known !== undefined) known.times++;
  else if (errors.size < MAX_ERRORS) {
    errors.set(text, { at: ((dueAt - startedAt) / 1000).toFixed(2), times: 1 });
  }
}

async function one(number: number): Promise<void> {
  const kind = number % KINDS.length;
  const dueAt = performance.now();
  try {
    const lost = await KINDS[kind]!(number);
    lostMessages += lost;
    if (lost > 0) note(kind, dueAt, `${lost} messages`);
    if (kind === 0) slowestUnaryMs = Math.max(slowestUnaryMs, performance.now() - dueAt);
  } catch (error) {
    const { code } = error as ServiceError;
    if (kind === 0) failedUnary++;
    else if (code === Status.UNAVAILABLE) endedStreams++;
    else brokenStreams++;
    note(kind, dueAt, String(error));
  }
}

openLoop(load.perSecond, one, async (calls) => {
  await close();
  const run: RollingGrpcRun = {
    calls,
    failedUnary,
    lostMessages,
    endedStreams,
    brokenStreams,
    slowestUnaryMs,
    errors: [...errors].map(([text, { at, times }]) => `${times} ×, first at ${at} s, ${text}`),
  };
  return run;
});
