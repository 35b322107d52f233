/** Reads where a service's endpoints come from: `url`, `discovery`, `scheme` and `authority`. */
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";
import { keysBeside, readFields, sharedKeys, sharedRule } from "./discovery-schema.ts";
import { type DiscoveryContext, kindAndOptions, type WrittenKind } from "./kind.ts";
import type { PathPart } from "./mistakes.ts";
import { copyPlain, isRaw, type Raw, type Report } from "./plain.ts";
import { authorityRule, readUrl, type ServiceTarget, type UrlTarget } from "./target.ts";
import type { DiscoveryConfig } from "./types.ts";
import { messageOf } from "../errors.ts";

export function readTarget(
  name: string,
  raw: Raw,
  path: readonly PathPart[],
  report: Report,
  kinds: readonly WrittenKind[],
): ServiceTarget | undefined {
  const fromUrl = targetOfUrl(raw["url"], path, report);
  const written = raw["scheme"];
  if (fromUrl !== undefined && typeof written === "string" && written !== fromUrl.scheme) {
    report(
      [...path, "scheme"],
      `must be left out or agree with url, which says ${fromUrl.scheme}`,
      written,
    );
  }
  const scheme = written === "https" || written === "http" ? written : (fromUrl?.scheme ?? "http");
  const at = [...path, "discovery"];
  const context: DiscoveryContext = {
    url: urlOf(fromUrl),
    service: name,
    mistake: (inside, rule, value) => report([...at, ...inside], rule, value),
  };
  const discovery =
    "discovery" in raw
      ? readDiscovery(raw["discovery"], context, at, report, kinds)
      : fromUrl?.discovery;
  // A URL in the place of the name is a mistake of its own, which says where the URL belongs.
  const isNamed = !name.includes("://");
  if (discovery === undefined && isNamed && !("discovery" in raw) && !("url" in raw)) {
    const rule = `needs an address: write "url: http://${name}:8080", or "discovery: { dns: ${name}, port: 8080 }"`;
    report(path, rule, undefined);
  }
  const authority = readAuthority(raw["authority"], path, report) ?? fromUrl?.authority;
  if (discovery === undefined) return undefined;
  return {
    name,
    scheme,
    discovery,
    authority: authority ?? authorityIn(discovery, scheme, kinds) ?? name,
  };
}

function targetOfUrl(
  url: unknown,
  path: readonly PathPart[],
  report: Report,
): UrlTarget | undefined {
  if (typeof url !== "string") return undefined;
  const read = readUrl(url);
  if (!("rules" in read)) return read;
  for (const rule of read.rules) report([...path, "url"], rule, url);
  return undefined;
}

function readAuthority(
  text: unknown,
  path: readonly PathPart[],
  report: Report,
): string | undefined {
  if (typeof text !== "string") return undefined;
  const rule = authorityRule(text);
  if (rule !== undefined) report([...path, "authority"], rule, text);
  return text.toLowerCase();
}

function authorityIn(
  discovery: DiscoveryConfig,
  scheme: "http" | "https",
  kinds: readonly WrittenKind[],
): string | undefined {
  const { kind, options } = kindAndOptions(discovery, kinds);
  return kind?.authority?.(options, scheme);
}

function urlOf(fromUrl: UrlTarget | undefined): DiscoveryContext["url"] {
  const discovery = fromUrl?.discovery;
  return discovery?.kind === "static" ? discovery.endpoints[0] : discovery;
}

function readDiscovery(
  value: unknown,
  context: DiscoveryContext,
  path: readonly PathPart[],
  report: Report,
  kinds: readonly WrittenKind[],
): DiscoveryConfig | undefined {
  if (!isRaw(value)) return undefined;
  const written = kinds.filter(({ name }) => name in value);
  if (written.length !== 1) {
    const names = (some: readonly WrittenKind[]): string => some.map(({ name }) => name).join(", ");
    const rule =
      written.length === 0
        ? `must have one of ${names(kinds)}; another kind is added by createMesh({ discoveries })`
        : `must have only one of ${names(written)}`;
    report(path, rule, value);
  }
  const besides = new Map<string, string[]>();
  for (const kind of kinds) {
    for (const key of keysBeside(kind)) besides.set(key, [...(besides.get(key) ?? []), kind.name]);
  }
  for (const [key, names] of besides) {
    if (key in value && !names.some((name) => name in value)) {
      report([...path, key], `is only used with ${names.join(" and ")}`, value[key]);
    }
  }
  for (const key of sharedKeys(kinds)) {
    for (const kind of key in value ? written : []) {
      const rule = sharedRule(kind, key, value[key]);
      if (rule !== undefined) report([...path, key], rule, value[key]);
    }
  }
  // Each is read, so that the mistakes of all are reported.
  const found = written.map((kind) => readKind(kind, value, context, path, report));
  return found[0];
}

function readKind(
  kind: WrittenKind,
  value: Raw,
  context: DiscoveryContext,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  const { name, fields } = kind;
  const written = readFields(fields, value, path, report);
  let options: unknown;
  try {
    options = kind.read === undefined ? written[name] : kind.read(written, context);
  } catch (error) {
    // A kind may be the application's own, and a configuration never throws on data.
    report([...path, name], `cannot be read: ${messageOf(error)}`, value[name]);
    return undefined;
  }
  // Without a read of its own the fields have reported what is no object.
  if (options === undefined || (kind.read === undefined && !isRaw(options))) return undefined;
  if (!isRaw(options)) {
    report([...path, name], "must be read as an object by its kind", options);
    return undefined;
  }
  copyPlain(options, (at, rule) => report([...path, name, ...at], rule, undefined));
  // Those of the built-in kinds stand beside `kind`, so that code can narrow by it.
  const builtIn = BUILT_IN_KINDS.some((one) => one.name === name);
  if (!builtIn) return { kind: "own", name, options };
  return { kind: name, ...options } as DiscoveryConfig;
}
