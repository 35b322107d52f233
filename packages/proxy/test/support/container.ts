/**
 * What a container is to a process, without an engine: process 1 of a namespace of its own, a root file system that
 * nothing may be written to, another user than root, and no way to become root. Linux as root, with util-linux.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** That of the Dockerfile. */
export const USER = 2102;

/** Mounts of others stay as they are: theirs are copies. `/proc` is that of the new namespace. */
const ENTER = [
  "set -e",
  "mount -t proc proc /proc",
  // A mount of its own on many machines, where the program and its Node may lie.
  "if mountpoint -q /tmp; then mount -o remount,bind,ro /tmp; fi",
  "mount -o remount,bind,ro /",
  'exec setpriv --reuid="$1" --regid="$1" --clear-groups --no-new-privs --bounding-set=-all "${@:2}"',
].join("\n");

const UNSHARE: readonly string[] = ["--mount", "--pid", "--fork", "--kill-child"];

/** The arguments of `unshare`; `before` is run as root, before anything is closed. */
export function contained(command: readonly string[], before = "", user: number = USER): string[] {
  return [...UNSHARE, "bash", "-c", `${before}\n${ENTER}`, "bash", String(user), ...command];
}

/** Why there is none on this machine; undefined: there is. */
export function whyNoContainer(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs Linux, and root";
  const tried = spawnSync("unshare", contained(["true"]), { encoding: "utf8" });
  return tried.status === 0 ? undefined : (tried.error?.message ?? tried.stderr);
}

/** Of `unshare`, the process that is number 1 inside; undefined: there is none yet, or it is not what was asked for. */
export function processOne(unshare: number, name: string): number | undefined {
  try {
    const [child = ""] = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").split(
      " ",
    );
    const command = readFileSync(`/proc/${child}/cmdline`, "utf8");
    return child !== "" && command.includes(name) ? Number(child) : undefined;
  } catch {
    return undefined;
  }
}
