/** The resolver of a mesh, whose questions and cache are measured. */
import { DNS_LOOKUPS } from "../../telemetry/endpoint-instruments.ts";
import type { DiscoveryMesh } from "../kind.ts";
import { StubResolver, type StubResolverOptions } from "./resolver.ts";

export function measuredResolver(
  { runtime, telemetry, bounds }: Pick<DiscoveryMesh, "runtime" | "telemetry" | "bounds">,
  options: StubResolverOptions = {},
): StubResolver {
  const resolver = new StubResolver(runtime, {
    ...options,
    onLookup: (result) => telemetry.counter(DNS_LOOKUPS, { result }).add(1),
  });
  bounds.add("dns_answers", () => resolver.fill);
  return resolver;
}
