/**
 * The servers of one name that processes of this user have announced on this machine. The directory is watched; an
 * entry counts while its process lives (liveness.ts).
 *
 * - No entry means that there are none, at once: processes say when they go, and the kernel says it for the others.
 * - A directory that is not this user's, or an entry that cannot be read, is an error: what was known of it stays.
 */
import { watch as watchPath, type FSWatcher } from "node:fs";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type { EndpointInfo } from "../../endpoint-info.ts";
import { codeOf, messageOf } from "../../errors.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import { keyOf } from "../coalesce.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "../discovery.ts";
import type { DiscoveryClient } from "../kind.ts";
import {
  ADMIN,
  endpointAt,
  parseEntry,
  parseFileName,
  presencePath,
  type EntryFile,
  type RegistryEntry,
} from "./entry.ts";
import { checkFolder, listFolder, makeFolder, readOwnFile, removeFile } from "./folder.ts";
import { Liveness } from "./liveness.ts";

/** Events of a directory come in swarms: one look for all of them. */
const GATHER_MS = 20;
/** What no event says: the directory was removed, or the system has no watches left. */
const POLL_MS = 5_000;
const POLL_UNWATCHED_MS = 1_000;
/** Servers of one name. */
const MAX_ENTRIES = 1_000;
/** Names of others that an error lists. */
const MAX_NAMES = 10;

export interface RegistryTarget {
  readonly dir: string;
  readonly name: string;
}

export function registryDiscovery(
  target: RegistryTarget,
  client: DiscoveryClient,
  runtime: Runtime,
): Discovery {
  return {
    source: "registry",
    watch: (sink) => new RegistryWatch(target, client, runtime, sink),
  };
}

interface Known extends EntryFile {
  readonly file: string;
  /** Of the state of the file that was read last, readable or not. */
  stamp: string;
  /** The last one that could be read. */
  entry: RegistryEntry | undefined;
  /** What is wrong with the file now. */
  wrong: string | undefined;
  readonly liveness: Liveness;
}

class RegistryWatch implements EndpointWatch {
  readonly #target: RegistryTarget;
  readonly #client: DiscoveryClient;
  readonly #runtime: Runtime;
  readonly #sink: EndpointSink;
  /** By name of the file. */
  readonly #known = new Map<string, Known>();
  /** Names of other servers, for people. */
  #others: readonly string[] = [];
  #folder: FSWatcher | undefined = undefined;
  #folderStamp = "";
  #gather: Timer | undefined = undefined;
  #poll: Timer | undefined = undefined;
  #looking = false;
  #again = false;
  #stopped = false;
  /** The directory has been listed. */
  #listed = false;
  /** Entries are being read: what is known is incomplete. */
  #reading = false;
  /** Texts of the last reports, so that what is not new is not reported again. */
  #reported = "";
  #complaint = "";

  constructor(
    target: RegistryTarget,
    client: DiscoveryClient,
    runtime: Runtime,
    sink: EndpointSink,
  ) {
    this.#target = target;
    this.#client = client;
    this.#runtime = runtime;
    this.#sink = sink;
    void this.#look();
  }

