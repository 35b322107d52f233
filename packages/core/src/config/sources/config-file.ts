/**
 * The configuration file of a running process: parsed again whenever it changes, and if it is wrong,
 * kept out, with the reason at hand. An empty, cut or missing file is wrong, never an empty
 * configuration (faults.md K8).
 */
import { isDeepStrictEqual } from "node:util";
import type { Runtime } from "../../runtime/runtime.ts";
import { type FileNews, FileWatch } from "../../watch/file-watch.ts";
import { LIMITS } from "../limits.ts";
import type { Layer } from "../merge.ts";
import { ConfigError, makeMistake, type Mistake } from "../mistakes.ts";
import { parseConfigNews } from "./file.ts";
import { messageOf } from "../../errors.ts";

export class ConfigFile {
  readonly path: string;
  /** Why what the file says now is not in force; empty while it is. */
  mistakes: readonly Mistake[];
  readonly #take: (layer: Layer) => void;
  readonly #refused: (mistakes: readonly Mistake[]) => void;
  readonly #watch: FileWatch;
  /** What was looked at last. */
  #seen: FileNews;

  /**
   * `seen` and `mistakes`: what reading it at the start gave. `take` puts a layer in force or throws
   * a ConfigError; `refused` hears of what was kept out.
   */
  constructor(
    path: string,
    seen: FileNews,
    mistakes: readonly Mistake[],
    runtime: Runtime,
    take: (layer: Layer) => void,
    refused: (mistakes: readonly Mistake[]) => void,
  ) {
    this.path = path;
    this.mistakes = mistakes;
    this.#seen = seen;
    this.#take = take;
    this.#refused = refused;
    this.#watch = new FileWatch(path, LIMITS.fileBytes, runtime, (news) => {
      if (!sameNews(news, this.#seen)) this.#consider(news);
    });
  }

  /** Tries again what was refused: something else may have changed that stood against it. */
  retry(): void {
    if (this.mistakes.length > 0 && this.#seen.ok) this.#consider(this.#seen);
  }

  close(): void {
    this.#watch.close();
  }

  #consider(news: FileNews): void {
    const before = this.mistakes;
    const again = news === this.#seen;
    this.#seen = news;
    this.mistakes = this.#tryToTake(news);
    // What has been reported is not reported again.
    const reported = again && isDeepStrictEqual(this.mistakes, before);
    if (this.mistakes.length > 0 && !reported) this.#refused(this.mistakes);
  }

  #tryToTake(news: FileNews): readonly Mistake[] {
    const read = parseConfigNews(news, this.path);
    if (!read.ok) return read.mistakes;
    try {
      this.#take(read.layer);
      return [];
    } catch (error) {
      if (error instanceof ConfigError) return error.mistakes;
      const why = messageOf(error);
      return [makeMistake([], `cannot be used: ${why}`, undefined, `file:${this.path}`)];
    }
  }
}

function sameNews(a: FileNews, b: FileNews): boolean {
  if (a.ok) return b.ok && Buffer.compare(a.content, b.content) === 0;
  return !b.ok && a.why === b.why;
}
