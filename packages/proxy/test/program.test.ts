/** `mesh-proxy` as a process: how it follows its file, shares its ports, and ends. */
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import http from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "inmesh/cli";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { ask2, client2, origin1, origin2 } from "./support/http2.ts";
import { Client, listening } from "./support/net.ts";
import { Program } from "./support/program.ts";
import { freePort } from "../../../scripts/free-port.ts";

// Several processes start in some of these tests, which takes a busy machine long.
vi.setConfig({ testTimeout: 90_000 });

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const REFUSED_STREAM = 7;

const tcp = (listen: string, service = "db"): Record<string, string> => ({
  listen,
  service,
  protocol: "tcp",
});

/** As editors write: the whole file at once. */
function write(file: string, config: object): void {
  writeFileSync(`${file}.new`, JSON.stringify(config));
  renameSync(`${file}.new`, file);
}

/** What begins no other protocol is passed on at once. */
async function greeting(address: string): Promise<string> {
  const client = new Client(address).send("\0");
  await client.until(() => client.received.length > 0 || client.closed);
  client.socket.destroy();
  return client.text;
}

describe("the end", () => {
  it("L3 PT: cuts off within the grace what does not end by itself", async () => {
    const server = await listening((socket) => socket.write("hello"));
    const program = new Program([
      "--listen",
      "127.0.0.1:0=db",
      "--to",
      `db=${server.address}`,
      "--drain-grace",
      "1s",
    ]);
    const client = new Client(await program.address("outbound-db"));
    await client.until(() => client.text === "hello");
    const startedAt = performance.now();
    expect(await program.kill().ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await client.until(() => client.closed || client.ended);
  });

  it("waits for what ends in time, and accepts no more", async () => {
    const server = await listening((socket) => {
      socket.write("hello");
      socket.on("end", () => socket.end("bye"));
    });
    const program = new Program([
      "--listen",
      "127.0.0.1:0=db",
      "--to",
      `db=${server.address}`,
      "--drain-grace",
      "20s",
    ]);
    const address = await program.address("outbound-db");
    const client = new Client(address);
    await client.until(() => client.text === "hello");
    program.kill("SIGINT");
    await expect
      .poll(async () => {
        const late = new Client(address);
        await late.until(() => late.closed || late.ended || late.text !== "");
        late.socket.destroy();
        return late.error?.code;
      })
      .toBe("ECONNREFUSED");
    client.end();
    await client.until(() => client.text === "hellobye");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  it("does not wait for an access log whose reader has gone", async () => {
    const { address } = await listening((socket) =>
      socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    );
    const args = ["--listen", "127.0.0.1:0=web", "--to", `web=${address}`];
    const program = new Program([...args, "--access-log", "json", "--drain-grace", "20s"]);
    const proxy = await program.address("outbound-web");
    program.child.stdout!.destroy();
    const ask = async (): Promise<void> => {
      const client = new Client(proxy).send(
        "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
      );
      await client.until(({ text }) => text.endsWith("ok"), "the reply");
      client.end();
    };
    await ask();
    await program.until(({ stderr }) => stderr.includes("access_log.failed"), "the failure");
    await ask();
    expect(await program.kill("SIGINT").ended).toEqual({ code: 0, signal: null });
    expect(program.stderr).not.toContain("the grace is over");
  });

  it("L2 PT: comes at once with the second signal", async () => {
    const server = await listening((socket) => socket.write("hello"));
    const program = new Program([
      "--listen",
      "127.0.0.1:0=db",
      "--to",
      `db=${server.address}`,
      "--drain-grace",
      "60s",
    ]);
    const client = new Client(await program.address("outbound-db"));
    await client.until(() => client.text === "hello");
    program.kill();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await program.kill().ended).toEqual({ code: 130, signal: null });
  });
});

describe("a changed file", () => {
  it("opens, changes and closes listeners while connections go on", async () => {
    const one = await listening((socket) =>
      socket.on("data", (chunk) => socket.write(`1${chunk}`)),
    );
    const two = await listening((socket) => socket.write("two"));
    const file = join(folder(), "mesh.json");
    const services = {
      db: { discovery: { static: [one.address] } },
      other: { discovery: { static: [two.address] } },
    };
    const [first, second] = [await freePort(), await freePort()];
    write(file, { services, proxy: { listeners: { a: tcp(`127.0.0.1:${first}`) } } });
    const program = new Program(["--config", file]);
    const client = new Client(await program.address("a")).send("x");
    await client.until(() => client.text === "1x");
    // The same address leads elsewhere, and there is another one.
    write(file, {
      services,
      proxy: {
        listeners: { a: tcp(`127.0.0.1:${first}`, "other"), b: tcp(`127.0.0.1:${second}`) },
      },
    });
    await program.until(() => program.stderr.includes(`b: listens on 127.0.0.1:${second}`));
    expect(await greeting(`127.0.0.1:${first}`)).toBe("two");
    client.send("y");
    await client.until(() => client.text === "1x1y", "an answer on the connection that was open");
    // A wrong file changes nothing.
    write(file, { services, proxy: { listeners: { a: { listen: "nowhere" } } } });
    await program.until(() => program.stderr.includes("config.refused"));
    expect(await greeting(`127.0.0.1:${first}`)).toBe("two");
    // An address that is in use is said, and the others are taken.
    write(file, {
      services,
      proxy: {
        listeners: { a: tcp(`127.0.0.1:${two.port}`), b: tcp(`127.0.0.1:${second}`, "other") },
      },
    });
    await program.until(() => program.stderr.includes("proxy.listener_failed"));
    expect(program.stderr).toContain(`it stays on 127.0.0.1:${first}`);
    await expect.poll(() => greeting(`127.0.0.1:${second}`)).toBe("two");
    client.send("z");
    await client.until(() => client.text === "1x1y1z");
  });

  it("gives an address to a listener with another name, at once and while the first one drains", async () => {
    const server = await listening((socket) => socket.write("hello"));
    const file = join(folder(), "mesh.json");
    const services = { db: { discovery: { static: [server.address] } } };
    const address = `127.0.0.1:${await freePort()}`;
    const named = (listeners: object): void => write(file, { services, proxy: { listeners } });
    named({ a: tcp(address) });
    const program = new Program(["--config", file]);
    await program.address("a");
    const client = new Client(address);
    await client.until(() => client.text === "hello");
    named({ b: tcp(address) });
    await program.until(() => program.stderr.includes(`b: listens on ${address}`));
    expect(await greeting(address)).toBe("hello");
    named({});
    await program.until(() => program.stderr.includes("configuration 3 in force"));
    named({ c: tcp(address) });
    await program.until(() => program.stderr.includes(`c: listens on ${address}`));
    expect(await greeting(address)).toBe("hello");
    expect(client.closed).toBe(false);
    expect(program.stderr).not.toContain("listener_failed");
  });

  it("lets listeners swap their addresses, or take one that another leaves, without losing a connection", async () => {
    const servers = await Promise.all(
      ["one", "two", "three"].map((name) => listening((socket) => socket.write(name))),
    );
    const services = Object.fromEntries(
      servers.map(({ address }, i) => [`s${i + 1}`, { discovery: { static: [address] } }]),
    );
    const file = join(folder(), "mesh.json");
    const [x, y, z] = [await freePort(), await freePort(), await freePort()].map(
      (port) => `127.0.0.1:${port}`,
    ) as [string, string, string];
    const unix = ["a", "b"].map((name) => `unix:${join(folder(), name)}`) as [string, string];
    const set = (a: string, b: string, c: string, [d, e]: [string, string]): void =>
      write(file, {
        services,
        proxy: {
          listeners: {
            a: tcp(a, "s1"),
            b: tcp(b, "s2"),
            ...(c !== "" && { c: tcp(c, "s3") }),
            d: tcp(d, "s1"),
            e: tcp(e, "s2"),
          },
        },
      });
    set(x, y, "", unix);
    const program = new Program(["--config", file]);
    await program.address("e");
    const old = new Client(x);
    await old.until(() => old.text === "one");
    const seen = new Map<string, string[]>();
    const load = { isOver: false };
    const clients = [x, y, ...unix].map(async (address) => {
      const said: string[] = [];
      seen.set(address, said);
      while (!load.isOver) said.push(await greeting(address));
    });
    const becomes = (address: string, text: string): Promise<void> =>
      expect
        .poll(() => seen.get(address)!.at(-1), { message: address, timeout: 20_000 })
        .toBe(text);
    // Two pairs swap.
    set(y, x, "", [unix[1], unix[0]]);
    await Promise.all([
      becomes(x, "two"),
      becomes(y, "one"),
      becomes(unix[0], "two"),
      becomes(unix[1], "one"),
    ]);
    // A new one takes the address of one that takes that of another, which goes elsewhere.
    set(x, z, y, unix);
    await Promise.all([becomes(x, "one"), becomes(y, "three"), becomes(unix[0], "one")]);
    expect(await greeting(z)).toBe("two");
    load.isOver = true;
    await Promise.all(clients);
    const lost = [...seen].filter(([, said]) =>
      said.some((text) => !/^(?:one|two|three)$/.test(text)),
    );
    expect(lost).toEqual([]);
    expect(old.closed).toBe(false);
    expect(program.stderr).not.toContain("listener_failed");
  });

  it("leaves every listener where it is that would need an address of one that cannot go", async () => {
    const [one, two] = await Promise.all(
      ["one", "two"].map((name) => listening((socket) => socket.write(name))),
    );
    const services = {
      one: { discovery: { static: [one!.address] } },
      two: { discovery: { static: [two!.address] } },
    };
    const file = join(folder(), "mesh.json");
    const [x, y, z] = [await freePort(), await freePort(), await freePort()].map(
      (port) => `127.0.0.1:${port}`,
    ) as [string, string, string];
    const set = (listeners: object): void => write(file, { services, proxy: { listeners } });
    set({ a: tcp(x, "one"), b: tcp(y, "two") });
    const program = new Program(["--config", file]);
    await program.address("b");
    // `b` would go to an address that is in use, so `a` cannot have that of `b`, nor `c` that of `a`.
    set({ a: tcp(y, "one"), b: tcp(one!.address, "two"), c: tcp(x, "two"), d: tcp(z, "two") });
    await program.until(() => program.stderr.includes(`d: listens on ${z}`));
    expect(await Promise.all([x, y, z].map(greeting))).toEqual(["one", "two", "two"]);
    const lines = program.stderr.split("\n").filter((line) => line.includes("listener_failed"));
    expect(lines).toEqual([
      expect.stringContaining(`b: ${one!.address} is in use (EADDRINUSE); it stays on ${y}`),
      expect.stringContaining(
        `a: ${y} is the address of the listener b, which stays there; it stays on ${x}`,
      ),
      expect.stringContaining(
        `c: ${x} is the address of the listener a, which stays there; it is not there`,
      ),
    ]);
    // What could not be had is had with the next change.
    one!.close();
    set({ a: tcp(y, "two"), b: tcp(one!.address, "two"), c: tcp(x, "two"), d: tcp(z, "two") });
    await program.until(() => program.stderr.includes(`c: listens on ${x}`));
    expect(await Promise.all([x, y, z, one!.address].map(greeting))).toEqual([
      "two",
      "two",
      "two",
      "two",
    ]);
  });

  it("keeps the process although it has no listener for a while", async () => {
    const server = await listening((socket) => socket.end("hello"));
    const file = join(folder(), "mesh.json");
    const services = { db: { discovery: { static: [server.address] } } };
    const address = `127.0.0.1:${await freePort()}`;
    write(file, { services, proxy: { listeners: { a: tcp(address) } } });
    const program = new Program(["--config", file]);
    await program.address("a");
    // Nothing is left of it once its callers have had time to notice.
    write(file, { services, proxy: { listeners: {} } });
    await program.until(() => program.stderr.includes("configuration 2 in force"));
    await expect.poll(() => greeting(address), { timeout: 20_000 }).toBe("");
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(program.isEnded).toBe(false);
    write(file, { services, proxy: { listeners: { a: tcp(address) } } });
    await expect.poll(() => greeting(address), { timeout: 20_000 }).toBe("hello");
    expect(await program.kill("SIGINT").ended).toEqual({ code: 0, signal: null });
  });
});

describe("several processes", () => {
  it("L6 PT: share a port, so that one starts before the other ends", async () => {
    const server = await listening((socket) => socket.write("hello"));
    const port = await freePort();
    const args = [
      "--listen",
      `127.0.0.1:${port}=db`,
      "--to",
      `db=${server.address}`,
      "--reuse-port",
      "--drain-grace",
      "1s",
    ];
    const old = new Program(args);
    await old.address("outbound-db");
    const next = new Program(args);
    await next.address("outbound-db");
    old.kill("SIGINT");
    const seen: string[] = [];
    for (let i = 0; i < 20; i++) seen.push(await greeting(`127.0.0.1:${port}`));
    // The one that waits to be accepted when the old process stops may be reset by the kernel (net.ipv4.tcp_migrate_req).
    expect(seen.filter((text) => text !== "hello").length).toBeLessThanOrEqual(1);
    expect((await old.ended).code).toBe(0);
    expect(await greeting(`127.0.0.1:${port}`)).toBe("hello");
  });

  it("L6 P11, L6 P22: share a port under load: connections that are open are asked to leave, and no request fails", async () => {
    const first = await origin1((request, response) => {
      request.resume();
      response.end("ok");
    });
    const second = await origin2((stream) => {
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    const file = join(folder(), "mesh.json");
    const [port1, port2] = [await freePort(), await freePort()];
    write(file, {
      services: {
        web: { discovery: { static: [first] } },
        rpc: { discovery: { static: [second.address] }, http2: true },
      },
      proxy: {
        listeners: {
          web: { listen: `127.0.0.1:${port1}`, service: "web" },
          rpc: { listen: `127.0.0.1:${port2}`, service: "rpc" },
        },
      },
    });
    const start = async (): Promise<Program> => {
      const program = new Program(["--config", file, "--reuse-port", "--drain-grace", "3s"]);
      await program.address("rpc");
      return program;
    };
    const old = await start();
    const seen: string[] = [];
    let leaving = 0;
    const load = { isOver: false };
    onTestFinished(() => void (load.isOver = true));
    const agent = new http.Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const over1 = async (): Promise<void> => {
      while (!load.isOver) {
        await new Promise<void>((resolve) => {
          const request = http.get({ port: port1, host: "127.0.0.1", agent }, (reply) => {
            if (reply.headers.connection === "close") leaving++;
            reply.resume();
            reply.on("close", () => {
              seen.push(reply.complete ? `web ${reply.statusCode}` : "web cut");
              resolve();
            });
          });
          request.on("error", (error: NodeJS.ErrnoException) => {
            seen.push(`web ${request.reusedSocket ? "reused" : "new"} ${error.code}`);
            resolve();
          });
        });
      }
    };
    const over2 = async (): Promise<void> => {
      let session = client2(port2);
      while (!load.isOver) {
        // As clients do with a GOAWAY: what comes next gets another connection.
        if (session.closed) {
          leaving++;
          session = client2(port2);
        }
        const { headers, code } = await ask2(session);
        // Above the last stream of a GOAWAY: no one has looked at it, and it is sent again.
        if (code !== REFUSED_STREAM) seen.push(`rpc ${headers[":status"]} ${code}`);
      }
    };
    const loops = [over1(), over1(), over2(), over2()];
    const next = await start();
    // Connections that are made now may be either's.
    const before = seen.length;
    await expect.poll(() => seen.length).toBeGreaterThan(before + 20);
    old.kill("SIGTERM");
    expect((await old.ended).code).toBe(0);
    const after = seen.length;
    await expect.poll(() => seen.length).toBeGreaterThan(after + 20);
    load.isOver = true;
    await Promise.all(loops);
    expect(new Set(seen)).toEqual(new Set(["web 200", "rpc 200 0"]));
    expect(leaving).toBeGreaterThan(0);
    expect(next.isEnded).toBe(false);
  });
});

describe.runIf(process.platform === "linux")("the young generation of V8", () => {
  const LIMIT = "--max-semi-space-size=16";
  const args = ["--listen", "127.0.0.1:0=db", "--to", "db=127.0.0.1:9"];
  const commandOf = (pid: number): string[] =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const childrenOf = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);

  it("has its limit in the plain command, which stays the same process, and in workers", async () => {
    const plain = new Program(args);
    await plain.address("outbound-db");
    expect(commandOf(plain.child.pid!)).toContain(LIMIT);
    expect(plain.stderr).toContain(`process ${plain.child.pid}\n`);
    expect(plain.stderr).not.toContain("Warning");
    const listen = `127.0.0.1:${await freePort()}=db`;
    const several = new Program(["--listen", listen, "--to", "db=127.0.0.1:9", "--workers", "2"]);
    await several.address("outbound-db");
    const workers = childrenOf(several.child.pid!);
    expect(workers).toHaveLength(2);
    for (const pid of [several.child.pid!, ...workers]) expect(commandOf(pid)).toContain(LIMIT);
  });

  it("keeps a limit that was chosen, and a file that stands open", async () => {
    const chosen = new Program(args, { env: { NODE_OPTIONS: "--max_semi_space_size=8" } });
    await chosen.address("outbound-db");
    expect(commandOf(chosen.child.pid!)).not.toContain(LIMIT);
    const file = join(folder(), "token");
    writeFileSync(file, "a token of a shell's own\n".replaceAll(" ", "-"));
    const open = openSync(file, "r");
    onTestFinished(() => closeSync(open));
    const admin = ["--admin", "127.0.0.1:0", "--admin-token-file", "/dev/fd/3"];
    const given = new Program([...args, ...admin], { stdio: ["ignore", "pipe", "pipe", open] });
    await given.address("outbound-db");
  });
});

describe("an address for administration", () => {
  it("is printed with the command that reaches it, its token included", async () => {
    const file = join(folder(), "token");
    const args = ["--admin", "127.0.0.1:0", "--admin-token-file", file];
    const server = await listening(() => {});
    const program = new Program([
      "--listen",
      "127.0.0.1:0=db",
      "--to",
      `db=${server.address}`,
      ...args,
    ]);
    await program.until(({ stderr }) => stderr.includes("inmesh stat"));
    expect(program.stderr).toMatch(
      new RegExp(`try  inmesh stat --admin http://127\\.0\\.0\\.1:\\d+ --token-file ${file}\n`),
    );
    program.kill("SIGKILL");
    await program.ended;
  });

  it("with --log json each line of the start is JSON", async () => {
    const admin = ["--admin", "127.0.0.1:0"];
    const program = new Program([
      "--listen",
      "127.0.0.1:0=db",
      "--to",
      "db=127.0.0.1:1",
      "--log",
      "json",
      ...admin,
    ]);
    await program.until(({ stderr }) => stderr.includes('"admin.listening"'));
    program.kill();
    await program.ended;
    const events = program.stderr
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { event: string }).event);
    expect(events).toContain("proxy.listening");
  });

  it("says of each mistake in it which option it is, and what to do", async () => {
    const path = folder();
    writeFileSync(join(path, "short"), "short\n");
    const args = ["--listen", "127.0.0.1:0=db", "--to", "db=127.0.0.1:9"];
    const none = join(path, "none");
    const cases: readonly (readonly [readonly string[], number, readonly string[]])[] = [
      [
        ["--admin", "127.0.0.1:0", "--admin-token-file", join(none, "token")],
        EXIT.failed,
        [`--admin-token-file "${none}/token": cannot be written: ENOENT`, "make the folder first"],
      ],
      [
        ["--admin", "127.0.0.1:0", "--admin-token-file", join(path, "short")],
        EXIT.failed,
        [
          `--admin-token-file "${path}/short": its first line must have 16 to 512 characters`,
          "name a file that this user may read",
        ],
      ],
      [
        ["--admin", `unix:${none}/admin.sock`],
        EXIT.unreachable,
        [
          `--admin: unix:${none}/admin.sock is in a folder that does not exist`,
          "make the folder first",
        ],
      ],
      [
        ["--admin", `unix:/tmp/${"a".repeat(100)}`],
        EXIT.failed,
        [`--admin "/tmp/aaa`, "must have 1 to 103 bytes"],
      ],
      [
        ["--admin-token-file", join(path, "short")],
        EXIT.usage,
        ["--admin-token-file is for the admin address, and --admin does not name one"],
      ],
    ];
    for (const [more, code, texts] of cases) {
      const program = new Program([...args, ...more]);
      expect(await program.ended, more.join(" ")).toEqual({ code, signal: null });
      for (const text of texts) expect(program.stderr).toContain(text);
      expect(program.stderr).not.toContain("mesh.admin");
    }
    const program = new Program([...args, "--admin", "127.0.0.1:0"]);
    await program.until(({ stderr }) => stderr.includes("inmesh stat"));
    expect(program.stderr).toContain("printed on a terminal alone: --admin-token-file <file>");
  });

  it("L10 P11: that is in use is said, with what to do, and the proxy does not start; a stale socket is replaced", async () => {
    const path = join(folder(), "admin.sock");
    const server = await origin1((_, response) => response.end("ok"));
    const args = ["--listen", "127.0.0.1:0=web", "--to", `web=${server}`, "--drain-grace", "1s"];
    const start = (admin: string): Program => new Program([...args, "--admin", admin]);
    const taken = await listening(() => {});
    const onPort = start(taken.address);
    // It is refused by what listens there, and its listeners are closed again.
    expect(await onPort.ended).toEqual({ code: EXIT.conflict, signal: null });
    expect(onPort.stderr).toContain(`--admin: ${taken.address} is in use (EADDRINUSE)`);
    expect(onPort.stderr).toContain("next  stop what listens there");
    expect(onPort.stderr).not.toContain("--reuse-port");

    // What a process that was killed leaves behind.
    const one = createServer();
    await new Promise<void>((resolve) => one.listen(`${path}.now`, resolve));
    renameSync(`${path}.now`, path);
    one.close();
    expect(existsSync(path)).toBe(true);
    const first = start(`unix:${path}`);
    await first.address("outbound-web");
    const live = await new Promise<number>((resolve, reject) => {
      http
        .get({ socketPath: path, path: "/livez" }, (reply) => resolve(reply.statusCode!))
        .on("error", reject);
    });
    expect(live).toBe(200);

    // One that is answered is not taken away.
    const second = start(`unix:${path}`);
    expect(await second.ended).toEqual({ code: EXIT.conflict, signal: null });
    expect(second.stderr).toContain(`--admin: unix:${path} is in use (EADDRINUSE)`);
    expect(existsSync(path)).toBe(true);
    expect(first.isEnded).toBe(false);
    const [, port] = (await first.address("outbound-web")).split(":");
    const web = await new Promise<number>((resolve, reject) => {
      http
        .get({ host: "127.0.0.1", port: Number(port) }, (reply) => resolve(reply.statusCode!))
        .on("error", reject);
    });
    expect(web).toBe(200);
  });
});
