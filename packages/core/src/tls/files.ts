/**
 * The certificates of one service, followed while it has connections. New ones are read, proven to
 * fit together, and only then used; until then the last good ones stay, and `problem` says why. Files
 * of a pair are written one after the other, so a pair that does not fit is normal for a moment.
 */
import type { ServiceConfig } from "../config/types.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { FileWatch } from "../watch/file-watch.ts";
import { TlsContext } from "./context.ts";
import { readTls, tlsFiles, type TlsPem } from "./pem.ts";

const MAX_BYTES = 1_048_576;
/** The wall clock may jump, so the end of a certificate is compared with it ever again (T7). */
const CHECK_MS = 60_000;

export class TlsFiles {
  /** In force. Set while there are users. */
  context!: TlsContext;
  /** Why the files in place are not used; undefined: they are. */
  problem: string | undefined = undefined;
  readonly #service: ServiceConfig;
  readonly #runtime: Runtime;
  readonly #users = new Set<() => void>();
  #pem: TlsPem | undefined = undefined;
  #watches: FileWatch[] = [];
  #check: Timer | undefined = undefined;

  constructor(service: ServiceConfig, runtime: Runtime) {
    this.#service = service;
    this.#runtime = runtime;
  }

  /** Starts following with the first user. `onChange`: make new connections. Call what it returns once. */
  use(onChange: () => void): () => void {
    if (this.#users.size === 0) this.#start();
    this.#users.add(onChange);
    return () => {
      if (this.#users.delete(onChange) && this.#users.size === 0) this.#stop();
    };
  }

  #start(): void {
    if (!this.#read() && this.#pem === undefined) {
      this.context = TlsContext.missing(this.#service, this.problem ?? "");
    }
    const files = tlsFiles(this.#service.tls);
    if (files.length === 0 && !Number.isFinite(this.context.expiresAt)) return;
    this.#watches = files.map(
      (path) => new FileWatch(path, MAX_BYTES, this.#runtime, () => this.#reload()),
    );
    this.#recheck();
  }

  #stop(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    this.#check?.cancel();
  }

  #recheck(): void {
    this.#check = this.#runtime.after(
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
    const before = this.context;
    if (this.#read() && this.context !== before) this.#tell();
  }

  /** True: what is in place is in force. */
  #read(): boolean {
    const read = readTls(this.#service.tls);
    if ("mistakes" in read) {
      this.problem = read.mistakes.map(({ field, rule }) => `tls.${field} ${rule}`).join("; ");
      return false;
    }
    const { pem } = read;
    if (this.#pem === undefined || !equal(pem, this.#pem)) {
      try {
        this.context = new TlsContext(this.#service, pem);
      } catch (error) {
        this.problem = error instanceof Error ? error.message : String(error);
        return false;
      }
      this.#pem = pem;
    }
    this.problem = undefined;
    return true;
  }

  /** Connections made with a certificate do not outlive it: from shortly before its end they are replaced at every look. */
  #endInTime(): void {
    const { expiresAt } = this.context;
    if (!Number.isFinite(expiresAt)) return;
    const leftMs = expiresAt - this.#runtime.wallNow();
    if (leftMs <= this.#service.drainGraceMs + CHECK_MS) this.#tell();
  }

  #tell(): void {
    for (const changed of this.#users) changed();
  }
}

function equal(a: TlsPem, b: TlsPem): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca?.join() === b.ca?.join();
}