  refresh(): void {
    if (this.#stopped || this.#gather !== undefined) return;
    const look = (): void => {
      this.#gather = undefined;
      void this.#look();
    };
    this.#gather = this.#runtime.after(GATHER_MS, look, undefined);
  }

  stop(): void {
    this.#stopped = true;
    this.#folder?.close();
    this.#folder = undefined;
    this.#gather?.cancel();
    this.#poll?.cancel();
    for (const { liveness } of this.#known.values()) liveness.stop();
    this.#known.clear();
  }

  // ── the directory ────────────────────────────────────────────────────────────────────────────

  async #look(): Promise<void> {
    this.#again = true;
    if (this.#looking) return;
    this.#looking = true;
    this.#poll?.cancel();
    while (this.#again && !this.#stopped) {
      this.#again = false;
      this.#reading = true;
      const wrong = await this.#lookOnce().catch(messageOf);
      this.#reading = false;
      if (this.#stopped) return;
      if (wrong === undefined) this.#report();
      else this.#complain(wrong);
    }
    this.#looking = false;
    const pollMs = this.#folder === undefined ? POLL_UNWATCHED_MS : POLL_MS;
    this.#poll = this.#runtime.after(pollMs, () => void this.#look(), undefined);
  }

  /** Gives what is wrong with the directory, in words. */
  async #lookOnce(): Promise<string | undefined> {
    const { dir } = this.#target;
    let wrong = await checkFolder(dir);
    if (wrong === "ENOENT") {
      // So that the first announcement is seen. Where that is not possible, it is polled for.
      try {
        makeFolder(dir);
        wrong = undefined;
      } catch {
        this.#unwatch();
        this.#take([]);
        return undefined;
      }
    }
    if (wrong !== undefined) {
      this.#unwatch();
      return wrong;
    }
    await this.#watchFolder();
    const files = await listFolder(dir);
    if (this.#stopped) return undefined;
    this.#take(files);
    for (const one of this.#known.values()) await this.#read(one);
    return undefined;
  }

  #unwatch(): void {
    this.#folder?.close();
    this.#folder = undefined;
    this.#folderStamp = "";
  }

  async #watchFolder(): Promise<void> {
    const { dir, name } = this.#target;
    const { dev, ino } = await lstat(dir);
    const stamp = `${dev}:${ino}`;
    if (this.#stopped || (this.#folder !== undefined && stamp === this.#folderStamp)) return;
    this.#unwatch();
    this.#folderStamp = stamp;
    try {
      const watcher = watchPath(dir, { persistent: false }, (_event, file) => {
        // What 499 other servers write is no reason to look. Some systems do not say which file it was.
        const isOthers = file !== null && file.includes("~") && !file.startsWith(`${name}~`);
        if (!isOthers && file?.endsWith(".sock") !== true) this.refresh();
      });
      watcher.on("error", () => {
        if (this.#folder === watcher) this.#unwatch();
      });
      this.#folder = watcher;
    } catch {
      // ENOSPC and EMFILE: no watches left.
    }
  }

  /** The files that there are now. */
  #take(files: readonly string[]): void {
    const { dir, name } = this.#target;
    const others = new Set<string>();
    const found = new Set<string>();
    for (const file of files) {
      const about = parseFileName(file);
      if (about === undefined) continue;
      if (about.name !== name || about.protocol !== this.#client.protocol) {
        if (about.protocol !== ADMIN && others.size < MAX_NAMES)
          others.add(`${about.name} (${about.protocol})`);
        continue;
      }
      if (found.size >= MAX_ENTRIES) continue;
      found.add(file);
      if (this.#known.has(file)) continue;
      const path = presencePath(dir, about.id);
      const liveness = new Liveness(path, this.#runtime, () => this.#processChanged(file));
      this.#known.set(file, {
        ...about,
        file,
        stamp: "",
        entry: undefined,
        wrong: undefined,
        liveness,
      });
    }
    for (const [file, { liveness }] of this.#known) {
      if (found.has(file)) continue;
      liveness.stop();
      this.#known.delete(file);
    }
    this.#others = [...others].sort();
    this.#listed = true;
  }

  async #read(known: Known): Promise<void> {
    const { dir } = this.#target;
    const stamp = await lstat(join(dir, known.file), { bigint: true }).then(
      ({ ino, size, mtimeNs, ctimeNs }) => `${ino}:${size}:${mtimeNs}:${ctimeNs}`,
      (error: unknown) => `! ${codeOf(error)}`,
    );
    if (stamp === known.stamp) return;
    const read = await readOwnFile(dir, known.file);
    if (!read.ok && read.gone) return this.refresh();
    known.stamp = stamp;
    const entry = read.ok ? parseEntry(read.text, known) : read.why;
    if (typeof entry === "string") known.wrong = entry;
    else {
      known.entry = entry;
      known.wrong = undefined;
    }
  }

  #processChanged(file: string): void {
    const known = this.#known.get(file);
    if (known === undefined) return;
    if (known.liveness.state === "ended") {
      this.#known.delete(file);
      this.#clear(known);
    }
    this.#report();
  }

  /** Its process can no longer do it. No other process ever has the same id. */
  #clear({ file, id }: Known): void {
    const { dir } = this.#target;
    void removeFile(join(dir, file));
    void removeFile(presencePath(dir, id));
  }

