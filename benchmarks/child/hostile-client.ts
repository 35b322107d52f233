/**
 * A client under attack: argv is `mesh` or `bare`, `http1`, `http2` or `grpc`, and the ports of the
 * upstreams as JSON. Calls whose replies are right send their own name, and must get it back.
 */
import { credentials, makeGenericClientConstructor, type Client } from "@grpc/grpc-js";
import { connect, type ClientHttp2Session } from "node:http2";
import { request as httpRequest } from "node:http";
import { setImmediate as turn } from "node:timers/promises";
import { createMesh, meshClient } from "@inmesh/http";
import { meshGrpc } from "@inmesh/grpc";
import { Pool } from "undici";
import { CALL_WITHIN_MS, type Outcome, type Play } from "../hostile/calls.ts";
import { BYTES_SERVICE } from "../hostile/grpc-service.ts";
import { ready, watched } from "./hostile-watched.ts";

type Send = (slot: number, name: string, door: number) => Promise<string>;

const [side, protocol, portsText = "[]"] = process.argv.slice(2);
const ports = JSON.parse(portsText) as number[];

const mesh = createMesh({
  env: {},
  config: {
    defaults: {
      timeouts: { requestMs: CALL_WITHIN_MS, connectMs: 500, bodyIdleMs: 500 },
      breaker: { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 },
    },
    services: Object.fromEntries(
      ports.map((port, slot) => [
        `s${slot}`,
        { discovery: { static: [`127.0.0.1:${port}`] }, http2: protocol === "http2" },
      ]),
    ),
  },
});

const doors: readonly Send[] = [
  async (slot, name) => {
    const reply = await mesh.fetch(`http://s${slot}/${name}`, { method: "POST", body: name });
    return reply.text();
  },
  async (slot, name) => {
    const reply = await meshClient(`s${slot}`, { mesh }).fetch(`/${name}`, {
      method: "POST",
      body: name,
    });
    return reply.text();
  },
  async (slot, name) => {
    const { body } = await mesh.dispatcher.request({
      origin: `http://s${slot}`,
      path: `/${name}`,
      method: "POST",
      body: name,
    });
    return body.text();
  },
  (slot, name) =>
    new Promise((resolve, reject) => {
      const request = httpRequest(
        `http://s${slot}/${name}`,
        { agent: mesh.agent(), method: "POST" },
        (reply) => {
          const chunks: Buffer[] = [];
          reply.on("data", (chunk: Buffer) => chunks.push(chunk));
          reply.on("aborted", () => reject(new Error("aborted")));
          reply.on("end", () => resolve(Buffer.concat(chunks).toString()));
          reply.on("error", reject);
        },
      );
      request.on("error", reject);
      // After a 101 without a listener, all that Node says.
      request.on("close", () => setTimeout(reject, 200, new Error("closed")));
      request.end(name);
    }),
];

const Bytes = makeGenericClientConstructor(BYTES_SERVICE, "Bytes");
interface BytesClient extends Client {
  echo(message: Buffer, options: object, done: (error: Error | null, reply?: Buffer) => void): void;
  both(options: object): NodeJS.ReadWriteStream;
}
const grpcClients = new Map<number, BytesClient>();

function grpcClient(slot: number): BytesClient {
  let client = grpcClients.get(slot);
  if (client === undefined) {
    client = (side === "mesh"
      ? new Bytes(...meshGrpc(`s${slot}`, { mesh }))
      : new Bytes(
          `127.0.0.1:${ports[slot]}`,
          credentials.createInsecure(),
        )) as unknown as BytesClient;
    grpcClients.set(slot, client);
  }
  return client;
}

const deadline = (): object => ({ deadline: Date.now() + CALL_WITHIN_MS });
const unary: Send = (slot, name) =>
  new Promise((resolve, reject) => {
    grpcClient(slot).echo(Buffer.from(name), deadline(), (error, reply) => {
      if (error === null) resolve(String(reply));
      else reject(error);
    });
  });
const streamed: Send = (slot, name) =>
  new Promise((resolve, reject) => {
    const call = grpcClient(slot).both(deadline());
    const chunks: Buffer[] = [];
    call.on("data", (chunk: Buffer) => chunks.push(chunk));
    call.on("end", () => resolve(Buffer.concat(chunks).toString()));
    call.on("error", reject);
    call.write(Buffer.from(name) as never);
    call.end();
  });

const pools = new Map<number, Pool>();
const bareHttp1: Send = async (slot, name) => {
  const pool = pools.get(slot) ?? new Pool(`http://127.0.0.1:${ports[slot]}`, { connections: 4 });
  pools.set(slot, pool);
  const signal = AbortSignal.timeout(CALL_WITHIN_MS);
  const { body } = await pool.request({ path: `/${name}`, method: "POST", body: name, signal });
  return body.text();
};

const sessions = new Map<number, ClientHttp2Session>();
const bareHttp2: Send = (slot, name) =>
  new Promise((resolve, reject) => {
    let session = sessions.get(slot);
    if (session === undefined || session.closed || session.destroyed) {
      session = connect(`http://127.0.0.1:${ports[slot]}`);
      session.on("error", () => {});
      sessions.set(slot, session);
    }
    const stream = session.request({ ":method": "POST", ":path": `/${name}` });
    stream.on("error", reject);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => resolve(Buffer.concat(chunks).toString()));
    stream.on("close", () => reject(new Error("closed")));
    stream.setTimeout(CALL_WITHIN_MS, () => stream.close(8));
    stream.end(name);
  });

function senders(): readonly Send[] {
  if (protocol === "grpc") return [unary, streamed];
  if (side === "mesh") return protocol === "http2" ? doors.slice(0, 3) : doors;
  return [protocol === "http2" ? bareHttp2 : bareHttp1];
}

/**
 * The message that begins a play may be read in the same turn of the event loop in which late bytes of the input
 * before it arrive: undici would send the next request before it has seen them, and take them for its reply.
 * After two turns they have been read.
 */
async function readAllThatCame(): Promise<void> {
  await turn();
  await turn();
}

async function play({ slot, id, door }: Play): Promise<Outcome> {
  await readAllThatCame();
  const all = senders();
  const send = all[door % all.length]!;
  const startedAt = performance.now();
  const good: { id: string; got: string | undefined }[] = [];
  const call = async (number: number): Promise<void> => {
    const name = `${id}-${number}`;
    good.push({ id: name, got: await send(slot, name, door).catch(() => undefined) });
  };
  // Beside the hostile reply one that is right, behind it two more.
  const [bad] = await Promise.all([
    send(slot, `${id}-bad`, door).then(
      (text) => `replied ${text.slice(0, 100)}`,
      (error: unknown) => String((error as { code?: unknown }).code ?? error),
    ),
    call(1),
  ]);
  await call(2);
  await call(3);
  return { ms: performance.now() - startedAt, good, bad };
}

watched({
  play,
  close: async () => {
    for (const client of grpcClients.values()) client.close();
    for (const session of sessions.values()) session.destroy();
    await mesh.close(500);
    return true;
  },
});
ready();
