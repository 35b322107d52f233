/** Where peers that are built from their sources are kept: outside the repository. */
import { homedir } from "node:os";
import { join } from "node:path";

export const KUBERNETES = "1.34.4";
/** Streaming lists need 3.4.25 or newer. */
export const ETCD = "3.5.21";

const cache: string = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");

/** Of `npm run peers:k8s`: its programs are in `bin`, the JavaScript client in `client-node`. */
export const kubernetesFolder: string = join(
  cache,
  "inmesh-peers",
  `kubernetes-${KUBERNETES}-etcd-${ETCD}`,
);

export const H2SPEC = "v2.2.1+incompatible";

/** Of `npm run peers:h2spec`. */
export const h2specFolder: string = join(cache, "inmesh-peers", "h2spec-2.2.1");
