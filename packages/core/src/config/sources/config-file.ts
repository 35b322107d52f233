/**
 * The configuration file as a source: read when the mesh is made, and again whenever it changes. An empty,
 * cut or missing file is wrong, never an empty configuration (faults.md K8). The last good one may be kept on
 * disk, and stands in for a file that cannot be used at the start.
 */
import { type FileNews, FileWatch } from "../../watch/file-watch.ts";
import { readLastGood, LastGoodWriter } from "../last-good.ts";
import { LIMITS } from "../limits.ts";
import { ConfigError } from "../mistakes.ts";
import type { ConfigSink, ConfigSource, ConfigWatch, SourceMesh } from "../source.ts";
import { parseConfigNews, readNow } from "./file.ts";

/** `snapshotFile`: where the last good one is kept; undefined: nowhere. */
export function fileSource(path: string, snapshotFile: string | undefined): ConfigSource {
  return {
    name: "file",
    rank: "file",
    required: true,
    watch(sink, mesh) {
      let seen = readNow(path);
      say(sink, seen, path);
      const watch = new FileWatch(path, LIMITS.fileBytes, mesh.runtime, (news) => {
        if (sameNews(news, seen)) return;
        seen = news;
        say(sink, seen, path);
      });
      const stop = (): void => watch.close();
      return snapshotFile === undefined ? { stop } : keeping(path, snapshotFile, mesh, stop);
    },
  };
}

function say(sink: ConfigSink, news: FileNews, path: string): void {
  const read = parseConfigNews(news, path);
  if (read.ok) sink.replace(read.layer);
  else sink.failed(new ConfigError(read.mistakes));
}

function keeping(
  path: string,
  snapshotFile: string,
  { runtime, log }: SourceMesh,
  stop: () => void,
): ConfigWatch {
  const writer = new LastGoodWriter(snapshotFile, path, runtime, (error) => {
    const message = `${snapshotFile}: the last good configuration was not written: ${error.message}`;
    log({ level: "warn", event: "config.snapshot_failed", message });
  });
  return {
    report({ layer, result }) {
      if (result !== "refused") writer.save(layer);
    },
    standIn(refused) {
      const last = readLastGood(snapshotFile, path);
      if (last.ok) return last.layer;
      throw new ConfigError([...refused.mistakes, ...last.mistakes]);
    },
    stop() {
      stop();
      return writer.close();
    },
  };
}

function sameNews(a: FileNews, b: FileNews): boolean {
  if (a.ok) return b.ok && Buffer.compare(a.content, b.content) === 0;
  return !b.ok && a.why === b.why;
}
