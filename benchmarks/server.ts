/**
 * What `meshServer` costs a server, beside the same handler on bare node:http and node:http2: CPU per
 * request of the whole process, from source with its types stripped, in turns (turns.ts). The client
 * sends what a call over the mesh carries: a deadline, and a trace. Over HTTP/1 it is measured as well
 * without any private member of Node, and with three layers of the application that answer at once.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import { ask } from "./child.ts";
import { atATime } from "./child/loops.ts";
import type { Served } from "./child/served.ts";
import { quantile, row, type Options, type Row } from "./report.ts";
import { inTurns, ratios, setMedians, type Amounts, type Player } from "./turns.ts";

export const describe = "CPU per request of meshServer, beside bare node:http and node:http2";

const BARS = { http1: 1.1, http2: 1.08, publicOnly: 1.25, layers3: 1.05 } as const;
const CONCURRENCY = 50;
const HEADERS = {
  "x-mesh-timeout-ms": "1000",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  accept: "application/json",
};
/** What child/server.ts can be. */
type Kind = "bare" | "mesh" | "layers3" | "public_only";
const KINDS: Record<Version, readonly Kind[]> = {
  1: ["bare", "mesh", "layers3", "public_only"],
  2: ["bare", "mesh"],
};
type Version = "1" | "2";

/** Of one turn. */
const CALLS = 1_000;
const AMOUNTS: Amounts = { sets: 4, rounds: 8, turns: 8, warmTurns: 20 };
const QUICK: Amounts = { sets: 1, rounds: 3, turns: 4, warmTurns: 20 };

/** Makes one request and gives its status; `close` ends the connections. */
interface Caller {
  get(): Promise<number>;
  close(): void;
}

const CALLERS: Record<Version, (port: number) => Caller> = {
  1: (port) => {
    const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONCURRENCY, pipelining: 1 });
    return {
      async get() {
        const request = { path: "/orders/1", method: "GET", headers: HEADERS } as const;
        const { statusCode, body } = await pool.request(request);
        await body.text();
        return statusCode;
      },
      close: () => void pool.destroy(),
    };
  },
  2: (port) => {
    const session = connect(`http://127.0.0.1:${port}`);
    return {
      get: () =>
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
      close: () => session.destroy(),
    };
  },
};

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const amounts = quick ? QUICK : AMOUNTS;
  const rows: Row[] = [];
  const context: Row[] = [];
  for (const version of ["1", "2"] as const) {
    const samples = await inTurns(
      KINDS[version],
      amounts,
      (kind) => start(kind, version),
      (set, soFar) => {
        const ratio = quantile(ratios(soFar, "mesh", "bare", "cpuUs"), 0.5).toFixed(3);
        progress(`server: http${version}, ${set} of ${amounts.sets} pairs of servers: ${ratio}`);
      },
    );
    const cpuUs = (kind: Kind): number[] => samples[kind].map((one) => one.cpuUs);
    const ratio = (kind: Kind, base: Kind): number[] =>
      setMedians(ratios(samples, kind, base, "cpuUs"), amounts);
    const name = `server.cpu_ratio.http${version}`;
    rows.push(row(name, "×", ratio("mesh", "bare"), BARS[`http${version}`]));
    if (version === "1") {
      rows.push(row(`${name}.public_only`, "×", ratio("public_only", "bare"), BARS.publicOnly));
      rows.push(row(`${name}.layers3`, "×", ratio("layers3", "mesh"), BARS.layers3));
    }
    context.push(row(`server.cpu_us.http${version}`, "µs", cpuUs("mesh")));
    context.push(row(`server.cpu_us.http${version}.bare`, "µs", cpuUs("bare")));
  }
  return [...rows, ...context];
}

async function start(kind: Kind, version: Version): Promise<Player<"cpuUs">> {
  const path = fileURLToPath(new URL("./child/server.ts", import.meta.url));
  const child = fork(path, [kind, version], {
    execArgv: ["--no-warnings", "--conditions=inmesh-source"],
    env: kind === "public_only" ? { ...process.env, INMESH_PUBLIC_ONLY: "1" } : process.env,
  });
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const caller = CALLERS[version](port);
  return {
    async turn() {
      await ask(child, {});
      await atATime(CONCURRENCY, CALLS, async () => {
        const status = await caller.get();
        if (status !== 200) throw new Error(`status ${status}`);
      });
      const { cpuUs, requests } = await ask<Served>(child, {});
      if (requests !== CALLS) throw new Error(`${kind}: ${CALLS} calls, ${requests} served`);
      return { cpuUs: cpuUs / CALLS };
    },
    close() {
      caller.close();
      child.disconnect();
    },
  };
}
