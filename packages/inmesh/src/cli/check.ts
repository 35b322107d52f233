/**
 * `inmesh check mesh.yaml`: would a mesh start with this file? Every mistake at once, as `createMesh`
 * finds them. The environment plays no part unless `--env` asks for it, so that a pipeline says the same
 * on every machine.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError, type Mistake } from "@inmesh/core";
import {
  describeDiscovery,
  loadConfig,
  type ServiceConfig,
  type WrittenKind,
} from "@inmesh/core/spi";
import { unknownKeyRule } from "@inmesh/core/spi/transport";
import type { Output } from "./output.ts";

export const CHECK_SUMMARY = "is a configuration file valid? Lists every mistake";

const HELP = `Usage: inmesh check <file>... [--env] [--discovery <kind>]... [--json]

Reads each file as createMesh would and lists every mistake, with its line.
- is the standard input, as YAML or JSON.

  --env    also read INMESH_SERVICE_* from the environment, as a process does.
           Without a file, the one that INMESH_CONFIG names is read.
  --discovery <kind>
           a kind of discovery that the program adds by createMesh({ discoveries }).
           It may be written then; what stands under it only the program can check.
  --json   print one JSON document instead of text
  --help, -h  print this text

Exit code: 0 valid, 1 a file has mistakes, 2 the command itself is wrong,
3 a defect of inmesh or a Node that is too old.`;

const OPTIONS = {
  env: { type: "boolean" },
  discovery: { type: "string", multiple: true },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
/** As an argument, and as the name in the output. */
const STDIN = "-";
const STDIN_SHOWN = "standard input";

const VALID = 0;
const INVALID = 1;
const USAGE = 2;

/** One file, in the order in which the files were given. The form of `--json`, inside `files`. */
interface Checked {
  /** As it was given; undefined with `--env` and no file at all. */
  readonly file: string | undefined;
  readonly valid: boolean;
  readonly services: readonly {
    readonly name: string;
    readonly discovery: string;
    readonly routes: number;
  }[];
  readonly mistakes: readonly Mistake[];
}

export function check(args: readonly string[], output: Output): number {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    output.error(`${sentenceOf(error as Error)}\n\n${HELP}`);
    return USAGE;
  }
  const { values } = parsed;
  let files: (string | undefined)[] = parsed.positionals;
  if (values.help === true) {
    output.line(HELP);
    return VALID;
  }
  const withEnv = values.env === true;
  if (files.length === 0 && !withEnv) {
    output.error(`Which file? For example: inmesh check mesh.yaml\n\n${HELP}`);
    return USAGE;
  }
  if (files.length === 0) files = [undefined];
  if (files.filter((file) => file === STDIN).length > 1) {
    output.error(`The standard input can be read once, and - is written twice.\n\n${HELP}`);
    return USAGE;
  }
  const kinds = (values.discovery ?? []).map(uncheckedKind);
  const checked = files.map((file) => checkOne(file, withEnv, kinds));
  if (values.json === true) output.line(JSON.stringify({ files: checked }, null, 2));
  else for (const one of checked) print(one, output);
  return checked.every(({ valid }) => valid) ? VALID : INVALID;
}

/** What Node's own sentence says is a guess about arguments that begin with a dash. */
function sentenceOf({ message }: Error): string {
  const option = /^Unknown option '(--?[^']+)'/.exec(message)?.[1];
  if (option === undefined) return message;
  const known = Object.keys(OPTIONS).map((name) => `--${name}`);
  return `The option ${JSON.stringify(option)} ${unknownKeyRule(option, known)}`;
}

/** Stands for a kind that only the program has. */
function uncheckedKind(name: string): WrittenKind {
  return {
    name,
    fields: [{ path: name, type: "any", meaning: "Of a kind that the program adds." }],
    read: () => ({}),
    describe: () => `${name}, not checked`,
  };
}

function checkOne(
  file: string | undefined,
  withEnv: boolean,
  kinds: readonly WrittenKind[],
): Checked {
  if (file === STDIN) return checkStdin(withEnv, kinds);
  try {
    const env = withEnv ? process.env : false;
    const { config } = loadConfig({ file, env, discoveries: kinds });
    const services = Object.values(config.services).map((one) => describeService(one, kinds));
    return { file, valid: true, services, mistakes: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const mistakes = error.mistakes.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    return { file, valid: false, services: [], mistakes };
  }
}

/** By way of a file that only this user can read: configurations are read from files. */
function checkStdin(withEnv: boolean, kinds: readonly WrittenKind[]): Checked {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-check-"));
  try {
    const file = join(folder, "stdin.yaml"); // JSON is YAML as well
    // By number: process.stdin makes a pipe non-blocking, and reading before there is something fails then.
    writeFileSync(file, readFileSync(0), { mode: 0o600 });
    const checked = checkOne(file, withEnv, kinds);
    const mistakes = checked.mistakes.map((mistake) =>
      mistake.origin === `file:${file}` ? { ...mistake, origin: STDIN_SHOWN } : mistake,
    );
    return { ...checked, file: STDIN_SHOWN, mistakes };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function describeService(
  { name, discovery, routes }: ServiceConfig,
  kinds: readonly WrittenKind[],
): Checked["services"][number] {
  return { name, discovery: describeDiscovery(discovery, kinds), routes: routes.length };
}

function count(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? "" : "s"}`;
}

function print({ file = "environment", valid, services, mistakes }: Checked, output: Output): void {
  if (valid) {
    output.line(`${output.paint("green", "valid")}  ${file}: ${count(services.length, "service")}`);
    const names = Math.max(0, ...services.map(({ name }) => name.length));
    for (const { name, discovery, routes } of services) {
      const row = `       ${name.padEnd(names)}  ${discovery}, ${count(routes, "route")}`;
      output.line(row.length > output.width ? `${row.slice(0, output.width - 1)}…` : row);
    }
    return;
  }
  output.line(`${output.paint("red", "wrong")}  ${file}: ${count(mistakes.length, "mistake")}`);
  for (const mistake of mistakes) {
    const where = mistake.line === undefined ? mistake.origin : `line ${mistake.line}`;
    output.line(`       ${output.paint("bold", where)}  ${mistake.path}`);
    const got = mistake.value === "" ? "" : ` (got ${mistake.value})`;
    output.line(output.wrap(mistake.rule + got, 9));
  }
}
