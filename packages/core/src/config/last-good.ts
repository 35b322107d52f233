/**
 * The last good configuration file, kept on disk for a start at which the file itself is missing or
 * wrong (faults.md K1, K9). Only a complete write followed by a rename replaces it; what is corrupt,
 * of another file or of a newer inmesh is not used.
 */
import { open, rename, rm } from "node:fs/promises";
import { dirname, resolve as absolute } from "node:path";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { LIMITS } from "./limits.ts";
import type { LocatedLayer } from "./merge.ts";
import type { ConfigLayer } from "./source.ts";
import { makeMistake, type Mistake } from "./mistakes.ts";
import { isRaw } from "./plain.ts";
import { readNow } from "./sources/file.ts";
import { errorOf } from "../errors.ts";

/** Goes up when older versions of inmesh could misread what newer ones write. */
const SCHEMA_VERSION = 1;
const MIN_INTERVAL_MS = 1_000;

export type LastGood =
  | { readonly ok: true; readonly layer: LocatedLayer }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/** `configFile` is what the snapshot must be of. */
export function readLastGood(path: string, configFile: string): LastGood {
  const origin = `snapshot:${path}`;
  const refused = (rule: string): LastGood => ({
    ok: false,
    mistakes: [makeMistake([], rule, undefined, origin)],
  });
  // JSON is longer than YAML, but not four times.
  const news = readNow(path, 4 * LIMITS.fileBytes);
  if (!news.ok) return refused(`cannot be read (${news.why})`);
  let read: unknown;
  try {
    read = JSON.parse(news.content.toString());
  } catch {
    return refused("cannot be read (not JSON)");
  }
  if (!isRaw(read) || typeof read["schema"] !== "number")
    return refused("is no snapshot of inmesh");
  if (read["schema"] !== SCHEMA_VERSION) {
    return refused(`has schema ${read["schema"]}, and this inmesh reads ${SCHEMA_VERSION}`);
  }
  if (read["of"] !== absolute(configFile)) return refused("is of another configuration file");
  return { ok: true, layer: { origin, input: read["config"] } };
}

/** Writes at most once a second, the newest wins; never throws. */
export class LastGoodWriter {
  readonly #path: string;
  readonly #of: string;
  readonly #runtime: Runtime;
  readonly #failed: (error: Error) => void;
  #next: ConfigLayer | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #writing: Promise<void> | undefined = undefined;

  constructor(path: string, configFile: string, runtime: Runtime, failed: (error: Error) => void) {
    this.#path = path;
    this.#of = absolute(configFile);
    this.#runtime = runtime;
    this.#failed = failed;
  }

  save(layer: ConfigLayer): void {
    this.#next = layer;
    if (this.#timer === undefined) this.#write();
  }

  /** Writes what is waiting, and resolves when the disk has it. */
  async close(): Promise<void> {
    this.#cancelTimer();
    await this.#writing;
    this.#write();
    this.#cancelTimer();
    await this.#writing;
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #write(): void {
    const layer = this.#next;
    this.#next = undefined;
    if (layer === undefined) return;
    this.#timer = this.#runtime.after(
      MIN_INTERVAL_MS,
      () => {
        this.#timer = undefined;
        this.#write();
      },
      undefined,
    );
    const before = this.#writing;
    this.#writing = (async () => {
      await before;
      try {
        await replaceFile(this.#path, snapshotText(layer, this.#of));
      } catch (error) {
        this.#failed(errorOf(error));
      }
    })();
  }
}

/** JSON has no Infinity; `none` is the same to the parser. */
function snapshotText({ input }: ConfigLayer, of: string): string {
  const document = { schema: SCHEMA_VERSION, of, config: input };
  return JSON.stringify(document, (_key, value: unknown) => (value === Infinity ? "none" : value));
}

/** Readers see the old file or the new one, also after a loss of power. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    // It may hold what only we may read.
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  // Not every system lets a folder be synced, and the rename is done.
  const folder = await open(dirname(path), "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close().catch(() => {});
}
