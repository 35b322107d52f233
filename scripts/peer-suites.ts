/**
 * `npm run peers:suites`: the suites of other projects, run without us and then through each of our
 * doors, so that a change shows what it breaks for their users. Prints a table (baseline · ours ·
 * documented) and every test that passes without us and fails with us. Fetches nothing; see suites.ts for
 * where suites are found. A file with such a test is run once more by itself, because many of these tests
 * compare clocks and fail on a busy machine. `--suite NAME`, `--door NAME` and `--file PART` (may be repeated)
 * choose, `--jobs N` files are run at the same time (1 by default), `--json FILE` keeps the outcome.
 */
import { spawn } from "node:child_process";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { DOCUMENTED } from "./peer-suites/documented.ts";
import { findSuites, KNOWN_NAMES, type Door, type Suite } from "./peer-suites/suites.ts";

const root: string = join(import.meta.dirname, "..");
const here: string = join(import.meta.dirname, "peer-suites");
/** A file that takes longer is ended, and counts as failed. */
const FILE_TIMEOUT_MS = 120_000;
const MAX_SHOWN = 40;

interface Test {
  readonly file: string;
  readonly name: string;
  readonly ok: boolean;
  readonly why: string;
}

/** By `file > name`; the same name twice counts as failed if one of them does. */
type Outcome = Map<string, Test>;

const { values } = parseArgs({
  options: {
    suite: { type: "string" },
    door: { type: "string" },
    file: { type: "string", multiple: true, default: [""] },
    jobs: { type: "string", default: "1" },
    json: { type: "string" },
  },
});
const JOBS = Number(values.jobs);

function filesOf(suite: Suite, door: Door | undefined): string[] {
  const globs = (door === undefined ? undefined : suite.filesOf?.[door]) ?? suite.files;
  return globSync([...globs], { cwd: suite.folder })
    .filter((file) => !(file in suite.leftOut) && values.file.some((part) => file.includes(part)))
    .sort();
}

async function play(
  suite: Suite,
  door: Door | undefined,
  files: readonly string[],
  jobs: number,
): Promise<Outcome> {
  const outcome: Outcome = new Map();
  let next = 0;
  const playOneByOne = async (): Promise<void> => {
    while (next < files.length) {
      const file = files[next++]!;
      if (process.stderr.isTTY) {
        process.stderr.write(
          `\r\u001b[K${suite.name} ${door ?? "alone"}: ${next} of ${files.length}`,
        );
      }
      for (const test of await playFile(suite, file, door)) {
        const key = `${test.file} > ${test.name}`;
        const before = outcome.get(key);
        if (before === undefined || before.ok) outcome.set(key, test);
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, playOneByOne));
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  return outcome;
}

async function playFile(suite: Suite, file: string, door: Door | undefined): Promise<Test[]> {
  const preload = [
    "--conditions=inmesh-source",
    "--disable-warning=ExperimentalWarning",
    `--import=${pathToFileURL(join(here, "doors", `${door ?? "none"}.ts`)).href}`,
  ];
  const { code, out, timedOut } = await run(suite, file, preload);
  if (suite.runner === "script") {
    return [{ file, name: "exit code 0", ok: code === 0, why: timedOut ? "timed out" : "" }];
  }
  const parse = suite.runner === "ava" ? parseTap : parseLine;
  const tests = out.split("\n").flatMap((line) => parse(line, file));
  // What is in flight when a file is ended, or throws outside of a test, is no test at all otherwise.
  const why = timedOut ? `timed out after ${FILE_TIMEOUT_MS} ms` : `exit code ${code}`;
  const whole = code === 0 || tests.some(({ ok }) => !ok);
  return [...tests, { file, name: "the file ends by itself", ok: whole && !timedOut, why }];
}

/** Of ava, which has no other reporter for machines. */
function parseTap(line: string, file: string): Test[] {
  const [, not, name] = /^(not )?ok \d+ - (.*)$/.exec(line) ?? [];
  if (name === undefined || / # [A-Z]{4}/.test(name)) return [];
  return [{ file, name, ok: not === undefined, why: "" }];
}

function parseLine(line: string, file: string): Test[] {
  if (!line.startsWith("{")) return [];
  try {
    const test = JSON.parse(line) as Test;
    return [{ ...test, file }];
  } catch {
    return []; // output of the test itself
  }
}

function argumentsOf({ runner, folder, args = [] }: Suite, file: string): string[] {
  if (runner === "script") return [...flagsOf(join(folder, file)), file];
  if (runner === "node-test") {
    const reporter = pathToFileURL(join(here, "reporter.mjs")).href;
    return ["--test-reporter", reporter, "--test-reporter-destination", "stdout", ...args, file];
  }
  if (runner === "ava")
    return [join(folder, "node_modules/ava/entrypoints/cli.mjs"), "--tap", file];
  // Up to mocha 9 it has no ending.
  const mocha = join(folder, "node_modules/mocha/bin/mocha");
  return [
    existsSync(mocha) ? mocha : `${mocha}.js`,
    "--exit",
    ...args,
    "--reporter",
    join(here, "mocha-reporter.cjs"),
    file,
  ];
}

/** What a test of Node says in a comment that it needs. */
function flagsOf(file: string): string[] {
  const [, flags] = /^\/\/ Flags: (.*)$/m.exec(readFileSync(file, "utf8")) ?? [];
  return flags?.trim().split(/\s+/) ?? [];
}

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly timedOut: boolean;
}

function run(suite: Suite, file: string, preload: readonly string[]): Promise<Ran> {
  const { runner, folder: cwd, args = [] } = suite;
  // ava runs tests in processes of its own, which get what is preloaded from the environment.
  const options = runner === "ava" ? [...args, ...preload].join(" ") : process.env["NODE_OPTIONS"];
  const inFront = runner === "ava" ? [] : preload;
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...inFront, ...argumentsOf(suite, file)], {
      cwd,
      env: { ...process.env, NODE_OPTIONS: options },
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    let out = "";
    let timedOut = false;
    child.stdout.on("data", (chunk: Buffer) => {
      if (out.length < 16 * 1024 * 1024) out += chunk.toString();
    });
    const timer = setTimeout(() => {
      timedOut = true;
      // The whole group: tests start processes of their own.
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        child.kill("SIGKILL");
      }
    }, FILE_TIMEOUT_MS);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, out, timedOut });
    });
  });
}

