/**
 * The entries of this process in a registry: written whole and renamed, so that a reader sees all of one or nothing,
 * and only once the socket is there that says that the process lives. What is said of a running server, such as
 * that it drains, is on the disk before the function returns: a queue of writes would let readers learn it too late.
 */
import { lstatSync, renameSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, messageOf } from "../../errors.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import { fileNameOf, idOfFile, presencePath, writeEntry, type RegistryEntry } from "./entry.ts";
import { listFolder, makeFolder, removeFile } from "./folder.ts";
import { askOnce } from "./liveness.ts";
import { Presence } from "./presence.ts";

/** Programs that tidy up temporary files may take entries away: so often it is looked for that. */
const KEEP_MS = 10_000;
/** And so often they are made to look new. */
const TOUCH_MS = 3_600_000;
/** Entries of processes that are gone, which are cleared away at a time. */
const MAX_SWEPT = 1_000;

/** The entry of one server in the registry. */
export class Announced {
  readonly #announcer: Announcer;
  readonly #failed: (why: string) => void;
  readonly #number: number;
  #entry: RegistryEntry | undefined = undefined;
  #file: string | undefined = undefined;

  constructor(announcer: Announcer, number: number, failed: (why: string) => void) {
    this.#announcer = announcer;
    this.#number = number;
    this.#failed = failed;
  }

  /** Undefined takes it back. Never throws: what goes wrong is reported once. */
  say(entry: RegistryEntry | undefined): void {
    this.#entry = entry;
    if (entry === undefined) {
      this.#remove();
      this.#announcer.left(this);
    } else if (this.#announcer.id !== undefined) this.write();
    else this.#announcer.begin(this);
  }

  /** As it is now; there is a socket for it. */
  write(): void {
    const { dir, id } = this.#announcer;
    const entry = this.#entry;
    if (entry === undefined || id === undefined) return;
    const file = join(dir, fileNameOf(entry.name, entry.protocol, id, this.#number));
    if (this.#file !== file) this.#remove();
    try {
      writeFileSync(`${file}.tmp`, writeEntry(entry), { mode: 0o600 });
      renameSync(`${file}.tmp`, file);
      this.#file = file;
    } catch (error) {
      this.failed(`${file} cannot be written (${codeOf(error)})`);
    }
  }

  failed(why: string): void {
    this.#failed(why);
  }

  /** As the function of that name, of its file. */
  isThere(touchAtMs: number | undefined): boolean {
    return this.#file === undefined || isThere(this.#file, touchAtMs);
  }

  #remove(): void {
    if (this.#file === undefined) return;
    try {
      unlinkSync(this.#file);
    } catch {
      // It is gone already, or cannot be removed: it counts no longer than this process lives.
    }
    this.#file = undefined;
  }
}

/** All entries of this process in one directory, and the socket behind them. */
export class Announcer {
  readonly dir: string;
  readonly #runtime: Runtime;
  readonly #all = new Set<Announced>();
  #presence: Presence | undefined = undefined;
  #isBeginning = false;
  #count = 0;
  #keep: Timer | undefined = undefined;
  #touchedAt: number;
  #swept = false;

  constructor(dir: string, runtime: Runtime) {
    this.dir = dir;
    this.#runtime = runtime;
    this.#touchedAt = runtime.now();
  }

  /** Undefined while there is no socket. */
  get id(): string | undefined {
    return this.#presence?.id;
  }

  add(failed: (why: string) => void): Announced {
    return new Announced(this, this.#count++, failed);
  }

  begin(one: Announced): void {
    this.#all.add(one);
    void this.#begin();
  }

  async #begin(): Promise<void> {
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    this.#keep?.cancel();
    try {
      makeFolder(this.dir);
      const presence = await Presence.listen(this.dir);
      if (this.#all.size === 0) presence.close();
      else {
        this.#presence = presence;
        for (const one of this.#all) one.write();
        if (!this.#swept) void this.#sweep();
        this.#swept = true;
      }
    } catch (error) {
      const why = messageOf(error);
      for (const one of this.#all) one.failed(why);
    }
    this.#isBeginning = false;
    if (this.#all.size > 0) this.#keepIn();
  }

  /** It has taken back what it said. */
  left(one: Announced): void {
    this.#all.delete(one);
    if (this.#all.size > 0) return;
    this.#keep?.cancel();
    this.#presence?.close();
    this.#presence = undefined;
  }

  #keepIn(): void {
    this.#keep = this.#runtime.after(KEEP_MS, () => this.#look(), undefined);
  }

  /** What was taken away is written again. */
  #look(): void {
    const now = this.#runtime.now();
    const isOld = now - this.#touchedAt >= TOUCH_MS;
    if (isOld) this.#touchedAt = now;
    const touch = isOld ? this.#runtime.wallNow() : undefined;
    const presence = this.#presence;
    if (presence === undefined || !isThere(presence.path, touch)) {
      this.#presence = undefined;
      presence?.close();
      void this.#begin();
      return;
    }
    for (const one of this.#all) if (!one.isThere(touch)) one.write();
    this.#keepIn();
  }

  /** Clears away what processes have left behind whose pid is free. Others are found by those who look for them. */
  async #sweep(): Promise<void> {
    const files = new Map<string, string[]>();
    for (const file of await listFolder(this.dir).catch(() => [])) {
      const id = idOfFile(file);
      if (id === undefined || pidIsTaken(id)) continue;
      const known = files.get(id);
      if (known !== undefined) known.push(file);
      else if (files.size < MAX_SWEPT) files.set(id, [file]);
    }
    for (const [id, its] of files) {
      const path = presencePath(this.dir, id);
      // The pid alone proves nothing: the process may be in another container.
      if ((await askOnce(path, false)) !== "ended") continue;
      for (const file of its) await removeFile(join(this.dir, file));
    }
  }
}

function pidIsTaken(id: string): boolean {
  try {
    return process.kill(Number.parseInt(id, 10), 0);
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** `touchAtMs`: and has been changed then, since 1970; undefined leaves it as it is. */
function isThere(path: string, touchAtMs: number | undefined): boolean {
  // Pipes of Windows have no file.
  if (path.startsWith("\\\\")) return true;
  try {
    if (touchAtMs === undefined) lstatSync(path);
    else utimesSync(path, touchAtMs / 1_000, touchAtMs / 1_000);
    return true;
  } catch (error) {
    return codeOf(error) !== "ENOENT";
  }
}

const announcers = new Map<string, Announcer>();

/** One for each directory, for all servers of this process. Directories are few, and are kept. */
export function announcerIn(dir: string, runtime: Runtime): Announcer {
  let announcer = announcers.get(dir);
  if (announcer === undefined) {
    announcer = new Announcer(dir, runtime);
    announcers.set(dir, announcer);
  }
  return announcer;
}
