/**
 * Every module system and build tool that applications use, with the packages as npm would install
 * them: packs the tarballs, installs them in a folder outside the repository, compiles, bundles and
 * runs, and prints a row for each combination. `npm run pack:matrix`; exit code 1 if a row fails. `--quick`, for every
 * change, plays the oldest and the newest version of TypeScript alone.
 */
import { execFile } from "node:child_process";
import { cpSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { installedMb, MAX_INSTALLED_MB, packInto } from "./installed-size.ts";

const root: string = join(import.meta.dirname, "..");
const run = promisify(execFile);
const home: string = mkdtempSync(join(tmpdir(), "inmesh-matrix-"));
/** Of a bundle: nothing but its one file. */
const alone: string = mkdtempSync(join(tmpdir(), "inmesh-alone-"));
const ESM_REQUIRE =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

/** 6 of ours and 22 of undici, with room for what undici adds. */
const MAX_LOADED_FILES = 40;
const PACKAGES = [
  "inmesh",
  "@inmesh/core",
  "@inmesh/http",
  "@inmesh/grpc",
  "@inmesh/discovery-k8s",
  "mesh-proxy",
];
const PROGRAM_SAYS = '["/v1/client","/v1/fetch",true,"/v1/pod by kubernetes",true]';
const allTrue = (count: number): string =>
  JSON.stringify(Array.from({ length: count }, () => true));

interface Ran {
  readonly stdout: string;
}

/** Rejects with what the program printed when its exit code is not 0. */
async function exec(
  command: string,
  args: readonly string[],
  cwd: string = home,
  more: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const env = { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1", FORCE_COLOR: "0", ...more };
  try {
    return await run(command, args, { cwd, env, timeout: 120_000 });
  } catch (error) {
    const {
      stdout = "",
      stderr = "",
      message,
    } = error as Partial<Ran> & { stderr?: string; message: string };
    throw new Error([message.split("\n")[0], stdout, stderr].join("\n"), { cause: error });
  }
}

const node = (file: string, cwd?: string): Promise<Ran> => exec(process.execPath, [file], cwd);
const bin = (name: string, ...args: string[]): Promise<Ran> =>
  exec(process.execPath, [join(home, "node_modules", name), ...args]);

function expectLine({ stdout }: Ran, line: string): void {
  const last = stdout.trim().split("\n").at(-1);
  if (last !== line) throw new Error(`printed ${JSON.stringify(last)} where ${line} was expected`);
}

async function runAlone(file: string): Promise<void> {
  const folder = await mkdtemp(join(alone, "row-"));
  const copy = join(folder, basename(file));
  cpSync(file, copy);
  expectLine(await node(copy, folder), PROGRAM_SAYS);
}

interface Setting {
  readonly module: string;
  readonly resolution: string;
  /** How the program's package says what its files are. */
  readonly type: "commonjs" | "module";
  /** The versions that have this setting. */
  readonly versions: readonly string[];
  readonly more?: readonly string[];
}

const VERSIONS = ["5.4", "5.9", "6.0", "7.0"] as const;
const PLAYED: readonly string[] = process.argv.includes("--quick") ? ["5.4", "7.0"] : VERSIONS;
const SETTINGS: readonly Setting[] = [
  { module: "commonjs", resolution: "node10", type: "commonjs", versions: ["5.4", "5.9"] },
  {
    module: "commonjs",
    resolution: "node10",
    type: "commonjs",
    versions: ["6.0"],
    more: ["--ignoreDeprecations", "6.0"],
  },
  { module: "node16", resolution: "node16", type: "commonjs", versions: VERSIONS },
  { module: "node16", resolution: "node16", type: "module", versions: VERSIONS },
  { module: "nodenext", resolution: "nodenext", type: "commonjs", versions: VERSIONS },
  { module: "nodenext", resolution: "nodenext", type: "module", versions: VERSIONS },
  { module: "esnext", resolution: "bundler", type: "module", versions: VERSIONS },
];

/** Compiles in a folder whose package.json has that type; gives the compiled file. */
async function compile(
  version: string,
  file: string,
  setting: Setting,
  more: readonly string[] = [],
): Promise<string> {
  // Rows are played side by side.
  const folder = await mkdtemp(join(home, `ts-${version}-`));
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: setting.type }));
  cpSync(join(home, file), join(folder, file));
  const flags = ["--target", "es2022", "--lib", "es2022", "--types", "node", "--strict"];
  // Its default; it is the point of these rows.
  flags.push("--skipLibCheck", "false", "--module", setting.module);
  flags.push("--moduleResolution", setting.resolution, ...(setting.more ?? []), ...more);
  await bin(
    `typescript-${version}/bin/tsc`,
    join(folder, file),
    "--outDir",
    join(folder, "out"),
    ...flags,
  );
  const out = join(folder, "out", file.replace(/ts$/, "js"));
  cpSync(join(folder, "package.json"), join(folder, "out/package.json"));
  return out;
}

