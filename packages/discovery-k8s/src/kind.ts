/** `discovery: { kubernetes: shop/orders:http }`. */
import type { DiscoveryKind, DiscoveryMesh } from "@inmesh/core/spi/discovery";
import { isServer } from "./credentials.ts";
import { serviceNamed } from "./names.ts";
import { type KubernetesService, sourceOf } from "./source.ts";
import { withDns } from "./with-dns.ts";

/** Where the API server is. Without any of them: that of the cluster the process runs in, else the kubeconfig. */
export interface KubernetesOptions {
  /**
   * Path of a kubeconfig. Default: in a pod its service account; elsewhere the first file of `KUBECONFIG`, else
   * `~/.kube/config`. Static tokens, token files, client certificates and exec plugins are supported.
   */
  readonly kubeconfig?: string;
  /** A context of the kubeconfig. Default: its `current-context`. No effect in a pod without `kubeconfig`. */
  readonly context?: string;
  /**
   * Addresses of the API servers, such as `https://10.0.0.1:6443`, in the place of the one that was found. After a
   * failure the next of them is asked.
   */
  readonly servers?: readonly string[];
  /** Folder of the service account's files. Default: `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountDir?: string;
  /** Which address of a pod is used that has one of each family. Default `IPv4`. */
  readonly addressFamily?: "IPv4" | "IPv6";
  /**
   * Name of this pod, in the namespace of the API access: by the slices of its Service it is known in which zone this
   * process stands, and how many pods of its kind there are in each. Default: in a pod `POD_NAME`, else `HOSTNAME`;
   * elsewhere none.
   */
  readonly pod?: string;
  /**
   * Name of the Service that this pod belongs to. Default: the first by name that has the pod, among all of its
   * namespace. No effect without `pod`.
   */
  readonly ownService?: string;
  /**
   * Whether targets of `dns`, `srv` and `url` that are names of Services, such as `orders.shop.svc`, are looked up
   * here too, with DNS where the API server cannot be asked. Default: true.
   */
  readonly names?: boolean;
}

const PORT = /^[A-Za-z0-9-]{1,63}$/;
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const WRITTEN: RegExp = new RegExp(`^(?:(${LABEL})/)?(${LABEL})(?::([A-Za-z0-9-]{1,63}))?$`);

/**
 * A kind of discovery for `createMesh({ discoveries: [kubernetes()] })`: endpoints from the EndpointSlices of a
 * Service, which are watched. A service writes `discovery: { kubernetes: "namespace/service", port: "name" }`.
 *
 * All services of a mesh in one namespace share one watch where RBAC allows it. Nothing is asked before the first
 * call of a service. Throws a TypeError for a server address that is no http or https URL, and for another `addressFamily`.
 */
export function kubernetes(options: KubernetesOptions = {}): DiscoveryKind<KubernetesService> {
  if (options.servers?.every(isServer) === false) {
    throw new TypeError("kubernetes: servers must be http or https URLs");
  }
  if (options.addressFamily !== undefined && !["IPv4", "IPv6"].includes(options.addressFamily)) {
    throw new TypeError("kubernetes: addressFamily must be IPv4 or IPv6");
  }
  const { names = true, ...access } = options;
  const source = (mesh: DiscoveryMesh): ReturnType<typeof sourceOf> => sourceOf(access, mesh);
  return {
    name: "kubernetes",
    fields: [
      {
        path: "kubernetes",
        type: "text",
        rangeText: "`service` or `namespace/service`, each maybe with `:port`",
        meaning:
          "A Service; its EndpointSlices say where its endpoints are. The namespace is that of the pod, if it is not written.",
      },
      {
        path: "port",
        type: "any",
        defaultText: "the only one",
        rangeText: "a name or a number",
        meaning:
          "A port of the Service by its name, or by the number that the container listens on.",
      },
    ],
    read({ kubernetes: written, port: beside }, { mistake }) {
      if (typeof written !== "string") return undefined;
      const match = WRITTEN.exec(written);
      if (match === null) {
        mistake(
          ["kubernetes"],
          "must be namespace/service:port, such as shop/orders:http",
          written,
        );
        return undefined;
      }
      const [, namespace = "", service = "", inText = ""] = match;
      if (beside === undefined) return { namespace, service, port: inText };
      const port = typeof beside === "number" ? String(beside) : beside;
      if (typeof port !== "string" || !PORT.test(port)) {
        mistake(["port"], "must be the name or the number of a port", beside);
      } else if (inText !== "") {
        mistake(["port"], `must not be written beside ${written}, which has a port`, beside);
      } else return { namespace, service, port };
      return undefined;
    },
    authority: ({ namespace, service }) =>
      namespace === "" ? service : `${service}.${namespace}.svc`,
    write: (service) => ({ kubernetes: textOf(service) }),
    describe: (service) => `kubernetes ${textOf(service)}`,
    open(service, mesh, instead) {
      const discovery = mesh.shared(source)(service);
      return instead === undefined ? discovery : withDns(discovery, instead, textOf(service), mesh);
    },
    ...(names && { takeOver: serviceNamed }),
    async check(mesh) {
      const { checkKubernetes } = await import("./checks.ts");
      return checkKubernetes(access, mesh, (discovery) =>
        discovery.kind === "own" && discovery.name === "kubernetes"
          ? (discovery.options as KubernetesService)
          : names
            ? serviceNamed(discovery)
            : undefined,
      );
    },
  };
}

function textOf({ namespace, service, port }: KubernetesService): string {
  return `${namespace === "" ? "" : `${namespace}/`}${service}${port === "" ? "" : `:${port}`}`;
}
