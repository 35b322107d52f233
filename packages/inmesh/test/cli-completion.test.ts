/** Completion: the shells themselves where they are installed, and what they ask the program. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SERVICES } from "./admin-answers.ts";
import { fakeAdmin, run, type FakeAdmin } from "./fake-admin.ts";

const folder: string = mkdtempSync(join(tmpdir(), "inmesh-completion-"));
const PROGRAM: string = join(import.meta.dirname, "../src/cli/run.ts");
let admin: FakeAdmin;
beforeAll(async () => {
  admin = await fakeAdmin({ services: SERVICES });
  const node = `${process.execPath} --disable-warning=ExperimentalWarning --conditions=inmesh-source`;
  writeFileSync(join(folder, "inmesh"), `#!/bin/sh\nexec ${node} ${PROGRAM} "$@"\n`);
  chmodSync(join(folder, "inmesh"), 0o755);
});
afterAll(() => {
  admin.server.close();
  rmSync(folder, { recursive: true });
});

async function words(...typed: string[]): Promise<string[]> {
  const { code, out, err } = await run(["__complete", ...typed]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return out
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split("\t")[0]!);
}

describe("what may come next", () => {
  it("is a command, an option, or one of the values of an option", async () => {
    expect(await words("")).toEqual(expect.arrayContaining(["stat", "tap", "help"]));
    expect(await words("co")).toEqual(["config", "completion"]);
    expect(await words("help", "st")).toEqual(["stat"]);
    expect(await words("stat", "--no")).toEqual(["--no-headers", "--no-color"]);
    expect(await words("stat", "-o", "")).toEqual(["table", "wide", "json", "jsonl", "name"]);
    expect(await words("completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(await words("completion", "bash", "")).toEqual([]);
    expect(await words("check", "")).toEqual([":file"]);
    expect(await words("stat", "--token-file", "")).toEqual([":file"]);
    expect(await words("nothing", "")).toEqual([]);
    expect(await words("stat", "--sort", "lat")).toEqual([]);
    expect(await words("stat", "--sort", "LAT")).toEqual([
      "LATENCY_P50",
      "LATENCY_P95",
      "LATENCY_P99",
    ]);
  });

  it("is a name of the process, but none that a shell would have to quote", async () => {
    expect(await words("stat", "--admin", admin.url, "")).toEqual([
      "orders.shop",
      "pay.shop",
      "stock.shop",
      "storefront",
    ]);
    expect(await words("tap", `--admin=${admin.url}`, "--route", "r")).toEqual(["read"]);
    expect(await words("endpoints", "--admin", admin.url, "pay.shop", "o")).toEqual([
      "orders.shop",
    ]);
    expect(await words("explain", "--admin", admin.url, "GET", "st")).toEqual([
      "stock.shop",
      "storefront",
    ]);
  });

  it("is nothing where the process does not answer, and no error", async () => {
    expect(await words("stat", "--admin", "http://127.0.0.1:1", "")).toEqual([]);
    expect(await words("stat", "--admin", "nonsense", "")).toEqual([]);
  });
});

function has(name: string): boolean {
  return spawnSync(name, ["-c", "exit 0"]).status === 0;
}

function shell(name: string, args: readonly string[], script: string): string {
  const { PATH = "" } = process.env;
  const env = { PATH: `${folder}:${PATH}`, HOME: folder, INMESH_ADMIN: admin.url, LANG: "C.UTF-8" };
  const child = spawnSync(name, [...args, "-c", script], { env, encoding: "utf8", cwd: folder });
  expect(child.stderr).toBe("");
  return child.stdout;
}

describe("bash", () => {
  it.runIf(has("bash"))("completes commands, options and files", () => {
    const script = `
      source <(inmesh completion bash)
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _inmesh 2>/dev/null; echo "\${COMPREPLY[*]}"; }
      try inmesh sta
      try inmesh stat --no
      try inmesh check ./inm
      complete -p inmesh`;
    expect(shell("bash", ["--norc"], script).split("\n")).toEqual([
      "stat",
      "--no-headers --no-color",
      "./inmesh",
      "complete -F _inmesh inmesh",
      "",
    ]);
  });
});

describe.each(["zsh", "fish"])("%s", (name) => {
  it.runIf(has(name))("accepts the script", async () => {
    const { out } = await run(["completion", name]);
    writeFileSync(join(folder, `script.${name}`), out);
    expect(
      shell(
        name,
        [],
        `${name === "zsh" ? "autoload -U compinit; compinit -u; " : ""}source script.${name}; echo fine`,
      ),
    ).toBe("fine\n");
  });

  it("has a script that asks the program", async () => {
    const { code, out } = await run(["completion", name]);
    expect(code).toBe(0);
    expect(out).toContain("inmesh __complete");
  });
});
