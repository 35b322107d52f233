/** Modules of `test/children/`, each a process of its own that prints what it saw as JSON. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const CHILDREN: string = join(import.meta.dirname, "../children");

/** `command`: what runs Node, such as a shell that sets limits first; its arguments come before Node's. */
export async function runChild<T>(
  file: string,
  args: readonly string[] = [],
  nodeArgs: readonly string[] = [],
  command: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<T> {
  const [program = "", ...rest] = [
    ...command,
    process.execPath,
    "--conditions=inmesh-source",
    "--disable-warning=ExperimentalWarning",
    ...nodeArgs,
    join(CHILDREN, file),
    ...args,
  ];
  const child = spawn(program, rest, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, UV_THREADPOOL_SIZE: "4", ...env },
  });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await once(child, "close");
  return JSON.parse(out) as T;
}
