/**
 * Follows one small file: reports its content when it has changed, or why it cannot be read. Used for
 * configuration and for lists of endpoints. The directory is watched, not the file, because editors
 * and Kubernetes replace files (rename, `..data` symlink) and a watch on the old one would see
 * nothing. Network mounts do not report a change, so the file's stat is polled as well.
 *
 * Half a file must never be taken for a whole one, and YAML cut in the middle is often valid: a file
 * is read once two stats in a row agree, and what was read counts if they still do afterwards.
 */
import { watch as watchPath, type FSWatcher } from "node:fs";
import { open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { codeOf } from "../errors.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

export type FileNews =
  | { readonly ok: true; readonly content: Uint8Array }
  /** `ENOENT`, `not a file`, `larger than … bytes`. */
  | { readonly ok: false; readonly why: string };

/** Events of a directory come in swarms: one look for all of them. */
const GATHER_MS = 20;
const SETTLE_MS = 20;
/** A file that changes without end is read anyway, as it is between two writes. */
const MAX_SETTLE_MS = 100;
export const POLL_MS = 5_000;

export class FileWatch {
  readonly #path: string;
  readonly #limitBytes: number;
  readonly #runtime: Runtime;
  readonly #onNews: (news: FileNews) => void;
  /** The stat of the content that was reported last. */
  #stamp = "";
  #folder: FSWatcher | undefined = undefined;
  #folderStamp = "";
  #gather: Timer | undefined = undefined;
  #poll: Timer | undefined = undefined;
  #looking = false;
  #again = false;
  #closed = false;

  /** Looks at once, and then whenever there is a reason; `onNews` is never called synchronously. */
  constructor(
    path: string,
    limitBytes: number,
    runtime: Runtime,
    onNews: (news: FileNews) => void,
  ) {
    // A process that changes its folder still means the file it started with.
    this.#path = resolve(path);
    this.#limitBytes = limitBytes;
    this.#runtime = runtime;
    this.#onNews = onNews;
    void this.#tick();
  }

  /** Looks soon, for example because the caller has a reason to think that the file is new. */
  look(): void {
    if (this.#closed || this.#gather !== undefined) return;
    this.#gather = this.#runtime.after(
      GATHER_MS,
      () => {
        this.#gather = undefined;
        void this.#look();
      },
      undefined,
    );
  }

  /** Idempotent; nothing is reported afterwards. */
  close(): void {
    this.#closed = true;
    this.#folder?.close();
    this.#folder = undefined;
    this.#gather?.cancel();
    this.#poll?.cancel();
  }

  async #tick(): Promise<void> {
    await this.#watchFolder();
    if (this.#closed) return;
    this.#poll = this.#runtime.after(POLL_MS, () => void this.#tick(), undefined);
    await this.#look();
  }

  /** A folder may be missing, be replaced, or be more than the system can watch: the poll goes on. */
  async #watchFolder(): Promise<void> {
    const folder = dirname(this.#path);
    const stamp = await stat(folder, { bigint: true }).then(
      ({ dev, ino }) => `${dev}:${ino}`,
      () => "",
    );
    if (this.#closed || (this.#folder !== undefined && stamp === this.#folderStamp)) return;
    this.#folder?.close();
    this.#folder = undefined;
    this.#folderStamp = stamp;
    if (stamp === "") return;
    try {
      const watcher = watchPath(folder, { persistent: false }, () => this.look());
      watcher.on("error", () => {
        watcher.close();
        if (this.#folder === watcher) this.#folder = undefined;
      });
      this.#folder = watcher;
    } catch {
      // ENOSPC and EMFILE: no watches left.
    }
  }

  async #look(): Promise<void> {
    this.#again = true;
    if (this.#looking) return;
    this.#looking = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      const news = await this.#settled();
      if (this.#closed || news === undefined) continue;
      try {
        this.#onNews(news);
      } catch {
        // The listener's fault must not end the watch.
      }
    }
    this.#looking = false;
  }

  /** What the file says once it stands still; nothing if it is what was reported last. */
  async #settled(): Promise<FileNews | undefined> {
    let stamp = await stampOf(this.#path);
    if (stamp === this.#stamp) return undefined;
    const until = this.#runtime.now() + MAX_SETTLE_MS;
    for (;;) {
      await this.#pause(SETTLE_MS);
      if (this.#closed) return undefined;
      const next = await stampOf(this.#path);
      const late = this.#runtime.now() >= until;
      if (next === stamp || late) {
        const read = await readWhole(this.#path, this.#limitBytes);
        const { news, whole } = read;
        if (whole && (late || (await stampOf(this.#path)) === next)) {
          this.#stamp = news.ok ? read.stamp : next;
          return news;
        }
      }
      stamp = next;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((wake) => this.#runtime.after(ms, wake, undefined));
  }
}

interface ReadResult {
  readonly news: FileNews;
  readonly stamp: string;
  /** The file was not written while it was read. */
  readonly whole: boolean;
}

async function readWhole(path: string, limitBytes: number): Promise<ReadResult> {
  const failed = (why: string): ReadResult => ({
    news: { ok: false, why },
    stamp: "",
    whole: true,
  });
  try {
    // Before opening: a pipe would hold one of the four threads of libuv for ever.
    if (!(await stat(path)).isFile()) return failed("not a file");
    const file = await open(path, "r");
    try {
      const before = await file.stat({ bigint: true });
      if (before.size > BigInt(limitBytes)) return failed(`larger than ${limitBytes} bytes`);
      const content = Buffer.alloc(Number(before.size));
      let length = 0;
      while (length < content.length) {
        const { bytesRead } = await file.read(content, length, content.length - length, length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      const stamp = describe(before);
      const whole =
        length === content.length && describe(await file.stat({ bigint: true })) === stamp;
      return { news: { ok: true, content }, stamp, whole };
    } finally {
      await file.close();
    }
  } catch (error) {
    return failed(codeOf(error));
  }
}

function stampOf(path: string): Promise<string> {
  return stat(path, { bigint: true }).then(describe, (error: unknown) => `! ${codeOf(error)}`);
}

interface BigStats {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** Two files, or two states of one, have different texts. Permissions count: they change ctime. */
function describe({ dev, ino, size, mtimeNs, ctimeNs }: BigStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}
