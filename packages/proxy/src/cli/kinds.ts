/** The kind of discovery `kubernetes`, which a file may name wherever the proxy runs. */
import type { DiscoveryKind } from "@inmesh/core/spi/discovery";
import { kubernetes } from "@inmesh/discovery-k8s";
import type { Env } from "./settings.ts";

/** One for all, so that the schema of a configuration is made once. */
const KINDS: readonly DiscoveryKind[] = [kubernetes()];

/** To read a configuration with. */
export function kindsToRead(): readonly DiscoveryKind[] {
  return KINDS;
}

/**
 * To run it with. In a pod every mesh has the kind by itself, which takes names such as `orders.shop.svc` over from DNS, and
 * would not beside this one.
 */
export function kindsToRun(env: Env): readonly DiscoveryKind[] {
  return (env["KUBERNETES_SERVICE_HOST"] ?? "") === "" ? KINDS : [];
}
