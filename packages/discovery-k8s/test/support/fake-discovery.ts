/** By what documents a general client, such as kubectl, finds out which resources an API server has. */

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const resource = (name: string, kind: string, namespaced = true): Resource => ({
  name,
  kind,
  namespaced,
});

/** By group and version; the group without a name is the oldest. */
const RESOURCES: Readonly<Record<string, readonly Resource[]>> = {
  v1: [
    resource("namespaces", "Namespace", false),
    resource("serviceaccounts", "ServiceAccount"),
    resource("services", "Service"),
    resource("pods", "Pod"),
  ],
  "apps/v1": [resource("deployments", "Deployment")],
  "rbac.authorization.k8s.io/v1": [
    resource("roles", "Role"),
    resource("rolebindings", "RoleBinding"),
  ],
  "discovery.k8s.io/v1": [resource("endpointslices", "EndpointSlice")],
};

const VERBS = ["create", "get", "list", "watch"];

/** Undefined: the path is not one of them. */
export function discoveryDocument(path: string): object | undefined {
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"] };
  if (path === "/apis") return { kind: "APIGroupList", apiVersion: "v1", groups: groups() };
  const version = /^\/apis?\/(.+)$/.exec(path)?.[1] ?? "";
  const resources = RESOURCES[version];
  return (
    resources && {
      kind: "APIResourceList",
      apiVersion: "v1",
      groupVersion: version,
      resources: resources.map((one) => ({ ...one, singularName: "", verbs: VERBS })),
    }
  );
}

function groups(): object[] {
  return Object.keys(RESOURCES).flatMap((groupVersion) => {
    const [name = "", version] = groupVersion.split("/");
    if (version === undefined) return [];
    const one = { groupVersion, version };
    return [{ name, versions: [one], preferredVersion: one }];
  });
}
