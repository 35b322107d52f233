/**
 * `npm run check:container`: does what packages/proxy/Dockerfile says without an engine for containers: its RUN, with
 * the packages as they would be published, and then its ENTRYPOINT as its USER, as process 1, on a root file system that
 * is read-only. One request is sent, and it drains. The image of Node is the Node that runs this. Linux as root.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  readFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { contained, processOne, whyNoContainer } from "../packages/proxy/test/support/container.ts";
import { freePort } from "./free-port.ts";
import { packInto } from "./installed-size.ts";

const source: string = join(import.meta.dirname, "../packages/proxy");
const LIMIT_MS = 120_000;

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Without comments, and with what goes on over several lines as one. */
function instructionsOf(text: string): Instruction[] {
  const lines = text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n/g, " ")
    .split("\n");
  return lines.flatMap((line) => {
    const [, name, rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line.trim()) ?? [];
    return name === undefined ? [] : [{ name, rest }];
  });
}

const why = whyNoContainer();
if (why !== undefined) {
  console.error(`There is no container here: ${why}`);
  process.exit(1);
}
const home = mkdtempSync(join(tmpdir(), "mesh-proxy-container-"));
process.once("exit", () => rmSync(home, { recursive: true, force: true }));
const context = join(home, "context");
/** What stands below `/opt` inside. */
const opt = join(home, "opt");
mkdirSync(context);
mkdirSync(opt);
for (const name of ["Dockerfile", "package.json"])
  copyFileSync(join(source, name), join(context, name));
await packInto(context);

const env: Record<string, string> = {
  PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
  HOME: "/root",
};
let folder = opt;
let user = 0;
let entry: readonly string[] = [];
const known: ReadonlySet<string> = new Set([
  "FROM",
  "ARG",
  "WORKDIR",
  "COPY",
  "RUN",
  "USER",
  "ENV",
  "STOPSIGNAL",
  "ENTRYPOINT",
]);
for (const { name, rest } of instructionsOf(readFileSync(join(context, "Dockerfile"), "utf8"))) {
  if (!known.has(name)) throw new Error(`${name} is not known here`);
  if (name === "WORKDIR") mkdirSync((folder = join(opt, rest.replace(/^\/opt\//, ""))));
  if (name === "ARG" || name === "ENV") {
    const [variable = "", value = ""] = rest.split("=");
    env[variable] = value;
  }
  if (name === "COPY" && !rest.startsWith("--from")) {
    const [to = "", ...from] = rest.split(/\s+/).toReversed();
    mkdirSync(join(folder, to), { recursive: true });
    for (const file of globSync(from, { cwd: context })) {
      cpSync(join(context, file), join(folder, to, basename(file)));
    }
  }
  // How npm reaches its registry is a matter of this machine.
  if (name === "RUN") {
    const all = { ...process.env, ...env, NODE_OPTIONS: "" };
    execFileSync("sh", ["-c", rest], {
      cwd: folder,
      env: all,
      stdio: "inherit",
      timeout: LIMIT_MS,
    });
  }
  if (name === "USER") user = Number(rest.split(":")[0]);
  if (name === "ENTRYPOINT") entry = JSON.parse(rest) as string[];
}

const application = createServer((_, response) => response.end("hello"));
await new Promise<void>((resolve) => application.listen(0, "127.0.0.1", resolve));
const port = await freePort();
const listen = ["--listen", `127.0.0.1:${port}=app`];
const to = ["--to", `app=127.0.0.1:${(application.address() as AddressInfo).port}`];
const before = `mount --bind ${opt} /opt; mount -o remount,bind,ro /opt`;
const at = performance.now();
const child = spawn("unshare", contained([...entry, ...listen, ...to], before, user), {
  env,
  stdio: ["ignore", "inherit", "pipe"],
});
// Whatever comes: it would hold its memory, and the streams of who has started this.
process.once("exit", () => child.kill("SIGKILL"));
const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
const late = setTimeout(() => {
  console.error("It took too long.");
  child.kill("SIGKILL");
}, LIMIT_MS);
let said = "";
await new Promise<void>((resolve, reject) => {
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said += chunk;
    if (said.includes("try  curl")) resolve();
  });
  void ended.then((code) => reject(new Error(`it ended with ${code}\n${said}`)));
});
const startMs = performance.now() - at;
const one = processOne(child.pid!, "mesh-proxy");
const reply = await (await fetch(`http://127.0.0.1:${port}/`)).text();
if (reply !== "hello" || one === undefined || !said.includes("process 1\n")) {
  throw new Error(`it is not process 1, or does not answer\n${said}`);
}
const inside = ["--target", String(one), "--mount", "touch", "/opt/mesh-proxy/x"];
const touched = spawnSync("nsenter", inside, { encoding: "utf8" });
if (touched.status === 0) throw new Error("its file system can be written to");
process.kill(one, "SIGTERM");
const code = await ended;
clearTimeout(late);
application.close();
application.closeAllConnections();
if (code !== 0) throw new Error(`it ended with ${code}\n${said}`);
const bytes = globSync("**", { cwd: opt, withFileTypes: true })
  .filter((file) => file.isFile())
  .reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0);
console.log(`container.added_mb ${(bytes / 1e6).toFixed(1)}`);
console.log(`container.start_ms ${startMs.toFixed(0)}`);
console.log(`container.user ${user}`);
