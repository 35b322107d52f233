/**
 * What `tsc -b` leaves to be done: the licence, texts that no process needs, and the form of the packages. The built packages are CommonJS inside, with a thin ESM face for
 * each entry, so that `import` and `require` give the same classes and the same default mesh
 * (docs/decisions/0018-commonjs-inside.md).
 */
import { copyFileSync, globSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { parseSync } from "oxc-parser";

const root: string = join(import.meta.dirname, "..");
const require = createRequire(import.meta.url);

interface Manifest {
  readonly exports: Readonly<
    Record<string, string | { readonly require: { readonly default: string } }>
  >;
}

for (const name of readdirSync(join(root, "packages")).sort()) {
  const folder = join(root, "packages", name);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  writeFileSync(join(folder, "dist/package.json"), '{ "type": "commonjs" }\n');
  // npm packs a licence only if it stands in the package's own folder.
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  // tsc compiles only TypeScript, and leaves declarations that are written by hand where they are.
  for (const file of globSync("**/*.{cjs,d.cts}", { cwd: join(folder, "src") })) {
    copyFileSync(join(folder, "src", file), join(folder, "dist", file));
  }
  for (const file of globSync("**/{*-,}options.js", { cwd: join(folder, "dist") })) {
    stripDocs(join(folder, "dist", file));
  }
  for (const entry of Object.values(manifest.exports)) {
    if (typeof entry !== "string") writeFace(join(folder, entry.require.default));
  }
}

/**
 * What the doc comments of options say is for editors, which read the declarations, and for the reference pages.
 * Taken out of what a process loads, line ends kept, so that places in stacks stay right.
 */
function stripDocs(path: string): void {
  const text = readFileSync(path, "utf8");
  const { comments } = parseSync(path, text);
  const blank = (one: string): string => one.replaceAll(/[^\n]+/g, "");
  const stripped = comments.reduceRight(
    (rest, { start, end }) =>
      rest.slice(0, start) + blank(rest.slice(start, end)) + rest.slice(end),
    text,
  );
  writeFileSync(path, stripped);
}

/** Beside `index.js`, which is CommonJS: `index.mjs`, and `index.d.mts` for its types. */
function writeFace(path: string): void {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const names = Object.keys(require(path) as object).toSorted();
  writeFileSync(
    path.replace(/\.js$/, ".mjs"),
    `export {\n  ${names.join(",\n  ")},\n} from "./${file}";\n`,
  );
  writeFileSync(path.replace(/\.js$/, ".d.mts"), `export * from "./${file}";\n`);
}
