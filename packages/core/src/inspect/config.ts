/** The configuration in force value by value, each with who has written it. Secrets are left out. */
import {
  HIDDEN_VALUE,
  isSecretKey,
  renderPath,
  withoutUserinfo,
  type Mistake,
  type PathPart,
} from "../config/mistakes.ts";
import { emptyRaw, isRaw } from "../config/plain.ts";
import { printConfig, printService } from "../config/print.ts";
import type { Mesh } from "../mesh.ts";
import { isSecretName } from "../secret-names.ts";
import type { ConfigSourceView, ConfigValue, MistakeView } from "./api.ts";

/** Objects of options, whose values stand one by one; of all others the whole is one value. */
const WHOLE: ReadonlySet<string> = new Set(["discovery", "routes"]);

/** `service`: of this one alone. `all`: also what no source has written. */
export function* configValues(
  mesh: Mesh,
  service: string | undefined,
  all: boolean,
): Iterable<ConfigValue> {
  const { running } = mesh;
  const { services, ...rest } = mesh.config.current;
  const origin = running.origins();
  const values = function* (path: readonly PathPart[], object: object): Iterable<ConfigValue> {
    for (const [key, value] of Object.entries(object)) {
      const at = [...path, key];
      if (isRaw(value) && !WHOLE.has(key)) yield* values(at, value);
      else {
        const { rank, origin: where, line } = origin(at);
        if (!all && rank === "default") continue;
        const shown = isSecretKey(key) ? HIDDEN_VALUE : redacted(value);
        yield { path: renderPath(at), value: shown, rank, origin: where, line };
      }
    }
  };
  if (service === undefined) {
    const { services: _none, ...others } = printConfig({ ...rest, services: {} }, running.kinds);
    yield* values([], others);
  }
  // Services that clients opened by URL are not in the configuration.
  const known = new Map(Object.entries(services));
  for (const { name, config } of running.services) known.set(name, config);
  for (const [name, config] of known) {
    if (service !== undefined && service !== name) continue;
    yield* values(["services", name], printService(config, running.kinds));
  }
}

/** Without credentials in URLs, and without what stands under names that say that it is secret. */
function redacted(value: unknown): unknown {
  if (typeof value === "string") {
    return value.includes("-----BEGIN ") ? "(a PEM text, not shown)" : withoutUserinfo(value);
  }
  if (Array.isArray(value)) return value.map(redacted);
  if (!isRaw(value)) return value;
  const copy = emptyRaw();
  // A list of headers is no secret, but the value of one may be: `{ name: "authorization", value: … }`.
  const named = typeof value["name"] === "string" && isSecretName(value["name"]);
  for (const [key, inner] of Object.entries(value)) {
    const isHidden = key === "metadata" || (typeof inner !== "object" && isSecretKey(key));
    copy[key] = isHidden || (named && key === "value") ? HIDDEN_VALUE : redacted(inner);
  }
  return copy;
}

export function sourceViews(mesh: Mesh): ConfigSourceView[] {
  return mesh.running.config.sources.map(({ name, rank, state, version, mistakes }) => ({
    name,
    rank,
    state,
    version,
    mistakes: mistakes.map(mistakeView),
  }));
}

function mistakeView({ path, rule, value, origin, line }: Mistake): MistakeView {
  return { path, rule, value, origin, line };
}
