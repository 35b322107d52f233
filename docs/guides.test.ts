/** The code blocks of the guides run as they are printed, one program per guide. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root: string = join(import.meta.dirname, "..");
const run = promisify(execFile);

test.each(readdirSync(join(root, "docs/guides")).filter((file) => file.endsWith(".md")))(
  "%s runs as printed",
  async (file) => {
    const text = readFileSync(join(root, "docs/guides", file), "utf8");
    const blocks = [...text.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code = ""]) => code);
    expect(blocks.length).toBeGreaterThan(0);
    // Inside the repository, so that `inmesh` resolves as it does in a project that installed it.
    const folder = join(root, ".tmp");
    const program = join(folder, `guide-${file}-${process.pid}.ts`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(program, blocks.join("\n"));
    // As on a machine for development, but of its own.
    const registry = mkdtempSync(join(tmpdir(), "inmesh-guide-"));
    try {
      const { stdout, stderr } = await run(
        process.execPath,
        ["--conditions=inmesh-source", "--unhandled-rejections=strict", program],
        { cwd: root, timeout: 30_000, env: { ...process.env, INMESH_REGISTRY: registry } },
      );
      expect(stderr.replaceAll(/^.*(ExperimentalWarning|--trace-warnings).*\n/gm, "")).toBe("");
      expect(stdout.trimEnd().split("\n").at(-1)).toBe("done");
    } finally {
      rmSync(program, { force: true });
      rmSync(registry, { recursive: true, force: true });
    }
  },
);
