/**
 * One caller of a dispatcher in a fresh process: GETs in a closed loop to one endpoint. argv is
 * `DispatcherLoad` as JSON; prints `DispatcherRun` as JSON. CPU is the whole process's, all threads,
 * user and system. Every caller has as many connections as calls at a time. undici's index is
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
  readonly warmCalls: number;
  readonly calls: number;
}

export interface DispatcherRun {
  readonly cpuUs: number;
  readonly p50: number;
}

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

async function main(load: DispatcherLoad): Promise<DispatcherRun> {
  const get = await CALLERS[load.caller](load);
  const loop = { get, body: BODY, concurrency: load.concurrency };
  await closedLoop(loop, load.warmCalls);
  const took: number[] = [];
  const before = process.cpuUsage();
  await closedLoop(loop, load.calls, took);
  const { user, system } = process.cpuUsage(before);
  return { cpuUs: (user + system) / load.calls, p50: quantile(took, 0.5) };
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as DispatcherLoad)));
process.exit();
