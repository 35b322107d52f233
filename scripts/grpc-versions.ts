/**
 * `npm run grpc:versions`: the tests that depend on the inside of grpc-js, with the oldest version that
 * package.json allows. It is installed outside the repository, and takes the place of ours in every
 * process of the run (grpc-versions/hook.mjs); the newest one is what `npm test` runs with. `--quick`, for
 * every change, leaves out what hides one private member after the other or takes long. `--all` runs every
 * test of gRPC, `--version 1.13.7` another version.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root: string = join(import.meta.dirname, "..");
/** Private members, reasons read out of texts, calls past the channel, frames, servers, every kind of client. */
const FILES = [
  "calls",
  "clients",
  "direct",
  "c-connect",
  "connections",
  "g-frames",
  "r-errors",
  "r-given-server",
  "r-private-grpc-js",
  "r-pushes",
  "server",
];

/** Of these, what is left out by `--quick`: dials without an answer, and ten thousand calls. */
const SLOW = new Set(["c-connect", "connections"]);
/** Of r-private-grpc-js.test.ts a report of all private members, and not a process for each that is hidden. */
const WITHOUT_HIDING =
  "^(?!.*a private member of grpc-js that is missing)|nothing is hidden: nothing is degraded";

const { values } = parseArgs({
  options: {
    all: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    version: { type: "string" },
  },
});

/** What vitest is asked to run. */
function selection({ all, quick }: { readonly all: boolean; readonly quick: boolean }): string[] {
  if (all) return [];
  const names = quick ? FILES.filter((name) => !SLOW.has(name)) : FILES;
  const files = names.map((name) => `test/${name}.test.ts`);
  return quick ? [...files, "--testNamePattern", WITHOUT_HIDING] : files;
}

/** The lower end of the range of versions. */
function oldest(): string {
  const text = readFileSync(join(root, "packages/grpc/package.json"), "utf8");
  const { peerDependencies } = JSON.parse(text) as { peerDependencies: Record<string, string> };
  return /\d+\.\d+\.\d+/.exec(peerDependencies["@grpc/grpc-js"]!)![0];
}

const version = values.version ?? oldest();
const folder = mkdtempSync(join(tmpdir(), "inmesh-grpc-js-"));
try {
  writeFileSync(join(folder, "package.json"), '{ "private": true }');
  const npm = ["install", "--silent", "--no-audit", "--no-fund", `@grpc/grpc-js@${version}`];
  execFileSync("npm", npm, { cwd: folder, stdio: "inherit" });
  console.log(`@grpc/grpc-js ${version}`);
  const hook = pathToFileURL(join(import.meta.dirname, "grpc-versions/hook.mjs")).href;
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, "node_modules/vitest/vitest.mjs"),
      "run",
      "--project",
      "grpc",
      "--project",
      "grpc-wire",
      ...selection(values),
    ],
    {
      cwd: root,
      stdio: "inherit",
      env: {
        ...process.env,
        NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import=${hook}`,
        INMESH_GRPC_JS: join(folder, "node_modules/@grpc/grpc-js"),
        INMESH_GRPC_JS_VERSION: version,
      },
    },
  );
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
