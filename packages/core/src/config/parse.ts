/**
 * From what a user wrote to a full, frozen configuration, or to every mistake in it at once.
 * Never throws on data, whatever it is; a getter that throws is a mistake as well.
 */
import { DEFAULT_POLICIES, deepFreeze } from "./defaults.ts";
import { readTarget } from "./discovery.ts";
import { LIMITS } from "./limits.ts";
import { makeMistake, type Mistake, type PathPart } from "./mistakes.ts";
import { copyPlain, emptyRaw, isRaw, rawOf, type Report } from "./plain.ts";
import { servicePolicies } from "./policies.ts";
import { readRoutes } from "./routes.ts";
import { checkShape, SERVICE_NAME } from "./schema.ts";
import { checkTls } from "./tls.ts";
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

/** The same for merged layers, where each path has its own origin. `identities`: the sources there are, if that is known. */
export function parseLocated(
  input: unknown,
  locate: Locate,
  identities?: readonly string[],
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
  if (plain !== undefined || mistakes.size === 0) checkShape(plain ?? input, report);
  const config = build(plain, report, identities);
  if (mistakes.size > 0) return { ok: false, mistakes: Object.freeze([...mistakes.values()]) };
  return { ok: true, config: deepFreeze(config) };
}

function build(
  plain: unknown,
  report: Report,
  identities: readonly string[] | undefined,
): MeshConfig {
  const raw = rawOf(plain);
  const defaults = servicePolicies(rawOf(raw["defaults"]), DEFAULT_POLICIES, ["defaults"], report);
  checkTls(rawOf(raw["defaults"]), defaults.tls, ["defaults"], report, identities);
  const written = rawOf(raw["services"]);
  const names = Object.keys(written);
  if (names.length > LIMITS.services) {
    report(
      ["services"],
      `must hold at most ${LIMITS.services} services, not ${names.length}`,
      undefined,
    );
  }
  const known: ReadonlySet<string> = new Set(names);
  const services = emptyRaw() as Record<string, ServiceConfig>;
  for (const name of names) {
    const path = ["services", name];
    if (!SERVICE_NAME.test(name)) {
      report(
        path,
        "must have a name of letters, digits, -, _ and . that begins and ends with a letter or digit",
        undefined,
      );
    }
    const value = written[name];
    if (!isRaw(value)) continue;
    const policies = servicePolicies(value, defaults, path, report);
    const routes = readRoutes(value["routes"], policies, known, path, report);
    const target = readTarget(name, value, path, report);
    checkTls(value, policies.tls, path, report, identities);
    if (target !== undefined) services[name] = { ...policies, ...target, routes };
  }
  return { services, defaults };
}
