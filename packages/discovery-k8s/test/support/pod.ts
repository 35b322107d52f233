/**
 * A program that finds itself in a pod: the files of a service account are where Kubernetes mounts them, in a mount
 * namespace of its own. Needs Linux and the right to make namespaces; without them tests are skipped, visibly.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ServiceAccount {
  readonly token: string;
  readonly ca: string;
  readonly namespace: string;
  /** Port of the API server on this machine. */
  readonly apiPort: number;
}

const WAYS: readonly (readonly string[])[] = [
  ["--user", "--map-root-user", "--mount"],
  ["--mount"],
];
const MOUNT = "mount -t tmpfs tmpfs /var/run/";

/** Options of `unshare`; undefined where it does not work. */
const way: readonly string[] | undefined = WAYS.find(
  (one) => spawnSync("unshare", [...one, "sh", "-c", MOUNT], { timeout: 5_000 }).status === 0,
);

export const canBePod: boolean = way !== undefined;

/** The files of a service account in a new folder. */
export function accountFolder({ token, ca, namespace }: Omit<ServiceAccount, "apiPort">): string {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-account-"));
  writeFileSync(join(folder, "token"), token, { mode: 0o600 });
  writeFileSync(join(folder, "ca.crt"), ca);
  writeFileSync(join(folder, "namespace"), namespace);
  return folder;
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** How `node` is started with these arguments in a pod with this account. */
export function inPod(args: readonly string[], account: ServiceAccount): Command {
  const place = "/var/run/secrets/kubernetes.io/serviceaccount";
  const script = `${MOUNT} && mkdir -p ${place} && cp "$0"/* ${place}/ && exec "$@"`;
  return {
    file: "unshare",
    args: [...way!, "sh", "-c", script, accountFolder(account), process.execPath, ...args],
    env: {
      ...process.env,
      KUBERNETES_SERVICE_HOST: "127.0.0.1",
      KUBERNETES_SERVICE_PORT: String(account.apiPort),
    },
  };
}
