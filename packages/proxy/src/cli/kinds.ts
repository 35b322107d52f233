/** Kinds of discovery of packages beside mesh-proxy: those that are installed. */
import type { DiscoveryKind } from "@inmesh/core/spi/discovery";

let found: Promise<readonly DiscoveryKind[]> | undefined;

export function kindsOfDiscovery(): Promise<readonly DiscoveryKind[]> {
  return (found ??= load());
}

async function load(): Promise<readonly DiscoveryKind[]> {
  try {
    const { kubernetes } = await import("@inmesh/discovery-k8s");
    return [kubernetes()];
  } catch (error) {
    // It is not installed; a defect of it is one.
    const { code } = error as { readonly code?: unknown };
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") return [];
    throw error;
  }
}
