/** `mesh-proxy` as a process: how it follows its file, shares its ports, and ends. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
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
    for (let i = 0; i < 20; i++) expect(await greeting(`127.0.0.1:${port}`)).toBe("hello");
    expect((await old.ended).code).toBe(0);
    expect(await greeting(`127.0.0.1:${port}`)).toBe("hello");
  });
});
