/** A kubeconfig: static tokens, token files, client certificates and exec plugins. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { loadYaml } from "./lazy.cjs";
import { isProxy } from "./proxy.ts";
import { isServer, readToken, type Access, type Credentials } from "./credentials.ts";
import { isObject } from "./slice.ts";

type Json = Readonly<Record<string, unknown>>;

const EXEC_TIMEOUT_MS = 30_000;
const MAX_EXEC_BYTES = 1_048_576;

/** Every mistake is said at once. Values are not shown, because some of them are secrets. */
export function readKubeconfig(
  text: string,
  path: string,
  wantedContext: string | undefined,
): Omit<Access, "credentials" | "family" | "pod" | "proxy"> & {
  readonly proxyUrl: string | undefined;
  readonly credentials: () => Promise<Credentials>;
} {
  const mistakes: string[] = [];
  let config: Json = {};
  const { parse } = loadYaml();
  try {
    const parsed: unknown = parse(text, { maxAliasCount: 0, logLevel: "error" });
    if (isObject(parsed)) config = parsed;
    else mistakes.push("it is no object");
  } catch {
    mistakes.push("it is no YAML");
  }
  const current = wantedContext ?? textIn(config, "current-context");
  if (current === undefined && mistakes.length === 0) mistakes.push("current-context is missing");
  const context = named(config, "contexts", "context", current, mistakes);
  const cluster = named(config, "clusters", "cluster", textIn(context, "cluster"), mistakes);
  const userName = textIn(context, "user");
  const user = userName === undefined ? {} : named(config, "users", "user", userName, mistakes);
  const server = textIn(cluster, "server") ?? "";
  if (Object.keys(cluster).length > 0 && !isServer(server)) {
    mistakes.push("server of the cluster must be an http or https URL");
  }
  const proxyUrl = textIn(cluster, "proxy-url");
  if (proxyUrl !== undefined && !isProxy(proxyUrl)) {
    mistakes.push("proxy-url of the cluster must be an http or https URL");
  }
  for (const key of ["username", "password", "as", "impersonate"]) {
    if (key in user) {
      mistakes.push(`${key} of the user is not supported: use exec, token or a client certificate`);
    }
  }
  if ("auth-provider" in user) mistakes.push(insteadOf(user["auth-provider"], userName));
  if (mistakes.length > 0) {
    throw new Error(`the kubeconfig ${path} cannot be used: ${mistakes.join("; ")}`);
  }
  const folder = dirname(path);
  const insecure = cluster["insecure-skip-tls-verify"] === true;
  return {
    servers: [server],
    proxyUrl,
    namespace: textIn(context, "namespace") ?? "default",
    serverName: textIn(cluster, "tls-server-name"),
    insecure,
    ca: () => pemOf(cluster, "certificate-authority", folder),
    credentials: async () => {
      const cert = await pemOf(user, "client-certificate", folder);
      const key = await pemOf(user, "client-key", folder);
      const file = textIn(user, "tokenFile");
      // As kubectl: what is in the file wins, because it is what rotates.
      const token =
        file === undefined ? textIn(user, "token") : await readToken(resolve(folder, file));
      const { exec } = user;
      return isObject(exec) && token === undefined && cert === undefined
        ? execCredentials(exec, folder)
        : { token, cert, key };
    },
  };
}

/**
 * client-go has taken its providers out but for OIDC, whose tokens it renews and writes back into the file. An exec
 * plugin does that for every client, so nothing here has to keep a refresh token.
 */
function insteadOf(provider: unknown, user: string | undefined): string {
  const { name, config } = isObject(provider) ? provider : {};
  if (name !== "oidc") {
    return "auth-provider of the user is not supported: use exec, token or a client certificate";
  }
  const given = isObject(config) ? config : {};
  const issuer = textIn(given, "idp-issuer-url") ?? "ISSUER_URL";
  const client = textIn(given, "client-id") ?? "CLIENT_ID";
  return (
    "auth-provider oidc of the user is not supported: let the exec plugin kubelogin renew the token: " +
    `kubectl config set-credentials ${user ?? "USER"}-exec --exec-api-version=client.authentication.k8s.io/v1 --exec-interactive-mode=Never ` +
    `--exec-command=kubectl --exec-arg=oidc-login --exec-arg=get-token --exec-arg=--oidc-issuer-url=${issuer} --exec-arg=--oidc-client-id=${client} && ` +
    `kubectl config set-context --current --user=${user ?? "USER"}-exec`
  );
}

function textIn(object: Json, key: string): string | undefined {
  const value = object[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function named(
  config: Json,
  list: string,
  key: string,
  name: string | undefined,
  mistakes: string[],
): Json {
  if (name === undefined) return {};
  const entries: readonly unknown[] = Array.isArray(config[list]) ? config[list] : [];
  const entry = entries.find((one) => isObject(one) && one["name"] === name);
  const value = isObject(entry) ? entry[key] : undefined;
  if (isObject(value)) return value;
  mistakes.push(`${list} has no ${key} named ${JSON.stringify(name)}`);
  return {};
}

/** `<key>-data` in base64, or the file `<key>`. */
async function pemOf(object: Json, key: string, folder: string): Promise<string | undefined> {
  const data = textIn(object, `${key}-data`);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const file = textIn(object, key);
  return file === undefined ? undefined : readFile(resolve(folder, file), "utf8");
}

/** https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins */
async function execCredentials(exec: Json, folder: string): Promise<Credentials> {
  const command = textIn(exec, "command");
  if (command === undefined) throw new Error("the exec plugin of the kubeconfig has no command");
  const args = Array.isArray(exec["args"]) ? exec["args"].map(String) : [];
  const env: Record<string, string | undefined> = { ...process.env };
  for (const one of Array.isArray(exec["env"]) ? exec["env"] : []) {
    if (isObject(one)) env[String(one["name"])] = String(one["value"]);
  }
  env["KUBERNETES_EXEC_INFO"] = JSON.stringify({
    apiVersion: exec["apiVersion"],
    kind: "ExecCredential",
    spec: { interactive: false },
  });
  const file = /[/\\]/.test(command) ? resolve(folder, command) : command;
  const output = await new Promise<string>((done, failed) => {
    const options = { env, timeout: EXEC_TIMEOUT_MS, maxBuffer: MAX_EXEC_BYTES, windowsHide: true };
    execFile(file, args, options, (error, stdout) => {
      // Neither output is shown: a plugin may print its token.
      if (error === null) done(stdout);
      else failed(new Error(`the exec plugin ${command} has failed (${error.code ?? "ended"})`));
    });
  });
  let status: unknown;
  try {
    const parsed: unknown = JSON.parse(output);
    status = isObject(parsed) ? parsed["status"] : undefined;
  } catch {
    // Reported below.
  }
  if (!isObject(status))
    throw new Error(`the exec plugin ${command} has printed no ExecCredential`);
  return {
    token: textIn(status, "token"),
    cert: textIn(status, "clientCertificateData"),
    key: textIn(status, "clientKeyData"),
  };
}
