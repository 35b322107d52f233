/**
 * `inmesh check mesh.yaml`: would a mesh start with this file? Every mistake at once, as `createMesh`
 * finds them. The environment plays no part unless `--env` asks for it, so that a pipeline says the same
 * on every machine. It loads the mesh, because what is right only the mesh knows.
 */
import { readSync } from "node:fs";
import { ConfigError, type Mistake } from "@inmesh/core";
import {
  describeDiscovery,
  CONFIG_LIMITS,
  loadConfig,
  type ServiceConfig,
  type WrittenKind,
} from "@inmesh/core/spi";
import type { Context } from "../command.ts";
import { EXIT, UsageFailure, type ExitCode } from "../failure.ts";
import { counted } from "../numbers.ts";
import type { Output } from "../output.ts";
import { cutEnd } from "../text.ts";

/** As an argument, and as the name in the output. */
const STDIN = "-";
const STDIN_SHOWN = "standard input";
/** JSON is YAML as well. */
const STDIN_FILE = "stdin.yaml";

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
  /** Sections of other programs, which only those can check: `proxy`. */
  readonly unchecked: readonly string[];
}

export interface FilesOptions {
  readonly withEnv: boolean;
  /** Kinds of discovery that only the program has. */
  readonly kinds: readonly string[];
  readonly json: boolean;
}

/** Without files, what the environment alone says. */
export function checkFiles(
  given: readonly string[],
  { withEnv, kinds: names, json }: FilesOptions,
  { output, env }: Context,
): ExitCode {
  if (given.filter((file) => file === STDIN).length > 1) {
    throw new UsageFailure(["The standard input can be read once, and - is written twice."]);
  }
  const files = given.length === 0 ? [undefined] : given;
  const kinds = names.map(uncheckedKind);
  const read = withEnv ? env : false;
  const checked = files.map((file) => checkOne(file, read, kinds));
  if (json) output.json({ apiVersion: "inmesh.dev/v1", kind: "FileChecks", files: checked }, 2);
  else for (const one of checked) print(one, output);
  return checked.every(({ valid }) => valid) ? EXIT.ok : EXIT.failed;
}

type Env = Context["env"] | false;

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
  env: Env,
  kinds: readonly WrittenKind[],
  content?: Buffer,
): Checked {
  if (file === STDIN) return checkStdin(env, kinds);
  try {
    const { config, passedOver } = loadConfig({ file, content, env, discoveries: kinds });
    const services = Object.values(config.services).map((one) => describeService(one, kinds));
    return { file, valid: true, services, mistakes: [], unchecked: passedOver };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const mistakes = error.mistakes.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    return { file, valid: false, services: [], mistakes, unchecked: [] };
  }
}

function checkStdin(env: Env, kinds: readonly WrittenKind[]): Checked {
  const checked = checkOne(STDIN_FILE, env, kinds, readStdin());
  const mistakes = checked.mistakes.map((mistake) =>
    mistake.origin === `file:${STDIN_FILE}` ? { ...mistake, origin: STDIN_SHOWN } : mistake,
  );
  return { ...checked, file: STDIN_SHOWN, mistakes };
}

/** No more than is needed to see that it is too large: it may have no end. */
function readStdin(): Buffer {
  const pieces: Buffer[] = [];
  let left = CONFIG_LIMITS.fileBytes + 1;
  while (left > 0) {
    const piece = Buffer.allocUnsafe(Math.min(left, 65_536));
    // By number: process.stdin makes a pipe non-blocking, and reading before there is something fails then.
    const length = readSync(0, piece);
    if (length === 0) break;
    pieces.push(piece.subarray(0, length));
    left -= length;
  }
  return Buffer.concat(pieces);
}

function describeService(
  { name, discovery, routes }: ServiceConfig,
  kinds: readonly WrittenKind[],
): Checked["services"][number] {
  return { name, discovery: describeDiscovery(discovery, kinds), routes: routes.length };
}

function print(
  { file = "environment", valid, services, mistakes, unchecked }: Checked,
  output: Output,
): void {
  if (valid) {
    output.line(
      `${output.paint("green", "valid")}  ${file}: ${counted(services.length, "service")}`,
    );
    const names = Math.max(0, ...services.map(({ name }) => name.length));
    for (const { name, discovery, routes } of services) {
      const row = `       ${name.padEnd(names)}  ${discovery}, ${counted(routes, "route")}`;
      output.line(cutEnd(output.safe(row), output.width, output.symbol("cut")));
    }
    if (unchecked.includes("proxy")) {
      output.note(`${file}: what stands under proxy was not checked: mesh-proxy --check does that`);
    }
    return;
  }
  output.line(`${output.paint("red", "wrong")}  ${file}: ${counted(mistakes.length, "mistake")}`);
  for (const mistake of mistakes) {
    const where = mistake.line === undefined ? mistake.origin : `line ${mistake.line}`;
    output.line(`       ${output.paint("bold", output.safe(where))}  ${output.safe(mistake.path)}`);
    const got = mistake.value === "" ? "" : ` (got ${mistake.value})`;
    output.line(output.wrap(output.safe(mistake.rule + got), 9));
  }
}
