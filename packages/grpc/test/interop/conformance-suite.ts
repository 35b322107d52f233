/** Connect's conformance suite for gRPC, against our client and our server on each way. */
import { fileURLToPath } from "node:url";
import { knownFor, type Known } from "./conformance/known.ts";
import { Suite } from "./outcomes.ts";
import type { Peers } from "./peers.ts";
import { run } from "./processes.ts";
import { SERVER_WAYS } from "./way.ts";

/** A run takes ten seconds, several times that on a busy machine. */
const RUN_TIMEOUT_MS = 180_000;

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
  // What grpc-js alone has shown in this run.
  const shown = new Set<Known>();
  for (const [i, { name: way }] of SERVER_WAYS.entries()) {
    progress(`Connect's conformance suite, our ${under}, ${way}`);
    const runner = ["--mode", under, "--conf", here("features.yaml")];
    const program = [process.execPath, "--conditions=inmesh-source", here(`${under}.ts`), way];
    const { output } = await run(peers.conformance, [...runner, "--", ...program], RUN_TIMEOUT_MS);
    const column = suite.column(way);
    const passed = /^(\d+) passed, \d+ failed/m.exec(output);
    if (passed === null) {
      column.cases.set("the run", output.slice(-1000));
      continue;
    }
    column.others = Number(passed[1]);
    for (const [name, lines] of failuresIn(output)) {
      column.cases.set(name, lines.join("; ").slice(0, 300));
      const known = knownFor(under, name, lines);
      if (i === 0) for (const one of known ?? []) shown.add(one);
      if (known?.every((one) => one.sometimes === true || shown.has(one))) column.excused.add(name);
    }
  }
  suite.excuseWhatBareFails();
  return suite;
}

/** The runner's report: a line for each failed case, and below it, indented, what was wrong. */
function failuresIn(output: string): Map<string, string[]> {
  const failures = new Map<string, string[]>();
  let lines: string[] | undefined;
  for (const line of output.split("\n")) {
    const name = /^FAILED: (.*):$/.exec(line)?.[1];
    if (name !== undefined) failures.set(shortOf(name), (lines = []));
    else if (!line.startsWith("\t")) lines = undefined;
    else if (line.trim() !== "") lines?.push(line.trim());
  }
  return failures;
}

/** Without what all names have in common. */
function shortOf(name: string): string {
  return name.replaceAll(/HTTPVersion:2\/|Protocol:PROTOCOL_GRPC\/|Codec:CODEC_PROTO\//g, "");
}
