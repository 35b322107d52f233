/**
 * What `meshServer` costs a server, beside the same handler on bare node:http and node:http2: CPU per
 * request of the whole process. Each sample is a fresh process that serves from source with its types
 * stripped; the two take turns forth and back (ABBA), and a ratio is one of neighbours in time. The
 * client sends what a call over the mesh carries: a deadline, and a trace.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import type { Served } from "./child/server.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe = "CPU per request of meshServer, beside bare node:http and node:http2";

const BAR = 1.08;
const CONCURRENCY = 50;
const HEADERS = {
  "x-mesh-timeout-ms": "1000",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  accept: "application/json",
};
const KINDS = ["bare", "mesh"] as const;
type Kind = (typeof KINDS)[number];
type Version = "1" | "2";

/** Makes `calls` requests, `CONCURRENCY` at a time; every reply is checked. */
type Load = (port: number, calls: number) => Promise<void>;

const LOADS: Record<Version, Load> = {
  async 1(port, calls) {
    const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONCURRENCY, pipelining: 1 });
    await closedLoop(calls, async () => {
      const { statusCode, body } = await pool.request({
        path: "/orders/1",
        method: "GET",
        headers: HEADERS,
      });
      await body.text();
      return statusCode;
    });
    await pool.close();
  },
  async 2(port, calls) {
    const session = connect(`http://127.0.0.1:${port}`);
    await closedLoop(
      calls,
      () =>
        new Promise((resolve, reject) => {
          const stream = session.request({ ":path": "/orders/1", ...HEADERS });
          let status = 0;
          stream.on("response", (headers) => {
            status = headers[":status"] ?? 0;
          });
          stream.on("error", reject);
          stream.on("end", () => resolve(status));
          stream.resume();
        }),
    );
    session.close();
  },
};

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const [rounds, calls] = quick ? [2, 4_000] : [10, 40_000];
  const rows: Row[] = [];
  const context: Row[] = [];
  for (const version of ["1", "2"] as const) {
    const samples: Record<Kind, number[]> = { bare: [], mesh: [] };
    for (let i = 0; i < rounds; i++) {
      for (const kind of i % 2 === 0 ? KINDS : KINDS.toReversed()) {
        const cpuUs = await measure(kind, version, calls);
        samples[kind].push(cpuUs);
        progress(
          `server: http${version}, round ${i + 1} of ${rounds}, ${kind}: ${cpuUs.toFixed(1)} µs`,
        );
      }
    }
    const ratios = samples.mesh.map((cpuUs, i) => cpuUs / samples.bare[i]!);
    rows.push(row(`server.cpu_ratio.http${version}`, "×", ratios, BAR));
    context.push(row(`server.cpu_us.http${version}`, "µs", samples.mesh));
    context.push(row(`server.cpu_us.http${version}.bare`, "µs", samples.bare));
  }
  return [...rows, ...context];
}

/** Microseconds of CPU per request of a server in a fresh process. */
async function measure(kind: Kind, version: Version, calls: number): Promise<number> {
  const path = fileURLToPath(new URL("./child/server.ts", import.meta.url));
  const child = fork(path, [kind, version], {
    execArgv: ["--no-warnings", "--conditions=inmesh-source"],
  });
  try {
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    await LOADS[version](port, Math.ceil(calls / 3));
    await ask(child);
    await LOADS[version](port, calls);
    const { cpuUs, requests } = await ask(child);
    if (requests !== calls) throw new Error(`${kind}: ${calls} calls, ${requests} served`);
    return cpuUs / calls;
  } finally {
    child.disconnect();
    await once(child, "exit");
  }
}

async function ask(child: ChildProcess): Promise<Served> {
  child.send("asked");
  const [served] = (await once(child, "message")) as [Served];
  return served;
}

async function closedLoop(calls: number, call: () => Promise<number>): Promise<void> {
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const status = await call();
      if (status !== 200) throw new Error(`status ${status}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}
