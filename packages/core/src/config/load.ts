/** Sources laid over each other (ranks.ts) and read as one; for tools also the reading of environment and file. */
import { kindsWith } from "../discovery-kinds.ts";
import type { WrittenKind } from "./kind.ts";
import { type LocatedLayer, type MergedConfig, mergeConfig } from "./merge.ts";
import { ConfigError, type Mistake } from "./mistakes.ts";
import { parseLocated, type ParseResult } from "./parse.ts";
import { rawOf } from "./plain.ts";
import { OF_OTHER_PROGRAMS, type ConfigSection, type Known } from "./section.ts";
import { readEnvConfig } from "./sources/env.ts";
import { parseConfigText, readConfigFile, type FileResult } from "./sources/file.ts";
import type { MeshConfig } from "./types.ts";

export interface LoadOptions {
  /** What the program says itself. */
  readonly code?: unknown;
  /** Path of the file; otherwise INMESH_CONFIG. `false`: no file. */
  readonly file?: string | false | undefined;
  /** What stands in the file, which is not read then. Default: it is read. No effect without a file. */
  readonly content?: Uint8Array | undefined;
  /** `false`: the environment is not read. */
  readonly env?: Readonly<Record<string, string | undefined>> | false | undefined;
  /** Kinds of discovery beside the built-in ones, as `createMesh({ discoveries })`. */
  readonly discoveries?: readonly WrittenKind[] | undefined;
  /** Names of the identity sources there are, beside `files`. Default: any name is taken. */
  readonly identities?: readonly string[] | undefined;
  /** Sections beside the built-in ones, as `createMesh({ sections })`. */
  readonly sections?: readonly ConfigSection[] | undefined;
}

export interface LoadedConfig {
  readonly config: MeshConfig;
  /** For each service the origins that say something about it, lowest first. */
  readonly provenance: Readonly<Record<string, readonly string[]>>;
  /** Sections that are written and belong to other programs: nothing below them was looked at. */
  readonly passedOver: readonly string[];
}

/** Throws ConfigError with the mistakes of all sources. */
export function loadConfig(options: LoadOptions = {}): LoadedConfig {
  const mistakes: Mistake[] = [];
  const layers: LocatedLayer[] = [];
  const { discoveries, identities, sections } = options;
  const kinds = kindsWith(discoveries, mistakes, false);
  const env = options.env === false ? undefined : readEnvConfig(options.env);
  if (env !== undefined) {
    mistakes.push(...env.mistakes);
    if (env.layer !== undefined) layers.push(env.layer);
  }
  const path = options.file === false ? undefined : (options.file ?? env?.file);
  const file = path === undefined ? undefined : readFile(path, options.content);
  if (file?.ok === true) layers.push(file.layer);
  if (file?.ok === false) mistakes.push(...file.mistakes);
  if (options.code !== undefined) layers.push({ origin: "code", input: options.code });
  const merged = mergeConfig(layers);
  const known = { kinds, identities, sections };
  const parsed = parseMerged(merged, known);
  // Without its file, what code refers to may be missing: say only what is certain.
  if (!parsed.ok && file?.ok !== false) mistakes.push(...parsed.mistakes);
  if (mistakes.length > 0 || !parsed.ok) throw new ConfigError(Object.freeze(mistakes));
  return loaded(parsed.config, merged, known);
}

function readFile(path: string, content: Uint8Array | undefined): FileResult {
  return content === undefined ? readConfigFile(path) : parseConfigText(content, path);
}

/** The same for layers that have been read already, lowest first. */
export function loadLayers(merged: MergedConfig, known: Known): LoadedConfig {
  const parsed = parseMerged(merged, known);
  if (!parsed.ok) throw new ConfigError(parsed.mistakes);
  return loaded(parsed.config, merged, known);
}

function parseMerged(merged: MergedConfig, known: Known): ParseResult {
  return parseLocated(merged.input, (where) => merged.locate(where), known);
}

function loaded(
  config: MeshConfig,
  { input, provenance }: MergedConfig,
  known: Known,
): LoadedConfig {
  const passedOver = OF_OTHER_PROGRAMS.filter(
    (other) =>
      rawOf(input)[other] !== undefined && !known.sections?.some(({ name }) => name === other),
  );
  return { config, provenance, passedOver };
}
