/** What would be published, as npm would pack it: publint for the manifest, attw for the types. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const root: string = join(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules/.bin", name);
const run = promisify(execFile);
let failed = false;

for (const name of readdirSync(join(root, "packages")).sort()) {
  const folder = join(root, "packages", name);
  for (const [tool, args] of [
    ["publint", ["--strict", folder]],
    ["attw", ["--pack", folder, "--profile", "esm-only"]],
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
process.exitCode = failed ? 1 : 0;