  // ── reports ──────────────────────────────────────────────────────────────────────────────────

  #report(): void {
    if (this.#stopped || !this.#listed || this.#reading) return;
    const all = [...this.#known.values()];
    // The first report is the whole set.
    if (all.some(({ liveness }) => !liveness.asked)) return;
    const endpoints = new Map<string, EndpointInfo>();
    const unfit = new Set<string>();
    for (const { entry, id, liveness } of all) {
      if (entry === undefined || liveness.state !== "alive") continue;
      const why = unfitness(entry, this.#client);
      if (why !== undefined) unfit.add(why);
      else for (const address of entry.addresses) add(endpoints, address, id, entry.state);
    }
    const set = [...endpoints.values()];
    const why = set.length > 0 ? undefined : this.#whyNone([...unfit]);
    const text = JSON.stringify([set, why]);
    const wrong = all.flatMap(({ file, wrong: one }) =>
      one === undefined ? [] : [`${file} ${one}`],
    );
    const complaint =
      wrong.length === 0
        ? ""
        : `${this.#target.dir}: ${wrong.slice(0, 3).join("; ")}: remove what is no announcement of inmesh`;
    if (text !== this.#reported || complaint === "") {
      if (text !== this.#reported || this.#complaint !== "") this.#sink.replace(set, why);
      this.#reported = text;
      this.#complaint = "";
    }
    if (complaint !== "") this.#complain(complaint);
  }

  #complain(complaint: string): void {
    if (complaint === this.#complaint) return;
    this.#complaint = complaint;
    this.#sink.failed(new Error(complaint));
  }

  #whyNone(unfit: readonly string[]): string {
    const { dir, name } = this.#target;
    if (unfit.length > 0) return `${name} is announced in ${dir}, and ${unfit.join("; ")}`;
    const others = this.#others.length === 0 ? "nothing" : this.#others.join(", ");
    const variable = `INMESH_SERVICE_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`;
    return `no process of this machine announces it for ${this.#client.protocol} in ${dir}, where there is ${others}: start its server with that name, or say where it is by ${variable}=http://host:port`;
  }
}

function add(
  endpoints: Map<string, EndpointInfo>,
  address: string,
  id: string,
  state: RegistryEntry["state"],
): void {
  const info = endpointAt(address);
  if (typeof info === "string") return;
  // Workers of one cluster listen at one address. The id makes a new process at an old address a new endpoint.
  const key = keyOf(info);
  const drains = state === "draining";
  if (!endpoints.has(key) || !drains) {
    endpoints.set(key, { ...info, uid: id, ...(drains && { draining: true }) });
  }
}

/** Why a client cannot use it, as the end of a sentence. */
function unfitness(entry: RegistryEntry, client: DiscoveryClient): string | undefined {
  const { protocol, scheme, http2 } = client;
  if (entry.tls !== (scheme === "https")) {
    return entry.tls
      ? "takes TLS alone: write scheme: https, and tls with its authority"
      : "takes no TLS, which scheme: https asks for";
  }
  if (protocol !== "http" || entry.tls) return undefined;
  if (entry.speaks.includes(http2 ? "h2c" : "http/1.1")) return undefined;
  return http2
    ? "speaks no HTTP/2: leave http2 out"
    : "speaks HTTP/2 alone: write http2: true for the service";
}
