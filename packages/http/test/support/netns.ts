/**
 * Runs a program in a network namespace of its own, for faults that need real packets to be lost.
 * Nothing of the machine's network is touched, and all of it is gone when the program ends. Needs
 * Linux, iproute2 and the right to make namespaces; without them tests are skipped, visibly.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const WAYS: readonly (readonly string[])[] = [
  ["--user", "--map-root-user", "--net"],
  ["--net"], // where users may not make user namespaces, but root may make others
];

function worksWith(way: readonly string[]): boolean {
  const script = "ip link add inmesh0 type veth peer name inmesh1 && command -v nsenter";
  return spawnSync("unshare", [...way, "sh", "-c", script], { timeout: 5_000 }).status === 0;
}

/** Options of `unshare`; undefined where it does not work. */
export const namespaces: readonly string[] | undefined = WAYS.find(worksWith);

/** Runs a module, by default of `test/children/` here; gives the JSON that it printed. */
export async function runInNamespace(
  file: string | URL,
  way: readonly string[],
): Promise<Record<string, unknown>> {
  const child = spawn(
    "unshare",
    [
      ...way,
      process.execPath,
      "--conditions=inmesh-source",
      "--disable-warning=ExperimentalWarning",
      fileURLToPath(new URL(file, new URL("../children/", import.meta.url))),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await once(child, "close");
  return JSON.parse(out) as Record<string, unknown>;
}
