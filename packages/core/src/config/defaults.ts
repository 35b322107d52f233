/** What policies are where nobody writes them, as the options of the capabilities say. */
import { parsedNameOf, groupOf } from "./field.ts";
import { POLICY_FIELDS } from "./fields.ts";
import type { ServicePolicies } from "./types.ts";

export const DEFAULT_POLICIES: ServicePolicies = deepFreeze(defaults());

function defaults(): ServicePolicies {
  const policies: Record<string, unknown> = {};
  for (const field of POLICY_FIELDS) {
    const group = groupOf(field);
    const target = group === undefined ? policies : ((policies[group] ??= {}) as typeof policies);
    target[parsedNameOf(field)] = field.default;
  }
  return policies as unknown as ServicePolicies;
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
