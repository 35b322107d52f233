/**
 * What `tsc -b`, which writes the declarations, leaves to be done: the JavaScript and the licence. rolldown joins
 * the modules of each package into a few files, because Node pays for every file that it loads. They are
 * CommonJS, with a thin ESM face for each entry, so that `import` and `require` give the same classes and the
 * same default mesh (docs/decisions/0018-commonjs-inside.md, docs/decisions/0035-startup.md).
 */
import { copyFileSync, globSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { rolldown, type RolldownOutput } from "rolldown";

const root: string = join(import.meta.dirname, "..");

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly "inmesh-source": string }>>;
  readonly bin?: Readonly<Record<string, string>>;
}

/** What readers of the API of a process need of core, which they do not load. Core itself needs some of it, too. */
const WINDOW = /\/(?:inspect\/api|inspect\/window|shown-time)\.ts$/;
/** With all that it stands on, so that a proxy does not load the HTTP library of the clients. */
const CODEC = /\/http\/src\/spi\/codec\.ts$/;
/** Parts of the commands, which no application loads. */
const COMMAND = /\/(?:inmesh|proxy)\/src\/cli\//;
/** Beside the file that all entries of core share, which loads it. */
const ZOD = "zod.js";

for (const name of readdirSync(join(root, "packages")).sort()) {
  const folder = join(root, "packages", name);
  const dist = join(folder, "dist");
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const written = new Set<string>();
  for (const file of (await joined(name, manifest)).output) {
    written.add(file.fileName);
    if (file.type !== "chunk") continue;
    writeFileSync(join(dist, file.fileName), inLatin1(file.code));
    if (!file.isEntry || file.exports.length === 0) continue;
    written.add(writeFace(dist, file.fileName, file.exports));
  }
  if (name === "core") written.add(await zodPart(dist));
  // What an earlier build has left would be published.
  for (const file of globSync("**/*.{js,mjs,cjs}", { cwd: dist })) {
    if (!written.has(file)) rmSync(join(dist, file));
  }
  // tsc leaves declarations that are written by hand where they are.
  for (const file of globSync("**/*.d.cts", { cwd: join(folder, "src") })) {
    copyFileSync(join(folder, "src", file), join(dist, file));
  }
  const needed = declarationsOf(dist, manifest);
  for (const file of globSync("**/*.d.{ts,cts}", { cwd: dist })) {
    if (!needed.has(file)) rmSync(join(dist, file));
  }
  writeFileSync(join(dist, "package.json"), '{ "type": "commonjs" }\n');
  // npm packs a licence only if it stands in the package's own folder.
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
}

/** Those that an entry leads to: no program can import the others. */
function declarationsOf(dist: string, { exports }: Manifest): ReadonlySet<string> {
  const found = new Set<string>();
  const left = Object.values(exports).flatMap((entry) =>
    typeof entry === "string" ? [] : [declarationOf(entry["inmesh-source"].slice("./src/".length))],
  );
  for (let file = left.pop(); file !== undefined; file = left.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    const text = readFileSync(join(dist, file), "utf8");
    for (const [, path] of text.matchAll(/(?:\bfrom|\bimport\()\s*"(\.[^"]+)"/g)) {
      left.push(declarationOf(join(dirname(file), path!)));
    }
  }
  return found;
}

/** `a.ts` is declared by `a.d.ts`, `a.cjs` by `a.d.cts`. */
function declarationOf(file: string): string {
  return file.replace(/\.(c?)[jt]s$/, ".d.$1ts");
}

/**
 * One file for each entry of the package, one with all that entries share, and one for each `import()`. What is
 * not a file of the package stays a `require`, at the place where the source has it.
 */
async function joined(name: string, manifest: Manifest): Promise<RolldownOutput> {
  const folder = join(root, "packages", name);
  const sources = [
    ...Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === "string" ? [] : [entry["inmesh-source"]],
    ),
    // ./dist/cli/run.js
    ...Object.values(manifest.bin ?? {}).map((path) =>
      path.replace("/dist/", "/src/").replace(/\.js$/, ".ts"),
    ),
  ];
  const bundle = await rolldown({
    cwd: root,
    input: Object.fromEntries(
      sources.map((path) => [path.slice("./src/".length, -".ts".length), join(folder, path)]),
    ),
    platform: "node",
    external: (id) => !id.startsWith(".") && !isAbsolute(id),
    transform: { target: "es2024" },
    // For example an `import()` that does not keep its module out of the shared file.
    onLog: (_, { message }) => {
      throw new Error(message);
    },
  });
  return bundle.write({
    dir: join(folder, "dist"),
    format: "cjs",
    strict: true,
    esModule: true,
    entryFileNames: "[name].js",
    chunkFileNames: "[name].js",
    codeSplitting: {
      groups: [
        { name: "window", test: WINDOW, priority: 1 },
        { name: "codec", test: CODEC, priority: 1 },
        { name, minShareCount: 2, test: (id) => !COMMAND.test(id) },
      ],
    },
    // What doc comments say is for editors, which read the declarations, and for the reference pages.
    comments: { jsdoc: false },
    paths: { zod: `./${ZOD}` },
  });
}

/** The part of zod that core uses, with its licence. Gives the name of the file. */
async function zodPart(dist: string): Promise<string> {
  const bundle = await rolldown({
    cwd: root,
    input: join(root, "packages/core/src/config/zod.ts"),
    platform: "node",
    transform: { target: "es2024" },
  });
  const { output } = await bundle.generate({ format: "cjs", esModule: true, comments: false });
  writeFileSync(join(dist, ZOD), inLatin1(output[0].code));
  copyFileSync(join(root, "node_modules/zod/LICENSE"), join(dist, "zod.LICENSE"));
  return ZOD;
}

/** V8 keeps the text of every file that is loaded, with two bytes for each character if a single one is not in Latin-1. */
function inLatin1(code: string): string {
  return code.replace(
    /[^\0-\xff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Beside `index.js`, which is CommonJS: `index.mjs`, and `index.d.mts` for its types. Gives the former's name. */
function writeFace(dist: string, fileName: string, exports: readonly string[]): string {
  const face = fileName.replace(/\.js$/, ".mjs");
  const file = fileName.slice(fileName.lastIndexOf("/") + 1);
  const names = exports.toSorted();
  writeFileSync(join(dist, face), `export {\n  ${names.join(",\n  ")},\n} from "./${file}";\n`);
  writeFileSync(join(dist, fileName.replace(/\.js$/, ".d.mts")), `export * from "./${file}";\n`);
  return face;
}
