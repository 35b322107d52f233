/**
 * The configuration a mesh starts with: environment, file and code, read once. If the file is missing
 * or wrong, the last good one may stand in for it, so that a restart in a bad moment is no outage.
 */
import type { FileNews } from "../watch/file-watch.ts";
import type { MeshInput } from "./input.ts";
import type { WrittenKind } from "./kind.ts";
import { readLastGood } from "./last-good.ts";
import { loadConfig } from "./load.ts";
import type { Layer } from "./merge.ts";
import { ConfigError, type Mistake } from "./mistakes.ts";
import { readEnvConfig } from "./sources/env.ts";
import { parseConfigNews, readNow } from "./sources/file.ts";
import { ConfigStore } from "./store.ts";

export interface StartOptions {
  readonly config?: MeshInput | undefined;
  readonly configFile?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly snapshotFile?: string | undefined;
  readonly discoveries?: readonly WrittenKind[] | undefined;
  /** Sources of identity, by whose names configuration refers to them. Default: none. */
  readonly identities?: readonly { readonly name: string }[] | undefined;
}

export interface Start {
  readonly store: ConfigStore;
  readonly file: StartFile | undefined;
}

export interface StartFile {
  readonly path: string;
  readonly seen: FileNews;
  /** What is in force: the file's own, or the last good one. */
  readonly layer: Layer;
  /** Why the last good one stands in for it; empty if it does not. */
  readonly mistakes: readonly Mistake[];
}

/** Throws ConfigError with the mistakes of all sources. */
export function startConfig(options: StartOptions, kinds: readonly WrittenKind[]): Start {
  const { config: code } = options;
  const identities = namesOf(options);
  const env = readEnvConfig(options.env);
  const path = options.configFile ?? env.file;
  if (path === undefined && env.mistakes.length === 0) {
    const sources = { env: env.layers, file: undefined, code, identities };
    return { store: new ConfigStore(sources, kinds), file: undefined };
  }
  const seen = path === undefined ? undefined : readNow(path);
  const read = seen && parseConfigNews(seen, path!);
  try {
    if (path === undefined || read?.ok !== true || env.mistakes.length > 0) {
      throw allMistakes(options);
    }
    const sources = { env: env.layers, file: read.layer, code, identities };
    const store = new ConfigStore(sources, kinds);
    return { store, file: { path, seen: seen!, layer: read.layer, mistakes: [] } };
  } catch (error) {
    const { snapshotFile } = options;
    const hopeless = path === undefined || snapshotFile === undefined || env.mistakes.length > 0;
    if (hopeless || !(error instanceof ConfigError)) throw error;
    const layer = lastGood(snapshotFile, path, error);
    const store = new ConfigStore({ env: env.layers, file: layer, code, identities }, kinds);
    return { store, file: { path, seen: seen!, layer, mistakes: error.mistakes } };
  }
}

function lastGood(snapshotFile: string, path: string, refused: ConfigError): Layer {
  const last = readLastGood(snapshotFile, path);
  if (last.ok) return last.layer;
  throw new ConfigError([...refused.mistakes, ...last.mistakes]);
}

function namesOf({ identities = [] }: StartOptions): string[] {
  return identities.map(({ name }) => name);
}

function allMistakes(options: StartOptions): Error {
  const { config: code, configFile: file, env, discoveries } = options;
  try {
    loadConfig({ code, file, env, discoveries, identities: namesOf(options) });
  } catch (error) {
    if (error instanceof Error) return error;
  }
  return new Error("the configuration file changed while it was read; start again");
}
