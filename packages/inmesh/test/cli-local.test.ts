/** Commands without an address find the processes of this user: real processes, in a registry of the test's own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { EXIT } from "../src/cli/failure.ts";
import { run, type Ran } from "./fake-admin.ts";

const OPENED: string = join(import.meta.dirname, "fixtures/opened.ts");
const folder: string = mkdtempSync(join(tmpdir(), "inmesh-cli-local-"));
afterAll(() => rmSync(folder, { recursive: true }));
let dir = "";
let count = 0;
beforeEach(() => {
  dir = join(folder, `run-${count++}`);
});

/** Resolves when its API is announced. */
async function opened(...args: readonly string[]): Promise<ChildProcess> {
  const flags = ["--disable-warning=ExperimentalWarning", "--conditions=inmesh-source"];
  const child = spawn(process.execPath, [...flags, OPENED, ...args], {
    env: { PATH: process.env["PATH"], INMESH_REGISTRY: dir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  await vi.waitFor(() => expect(fileOf(child)).toBeDefined(), { timeout: 20_000 });
  return child;
}

const fileOf = ({ pid }: ChildProcess): string | undefined =>
  readdirSync(dir).find((file) => file.includes(`~admin~${pid}-`) && file.endsWith(".json"));

const inmesh = (args: readonly string[], more: Record<string, string> = {}): Promise<Ran> =>
  run(args, { env: { INMESH_REGISTRY: dir, ...more } });

const namesOf = ({ out }: Ran): string[] =>
  (JSON.parse(out) as { items: { name: string }[] }).items.map(({ name }) => name);

describe("a command without an address", { timeout: 60_000 }, () => {
  it("asks the only process of this user, with the token that it has made", async () => {
    const child = await opened("orders");
    const asked = await inmesh(["stat", "--json"]);
    expect(asked).toMatchObject({ code: EXIT.ok, err: "" });
    expect(namesOf(asked)).toEqual(["orders"]);
    expect((await inmesh(["check", "-o", "short"])).code).toBe(EXIT.ok);
    expect((await inmesh(["top", "--for", "10ms", "--json"])).code).toBe(EXIT.ok);
    const file = join(dir, fileOf(child)!);
    expect(statSync(file).mode & 0o077).toBe(0);
    // By its address alone it is the same one.
    const { addresses } = JSON.parse(readFileSync(file, "utf8")) as { addresses: [string] };
    const named = await inmesh(["stat", "--json", "--admin", `http://${addresses[0]}`]);
    expect(namesOf(named)).toEqual(["orders"]);
    // Nothing is found where the registry is off.
    for (const more of [{ INMESH_REGISTRY: "off" }, { INMESH_REGISTRY: "", CI: "true" }]) {
      const off = await inmesh(["stat"], more);
      expect(off.code).toBe(EXIT.usage);
      expect(off.err).toContain("the registry of this machine is off here, by ");
    }
  });

  it("lists them where there are several, which are chosen by pid, or by name of a server", async () => {
    const tokenFile = join(folder, "token");
    const [orders, pay] = [await opened("orders"), await opened("pay", tokenFile)];
    const which = await inmesh(["stat"]);
    expect(which.code).toBe(EXIT.usage);
    expect(which.out).toBe("");
    expect(which.err).toMatch(
      /^Which process\? 2 of this user have their API open on this machine:/,
    );
    for (const [child, name] of [
      [orders, "orders"],
      [pay, "pay"],
    ] as const) {
      const line = `  opened (pid ${child.pid}, serves ${name}) at http://127.0.0.1:`;
      expect(which.err).toContain(line);
      expect(namesOf(await inmesh(["stat", "--json", "--admin", `${child.pid}`]))).toEqual([name]);
      expect(namesOf(await inmesh(["stat", "--json"], { INMESH_ADMIN: name }))).toEqual([name]);
    }
    const wrong = await inmesh(["stat", "--admin", "cart"]);
    expect(wrong.code).toBe(EXIT.usage);
    expect(wrong.err).toContain(
      "No process of this user is called cart. There are:\n  opened (pid ",
    );
    expect((await inmesh(["stat", "--admin", "opened"])).err).toContain(
      "2 of this user are called",
    );
    // One that was killed is none, and its entry is no other's.
    pay.kill("SIGKILL");
    await once(pay, "exit");
    expect(namesOf(await inmesh(["stat", "--json"]))).toEqual(["orders"]);
    expect(fileOf(pay)).toBeUndefined();
  });

  it("says what to do where there is none, and about a token that only the process knows", async () => {
    const none = await inmesh(["top"]);
    expect(none).toMatchObject({ code: EXIT.usage, out: "" });
    expect(none.err).toMatch(
      /^Which process\?\n {2}why {3}none has its API open on this machine, by the registry in .*run-\d+\n {2}next {2}Call mesh\.admin\.listen\(\) in it, or start mesh-proxy with --admin .*\. Or: Write --admin http:/,
    );
    expect((await inmesh(["check"])).err).toContain("Which file? For example");
    await opened("orders", "given");
    const refused = await inmesh(["stat"]);
    expect(refused.code).toBe(EXIT.denied);
    expect(refused.err).toContain("Name the token of the process with --token-file");
    expect((await inmesh(["stat", "--token", "0123456789abcdef-given"])).code).toBe(EXIT.ok);
  });
});
