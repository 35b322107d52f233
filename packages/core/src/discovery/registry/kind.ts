/**
 * `discovery: { registry: … }`: the servers of this machine that have announced themselves under the name of the
 * service. It is also what a service is found by that nothing configures (`place.ts` says where).
 */
import type { Unconfigured } from "../../config/target.ts";
import type { DiscoveryKind } from "../kind.ts";
import { lazyDiscovery } from "../lazy.ts";
import { isRegistryName } from "./entry.ts";
import { OF_USER, placeNamed, type RegistryPlace } from "./place.ts";

/** What a client gets that asks for a name which nothing configures; a text says why there is nothing. */
export function unconfigured(
  name: string,
  place: RegistryPlace,
): Unconfigured | string | undefined {
  if (!isRegistryName(name)) return undefined;
  if (place.off !== undefined) return `the registry of this machine is off here, by ${place.off}`;
  const { dir } = place;
  return {
    target: { name, scheme: "http", authority: name, discovery: { kind: "registry", dir, name } },
    discovery: { registry: dir },
  };
}

export const registryKind: DiscoveryKind<{ readonly dir: string; readonly name: string }> = {
  name: "registry",
  fields: [
    {
      path: "registry",
      type: "text",
      defaultText: "none",
      rangeText: `a directory of this user, from the process's working directory, or \`${OF_USER}\` for the one of INMESH_REGISTRY's default`,
      meaning:
        "Servers of this machine that have announced themselves there under the name of the service, for as long as their processes live. A server of another protocol, or with TLS where the service has none, is not used.",
      nameElsewhere: "a local agent of Consul",
    },
  ],
  read({ registry }, { service, mistake }) {
    if (typeof registry !== "string") return undefined;
    if (registry === "") mistake(["registry"], "must be a directory", registry);
    if (!isRegistryName(service)) {
      const rule =
        "needs a service whose name has at most 120 letters, digits, -, _ and ., because servers announce such names";
      mistake(["registry"], rule, service);
      return undefined;
    }
    return { dir: registry, name: service };
  },
  write: ({ dir }) => ({ registry: dir }),
  describe: ({ dir, name }) => `registry ${dir}, name ${name}`,
  open({ dir, name }, { runtime, client }) {
    const target = { ...placeNamed(dir), name };
    return lazyDiscovery("registry", async () => {
      const { registryDiscovery } = await import("./registry.ts");
      return registryDiscovery(target, client, runtime);
    });
  },
};
