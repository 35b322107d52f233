/**
 * Where the registry of this machine is, and whether it is used. It is for machines on which people develop. In
 * production nothing is announced unasked, and two test runs at the same time must not find each other's servers.
 */
import { statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

/** As `createMesh({ registry })`: a directory, whether there is one, or undefined for what the environment says. */
export type RegistryOption = string | boolean | undefined;

/** A directory, or why there is none. */
export type RegistryPlace =
  | { readonly dir: string; readonly off?: undefined }
  | { readonly dir?: undefined; readonly off: string };

type Env = Readonly<Record<string, string | undefined>>;

/** What `discovery: { registry }` says for the directory of the user. */
export const OF_USER = "default";

/** Variables that an orchestrator sets: discovery there is its own. */
const CLUSTERS = [
  "KUBERNETES_SERVICE_HOST",
  "ECS_CONTAINER_METADATA_URI_V4",
  "NOMAD_ALLOC_ID",
  "K_SERVICE",
  "AWS_LAMBDA_FUNCTION_NAME",
];

/** What is wrong with the variable; undefined: nothing is. */
export function registryVariableRule(text: string): string | undefined {
  if (text === "on" || text === "off" || /[\\/]/.test(text)) return undefined;
  return "must be on, off, or the path of a directory, with a / in it";
}

/**
 * Looks at the environment, and at most once at a directory. Never throws. `env` has the variables of inmesh; what
 * the others say of this process is read from its own.
 */
export function registryPlace(
  option: RegistryOption,
  env: Env,
  host: Env = process.env,
): RegistryPlace {
  if (typeof option === "string") return placeNamed(option, host);
  if (option === false) return { off: "createMesh({ registry: false })" };
  if (option === true) return { dir: dirOfUser(host) };
  const said = env["INMESH_REGISTRY"]?.trim() ?? "";
  if (said === "on") return { dir: dirOfUser(host) };
  if (said !== "" && registryVariableRule(said) === undefined && said !== "off") {
    return { dir: resolve(said) };
  }
  if (said !== "") return { off: `INMESH_REGISTRY=${said}` };
  const why = whyOff(host);
  return why === undefined ? { dir: dirOfUser(host) } : { off: why };
}

/** The directory that a configuration names. */
export function placeNamed(text: string, host: Env = process.env): { readonly dir: string } {
  return { dir: text === OF_USER ? dirOfUser(host) : resolve(text) };
}

function whyOff(host: Env): string | undefined {
  const mode = host["NODE_ENV"];
  if (mode === "production" || mode === "test") return `NODE_ENV=${mode}`;
  // node --test sets no NODE_ENV.
  if (isSet(host["NODE_TEST_CONTEXT"])) return "NODE_TEST_CONTEXT, which node --test sets";
  // Two jobs of one user would find each other's servers.
  if (isSet(host["CI"])) return "CI";
  return CLUSTERS.find((name) => isSet(host[name]));
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "" && value !== "false";
}

/**
 * `$XDG_RUNTIME_DIR/inmesh`, where that directory is this user's; else one among the temporary files, which
 * `folder.ts` makes for this user alone. Windows: `%LOCALAPPDATA%\inmesh\run`.
 */
export function dirOfUser(host: Env): string {
  if (process.platform === "win32") {
    const local = host["LOCALAPPDATA"];
    return join(isSet(local) ? local! : join(homedir(), "AppData", "Local"), "inmesh", "run");
  }
  const runtime = host["XDG_RUNTIME_DIR"];
  // `su` and `sudo` may leave that of another user.
  if (runtime !== undefined && isAbsolute(runtime) && isOwn(runtime))
    return join(runtime, "inmesh");
  return join(tmpdir(), `inmesh-${process.getuid?.() ?? "user"}`);
}

function isOwn(dir: string): boolean {
  try {
    return statSync(dir).uid === process.getuid?.();
  } catch {
    return false;
  }
}
