/**
 * One caller of a dispatcher in a fresh process, forked: GETs in a closed loop to one endpoint. argv
 * is `DispatcherLoad` as JSON. Sends a message when it is ready; then, for each `{ calls }`, makes
 * them and sends `DispatcherRun`. CPU is the whole process's, all threads, user and system. Every caller has as many connections as calls at a time. undici's index is
 * imported only by who uses it, because it changes which undici the built-in fetch runs through.
 */
import { createMesh, type HttpMesh } from "@inmesh/http";
import { quantile } from "../report.ts";
import { closedLoop } from "./loops.ts";

export type Caller = "fetch" | "fetch_mesh" | "request" | "request_mesh";

export interface DispatcherLoad {
  readonly caller: Caller;
  readonly port: number;
  readonly concurrency: number;
}

/** Of a call: microseconds of CPU, and the median of how long one took, in milliseconds. */
export type DispatcherRun = Readonly<Record<"cpuUs" | "p50", number>>;

const BODY = '{"order":1,"state":"paid"}';
const PATH = "/orders/1";

type Get = () => Promise<string>;

const CALLERS: Record<Caller, (load: DispatcherLoad) => Promise<Get>> = {
  fetch: async ({ port }) => {
    const url = `http://127.0.0.1:${port}${PATH}`;
    return async () => (await fetch(url)).text();
  },

  fetch_mesh: async (load) => {
    meshOf(load).installGlobal();
    const url = `http://orders${PATH}`;
    return async () => (await fetch(url)).text();
  },

  request: async ({ port, concurrency }) => {
    const { Agent, request } = await import("undici");
    const dispatcher = new Agent({ connections: 2 * concurrency });
    const url = `http://127.0.0.1:${port}${PATH}`;
    return async () => (await request(url, { dispatcher })).body.text();
  },

  request_mesh: async (load) => {
    const { request } = await import("undici");
    const { dispatcher } = meshOf(load);
    const url = `http://orders${PATH}`;
    return async () => (await request(url, { dispatcher })).body.text();
  },
};

function meshOf({ port, concurrency }: DispatcherLoad): HttpMesh {
  const orders = {
    discovery: { static: [`127.0.0.1:${port}`] },
    limits: { maxConnectionsPerEndpoint: 2 * concurrency },
  };
  return createMesh({ env: {}, config: { services: { orders } } });
}

const load = JSON.parse(process.argv[2]!) as DispatcherLoad;
const loop = { get: await CALLERS[load.caller](load), body: BODY, concurrency: load.concurrency };
process.on("message", ({ calls }: { calls: number }) => void turn(calls));
process.on("disconnect", () => process.exit());
process.send!("ready");

async function turn(calls: number): Promise<void> {
  const took: number[] = [];
  const before = process.cpuUsage();
  await closedLoop(loop, calls, took);
  const { user, system } = process.cpuUsage(before);
  const run: DispatcherRun = { cpuUs: (user + system) / calls, p50: quantile(took, 0.5) };
  process.send!(run);
}
