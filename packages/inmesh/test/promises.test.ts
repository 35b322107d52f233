/** Promises to the host process, each kept in a process of its own; more of them stand beside their parts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const root: string = fileURLToPath(new URL("..", import.meta.url));
const USES: string = join(import.meta.dirname, "fixtures/uses.ts");
const ENDS = [
  "ok",
  "reset_before_response",
  "malformed_response",
  "reset_mid_response",
  "call_deadline",
  "connect_refused",
  "enough",
];

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function node(...args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, ["--conditions=inmesh-source", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  // Node 22 announces that it strips types.
  return { code, out, err: err.replaceAll(/^.*(ExperimentalWarning|--trace-warnings).*\n/gm, "") };
}

/** A module that is loaded before the program. */
function preload(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "preload.mjs");
  writeFileSync(path, text);
  return `--import=${path}`;
}

it("P1: faults of every kind end as errors; P7: nothing is printed and the process has no listener", async () => {
  const listeners = preload(`
    const before = process.eventNames().map(String).sort().join();
    const count = () => process.eventNames().map((name) => process.listenerCount(name)).join();
    process.on("exit", () => {
      const after = process.eventNames().map(String).filter((name) => name !== "exit").sort().join();
      if (after !== before) process.stderr.write("listens: " + after + " " + count());
    });
  `);
  const { code, out, err } = await node(
    "--unhandled-rejections=strict",
    "--disable-warning=ExperimentalWarning",
    "--throw-deprecation",
    listeners,
    USES,
  );
  expect(err).toBe("");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual(ENDS);
});

it("P6: works with frozen intrinsics and without __proto__", async () => {
  for (const flag of ["--frozen-intrinsics", "--disable-proto=throw", "--disable-proto=delete"]) {
    const { code, out, err } = await node("--disable-warning=ExperimentalWarning", flag, USES);
    expect(err, flag).toBe("");
    expect(code, flag).toBe(0);
    expect(JSON.parse(out), flag).toEqual(ENDS);
  }
});

it("P8: importing reads no variable of ours, opens nothing, starts nothing, and writes no file", async () => {
  const watched = preload(`
    const read = new Set();
    globalThis.envRead = read;
    process.env = new Proxy(process.env, {
      get: (env, name) => (read.add(String(name)), Reflect.get(env, name)),
      ownKeys: (env) => (read.add("all of them"), Reflect.ownKeys(env)),
    });
  `);
  const { code, out, err } = await node(
    "--permission",
    "--allow-fs-read=*",
    "--disable-warning=SecurityWarning",
    watched,
    "--input-type=module",
    "--eval",
    `
      // Node looks at it for its colours as soon as node:util is imported.
      void process.stderr;
      const before = process.getActiveResourcesInfo();
      await import("inmesh");
      await new Promise((resolve) => setImmediate(resolve));
      const after = process.getActiveResourcesInfo();
      const env = [...globalThis.envRead].filter((name) => /inmesh|all of them/i.test(name));
      console.log(JSON.stringify({ before, after, env }));
    `,
  );
  expect(err).toBe("");
  expect(code).toBe(0);
  const seen = JSON.parse(out) as { before: string[]; after: string[]; env: string[] };
  expect(seen.env).toEqual([]);
  expect(seen.after).toEqual(seen.before);
});

it("P8: bundlers may drop what is not used", () => {
  const declared = (name: string): unknown => {
    const text = readFileSync(join(root, `../${name}/package.json`), "utf8");
    return (JSON.parse(text) as { sideEffects: unknown }).sideEffects;
  };
  expect(declared("core")).toBe(false);
  expect(declared("http")).toBe(false);
  // One entry is there for what it does when it is imported, and the other gives meshes the names of Kubernetes, which
  // a bundler would drop.
  const files = declared("inmesh") as string[];
  expect(files.filter((file) => !/\/(?:telemetry|index|kubernetes)\.m?[jt]s$/.test(file))).toEqual(
    [],
  );
});

it("P17: require() of the module works, and gives what import gives", async () => {
  const { out, err } = await node(
    "--disable-warning=ExperimentalWarning",
    "--input-type=commonjs",
    "--eval",
    `
      const required = require("inmesh");
      import("inmesh").then((imported) => console.log(required.meshClient === imported.meshClient));
    `,
  );
  expect(err).toBe("");
  expect(out).toBe("true\n");
});

it("P18: the packages that an application gets are these", () => {
  const dependenciesOf = (name: string): string[] => {
    const text = readFileSync(join(root, `../${name}/package.json`), "utf8");
    const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> };
    return Object.keys(dependencies).toSorted();
  };
  expect(dependenciesOf("core")).toEqual(["dns-packet", "re2js", "yaml"]);
  expect(dependenciesOf("http")).toEqual(["@inmesh/core", "undici"]);
  expect(dependenciesOf("inmesh")).toEqual([
    "@inmesh/core",
    "@inmesh/discovery-k8s",
    "@inmesh/http",
  ]);
});
