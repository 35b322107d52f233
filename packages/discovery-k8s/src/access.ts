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

export interface AccessOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly servers?: readonly string[] | undefined;
  /** Default: `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountDir?: string | undefined;
}

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
  const access = isInPod(options, env)
    ? await inCluster(
        options,
        env["KUBERNETES_SERVICE_HOST"]!,
        env["KUBERNETES_SERVICE_PORT"] ?? "443",
        runtime,
      )
    : await fromKubeconfig(options, runtime, env);
  return options.servers === undefined || options.servers.length === 0
    ? access
    : { ...access, servers: options.servers };
}

async function inCluster(
  options: AccessOptions,
  host: string,
  port: string,
  runtime: Runtime,
): Promise<Access> {
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
): Promise<Access> {
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
