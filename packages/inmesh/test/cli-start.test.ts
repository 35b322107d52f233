/** What the program loads before it has answered: the start of a command line is what people wait for most often. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { SERVICES } from "./admin-answers.ts";
import { fakeAdmin } from "./fake-admin.ts";

const PROGRAM: string = join(import.meta.dirname, "../src/cli/run.ts");
const folder: string = mkdtempSync(join(tmpdir(), "inmesh-cli-start-"));
const recorder: string = join(folder, "loaded.mjs");
afterAll(() => rmSync(folder, { recursive: true }));

writeFileSync(
  recorder,
  `import { registerHooks } from "node:module";
   import { writeSync } from "node:fs";
   // Node's own fetch, which is loaded by code that reads every export of node:http.
   const isFetch = (name) => name.includes("deps/undici/undici");
   process.on("exit", () => process.moduleLoadList.some(isFetch) && writeSync(3, "undici\\n"));
   registerHooks({ load: (url, context, next) => (writeSync(3, url + "\\n"), next(url, context)) });`,
);

const ARGS = [
  "--disable-warning=ExperimentalWarning",
  "--conditions=inmesh-source",
  `--import=${recorder}`,
  PROGRAM,
];
/** What reads the answers of a process: four small files, which the columns of tables need as well. */
const FOR_READERS = /\/core\/src\/(?:inspect\/(?:index|api|window)|shown-time)\.ts$/;
const STDIO = ["ignore", "pipe", "pipe", "pipe"] as const;

function loadedBy(text: string): string[] {
  const urls = text.trim().split("\n");
  return urls.filter((url) => !url.endsWith(".mjs") && url !== "");
}

it.each([
  [["--help"]],
  [["--version"]],
  [["stat", "--help"]],
  [["help", "tap"]],
  [["completion", "bash"]],
  [["__complete", "st"]],
])("%j loads no part of the mesh that runs", (args) => {
  const child = spawnSync(process.execPath, [...ARGS, ...args], {
    encoding: "utf8",
    stdio: [...STDIO],
  });
  expect(child.stderr).toBe("");
  expect(child.stdout).not.toBe("");
  const loaded = loadedBy(child.output[3]!);
  expect(loaded.length).toBeGreaterThan(5);
  expect(
    loaded.filter(
      (url) =>
        !url.includes("/inmesh/src/cli/") && !url.startsWith("node:") && !FOR_READERS.test(url),
    ),
  ).toEqual([]);
  // Loading it costs as much as all of ours.
  expect(loaded).not.toContain("node:http");
});

it("a question to a process loads of the mesh what computes rates, and nothing else", async () => {
  const { server, url } = await fakeAdmin({ services: SERVICES });
  const child = spawn(process.execPath, [...ARGS, "stat", "--admin", url], { stdio: [...STDIO] });
  let text = "";
  child.stdio[3]!.on("data", (piece: Buffer) => (text += piece.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  server.close();
  expect(code).toBe(0);
  const beyond = loadedBy(text).filter(
    (one) => !one.includes("/inmesh/src/cli/") && !one.startsWith("node:"),
  );
  expect(beyond.map((one) => one.replace(/.*\/packages\//, ""))).toEqual([
    "core/src/inspect/index.ts",
    "core/src/inspect/api.ts",
    "core/src/shown-time.ts",
    "core/src/inspect/window.ts",
  ]);
});
