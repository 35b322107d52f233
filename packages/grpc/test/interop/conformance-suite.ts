/** Connect's conformance suite for gRPC, against our client and our server on each way. */
import { fileURLToPath } from "node:url";
import { knownFor, type Known } from "./conformance/known.ts";
import { Suite } from "./outcomes.ts";
import type { Peers } from "./peers.ts";
import { run } from "./processes.ts";
import { SERVER_WAYS } from "./way.ts";

/** A run takes ten seconds, several times that on a busy machine. */
const RUN_TIMEOUT_MS = 180_000;

/** More failures than these are no accident. */
const MAX_AGAIN = 20;

const here = (name: string): string =>
  fileURLToPath(new URL(`conformance/${name}`, import.meta.url));

export async function conformanceSuite(
  peers: Peers,
  under: Known["under"],
  progress: (line: string) => void,
): Promise<Suite> {
  const suite = new Suite(
    `conformance ${under}`,
    SERVER_WAYS.map(({ name }) => name),
  );
  // Of what is known, what grpc-js alone has shown in this run.
  const shown = new Set<Known>();
  for (const { name: way } of SERVER_WAYS) {
    progress(`Connect's conformance suite, our ${under}, ${way}`);
    const bare = way === SERVER_WAYS[0]!.name;
    const excuses = (one: Known): boolean =>
      (bare || one.cured !== true) && (one.sometimes === true || shown.has(one));
    const column = suite.column(way);
    const first = await runOf(peers, under, way, []);
    if (first === undefined) {
      column.cases.set("the run", "ended before its report");
      continue;
    }
    column.others = first.passed;
    const unexcused: string[] = [];
    for (const [name, lines] of first.failures) {
      const known = knownFor(under, name, lines);
      if (bare) for (const one of known ?? []) shown.add(one);
      column.cases.set(shortOf(name), lines.join("; ").slice(0, 300));
      if (known?.every(excuses)) column.excused.add(shortOf(name));
      else unexcused.push(name);
    }
    if (unexcused.length === 0 || unexcused.length > MAX_AGAIN) continue;
    // The suite's clocks are strict, and the machine may have been busy.
    progress(`once more: ${unexcused.map(shortOf).join(", ")}`);
    const second = await runOf(peers, under, way, unexcused);
    for (const name of unexcused) {
      if (second?.failures.has(name) === false) column.cases.set(shortOf(name), undefined);
    }
  }
  return suite;
}

/** Undefined: it did not come to its report. */
async function runOf(
  peers: Peers,
  under: Known["under"],
  way: string,
  names: readonly string[],
): Promise<{ passed: number; failures: Map<string, string[]> } | undefined> {
  const runner = ["--mode", under, "--conf", here("features.yaml")];
  for (const name of names) runner.push("--run", name);
  const program = [process.execPath, "--conditions=inmesh-source", here(`${under}.ts`), way];
  const { output } = await run(peers.conformance, [...runner, "--", ...program], RUN_TIMEOUT_MS);
  const passed = /^(\d+) passed, \d+ failed/m.exec(output)?.[1];
  return passed === undefined
    ? undefined
    : { passed: Number(passed), failures: failuresIn(output) };
}

/** The runner's report: a line for each failed case, and below it, indented, what was wrong. */
function failuresIn(output: string): Map<string, string[]> {
  const failures = new Map<string, string[]>();
  let lines: string[] | undefined;
  for (const line of output.split("\n")) {
    const name = /^FAILED: (.*):$/.exec(line)?.[1];
    if (name !== undefined) failures.set(name, (lines = []));
    else if (!line.startsWith("\t")) lines = undefined;
    else if (line.trim() !== "") lines?.push(line.trim());
  }
  return failures;
}

/** Without what all names have in common. */
function shortOf(name: string): string {
  return name.replaceAll(/HTTPVersion:2\/|Protocol:PROTOCOL_GRPC\/|Codec:CODEC_PROTO\//g, "");
}
