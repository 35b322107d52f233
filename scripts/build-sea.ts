/**
 * `npm run sea`: mesh-proxy as one file that needs no Node and no node_modules beside it. The modules of the program
 * are joined into one script, and `node --build-sea` puts that into a copy of the Node that runs this script. What came of it
 * is then tried: it starts, answers a request, shows its workers as one, and drains. Its size and start are printed.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { YOUNG_GENERATION_FLAG } from "../packages/proxy/src/cli/young-generation.ts";
import { freePort } from "./free-port.ts";

const root: string = join(import.meta.dirname, "..");
const folder: string = join(root, "packages/proxy/sea");
const OLDEST = [25, 5] as const;
const STARTS = 10;
const LIMIT_MS = 30_000;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  console.error(
    `Node ${process.version} cannot build one: run this with Node ${OLDEST.join(".")} or newer`,
  );
  process.exit(1);
}

/** One script, with everything that is imported. */
async function joined(): Promise<string> {
  const bundle = await rolldown({
    cwd: root,
    input: join(root, "packages/proxy/src/cli/run.ts"),
    platform: "node",
    resolve: { conditionNames: ["inmesh-source", "node", "require", "default"] },
    transform: { target: "es2024" },
    onLog: (level, { message }) => {
      // What applications may have beside, such as the SDK of OpenTelemetry, the program does not load.
      if (level === "warn") console.error(message);
    },
  });
  const { output } = await bundle.generate({
    format: "cjs",
    codeSplitting: false,
    comments: false,
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
  });
  return output[0].code;
}

async function build(): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const main = join(folder, "mesh-proxy.cjs");
  const output = join(folder, "mesh-proxy");
  writeFileSync(main, await joined());
  const config = join(folder, "sea-config.json");
  writeFileSync(
    config,
    JSON.stringify({
      main,
      output,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      execArgv: [YOUNG_GENERATION_FLAG],
    }),
  );
  execFileSync(process.execPath, ["--build-sea", config], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  chmodSync(output, 0o755);
  return output;
}

/** Rejects with `what` after a time that only a mistake takes. */
async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), LIMIT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Started {
  readonly child: ChildProcess;
  readonly startMs: number;
  readonly ended: Promise<number | null>;
}

/** Until its banner is here, which it prints when it listens. */
async function started(command: string, args: readonly string[], last: string): Promise<Started> {
  const at = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "pipe"], env: {} });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  let text = "";
  const listens = new Promise<void>((resolve, reject) => {
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.includes(last)) resolve();
    });
    void ended.then((code) => reject(new Error(`it ended with ${code}\n${text}`)));
  });
  await within(listens, `the start of ${command}\n${text}`);
  return { child, startMs: performance.now() - at, ended };
}

function assert(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function tryOut(executable: string): Promise<void> {
  const application = createServer((_, response) => response.end("hello"));
  await new Promise<void>((resolve) => application.listen(0, "127.0.0.1", resolve));
  const to = `orders=127.0.0.1:${(application.address() as AddressInfo).port}`;
  const [port, admin] = [await freePort(), await freePort()];
  const listen = ["--listen", `127.0.0.1:${port}=orders`, "--to", to, "--drain-grace", "5s"];
  const starts: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const { child, startMs, ended } = await started(executable, listen, "try  curl");
    starts.push(startMs);
    const reply = await fetch(`http://127.0.0.1:${port}/`);
    assert((await reply.text()) === "hello", "the request was not answered");
    // Without the time in which callers would notice.
    child.kill("SIGINT");
    assert((await within(ended, "its end")) === 0, "it did not drain");
  }
  const workers = ["--workers", "2", "--admin", `127.0.0.1:${admin}`, "--metrics-open"];
  const { child, ended } = await started(executable, [...listen, ...workers], "try  inmesh stat");
  for (let i = 0; i < 10; i++) await (await fetch(`http://127.0.0.1:${port}/`)).text();
  const page = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  assert(page.includes('inmesh_workers{inmesh_state="serving"} 2'), "its workers do not serve");
  child.kill("SIGTERM");
  assert((await within(ended, "the end of its workers")) === 0, "its workers did not drain");
  application.close();
  application.closeAllConnections();
  console.log(`sea.size_mb ${(statSync(executable).size / 1e6).toFixed(1)}`);
  console.log(`sea.script_kb ${(statSync(`${executable}.cjs`).size / 1e3).toFixed(0)}`);
  console.log(`sea.start_ms ${median(starts).toFixed(0)}`);
}

const executable = await build();
console.log(executable);
await tryOut(executable);
