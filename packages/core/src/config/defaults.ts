/** What policies are where they are not written, as the options of the capabilities say. */
import { POLICY_GROUPS } from "../capability-options.ts";
import { defaultsOf } from "./field.ts";
import { SERVICE } from "./service-options.ts";
import type { ServicePolicies } from "./types.ts";

export const DEFAULT_POLICIES: ServicePolicies = deepFreeze({
  ...(Object.fromEntries(
    Object.entries(POLICY_GROUPS).map(([group, options]) => [group, defaultsOf(options)]),
  ) as unknown as ServicePolicies),
  ...defaultsOf(SERVICE),
});

export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
