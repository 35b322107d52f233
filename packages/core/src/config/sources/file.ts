/**
 * Reads a configuration file, YAML or JSON by its extension, and keeps the lines, so that mistakes
 * found later can name them. `yaml` is loaded at the first file.
 */
import { readFileSync, statSync } from "node:fs";
import type * as Yaml from "yaml";
import { loadYaml } from "../../lazy.cjs";
import { codeOf } from "../../errors.ts";
import { LIMITS } from "../limits.ts";
import type { FileNews } from "../../watch/file-watch.ts";
import type { LocatedLayer } from "../merge.ts";
import { makeMistake, type Mistake, type PathPart } from "../mistakes.ts";

export type FileResult =
  | { readonly ok: true; readonly layer: LocatedLayer }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

const MAX_ALIASES = 100;
const MAX_SYNTAX_MISTAKES = 20;
/** Beyond this mistakes in JSON have no line: finding it would hold up calls for seconds. */
const MAX_LOCATED_LENGTH = 256 * 1024;

/** Synchronous: a process reads its file before it makes its first call. */
export function readConfigFile(path: string): FileResult {
  return parseConfigNews(readNow(path), path);
}

export function readNow(path: string, maxBytes: number = LIMITS.fileBytes): FileNews {
  try {
    const stats = statSync(path);
    // Reading a pipe would wait for a writer, for ever.
    if (!stats.isFile()) return { ok: false, why: "not a file" };
    if (stats.size > maxBytes) return { ok: false, why: `larger than ${maxBytes} bytes` };
    return { ok: true, content: readFileSync(path) };
  } catch (error) {
    return { ok: false, why: codeOf(error) };
  }
}

const CAUSES: Readonly<Record<string, string>> = {
  ENOENT: ": there is no such file",
  EACCES: ": this user may not read it",
};

export function parseConfigNews(news: FileNews, path: string): FileResult {
  if (news.ok) return parseConfigText(news.content, path);
  const rule = news.why.startsWith("larger")
    ? "must be at most 4 MiB"
    : `cannot be read (${news.why})${CAUSES[news.why] ?? ""}`;
  return refused(`file:${path}`, rule);
}

/** The same for text. */
export function parseConfigText(content: string | Uint8Array, path: string): FileResult {
  const origin = `file:${path}`;
  const extension = /\.(ya?ml|json)$/i.exec(path)?.[1]?.toLowerCase();
  if (extension === undefined) return refused(origin, "must be named .yaml, .yml or .json");
  if (content.length > LIMITS.fileBytes) return refused(origin, "must be at most 4 MiB");
  let text: string;
  try {
    text =
      typeof content === "string"
        ? content
        : new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return refused(origin, "must be UTF-8 text");
  }
  if (text.trim() === "")
    return refused(
      origin,
      "is empty; if nothing is meant, write {} (or [] where a list is expected)",
    );
  try {
    return read(text.startsWith("\uFEFF") ? text.slice(1) : text, origin, extension === "json");
  } catch {
    // The only thing that makes a parser throw is a stack that is too deep for it.
    return refused(origin, "is nested too deeply");
  }
}

function read(text: string, origin: string, isJson: boolean): FileResult {
  const large = isJson && text.length > MAX_LOCATED_LENGTH;
  const json = isJson ? readJson(text, origin, !large) : undefined;
  if (large) return json ?? refused(origin, "is not JSON, or has a key that is written twice");
  return json ?? readWithLines(text, origin, isJson);
}

/**
 * JSON without a mistake in its syntax, a hundred times faster than by the parser that knows lines:
 * a running process reads its file on the thread that serves its calls. A key written twice shows in
 * the number of keys.
 */
function readJson(text: string, origin: string, located: boolean): FileResult | undefined {
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch {
    return undefined;
  }
  let written = 0;
  for (const [, colon] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g))
    if (colon !== undefined) written++;
  if (written !== countKeys(input)) return undefined;
  if (!located) return { ok: true, layer: { origin, input } };
  let slow: FileResult | undefined;
  const layer: LocatedLayer = {
    origin,
    input,
    lineOf(path) {
      slow ??= readWithLines(text, origin, true);
      return slow.ok ? slow.layer.lineOf?.(path) : undefined;
    },
  };
  return { ok: true, layer };
}