/**
 * What runtimes.mjs finds that does not work on a runtime is what docs/reference/runtimes.md says: a check that
 * works by now is a mistake too, of that page.
 */
async function onRuntime(
  command: string,
  args: readonly string[],
  failing: readonly string[],
): Promise<void> {
  const { stdout } = await exec(command, [...args, "runtimes.mjs"]);
  const failed = [...stdout.matchAll(/^(.*?) +FAILS: .*$/gm)];
  if (!stdout.trimEnd().endsWith("done")) throw new Error(stdout);
  const names = failed.map(([, name]) => name);
  if (JSON.stringify(names) !== JSON.stringify(failing)) {
    throw new Error(
      [`expected to fail: ${failing.join(", ") || "none"}`, ...failed.map(([line]) => line)].join(
        "\n",
      ),
    );
  }
}

const COMMONJS: Setting = SETTINGS[2]!;
const ESM: Setting = SETTINGS[5]!;
/** Allows `require` of an ESM package, which Nest is. */
const REQUIRES_ESM: Setting = SETTINGS[4]!;

interface Row {
  readonly what: string;
  readonly run: () => Promise<void>;
}

const rows: Row[] = [
  {
    what: "node: require",
    run: async () => expectLine(await node("required.cjs"), allTrue(6)),
  },
  { what: "node: import", run: async () => expectLine(await node("imported.mjs"), allTrue(3)) },
  ...[
    ["--require", "required.cjs"],
    ["--import", "imported.mjs"],
  ].map(([flag = "", file = ""]) => ({
    what: `node ${flag} inmesh/telemetry: the calls of the program are spans`,
    run: async () => {
      const spansOnly = { OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
      const env = { ...spansOnly, OTEL_TRACES_EXPORTER: "console" };
      const { stdout } = await exec(process.execPath, [flag, "inmesh/telemetry", file], home, env);
      if (!stdout.includes("name: 'inmesh 127.0.0.1:1'")) throw new Error(stdout);
    },
  })),
  {
    what: `node: at most ${MAX_LOADED_FILES} files at the start`,
    run: async () => {
      const files = Number((await node("loaded.cjs")).stdout);
      if (!(files <= MAX_LOADED_FILES)) throw new Error(`${files} files`);
    },
  },
  {
    what: "node: mesh-proxy loads files of ours alone, in Latin-1",
    run: async () => void (await node("proxy-loaded.cjs")),
  },
  ...SETTINGS.flatMap((setting) =>
    setting.versions
      .filter((version) => PLAYED.includes(version))
      .map((version) => ({
        what: `typescript ${version}: module ${setting.module}, resolution ${setting.resolution}, type ${setting.type}`,
        run: async () =>
          expectLine(await node(await compile(version, "program.ts", setting)), PROGRAM_SAYS),
      })),
  ),
  {
    what: "typescript: every entry, with and without lib dom",
    run: async () => {
      for (const version of PLAYED) {
        await compile(version, "entries.ts", COMMONJS);
        await compile(version, "entries.ts", ESM, ["--lib", "es2022,dom,dom.iterable"]);
        await compile(version, "entries.ts", ESM, ["--lib", "es2022,dom"]);
      }
    },
  },
  {
    what: "typescript: mesh.fetch and Fastify's serverFactory without a cast, with and without lib dom",
    run: async () => {
      // Fastify's own declarations are not the point.
      const skip = ["--skipLibCheck", "true"];
      for (const setting of [SETTINGS[0]!, COMMONJS, ESM, SETTINGS.at(-1)!]) {
        await compile(setting.versions[0]!, "fits.ts", setting, skip);
        const dom = [...skip, "--lib", "es2022,dom"];
        await compile(setting.versions.at(-1)!, "fits.ts", setting, dom);
      }
    },
  },
  {
    what: "jest: no configuration",
    run: async () => void (await bin("jest/bin/jest.js", "jest.test.js")),
  },
  {
    what: "vitest: no configuration",
    run: async () => void (await bin("vitest/vitest.mjs", "run", "vitest.test.mjs")),
  },
  {
    what: "express: CommonJS",
    run: async () => expectLine(await node("express.cjs"), '[{"hello":"mesh"}]'),
  },
  {
    what: "nest: CommonJS with decorators",
    run: async () => {
      const decorators = ["--experimentalDecorators", "--emitDecoratorMetadata", "--skipLibCheck"];
      const file = await compile("5.9", "nest.ts", REQUIRES_ESM, decorators);
      expectLine(await node(file), '[{"said":"hello"}]');
    },
  },
  ...(["cjs", "esm"] as const).map((format) => ({
    what: `esbuild: ${format}, one file without node_modules`,
    run: async () => {
      const file = join(home, `esbuild.${format === "cjs" ? "cjs" : "mjs"}`);
      const args = ["program.ts", "--bundle", "--platform=node", `--format=${format}`];
      // CommonJS modules that require Node's own need it, undici's among them.
      if (format === "esm") args.push(`--banner:js=${ESM_REQUIRE}`);
      await exec(join(home, "node_modules/.bin/esbuild"), [...args, `--outfile=${file}`]);
      await runAlone(file);
    },
  })),
  ...(["cjs", "esm"] as const).map((format) => ({
    what: `rolldown: ${format}, one file without node_modules`,
    run: async () => {
      const file = join(home, `rolldown.${format === "cjs" ? "cjs" : "mjs"}`);
      const args = ["program.ts", "--platform", "node", "--format", format, "--file", file];
      await exec(join(home, "node_modules/.bin/rolldown"), args);
      await runAlone(file);
    },
  })),
  {
    what: "webpack: target node, one file without node_modules",
    run: async () => {
      const entry = await compile("5.9", "program.ts", COMMONJS);
      await exec(process.execPath, ["webpack-run.cjs", entry, join(home, "webpacked.cjs")]);
      await runAlone(join(home, "webpacked.cjs"));
    },
  },
  {
    what: "@vercel/nft: only the files it traces (Next standalone)",
    run: async () => {
      const entry = await compile("5.9", "program.ts", COMMONJS);
      const { stdout } = await exec(process.execPath, ["trace.mjs", home, entry]);
      const traced = mkdtempSync(join(tmpdir(), "inmesh-traced-"));
      try {
        for (const file of JSON.parse(stdout) as string[]) {
          await mkdir(dirname(join(traced, file)), { recursive: true });
          cpSync(join(home, file), join(traced, file), { verbatimSymlinks: true });
        }
        expectLine(await node(join(traced, entry.slice(home.length)), traced), PROGRAM_SAYS);
      } finally {
        rmSync(traced, { recursive: true });
      }
    },
  },
  { what: "runtimes.mjs on Node", run: async () => onRuntime(process.execPath, [], []) },
  {
    what: "runtimes.mjs on Bun: all but two",
    run: async () =>
      onRuntime(
        join(home, "node_modules/.bin/bun"),
        [],
        ["door: installGlobal, the runtime's own fetch", "server: a drain loses nothing"],
      ),
  },
  {
    what: "runtimes.mjs on Deno: all but three",
    run: async () =>
      onRuntime(
        join(home, "node_modules/.bin/deno"),
        ["run", "-A", "--node-modules-dir=manual"],
        [
          "door: installGlobal, the runtime's own fetch",
          "client: HTTP/2, cleartext",
          "client and server: TLS, HTTP/2",
        ],
      ),
  },
  {
    what: "npx inmesh --help: without any file of the mesh",
    run: async () => {
      const { stdout } = await exec("npx", ["--no", "inmesh", "--", "--help"]);
      if (!stdout.startsWith("Usage: inmesh <command>")) throw new Error(stdout);
      const listed = await exec(process.execPath, ["cli-loaded.cjs"]);
      expectLine(listed, allTrue(2));
    },
  },
  {
    what: "npx inmesh check",
    run: async () => {
      await writeFile(join(home, "mesh.yaml"), "services: { orders: { url: http://orders.shop } }");
      const { stdout } = await exec("npx", ["--no", "inmesh", "check", "mesh.yaml"]);
      if (!stdout.startsWith("valid  mesh.yaml: 1 service")) throw new Error(stdout);
    },
  },
  {
    what: "npx mesh-proxy: it starts, serves and drains",
    run: async () => {
      const { stdout } = await exec("npx", [
        "--no",
        "mesh-proxy",
        "--",
        "--check",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "orders=10.0.0.1:8080",
      ]);
      if (!stdout.startsWith("valid  1 listener, 1 service")) throw new Error(stdout);
      expectLine(await exec(process.execPath, ["mesh-proxy.cjs"]), allTrue(2));
    },
  },
  {
    what: "every tarball: licence, README, repository, homepage, keywords",
    run: async () => {
      for (const name of PACKAGES) {
        const folder = join(home, "node_modules", name);
        const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as object;
        for (const key of ["license", "repository", "homepage", "keywords", "engines", "types"]) {
          if (!(key in manifest)) throw new Error(`${name}: no ${key} in package.json`);
        }
        for (const file of ["LICENSE", "README.md"]) {
          const text = await readFile(join(folder, file), "utf8");
          const relative = /\]\((?!https:|#)[^)]*\)/.exec(text);
          if (relative !== null)
            throw new Error(`${name}/${file}: ${relative[0]} is a dead link there`);
        }
      }
    },
  },
  {
    what: `installed size without gRPC: at most ${MAX_INSTALLED_MB} MB`,
    run: async () => {
      const mb = await installedMb(
        globSync("*.tgz", { cwd: home }).map((name) => join(home, name)),
      );
      console.log(`  startup.installed_mb ${mb.toFixed(2)}`);
      if (mb > MAX_INSTALLED_MB) throw new Error(`${mb.toFixed(2)} MB`);
    },
  },
];

async function install(folder: string, more: readonly string[]): Promise<void> {
  const args = ["install", "--no-audit", "--no-fund", "--loglevel=error", ...more];
  await exec("npm", args, folder);
}

async function main(): Promise<void> {
  cpSync(join(root, "scripts/pack-matrix"), home, { recursive: true });
  const tarballs = await packInto(home);
  console.log("installing the tarballs and the tools");
  await install(home, tarballs);
  let failed = 0;
  const left = rows.values();
  const worker = async (): Promise<void> => {
    for (const { what, run: play } of left) {
      const before = performance.now();
      try {
        await play();
        console.log(`ok      ${what} (${((performance.now() - before) / 1000).toFixed(1)} s)`);
      } catch (error) {
        failed++;
        console.log(
          `FAILED  ${what}\n${String((error as Error).message).replaceAll(/^/gm, "        ")}`,
        );
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  console.log(`${rows.length - failed} of ${rows.length} combinations work`);
  process.exitCode = failed === 0 ? 0 : 1;
}

try {
  await main();
} finally {
  rmSync(home, { recursive: true, force: true });
  rmSync(alone, { recursive: true, force: true });
}
