/** Redis and PostgreSQL behind mesh-proxy, each with its own client, and a server that speaks first. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createMesh } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { startProxy } from "../src/proxy.ts";
import { Ports } from "../src/serve/ports.ts";
import { PROXY_SECTION } from "../src/serve/section.ts";
import { Client, listening } from "./support/net.ts";
import { freeAddress, freePort } from "../../../scripts/free-port.ts";

const run = promisify(execFile);

function program(...paths: string[]): string | undefined {
  return paths.find((path) => existsSync(path));
}

const REDIS = program("/usr/bin/redis-server", "/usr/local/bin/redis-server");
const REDIS_CLI = program("/usr/bin/redis-cli", "/usr/local/bin/redis-cli");
const PG_BIN = existsSync("/usr/lib/postgresql")
  ? readdirSync("/usr/lib/postgresql").map((one) => `/usr/lib/postgresql/${one}/bin`)[0]
  : undefined;

/** One listener to those endpoints. Gives its port. */
async function proxyTo(endpoints: readonly string[], protocol = "detect"): Promise<number> {
  const listener = { listen: "127.0.0.1:0", service: "db", protocol };
  const mesh = createMesh({
    env: {},
    sections: [PROXY_SECTION],
    config: {
      services: { db: { discovery: { static: endpoints } } },
      proxy: { listeners: { db: listener } },
    } as object,
  });
  const ports = new Ports({ mesh, startHttp: startProxy, reusePort: false });
  await ports.start();
  onTestFinished(async () => {
    await ports.drain(0);
    await mesh.close(0);
  });
  return Number(ports.list[0]!.address.split(":").at(-1));
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function started(child: ChildProcess): void {
  onTestFinished(async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.kill("SIGKILL")) await ended;
  });
}

async function redis(): Promise<string> {
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder()];
  started(spawn(REDIS!, args, { stdio: "ignore" }));
  await expect
    .poll(() => run(REDIS_CLI!, ["-p", String(port), "ping"]).then(({ stdout }) => stdout, String))
    .toBe("PONG\n");
  return `127.0.0.1:${port}`;
}

describe("Redis with its own client", () => {
  it.skipIf(REDIS === undefined || REDIS_CLI === undefined)(
    "reads and writes through the proxy, on several connections",
    async () => {
      const port = String(await proxyTo([await redis()]));
      const ask = async (...words: string[]): Promise<string> =>
        (await run(REDIS_CLI!, ["-p", port, ...words])).stdout;
      expect(await ask("set", "key", "x".repeat(100_000))).toBe("OK\n");
      expect(await ask("strlen", "key")).toBe("100000\n");
      const all = await Promise.all(Array.from({ length: 10 }, () => ask("incr", "count")));
      expect(all.map(Number).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    },
  );

  it.skipIf(REDIS === undefined || REDIS_CLI === undefined)(
    "is reached although the first endpoint is gone",
    async () => {
      const port = await proxyTo([await freeAddress(), await redis()]);
      for (let i = 0; i < 4; i++) {
        const { stdout } = await run(REDIS_CLI!, ["-p", String(port), "ping"]);
        expect(stdout).toBe("PONG\n");
      }
    },
  );
});

describe("PostgreSQL with its own client", () => {
  it.skipIf(PG_BIN === undefined || process.getuid?.() !== 0)(
    "asks through the proxy",
    async () => {
      const { stdout: id } = await run("id", ["-u", "postgres"]);
      const uid = Number(id);
      const data = folder();
      chownSync(data, uid, uid);
      const port = await freePort();
      const as = { uid, gid: uid, cwd: data };
      await run(join(PG_BIN!, "initdb"), ["-D", data, "-A", "trust", "-N", "-U", "postgres"], as);
      const child = spawn(
        join(PG_BIN!, "postgres"),
        ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", data, "-F"],
        { ...as, stdio: "ignore" },
      );
      started(child);
      const proxied = await proxyTo([`127.0.0.1:${port}`]);
      const ask = (of: number, sql: string): Promise<string> =>
        run(join(PG_BIN!, "psql"), [
          "-h",
          "127.0.0.1",
          "-p",
          String(of),
          "-U",
          "postgres",
          "-Atc",
          sql,
        ]).then(({ stdout }) => stdout, String);
      await expect.poll(() => ask(port, "select 1")).toBe("1\n");
      const sum = "select sum(i) from generate_series(1, 100000) i";
      expect(await ask(proxied, sum)).toBe("5000050000\n");
    },
  );
});

describe("a server that speaks first", () => {
  it("is heard at once where the listener says tcp, and after detectTimeout elsewhere", async () => {
    const server = await listening((socket) => {
      socket.write("220 mail.example ESMTP\r\n");
      socket.on("data", (chunk) => socket.write(`250 ${chunk.toString()}`));
    });
    for (const [protocol, least, most] of [
      ["tcp", 0, 900],
      ["detect", 900, 5_000],
    ] as const) {
      const startedAt = performance.now();
      const client = new Client(`127.0.0.1:${await proxyTo([server.address], protocol)}`);
      await client.until(() => client.text.startsWith("220 "));
      const tookMs = performance.now() - startedAt;
      expect(tookMs).toBeGreaterThanOrEqual(least);
      expect(tookMs).toBeLessThan(most);
      client.send("EHLO a\r\n");
      await client.until(() => client.text.endsWith("250 EHLO a\r\n"));
    }
  });
});
