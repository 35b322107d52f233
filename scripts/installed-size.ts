/**
 * What npm puts on a disk for an application that installs inmesh without gRPC, from tarballs as they would
 * be published. The packages have to be built.
 */
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const root: string = join(import.meta.dirname, "..");
const run = promisify(execFile);

/** 6.2 since zod is built into core ([why](../docs/decisions/0053-memory-of-the-proxy.md)). */
export const MAX_INSTALLED_MB = 7;

async function npm(args: readonly string[], cwd: string): Promise<void> {
  const env = { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1" };
  await run("npm", args, { cwd, env, timeout: 120_000 });
}

/** Packs every package into `folder`; the paths of the tarballs. */
export async function packInto(folder: string): Promise<string[]> {
  for (const name of readdirSync(join(root, "packages"))) {
    await npm(["pack", "--silent", "--pack-destination", folder], join(root, "packages", name));
  }
  return globSync("*.tgz", { cwd: folder }).map((name) => join(folder, name));
}

/** Millions of bytes in `node_modules`. Installs in a folder outside the repository, which is removed. */
export async function installedMb(tarballs: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-installed-"));
  try {
    writeFileSync(join(folder, "package.json"), '{ "private": true }');
    const without = tarballs.filter((path) => !/inmesh-grpc|mesh-proxy/.test(path));
    const flags = ["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"];
    await npm(["install", ...flags, ...without], folder);
    const files = globSync("**", { cwd: join(folder, "node_modules"), withFileTypes: true });
    let bytes = 0;
    for (const file of files) {
      if (file.isFile()) bytes += statSync(join(file.parentPath, file.name)).size;
    }
    return bytes / 1e6;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
