/** Rules that a linter of single statements cannot know. Prints every breach; fails if there is one. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root: string = join(import.meta.dirname, "..");
const files: string[] = globSync(
  ["packages/*/{src,test}/**/*.ts", "{scripts,docs,examples,benchmarks}/**/*.ts"],
  { cwd: root, exclude: ["**/node_modules/**", "**/dist/**"] },
);
const breaches: string[] = [];

/** Where header names and metadata keys of ours stand, one file for each protocol. */
const NAMES: ReadonlySet<string> = new Set([
  "packages/http/src/headers.ts",
  "packages/grpc/src/metadata.ts",
]);

for (const file of files.sort()) {
  if (file === "scripts/check-repository.ts") continue;
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n");
  const source = /^packages\/[^/]+\/src\//.test(file) && !file.endsWith(".test.ts");
  const report = (line: number, rule: string): void => {
    breaches.push(`${file}:${line + 1}: ${rule}`);
  };
  if (source && !/^(#!.*\n)?\/[/*]/.test(text)) {
    report(0, "must begin with a comment that says what the file is for");
  }
  for (const [i, line] of lines.entries()) {
    if (/\b(TODO|FIXME)\b/.test(line)) report(i, "unfinished work belongs into an issue");
    if (/\b(it|test|describe)\.only\(/.test(line)) report(i, "`.only` hides the other tests");
    const literal = /["']x-mesh-/.test(line);
    if (source && literal && !NAMES.has(file)) {
      report(i, `our header names are written in ${[...NAMES].join(" and ")} only`);
    }
  }
}
for (const breach of breaches) console.error(breach);
console.log(`${files.length} files, ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 ? 0 : 1;
