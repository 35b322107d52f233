/**
 * Endpoints from a file: a YAML or JSON list of `host:port` or objects, as under `static` in a
 * configuration. It is followed with the same care as the configuration file.
 *
 * - A file that is missing, empty, cut or wrong is an error, and keeps the last good list (D1).
 * - An empty list says "there are none", which is believed after it has held for 30 s (D2).
 */
import { checkEndpoints, readEndpoints } from "../../config/endpoints.ts";
import { LIMITS } from "../../config/limits.ts";
import { describeMistakes, makeMistake, type Mistake } from "../../config/mistakes.ts";
import { copyPlain, type Report } from "../../config/plain.ts";
import { parseConfigNews } from "../../config/sources/file.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import { type FileNews, FileWatch } from "../../watch/file-watch.ts";
import type { Discovery, EndpointSink, EndpointWatch } from "../discovery.ts";
import type { EndpointInfo } from "../../endpoint-info.ts";

export const HOLD_DOWN_MS = 30_000;

export function fileDiscovery(path: string, runtime: Runtime): Discovery {
  return { source: "file", watch: (sink) => new EndpointFile(path, runtime, sink) };
}

class EndpointFile implements EndpointWatch {
  readonly #path: string;
  readonly #runtime: Runtime;
  readonly #sink: EndpointSink;
  readonly #watch: FileWatch;
  /** Armed while the file says that there are none and the last list is still served. */
  #holdDown: Timer | undefined = undefined;
  #serving = false;

  constructor(path: string, runtime: Runtime, sink: EndpointSink) {
    this.#path = path;
    this.#runtime = runtime;
    this.#sink = sink;
    this.#watch = new FileWatch(path, LIMITS.fileBytes, runtime, (news) => this.#heard(news));
  }

  refresh(): void {
    this.#watch.look();
  }

  stop(): void {
    this.#holdDown?.cancel();
    this.#watch.close();
  }

  #heard(news: FileNews): void {
    const read = parseEndpointFile(news, this.#path);
    if (read.ok && read.endpoints.length === 0 && this.#serving) {
      this.#holdDown ??= this.#runtime.after(HOLD_DOWN_MS, () => this.#empty(), undefined);
      return;
    }
    this.#holdDown?.cancel();
    this.#holdDown = undefined;
    if (read.ok) {
      this.#serving = read.endpoints.length > 0;
      this.#sink.replace(read.endpoints);
    } else this.#sink.failed(new Error(describeMistakes(read.mistakes, "list of endpoints")));
  }

  #empty(): void {
    this.#holdDown = undefined;
    this.#serving = false;
    this.#sink.replace([]);
  }
}

export type EndpointFileResult =
  | { readonly ok: true; readonly endpoints: readonly EndpointInfo[] }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/** All endpoints of a list, or every mistake in it. */
export function parseEndpointFile(news: FileNews, path: string): EndpointFileResult {
  const file = parseConfigNews(news, path);
  if (!file.ok) return file;
  const { input, lineOf, origin } = file.layer;
  const mistakes = new Map<string, Mistake>();
  const report: Report = (at, rule, value) => {
    const mistake = makeMistake(at, rule, value, origin, lineOf?.(at));
    mistakes.set(`${mistake.path} ${rule}`, mistake);
  };
  const plain = copyPlain(input, report);
  checkEndpoints(plain, report);
  const endpoints = readEndpoints(plain, [], report);
  if (mistakes.size > 0) return { ok: false, mistakes: [...mistakes.values()] };
  return { ok: true, endpoints };
}
