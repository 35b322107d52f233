/** Rules that a linter of single statements cannot know. Prints every breach; fails if there is one. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { circlesOf, foldersOf, importsOf } from "./circles.ts";

const root: string = join(import.meta.dirname, "..");
const files: string[] = globSync(
  ["packages/*/{src,test}/**/*.ts", "{scripts,dashboards,docs,examples,benchmarks}/**/*.ts"],
  { cwd: root, exclude: ["**/node_modules/**", "**/dist/**"] },
);
const breaches: string[] = [];

/** Where header names and metadata keys of ours stand, one file for each protocol. */
const NAMES: ReadonlySet<string> = new Set([
  "packages/http/src/headers.ts",
  "packages/grpc/src/metadata.ts",
]);

/** Imports that close a circle today. Take out what is gone; nothing may be added. */
const CLOSING: readonly (readonly [from: string, to: string])[] = [
  ["packages/grpc/src/server/sessions.ts", "packages/grpc/src/server/inbound.ts"],
  ["packages/http/src/server/in-context.ts", "packages/http/src/server/inbound.ts"],
  ["packages/http/src/server/reply-progress.ts", "packages/http/src/server/inbound.ts"],
];
const sources = new Map<string, string>();

for (const file of files.sort()) {
  if (file === "scripts/check-repository.ts") continue;
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n");
  const source = /^packages\/[^/]+\/src\//.test(file) && !file.endsWith(".test.ts");
  if (source) sources.set(file, text);
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

/** Each decision has these parts, in this order; others may stand between them. */
const DECISION_PARTS = ["**Problem.**", "**Decision", "**Would be overturned by**"];

for (const file of globSync("docs/decisions/*.md", { cwd: root }).sort()) {
  const text = readFileSync(join(root, file), "utf8");
  const number = Number(/(\d{4})-[^/]*$/.exec(file)?.[1]);
  // One that has no number yet gets it when it is merged.
  const title = Number.isNaN(number) ? /^# / : new RegExp(`^# ${number}\\. `);
  if (!title.test(text)) breaches.push(`${file}:1: must begin with "# ${number}. " and its title`);
  const places = DECISION_PARTS.map((part) => text.indexOf(`\n${part}`));
  if (places.some((place, i) => place < 0 || place < (places[i - 1] ?? 0))) {
    breaches.push(`${file}: must have, in this order: ${DECISION_PARTS.join(", ")}`);
  }
}

const imports = new Map([...importsOf(sources)].map(([file, of]) => [file, new Set(of)]));
for (const [from, to] of CLOSING) {
  if (imports.get(from)?.delete(to) === true) continue;
  breaches.push(`${from} does not import ${to} any more: take it out of CLOSING`);
}
for (const graph of [imports, foldersOf(imports, "packages/core/src/")]) {
  for (const circle of circlesOf(graph)) {
    breaches.push(
      `circle of imports: ${circle.join(" → ")}: declare what the one needs of the other beside the one`,
    );
  }
}
for (const breach of breaches) console.error(breach);
console.log(`${files.length} files, ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 ? 0 : 1;
