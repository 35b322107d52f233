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

/** Words that have hidden who does what. A plain sentence names it: a caller, a client, a source, the application. */
const UNCLEAR = /\b(who(so)?ever|nobody|told|lent|barren|strangers?|oddit(y|ies))\b/i;
const checkWords = (file: string, text: string): void => {
  for (const [i, line] of text.split("\n").entries()) {
    const [word] = UNCLEAR.exec(line) ?? [];
    if (word !== undefined) breaches.push(`${file}:${i + 1}: "${word}": name who or what is meant`);
  }
};
const PAGES = ["*.md", "{docs,packages,benchmarks,examples,scripts}/**/*.md"];
const pages = globSync(PAGES, { cwd: root, exclude: ["**/node_modules/**", "**/dist/**"] });
for (const page of pages) checkWords(page, readFileSync(join(root, page), "utf8"));

/** Where header names and metadata keys of ours stand, one file for each protocol. */
const NAMES: ReadonlySet<string> = new Set([
  "packages/http/src/headers.ts",
  "packages/grpc/src/metadata.ts",
]);

const sources = new Map<string, string>();

for (const file of files.sort()) {
  if (file === "scripts/check-repository.ts") continue;
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n");
  const source = /^packages\/[^/]+\/src\//.test(file) && !file.endsWith(".test.ts");
  if (source) sources.set(file, text);
  checkWords(file, text);
  const report = (line: number, rule: string): void => {
    breaches.push(`${file}:${line + 1}: ${rule}`);
  };
  if (source && !/^(#!.*\n)?\/[/*]/.test(text)) {
    report(0, "must begin with a comment that says what the file is for");
  }
  for (const [i, line] of lines.entries()) {
    for (const [path] of line.matchAll(/\bdocs\/decisions\/\d[\w./-]*\w/g)) {
      if (!pages.includes(path)) report(i, `there is no ${path}: name the decision by its file`);
    }
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

const imports = importsOf(sources);
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
