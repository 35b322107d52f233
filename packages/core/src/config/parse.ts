/**
 * From what a user wrote to a full, frozen configuration, or to every mistake in it at once.
 * Never throws on data, whatever it is; a getter that throws is a mistake as well.
 */
import { checkTls, readRoutes, type ServerConfig } from "../capability-options.ts";
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";
import { checkWith } from "./check.ts";
import { DEFAULT_POLICIES, deepFreeze } from "./defaults.ts";
import { readTarget } from "./discovery.ts";
import { LIMITS } from "./limits.ts";
import { makeMistake, type Mistake, type PathPart } from "./mistakes.ts";
import { copyPlain, emptyRaw, isRaw, type Raw, rawOf, type Report } from "./plain.ts";
import { routePolicies, serverOptions, servicePolicies } from "./policies.ts";
import { configSchema, SERVICE_NAME } from "./schema.ts";
import { type Known, NO_SECTIONS, readSections } from "./section.ts";
import { authorityRule } from "./target.ts";
import type { MeshConfig, ServiceConfig } from "./types.ts";

export type ParseResult =
  | { readonly ok: true; readonly config: MeshConfig }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/** Where a path was written. */
export type Locate = (path: readonly PathPart[]) => {
  readonly origin: string;
  readonly line?: number | undefined;
};

/** `origin` stands before each mistake: `code`, `file:/etc/mesh.yaml`. */
export function parseConfig(input: unknown, origin: string): ParseResult {
  return parseLocated(input, () => ({ origin }));
}

/** The same for merged layers, where each path has its own origin. */
export function parseLocated(
  input: unknown,
  locate: Locate,
  known: Known = { kinds: BUILT_IN_KINDS },
): ParseResult {
  const mistakes = new Map<string, Mistake>();
  const report: Report = (path, rule, value) => {
    const { origin, line } = locate(path);
    const mistake = makeMistake(path, rule, value, origin, line);
    // The shape and the rules around it may say the same thing.
    mistakes.set(`${mistake.path} ${rule}`, mistake);
  };
  const plain = copyPlain(input, report);
  // What could not be copied at all has been reported; everything else goes on to the schema.
  if (plain !== undefined || mistakes.size === 0) {
    checkWith(configSchema(known), plain ?? input, report);
  }
  const config = build(plain, report, known);
  if (mistakes.size > 0) return { ok: false, mistakes: Object.freeze([...mistakes.values()]) };
  return { ok: true, config: deepFreeze(config) };
}

function build(
  plain: unknown,
  report: Report,
  { kinds, identities, sections = NO_SECTIONS }: Known,
): MeshConfig {
  const raw = rawOf(plain);
  const defaults = servicePolicies(rawOf(raw["defaults"]), DEFAULT_POLICIES, ["defaults"], report);
  checkTls(rawOf(raw["defaults"]), defaults.tls, ["defaults"], report, identities);
  const written = rawOf(raw["services"]);
  const names = namesIn("services", written, report);
  const known: ReadonlySet<string> = new Set(names);
  const services = emptyRaw() as Record<string, ServiceConfig>;
  for (const name of names) {
    const path = ["services", name];
    const value = written[name];
    if (!isRaw(value)) continue;
    const policies = servicePolicies(value, defaults, path, report);
    const routes = readRoutes(value["routes"], known, path, report, (route, at) =>
      routePolicies(route, policies, at, report),
    );
    const target = readTarget(name, value, path, report, kinds);
    checkTls(value, policies.tls, path, report, identities);
    if (target !== undefined) services[name] = { ...policies, ...target, routes };
  }
  const servers = isRaw(raw["servers"]) ? buildServers(raw["servers"], report) : undefined;
  const own = readSections(raw, sections, known, report);
  return {
    services,
    ...(servers !== undefined && { servers }),
    ...(own !== undefined && { sections: own }),
    defaults,
  };
}

function buildServers(written: Raw, report: Report): Record<string, ServerConfig> {
  const servers = emptyRaw() as Record<string, ServerConfig>;
  for (const name of namesIn("servers", written, report)) {
    const path = ["servers", name];
    const server = serverOptions(rawOf(written[name]), path, report);
    for (const [index, host] of (server.authorities ?? []).entries()) {
      const rule = authorityRule(host);
      if (rule !== undefined) report([...path, "authorities", index], rule, host);
    }
    servers[name] = server;
  }
  return servers;
}

function namesIn(section: "services" | "servers", written: Raw, report: Report): string[] {
  const names = Object.keys(written);
  if (names.length > LIMITS.services) {
    const rule = `must hold at most ${LIMITS.services} ${section}, not ${names.length}`;
    report([section], rule, undefined);
  }
  for (const name of names) {
    if (SERVICE_NAME.test(name)) continue;
    const rule =
      "must have a name of letters, digits, -, _ and . that begins and ends with a letter or digit";
    const isUrl = section === "services" && name.includes("://");
    report([section, name], isUrl ? `${rule}; its option url takes a URL` : rule, undefined);
  }
  return names;
}
