/**
 * Which process is meant where no address was said: those that this user has started on this machine, by the registry
 * (docs/reference/registry.md). It is off where that is: in production, in CI and in clusters.
 */
import type { FoundProcess, FoundProcesses } from "@inmesh/core/spi/inspect";
import type { Context } from "./command.ts";
import { EXIT, Failure } from "./failure.ts";

/** Processes in a list that a person has to choose from. */
const MAX_LISTED = 20;
const HOW =
  "Write --admin http://127.0.0.1:<port> or --admin unix:<path>, or set INMESH_ADMIN: the address that mesh.admin.listen() of the process gives";

export async function localProcesses({ env }: Context): Promise<FoundProcesses> {
  // Loads the half of the mesh, so only for who has not said an address and a token.
  const { findProcesses } = await import("@inmesh/core/spi/inspect");
  return findProcesses(env);
}

/** `called`: its pid, its name or that of one of its servers; empty: the only one. Throws a `Failure`. */
export async function localProcess(called: string, context: Context): Promise<FoundProcess> {
  const { output } = context;
  const { processes, why, dir } = await localProcesses(context);
  const fits = processes.filter((one) => called === "" || isCalled(one, called));
  const [only] = fits;
  if (only === undefined) throw none(called, processes, why ?? absence(dir));
  if (fits.length > 1) {
    throw new Failure(EXIT.usage, {
      what: `Which process? ${fits.length} of this user ${called === "" ? "have their API open on this machine" : `are called ${called}`}:\n${listOf(fits)}`,
      next: `Name one by its address or its pid: --admin ${fits[0]!.pid}`,
    });
  }
  if (called === "") output.hint(`Asking ${shown(only)}`);
  return only;
}

function isCalled({ pid, name, servers }: FoundProcess, called: string): boolean {
  return called === String(pid) || called === name || servers.includes(called);
}

function none(called: string, others: readonly FoundProcess[], why: string): Failure {
  if (called !== "" && others.length > 0) {
    return new Failure(EXIT.usage, {
      what: `No process of this user is called ${called}. There are:\n${listOf(others)}`,
      next: `Name one of them, or: ${HOW}`,
    });
  }
  return new Failure(EXIT.usage, {
    what: called === "" ? "Which process?" : `No process of this user is called ${called}`,
    why,
    next: `Call mesh.admin.listen() in it, or start mesh-proxy with --admin 127.0.0.1:4191. Or: ${HOW}`,
  });
}

function absence(dir: string | undefined): string {
  return `none has its API open on this machine, by the registry in ${dir}`;
}

function listOf(processes: readonly FoundProcess[]): string {
  const lines = processes.slice(0, MAX_LISTED).map((one) => `  ${shown(one)}`);
  const more = processes.length - lines.length;
  return [...lines, ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}

function shown({ name, pid, servers, address }: FoundProcess): string {
  const serves = servers.length === 0 ? "" : `, serves ${servers.join(", ")}`;
  return `${name} (pid ${pid}${serves}) at ${address}`;
}