function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = Array.isArray(value) ? 0 : Object.keys(value).length;
  for (const inner of Object.values(value)) count += countKeys(inner);
  return count;
}

function readWithLines(text: string, origin: string, isJson: boolean): FileResult {
  const yaml = loadYaml() as typeof Yaml;
  const lines = new yaml.LineCounter();
  const mistakes: Mistake[] = [];
  let input: unknown;
  if (isJson) {
    try {
      input = JSON.parse(text);
    } catch (error) {
      // Of most mistakes V8 says the line; its sentence may quote the text, which can hold a secret.
      const found = /\(line (\d+) column \d+\)$/.exec((error as Error).message);
      const line = found === null ? undefined : Number(found[1]);
      mistakes.push(makeMistake([], "is not JSON", undefined, origin, line));
    }
  }
  // JSON is YAML as well, and this parser sees keys that are written twice and knows the lines.
  const document = yaml.parseDocument(text, {
    lineCounter: lines,
    // It compares each key with every other: a large file would hold up calls for minutes.
    uniqueKeys: false,
    prettyErrors: false,
    // With "silent" a second document would be left out without a word.
    logLevel: "error",
  });
  const keys: KeysOfMaps = new Map();
  const errors = isJson && mistakes.length === 0 ? [] : document.errors;
  const found = [
    ...errors.map(({ message, pos }) => ({ message, offset: pos[0] })),
    ...readKeys(yaml, document, keys),
  ];
  for (const { message, offset } of found.slice(0, MAX_SYNTAX_MISTAKES)) {
    const { line } = lines.linePos(offset);
    mistakes.push(makeMistake([], `cannot be read: ${message}`, undefined, origin, line));
  }
  if (mistakes.length > 0) return { ok: false, mistakes };
  if (!isJson) {
    try {
      input = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch {
      return refused(origin, "cannot be read: too many aliases, or one that is not known");
    }
    // Only comments, or `---`.
    if (input === null)
      return refused(
        origin,
        "is empty; if nothing is meant, write {} (or [] where a list is expected)",
      );
  }
  return {
    ok: true,
    layer: { origin, input, lineOf: (path) => lineOf(yaml, document, lines, keys, path) },
  };
}

/** The pairs of each map by the text of their key: what is looked up for each mistake. */
type KeysOfMaps = Map<Yaml.YAMLMap, Map<string, Yaml.Pair>>;

/**
 * Fills `keys`; gives back the keys that are written twice, and those that are maps or lists. The latter
 * are never turned into text: with maps as keys of maps it grows with each level, to gigabytes for a
 * file of a few hundred bytes.
 */
function readKeys(
  yaml: typeof Yaml,
  document: Yaml.Document,
  keys: KeysOfMaps,
): { readonly message: string; readonly offset: number }[] {
  const found: { message: string; offset: number }[] = [];
  yaml.visit(document, {
    Map(_, map) {
      const own = new Map<string, Yaml.Pair>();
      for (const pair of map.items) {
        const offset = yaml.isNode(pair.key) ? (pair.key.range?.[0] ?? 0) : 0;
        if (yaml.isCollection(pair.key)) {
          found.push({ message: "Map keys must be text", offset });
          continue;
        }
        const key = String(pair.key);
        if (own.has(key)) found.push({ message: "Map keys must be unique", offset });
        else own.set(key, pair);
      }
      keys.set(map, own);
    },
  });
  return found;
}

/** The line of the key itself; of what is around it where the key is missing. */
function lineOf(
  yaml: typeof Yaml,
  document: Yaml.Document,
  lines: Yaml.LineCounter,
  keys: KeysOfMaps,
  path: readonly PathPart[],
): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const part of path) {
    if (yaml.isAlias(node)) node = node.resolve(document);
    let start: unknown;
    if (yaml.isMap(node)) {
      const pair = keys.get(node)?.get(String(part));
      start = pair?.key;
      node = pair?.value;
    } else if (yaml.isSeq(node)) {
      node = typeof part === "number" ? node.items[part] : undefined;
      start = node;
    } else break;
    if (!yaml.isNode(start)) break;
    offset = start.range?.[0] ?? offset;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

function refused(origin: string, rule: string): FileResult {
  return { ok: false, mistakes: [makeMistake([], rule, undefined, origin)] };
}
