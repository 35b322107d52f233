/** A route as a user would write it: the opposite of read.ts, without the values of headers that are secret. */
import { HIDDEN_VALUE } from "../config/mistakes.ts";
import { isSecretName } from "../secret-names.ts";
import type { HeaderConfig, HeaderModifierConfig, RouteFilterConfig, RouteRules } from "./types.ts";

export function writtenRoute(route: RouteRules): Record<string, unknown> {
  const { name, matches, idempotent, streaming, overloadedMeansUnprocessed, backendRefs } = route;
  const filters = route.filters.map(writtenFilter);
  return { name, matches, idempotent, streaming, overloadedMeansUnprocessed, filters, backendRefs };
}

function writtenFilter(filter: RouteFilterConfig): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(filter).map(([key, { set, add, remove }]: [string, HeaderModifierConfig]) => [
      key,
      { set: set.map(shown), add: add.map(shown), remove },
    ]),
  );
}

/** What is sent may be a credential; a configuration that is shown must not be where it is found. */
function shown({ name, value }: HeaderConfig): HeaderConfig {
  return { name, value: isSecretName(name) ? HIDDEN_VALUE : value };
}
