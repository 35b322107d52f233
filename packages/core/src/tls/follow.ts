/**
 * The certificates of one side, followed while somebody uses them. New ones are read, proven to fit
 * together, and only then given out; until then the last good ones stay, and `problem` says why. Files
 * of a pair are written one after the other, so a pair that does not fit is normal for a moment.
 */
import type { TlsConfig } from "../config/types.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { FileWatch } from "../watch/file-watch.ts";
import { readTls, tlsFiles, type TlsPem } from "../config/pem.ts";

const MAX_BYTES = 1_048_576;
/** The wall clock may jump, so the end of a certificate is compared with it ever again (T7). */
const CHECK_MS = 60_000;

export interface TlsFollowerOptions {
  readonly tls: TlsConfig;
  /** Connections need as long to end: users are told so much before the end of the certificate. */
  readonly drainGraceMs: number;
  readonly runtime: Runtime;
  /** Puts texts in force that differ from those before. What it throws is the `problem`. */
  take(pem: TlsPem): void;
}

export class TlsFollower {
  /** In force; undefined: nothing has been good yet. */
  pem: TlsPem | undefined = undefined;
  /** Why the files in place are not used; undefined: they are. */
  problem: string | undefined = undefined;
  readonly #options: TlsFollowerOptions;
  readonly #users = new Set<() => void>();
  #watches: FileWatch[] = [];
  #check: Timer | undefined = undefined;

  constructor(options: TlsFollowerOptions) {
    this.#options = options;
  }

  /** Reads, and starts following with the first user. `onChange`: make new connections. Call what it returns once. */
  use(onChange: () => void): () => void {
    if (this.#users.size === 0) this.#start();
    this.#users.add(onChange);
    return () => {
      if (this.#users.delete(onChange) && this.#users.size === 0) this.#stop();
    };
  }

  /** True: what is in place is in force. */
  read(): boolean {
    const options = this.#options;
    const read = readTls(options.tls);
    if ("mistakes" in read) {
      this.problem = read.mistakes.map(({ field, rule }) => `tls.${field} ${rule}`).join("; ");
      return false;
    }
    const { pem } = read;
    if (this.pem === undefined || !equal(pem, this.pem)) {
      try {
        options.take(pem);
      } catch (error) {
        this.problem = error instanceof Error ? error.message : String(error);
        return false;
      }
      this.pem = pem;
    }
    this.problem = undefined;
    return true;
  }

  #start(): void {
    const { tls, runtime } = this.#options;
    this.read();
    const files = tlsFiles(tls);
    if (files.length === 0 && !Number.isFinite(this.pem?.expiresAt)) return;
    this.#watches = files.map(
      (path) => new FileWatch(path, MAX_BYTES, runtime, () => this.#reload()),
    );
    this.#recheck();
  }

  #stop(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    this.#check?.cancel();
  }

  #recheck(): void {
    this.#check = this.#options.runtime.after(
      CHECK_MS,
      () => {
        if (this.problem !== undefined) this.#reload();
        this.#endInTime();
        this.#recheck();
      },
      undefined,
    );
  }

  #reload(): void {
    const before = this.pem;
    if (this.read() && this.pem !== before) this.#tell();
  }

  /** Connections made with a certificate do not outlive it: from shortly before its end they are replaced at every look. */
  #endInTime(): void {
    const expiresAt = this.pem?.expiresAt ?? Infinity;
    if (!Number.isFinite(expiresAt)) return;
    const { drainGraceMs, runtime } = this.#options;
    if (expiresAt - runtime.wallNow() <= drainGraceMs + CHECK_MS) this.#tell();
  }

  #tell(): void {
    for (const changed of this.#users) changed();
  }
}

function equal(a: TlsPem, b: TlsPem): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca?.join() === b.ca?.join();
}
