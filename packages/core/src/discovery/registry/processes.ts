/**
 * Processes of this user that have opened their API (`mesh.admin.listen`), in the registry of the machine: how the
 * commands of inmesh find one whose address was not said. Its entry is one as of a server, with the token that the
 * process has made for itself: only this user can read either.
 */
import { readdir } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import type { AddressInfo } from "node:net";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  ADMIN,
  announcedAddress,
  isRegistryName,
  parseEntry,
  parseFileName,
  presencePath,
} from "./entry.ts";
import { checkFolder, readOwnFile, removeFile } from "./folder.ts";
import { askOnce } from "./liveness.ts";
import { registryPlace } from "./place.ts";

/** Entries that are read. */
const MAX_PROCESSES = 1_000;
/** Servers of a process that are named. */
const MAX_SERVERS = 8;

export interface OpenedApi {
  readonly dir: string;
  readonly address: AddressInfo | string | null;
  /** Undefined: it was given one, which the one who started the process knows. */
  readonly token: string | undefined;
  /** Absolute path of the file that has it. */
  readonly tokenFile: string | undefined;
}

/** Gives the function that takes it back. Never throws: `failed` hears what goes wrong. */
export async function announceApi(
  { dir, address, token, tokenFile }: OpenedApi,
  runtime: Runtime,
  failed: (why: string) => void,
): Promise<() => void> {
  const where = announcedAddress(address);
  if (where === undefined) return () => {};
  const { announcerIn } = await import("./announce.ts");
  const announced = announcerIn(dir, runtime).add(failed);
  announced.say({
    version: 1,
    name: programName(),
    protocol: ADMIN,
    speaks: ["http/1.1"],
    tls: false,
    addresses: [where],
    state: "serving",
    pid: process.pid,
    startedAtUnixMs: Math.round(runtime.wallNow() - 1_000 * process.uptime()),
    token,
    tokenFile,
  });
  return () => announced.say(undefined);
}

/** `shop` of `/srv/shop.mjs`. */
function programName(): string {
  const path = process.argv[1] ?? "";
  const name = basename(path, extname(path));
  return isRegistryName(name) ? name : "node";
}

export interface FoundProcess {
  readonly pid: number;
  /** Of its program. */
  readonly name: string;
  /** Names of the servers that it has announced. */
  readonly servers: readonly string[];
  readonly startedAtUnixMs: number;
  /** As `--admin` takes it. */
  readonly address: string;
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
}

export interface FoundProcesses {
  /** By name and pid. */
  readonly processes: readonly FoundProcess[];
  /** Why there can be none, as the end of a sentence; undefined: there might be. */
  readonly why: string | undefined;
  readonly dir: string | undefined;
}

/** Those that live now. `env`: all variables of the process. */
export async function findProcesses(
  env: Readonly<Record<string, string | undefined>>,
): Promise<FoundProcesses> {
  const { dir, off } = registryPlace(undefined, env, env);
  if (dir === undefined) {
    return { processes: [], dir, why: `the registry of this machine is off here, by ${off}` };
  }
  const wrong = await checkFolder(dir);
  if (wrong === "ENOENT") return { processes: [], dir, why: undefined };
  if (wrong !== undefined) return { processes: [], dir, why: wrong };
  const files = (await readdir(dir)).flatMap((file) => {
    const about = parseFileName(file);
    return about === undefined ? [] : [{ file, about }];
  });
  const found: FoundProcess[] = [];
  for (const { file, about } of files) {
    if (about.protocol !== ADMIN || found.length >= MAX_PROCESSES) continue;
    const read = await readOwnFile(dir, file);
    const entry = read.ok ? parseEntry(read.text, about) : read.why;
    if (typeof entry === "string") continue;
    const socket = presencePath(dir, about.id);
    const state = await askOnce(socket, true);
    // It was killed. Its token is worth nothing any more, and still none to be left there.
    if (state === "ended") await Promise.all([removeFile(join(dir, file)), removeFile(socket)]);
    if (state !== "alive") continue;
    const servers = files.flatMap(({ about: { id, name, protocol } }) =>
      id === about.id && protocol !== ADMIN ? [name] : [],
    );
    const [address] = entry.addresses;
    found.push({
      pid: entry.pid,
      name: entry.name,
      servers: [...new Set(servers)].toSorted().slice(0, MAX_SERVERS),
      startedAtUnixMs: entry.startedAtUnixMs,
      address: address!.startsWith("unix:") ? address! : `http://${address!}`,
      token: entry.token,
      tokenFile: entry.tokenFile,
    });
  }
  found.sort((a, b) => (a.name === b.name ? a.pid - b.pid : a.name < b.name ? -1 : 1));
  return { processes: found, dir, why: undefined };
}
