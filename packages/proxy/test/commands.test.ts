/** The command line of mesh-proxy: what it says of mistakes, with which exit code, and what it prints. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Writable } from "node:stream";
import { EXIT, Output, VERSION, type Context } from "inmesh/cli";
import { describe, expect, it, onTestFinished } from "vitest";
import { main } from "../src/cli/main.ts";
import { OPTIONS } from "../src/cli/options.ts";

import { ListenError } from "../src/listen/listen-error.ts";
import manifest from "../package.json" with { type: "json" };
import { listening } from "./support/net.ts";
import { freePort } from "../../../scripts/free-port.ts";

interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  let [out, err] = ["", ""];
  const stream = (write: (text: string) => void): NodeJS.WriteStream =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        write(chunk.toString());
        done();
      },
    }) as unknown as NodeJS.WriteStream;
  const output = new Output({
    out: stream((text) => (out += text)),
    err: stream((text) => (err += text)),
    env: { NO_COLOR: "1", LANG: "C.UTF-8" },
  });
  const context = { output, env } as unknown as Context;
  const exit = await main(args, context);
  return { exit, out, err };
}

function file(config: object): string {
  const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "mesh.json");
  writeFileSync(path, JSON.stringify(config));
  return path;
}

describe("mistakes", () => {
  it.each([
    { args: ["--listn", "x"], exit: EXIT.usage, says: 'did you mean "--listen"' },
    { args: [], exit: EXIT.usage, says: "Nothing to listen on" },
    { args: ["--listen", "127.0.0.1:0"], exit: EXIT.usage, says: "Nothing to send to: give --to" },
    {
      args: ["--inbound", "127.0.0.1:0", "--app", "8080"],
      exit: EXIT.failed,
      says: "proxy.listeners.inbound.app: must be host:port, such as 127.0.0.1:8080",
    },
    {
      args: ["--config", "/nowhere/mesh.yaml"],
      exit: EXIT.failed,
      says: "cannot be read (ENOENT): there is no such file",
    },
    {
      args: ["--listen", "10.0.0.1", "--app", "x", "--to", "y", "--admin", "nowhere:1"],
      exit: EXIT.usage,
      says: /--to must be.*\n.*--listen must be.*\n--app needs --inbound.*\n--admin must have an IP/,
    },
    {
      args: ["--listen", "127.0.0.1:0=db", "--to", "orders=10.0.0.300:80"],
      exit: EXIT.failed,
      says: /2 mistakes:\n.*command line: services.orders.*\n.*proxy.listeners.outbound-db.service/,
    },
    {
      args: ["--listen", "192.0.2.1:0", "--to", "db=10.0.0.1:80"],
      exit: EXIT.unreachable,
      says: "is no address of this machine (EADDRNOTAVAIL)",
    },
    {
      args: ["--listen", "127.0.0.1:0", "--workers", "2", "--to", "db=10.0.0.1:80"],
      exit: EXIT.usage,
      says: "127.0.0.1:0 is another for each of them",
    },
    {
      args: ["--listen", "unix:/run/a.sock=db", "--workers", "2", "--to", "db=10.0.0.1:80"],
      exit: EXIT.usage,
      says: "unix:/run/a.sock is a socket that one process alone can listen on",
    },
    {
      args: ["--listen", "http://127.0.0.1:1", "--to", "a=10.0.0.1:80"],
      exit: EXIT.usage,
      says: "--listen can begin with tcp://, tls://, http1://, http2:// (got",
    },
    {
      args: ["--listen", "tcp://127.0.0.1:1", "--to", "a=10.0.0.1:80", "--to", "b=10.0.0.1:81"],
      exit: EXIT.usage,
      says: "--listen needs a service for TCP, such as tcp://127.0.0.1:1=a",
    },
    {
      args: ["--listen", "tcp://127.0.0.1:1", "--to", "a=10.0.0.1:80", "--allow-connect"],
      exit: EXIT.usage,
      says: "leave tcp:// out of",
    },
    {
      args: ["--inbound", "udp://127.0.0.1:1", "--app", "127.0.0.1:2"],
      exit: EXIT.usage,
      says: "--inbound can begin with tcp://",
    },
    { args: ["completion", "tcsh"], exit: EXIT.usage, says: '<shell> "tcsh"' },
  ])("of $args end with $exit", async ({ args, exit, says }) => {
    const ran = await run(args);
    expect(ran.exit).toBe(exit);
    expect(ran.err).toMatch(says);
  });

  it("of a file are in the order of its lines", async () => {
    const path = join(dirname(file({})), "mesh.yaml");
    writeFileSync(
      path,
      "services:\n  a: { discovery: { static: [x] } }\n  b: { retrys: 1 }\nproxy: { listen: 1 }\n",
    );
    const { err } = await run(["--check", "--config", path]);
    const lines = [...err.matchAll(/mesh\.yaml:(\d+):/g)].map(([, line]) => Number(line));
    expect(lines.length).toBeGreaterThan(2);
    expect(lines).toEqual(lines.toSorted((a, b) => a - b));
  });

  it("a file that has no service yet is no mistake, and is said", async () => {
    const path = file({ proxy: { listeners: { out: { listen: "127.0.0.1:0" } } } });
    const ran = await run(["--check", "--config", path]);
    expect(ran.exit).toBe(EXIT.ok);
    expect(ran.err).toContain("no service is configured yet");
  });

  it("of the environment name the variable", async () => {
    const ran = await run([], {
      INMESH_PROXY_WORKERS: "many",
      INMESH_PROXY_DRAIN_GRACE: "5",
      INMESH_PROXY_LOG: "loud",
      INMESH_PROXY_LISTEN: "nowhere",
    });
    expect(ran.exit).toBe(EXIT.usage);
    for (const name of ["WORKERS must be", "DRAIN_GRACE must be", "LOG must be one of text"]) {
      expect(ran.err).toContain(`INMESH_PROXY_${name}`);
    }
    expect(ran.err).toContain("--listen must be host:port");
  });

  it("say what to do about an address that is in use, and open none of the others", async () => {
    const taken = await listening(() => {});
    const free = await freePort();
    const { exit, err } = await run([
      "--listen",
      `127.0.0.1:${free}=db`,
      "--listen",
      `127.0.0.1:${taken.port}=db`,
      "--to",
      "db=10.0.0.1:80",
    ]);
    expect(exit).toBe(EXIT.conflict);
    expect(err).toContain(`127.0.0.1:${taken.port} is in use (EADDRINUSE).`);
    expect(err).toContain("next  stop what listens there");
    // It is free again.
    await expect(listening(() => {}, { host: "127.0.0.1" })).resolves.toBeDefined();
  });

  it("of permission are distinguished from others", () => {
    const denied = Object.assign(new Error("denied"), { code: "EACCES" });
    const unknown = Object.assign(new Error("something else"), { code: "EWHATEVER" });
    expect(ListenError.of(denied, "127.0.0.1:80")).toMatchObject({ kind: "denied" });
    expect(ListenError.of(unknown, "127.0.0.1:80")).toMatchObject({
      kind: "failed",
      hint: "something else",
    });
  });
});

describe("what is printed", () => {
  it("of a configuration that is valid, or is not", async () => {
    const good = file({
      services: { db: { discovery: { static: ["10.0.0.1:5432"] } } },
      proxy: { listeners: { db: { listen: "127.0.0.1:5432", service: "db" } }, drainGrace: "2s" },
    });
    const check = await run(["--check", "--config", good]);
    expect(check).toMatchObject({ exit: EXIT.ok });
    expect(check.out).toContain("valid  1 listener, 1 service");
    const printed = JSON.parse((await run(["--print-config", "--config", good])).out) as object;
    expect(printed).toMatchObject({
      services: { db: { discovery: { static: [{ host: "10.0.0.1", port: 5432 }] } } },
      proxy: {
        drainGraceMs: 2_000,
        // Servers speak first there.
        listeners: { db: { protocol: "tcp", maxConnectionsPerAddress: "none" } },
      },
    });
    const bad = file({
      proxy: {
        listeners: {
          a: { listn: 1 },
          b: { listen: "x" },
          c: { listen: "127.0.0.1:1", protocol: "tcp" },
          d: { listen: "127.0.0.1:1", service: "nothing", app: "127.0.0.1" },
        },
        drainGrace: "9h",
      },
    });
    const { exit, err } = await run(["--check", "--config", bad]);
    expect(exit).toBe(EXIT.failed);
    for (const rule of [
      /listeners\.a\.listn.*did you mean "listen"/,
      "listeners.a.listen: must be written",
      "listeners.b.listen: must be host:port",
      "listeners.c.protocol: must not be tcp without service or app",
      "listeners.d.service: must not be written together with app",
      "listeners.d.service: must be a service of this configuration",
      "listeners.d.app: must have a port",
      "listeners.d.listen: must not be the address of the listener c as well",
      "proxy.drainGrace: must be at most 1h",
    ]) {
      expect(err).toMatch(rule);
    }
  });

  it("says what is spoken where it was typed, and that it is found out where not", async () => {
    const printed = await run([
      "--to",
      "db=10.0.0.1:5431",
      "--listen",
      "tcp://127.0.0.1:5431",
      "--listen",
      "TLS://[::1]:1=db",
      "--listen",
      "http2://unix:/run/a.sock",
      "--listen",
      "127.0.0.1:2",
      "--inbound",
      "http1://0.0.0.0:3",
      "--app",
      "127.0.0.1:4",
      "--print-config",
    ]);
    expect(printed.err).toBe("");
    const { proxy } = JSON.parse(printed.out) as { proxy: { listeners: object } };
    expect(proxy.listeners).toMatchObject({
      "outbound-db": { listen: "127.0.0.1:5431", service: "db", protocol: "tcp" },
      "outbound-db-2": { listen: "[::1]:1", service: "db", protocol: "tls" },
      outbound: { listen: "unix:/run/a.sock", protocol: "http2" },
      "outbound-2": { listen: "127.0.0.1:2", protocol: "detect" },
      inbound: { listen: "0.0.0.0:3", app: "127.0.0.1:4", protocol: "http1" },
    });
  });

  it("as help has every option, and as version that of the package", async () => {
    const { out } = await run(["--help"]);
    for (const name of Object.keys(OPTIONS)) expect(out).toContain(`--${name}`);
    expect((await run(["--version"])).out).toBe(`${VERSION}\n`);
    expect(VERSION).toBe(manifest.version);
  });

  it("for completion: options, values and files", async () => {
    expect((await run(["__complete", "--dr"])).out).toMatch(/^--drain-grace\t/);
    expect((await run(["__complete", "--log", ""])).out).toBe("text\njson\nnone\n");
    expect((await run(["__complete", "--config", ""])).out).toBe(":file\n");
    expect((await run(["__complete", "--listen", "t"])).out).toBe("tcp://\ntls://\n");
    expect((await run(["completion", "bash"])).out).toContain("complete -F _mesh_proxy mesh-proxy");
  });
});
