/**
 * Kubernetes without a line of code: in a pod every mesh has the kind `kubernetes`, which takes names such as
 * `orders.shop.svc` over from DNS. Elsewhere nothing of it is loaded.
 */
import { existsSync } from "node:fs";
import { type DiscoveryKind, discoverForEveryMesh, type MadeMesh } from "@inmesh/core/spi";
import { loadKubernetes } from "./kubernetes.cjs";

const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** One for all meshes: the schema of a configuration is made once for the same kinds. */
let kind: DiscoveryKind | undefined;

function kindIn({ kubernetes, env }: MadeMesh): DiscoveryKind | undefined {
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  if (!kubernetes || host === "") return undefined;
  // A pod with `automountServiceAccountToken: false` can ask the API server nothing.
  if (!existsSync(TOKEN)) return undefined;
  return (kind ??= loadKubernetes().kubernetes() as DiscoveryKind);
}

/** For meshes that are made from now on. A function, because an import for its effect alone needs a declaration. */
export function useKubernetes(): void {
  discoverForEveryMesh(kindIn);
}