interface Row {
  readonly suite: string;
  readonly door: Door;
  readonly baseline: number;
  readonly ours: number;
  readonly documented: readonly string[];
  readonly differs: readonly string[];
  /** Documented, and pass all the same. */
  readonly passes: readonly string[];
}

async function compare(suite: Suite, door: Door, alone: Outcome): Promise<Row> {
  const files = filesOf(suite, door);
  const passed = [...alone].filter(([, { file, ok }]) => ok && files.includes(file));
  const through = await play(suite, door, files, JOBS);
  const failed = (): (readonly [string, Test])[] =>
    passed.filter(([key]) => through.get(key)?.ok !== true);
  const known = new Set(
    DOCUMENTED.filter((one) => one.suite === suite.name && one.door === door).flatMap(
      ({ tests }) => tests,
    ),
  );

  const again = new Set(
    failed()
      .filter(([key]) => !known.has(key))
      .map(([, { file }]) => file),
  );
  for (const [key, test] of await play(suite, door, [...again], 1)) {
    if (test.ok || !through.has(key)) through.set(key, test);
  }

  const left = failed().map(([key]) => key);
  return {
    suite: suite.name,
    door,
    baseline: passed.length,
    ours: passed.length - left.length,
    documented: left.filter((key) => known.has(key)),
    differs: left
      .filter((key) => !known.has(key))
      .map((key) => `${key}: ${through.get(key)?.why ?? "did not run"}`),
    passes: [...known].filter((key) => through.get(key)?.ok === true),
  };
}

function print(rows: readonly Row[]): void {
  const line = (cells: readonly (string | number)[]): string =>
    `${String(cells[0]).padEnd(18)}${String(cells[1]).padEnd(12)}${cells
      .slice(2)
      .map((cell) => String(cell).padStart(11))
      .join("")}`;
  console.log(line(["suite", "door", "baseline", "ours", "documented", "differs"]));
  for (const { suite, door, baseline, ours, documented, differs } of rows) {
    console.log(line([suite, door, baseline, ours, documented.length, differs.length]));
  }
  for (const { suite, door, differs } of rows) {
    if (differs.length > 0) console.log(`\n${suite} through ${door} differs:`);
    for (const text of differs.slice(0, MAX_SHOWN)) console.log(`  ${text}`);
    if (differs.length > MAX_SHOWN) console.log(`  … and ${differs.length - MAX_SHOWN} more`);
  }
  for (const { suite, door, passes } of rows) {
    if (passes.length > 0) console.log(`\n${suite} through ${door}, documented but passes:`);
    for (const text of passes) console.log(`  ${text}`);
  }
}

const peers = process.env["PEER_SUITES"];
if (peers !== undefined && !existsSync(peers)) {
  console.error(`PEER_SUITES names no folder: ${peers}`);
  process.exit(2);
}
const suites = findSuites(root, peers).filter(
  ({ name }) => values.suite === undefined || values.suite === name,
);
if (suites.length === 0) {
  console.error(`no such suite here; known: ${KNOWN_NAMES.join(", ")}`);
  process.exit(2);
}
const rows: Row[] = [];
for (const suite of suites) {
  const doors = suite.doors.filter((door) => values.door === undefined || values.door === door);
  console.log(`${suite.name} (${basename(suite.folder)}): alone, then through ${doors.join(", ")}`);
  const wanted = new Set(doors.flatMap((door) => filesOf(suite, door)));
  const alone = await play(suite, undefined, [...wanted], JOBS);
  for (const door of doors) rows.push(await compare(suite, door, alone));
}
print(rows);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
process.exitCode = rows.every(({ differs }) => differs.length === 0) ? 0 : 1;
