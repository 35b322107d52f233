/**
 * mesh-proxy under load while its file changes a hundred times, and while it is restarted five times with the ports shared:
 * no request may fail. Clients keep their connections, as applications do, and follow `Connection: close`. Behind that
 * the rows of `proxy-memory`. Also `npm run check:proxy`.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, createServer, request, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { run as memoryRows } from "./proxy-memory.ts";
import { MeshProxy, replace } from "./proxy-program.ts";
import { row, type Options, type Row } from "./report.ts";
import { freePort } from "../scripts/free-port.ts";

export const describe = "mesh-proxy while its file changes and it is restarted: failed requests";

const SHARED = { args: ["--reuse-port"] };
const CLIENTS = 16;
const RELOADS = 100;
const RELOAD_EVERY_MS = 50;
const RESTARTS = 5;
const QUICK = { reloads: 20, restarts: 2 };
const ENDPOINTS = 3;
const MAX_ERRORS_SHOWN = 5;

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-check-proxy-"));
  const file = join(folder, "mesh.json");
  const servers = Array.from({ length: ENDPOINTS }, () =>
    createServer((_request, response) => response.end("ok")),
  );
  const port = await freePort();
  let proxy: MeshProxy | undefined;
  const load = new Load(port);
  try {
    const endpoints = await Promise.all(servers.map(listening));
    replace(file, configOf(0, port, endpoints));
    proxy = await MeshProxy.start(file, SHARED);
    load.start();
    progress("proxy-life: the file changes");
    const { reloads, restarts } = quick ? QUICK : { reloads: RELOADS, restarts: RESTARTS };
    for (let n = 1; n <= reloads; n++) {
      replace(file, configOf(n, port, endpoints));
      await pause(RELOAD_EVERY_MS);
    }
    const reloaded = load.count();
    progress("proxy-life: it is restarted");
    for (let n = 0; n < restarts; n++) {
      const next = await MeshProxy.start(file, SHARED);
      const code = await proxy!.stop();
      proxy = next;
      if (code !== 0) throw new Error(`mesh-proxy ended with exit code ${code}`);
    }
    const restarted = load.count();
    await load.stop();
    for (const error of load.errors) progress(`proxy-life: ${error}`);
    return [
      row("proxy.reload.requests", "requests", [reloaded.made]),
      row("proxy.reload.failed", "requests", [reloaded.failed], 0),
      row("proxy.restart.requests", "requests", [restarted.made]),
      row("proxy.restart.failed", "requests", [restarted.failed], 0),
      ...(await memoryRows({ quick, progress })),
    ];
  } finally {
    await load.stop();
    await proxy?.stop("SIGKILL");
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Requests one after the other, on so many connections. */
class Load {
  readonly errors: string[] = [];
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  #clients: readonly Promise<void>[] = [];
  #isOver = false;
  #made = 0;
  #failed = 0;

  constructor(port: number) {
    this.#port = port;
  }

  start(): void {
    this.#clients = Array.from({ length: CLIENTS }, () => this.#client());
  }

  /** Since the last call. */
  count(): { readonly made: number; readonly failed: number } {
    const counted = { made: this.#made, failed: this.#failed };
    this.#made = this.#failed = 0;
    return counted;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    this.#agent.destroy();
  }

  async #client(): Promise<void> {
    for (;;) {
      if (this.#isOver) return;
      const error = await this.#request();
      this.#made++;
      if (error === undefined) continue;
      this.#failed++;
      if (this.errors.length < MAX_ERRORS_SHOWN) this.errors.push(error);
    }
  }

  #request(): Promise<string | undefined> {
    return new Promise((resolve) => {
      const sent = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          agent: this.#agent,
          path: "/v1/orders/42",
          headers: { host: "orders" },
        },
        (reply) => {
          reply.resume();
          reply.once("end", () =>
            resolve(reply.statusCode === 200 ? undefined : `status ${reply.statusCode}`),
          );
          reply.once("error", (error) => resolve(error.message));
        },
      );
      sent.once("error", (error: NodeJS.ErrnoException) =>
        resolve(`${error.code} ${error.message} (reused: ${sent.reusedSocket})`),
      );
      sent.end();
    });
  }
}

/** Each differs from the one before it: endpoints, a policy, a route, an option of the listener, another listener. */
function configOf(n: number, port: number, endpoints: readonly string[]): object {
  const used = endpoints.filter((_, i) => i !== n % ENDPOINTS);
  return {
    services: {
      orders: {
        discovery: { static: used },
        timeouts: { request: `${10 + (n % 5)}s` },
        ...(n % 2 === 0 && {
          routes: [{ name: "read", matches: [{ method: "GET" }], retry: { attempts: 2 } }],
        }),
      },
    },
    servers: { outbound: { discoveryWait: "200ms", limits: { maxInFlight: 1_000 + n } } },
    proxy: {
      drainGrace: "5s",
      listeners: {
        outbound: { listen: `127.0.0.1:${port}`, idleTimeout: `${1 + (n % 7)}m` },
        ...(n % 3 === 0 && { more: { listen: "127.0.0.1:0", service: "orders" } }),
      },
    },
  };
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
