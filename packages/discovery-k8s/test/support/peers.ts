/** Clients of Kubernetes that are not ours, where `npm run peers:k8s -- --client-node` or the machine has them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { kubernetesFolder } from "../../../../scripts/peers-folder.ts";

/** The program; undefined: there is none. */
export const kubectl: string | undefined = [
  join(process.env["INMESH_KUBE_BIN"] ?? join(kubernetesFolder, "bin"), "kubectl"),
  "kubectl",
].find((path) => spawnSync(path, ["version", "--client"], { timeout: 10_000 }).status === 0);

const client: string = join(
  kubernetesFolder,
  "client-node/node_modules/@kubernetes/client-node/dist/index.js",
);

/** As much of `@kubernetes/client-node` as is used here. */
export interface ClientNode {
  readonly KubeConfig: new () => {
    loadFromFile(path: string): void;
    makeApiClient(api: unknown): {
      listNamespacedEndpointSlice(options: { namespace: string }): Promise<unknown>;
    };
  };
  readonly DiscoveryV1Api: unknown;
  makeInformer(
    config: unknown,
    path: string,
    list: () => Promise<unknown>,
  ): {
    on(event: string, heard: (object: { metadata?: { name?: string } }) => void): void;
    start(): Promise<void>;
    stop(): Promise<void>;
  };
}

export const clientNode: URL | undefined = existsSync(client) ? pathToFileURL(client) : undefined;
