/**
 * Where the API server is and how this process proves who it is: in a pod from the files of its service account,
 * elsewhere from a kubeconfig.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Runtime } from "@inmesh/core/spi/discovery";
import { type Access, type Credentials, readToken } from "./credentials.ts";
import { readKubeconfig } from "./kubeconfig.ts";
import { proxyOf } from "./proxy.ts";

export interface AccessOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly servers?: readonly string[] | undefined;
  /** Default: `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountDir?: string | undefined;
  readonly addressFamily?: "IPv4" | "IPv6" | undefined;
  readonly pod?: string | undefined;
  readonly ownService?: string | undefined;
}

/** What an Access is made of here; the rest is the same for all of them. */
type Found = Omit<Access, "family" | "pod" | "proxy"> & { readonly proxyUrl?: string | undefined };

const ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
const REREAD_MS = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;

export function isInPod({ kubeconfig }: AccessOptions, env: Environment): boolean {
  return (env["KUBERNETES_SERVICE_HOST"] ?? "") !== "" && kubeconfig === undefined;
}

export async function findAccess(
  options: AccessOptions,
  runtime: Runtime,
  env: Environment,
): Promise<Access> {
  const inPod = isInPod(options, env);
  const found = inPod
    ? await inCluster(
        options,
        env["KUBERNETES_SERVICE_HOST"]!,
        env["KUBERNETES_SERVICE_PORT"] ?? "443",
        runtime,
      )
    : await fromKubeconfig(options, runtime, env);
  // Kubernetes makes the name of a pod its host name, but for pods that ask for another one.
  const name = options.pod ?? (inPod ? (env["POD_NAME"] ?? env["HOSTNAME"]) : undefined);
  const { proxyUrl, ...rest } = found;
  const servers = options.servers?.length ? options.servers : found.servers;
  const proxies = new Map(servers.map((one) => [one, proxyUrl ?? proxyOf(one, env)]));
  return {
    ...rest,
    servers,
    proxy: (server) => proxies.get(server),
    family: options.addressFamily === "IPv6" ? 6 : 4,
    pod:
      name === undefined || name === "" ? undefined : { name, service: options.ownService ?? "" },
  };
}

async function inCluster(
  options: AccessOptions,
  host: string,
  port: string,
  runtime: Runtime,
): Promise<Found> {
  const dir = options.serviceAccountDir ?? ACCOUNT_DIR;
  const address = host.includes(":") ? `[${host}]` : host;
  const namespace = await readFile(join(dir, "namespace"), "utf8").catch(() => "default");
  return {
    servers: [`https://${address}:${port}`],
    namespace: namespace.trim(),
    ca: () => readFile(join(dir, "ca.crt"), "utf8"),
    credentials: rereading(runtime, async () => ({ token: await readToken(join(dir, "token")) })),
  };
}

async function fromKubeconfig(
  options: AccessOptions,
  runtime: Runtime,
  env: Environment,
): Promise<Found> {
  // A list of files is merged by kubectl; the first one is used here.
  const fromEnv = env["KUBECONFIG"]?.split(process.platform === "win32" ? ";" : ":")[0];
  const path = options.kubeconfig ?? fromEnv ?? join(homedir(), ".kube", "config");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unreadable";
    const message = `this process is in no pod (KUBERNETES_SERVICE_HOST is not set), and the kubeconfig ${path} cannot be read (${code})`;
    throw new Error(message, { cause: error });
  }
  const { credentials, ...rest } = readKubeconfig(text, path, options.context);
  return { ...rest, credentials: rereading(runtime, credentials) };
}

/** What `read` gave, for a minute. If it fails, the last good one stays: the API server will say if it is too old. */
function rereading(
  runtime: Runtime,
  read: () => Promise<Credentials>,
): (again: boolean) => Promise<Credentials> {
  let last: Credentials | undefined;
  let at = -Infinity;
  return async (again) => {
    if (last !== undefined && !again && runtime.now() - at < REREAD_MS) return last;
    try {
      last = await read();
      at = runtime.now();
    } catch (error) {
      if (last === undefined) throw error;
    }
    return last;
  };
}
