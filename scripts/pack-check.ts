/**
 * What would be published, as npm would pack it: publint for the manifest, attw for the types. And
 * whether what it says of Node is fresh: an old table is reported, and with `--release` it fails.
 */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { NODE_FLOORS_AS_OF, runtimeProblem } from "../packages/core/src/runtime/supported.ts";

const root: string = join(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules/.bin", name);
const run = promisify(execFile);
let failed = false;

for (const name of readdirSync(join(root, "packages")).sort()) {
  const folder = join(root, "packages", name);
  for (const [tool, args] of [
    ["publint", ["--strict", folder]],
    ["attw", ["--pack", folder]],
  ] as const) {
    try {
      await run(bin(tool), args, { cwd: root });
      console.log(`${name}: ${tool} ok`);
    } catch (error) {
      failed = true;
      const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
      console.error(`${name}: ${tool} failed\n${stdout}${stderr}`);
    }
  }
}

/** Node's security releases come every month or two. */
const FRESH_DAYS = 30;
const ageDays = Math.floor((Date.now() - Date.parse(NODE_FLOORS_AS_OF)) / 86_400_000);
if (ageDays > FRESH_DAYS) {
  const file = "packages/core/src/runtime/supported.ts";
  console.error(`${file} was last compared with Node's security releases ${ageDays} days ago`);
  failed ||= process.argv.includes("--release");
}
const problem = runtimeProblem(process.version);
if (problem !== undefined) console.error(`checked with an old Node: ${problem}`);
process.exitCode = failed ? 1 : 0;
