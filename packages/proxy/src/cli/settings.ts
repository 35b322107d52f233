/**
 * What the command line and the environment ask for. What they say of services and listeners becomes a configuration,
 * which is laid over that of the file and validated with it, so that a rule is written once.
 */
import { isIP } from "node:net";
import type { MeshInput } from "@inmesh/core";
import { readAddress } from "@inmesh/core/spi/transport";
import { parseDuration, UsageFailure, type Values } from "inmesh/cli";
import { readListenAddress, type ListenAddress } from "../listen/address.ts";
import type { OPTIONS } from "./options.ts";

export type Env = Readonly<Record<string, string | undefined>>;

export interface AdminSettings {
  readonly address: ListenAddress;
  readonly tokenFile: string | undefined;
  readonly isMetricsOpen: boolean;
}

export interface Settings {
  /** Undefined: that of INMESH_CONFIG, else none. */
  readonly configFile: string | undefined;
  /** There is one, by either. */
  readonly hasFile: boolean;
  /** What the command line says; undefined: nothing. */
  readonly input: MeshInput | undefined;
  readonly admin: AdminSettings | undefined;
  /** Undefined: that of the configuration. */
  readonly drainGraceMs: number | undefined;
  readonly reusePort: boolean;
  readonly workers: number;
  /** Which one of several processes this is, from 1; undefined: the only one, or the one that starts them. */
  readonly worker: number | undefined;
  readonly log: "text" | "json" | "none";
  readonly accessLog: "none" | "combined" | "json";
}

type Given = Values<typeof OPTIONS>;

/** What has been read so far. */
interface Read {
  readonly listeners: Record<string, object>;
  readonly services: Readonly<Record<string, object>>;
  readonly mistakes: string[];
}

const MAX_WORKERS = 64;
/** `proxy.listeners.*.protocol` has them too, and `detect`. */
export const SPOKEN: readonly string[] = ["tcp", "tls", "http1", "http2"];
/** Set by the process that starts workers. */
export const WORKER = "INMESH_PROXY_WORKER";

/** Throws a UsageFailure with every mistake. */
export function settingsOf(values: Given, env: Env): Settings {
  const mistakes: string[] = [];
  const said = (option: keyof Given, variable: string): string | undefined => {
    const given = values[option];
    if (typeof given === "string") return given;
    const text = env[variable]?.trim();
    return text === "" ? undefined : text;
  };
  const all = (option: "listen" | "to", variable: string): readonly string[] => {
    if (values[option].length > 0) return values[option];
    return (env[variable] ?? "").split(/\s+/).filter((one) => one !== "");
  };
  const listeners: Record<string, object> = {};
  const services: Record<string, object> = {};
  for (const text of all("to", "INMESH_PROXY_TO")) readTo(text, services, mistakes);
  for (const text of all("listen", "INMESH_PROXY_LISTEN")) {
    readListen(text, values["allow-connect"], { listeners, services, mistakes });
  }
  const inbound = said("inbound", "INMESH_PROXY_INBOUND");
  const app = said("app", "INMESH_PROXY_APP");
  if (inbound !== undefined && app === undefined) {
    mistakes.push("--inbound needs --app: where does the application listen?");
  }
  if (inbound === undefined && app !== undefined) {
    mistakes.push("--app needs --inbound: where do others connect to?");
  }
  if (inbound !== undefined && app !== undefined) {
    const { protocol, rest: listen } = readProtocol("--inbound", inbound, mistakes);
    listeners["inbound"] = { listen, app, ...(protocol !== undefined && { protocol }) };
  }
  const admin = readAdmin(said("admin", "INMESH_PROXY_ADMIN"), mistakes);
  const tokenFile = said("admin-token-file", "INMESH_ADMIN_TOKEN_FILE");
  if (admin === undefined && values["metrics-open"]) {
    mistakes.push("--metrics-open is for the admin address, and --admin does not name one");
  }
  // That of the environment may be for `inmesh` as well.
  if (admin === undefined && values["admin-token-file"] !== undefined) {
    mistakes.push("--admin-token-file is for the admin address, and --admin does not name one");
  }
  const workers = values.workers ?? countIn(env, "INMESH_PROXY_WORKERS", mistakes) ?? 1;
  if (workers > MAX_WORKERS) {
    mistakes.push(`--workers must be at most ${MAX_WORKERS} (got ${workers})`);
  }
  if (workers > 1) {
    for (const one of Object.values(listeners)) {
      const rule = sharedRule(String(Reflect.get(one, "listen")));
      if (rule !== undefined) mistakes.push(rule);
    }
  }
  const worker = countIn(env, WORKER, mistakes);
  const drainGraceMs =
    values["drain-grace"] ?? durationIn(env, "INMESH_PROXY_DRAIN_GRACE", mistakes);
  const log = choiceIn(
    values.log,
    env,
    "INMESH_PROXY_LOG",
    ["text", "json", "none"] as const,
    mistakes,
  );
  const accessLog = choiceIn(
    values["access-log"],
    env,
    "INMESH_PROXY_ACCESS_LOG",
    ["none", "combined", "json"] as const,
    mistakes,
  );
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  return {
    configFile: values.config,
    hasFile: (values.config ?? env["INMESH_CONFIG"]?.trim() ?? "") !== "",
    input: inputOf(services, listeners),
    // The process that starts workers has the one address for all of them.
    admin:
      admin === undefined || worker !== undefined
        ? undefined
        : { address: admin, tokenFile, isMetricsOpen: values["metrics-open"] },
    drainGraceMs,
    reusePort: values["reuse-port"] || workers > 1,
    workers: worker === undefined ? workers : 1,
    worker,
    log,
    accessLog,
  };
}

function inputOf(
  services: Readonly<Record<string, object>>,
  listeners: Readonly<Record<string, object>>,
): MeshInput | undefined {
  const hasListeners = Object.keys(listeners).length > 0;
  if (!hasListeners && Object.keys(services).length === 0) return undefined;
  return { services, ...(hasListeners && { proxy: { listeners } }) };
}

/** `orders=10.0.0.1:8080,10.0.0.2:8080`, or with a URL. */
function readTo(text: string, services: Record<string, object>, mistakes: string[]): void {
  const [, name, where = ""] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined) {
    const example = "orders=10.0.0.1:8080,10.0.0.2:8080";
    mistakes.push(
      `--to must be a service and its endpoints, such as ${example} (got ${shown(text)})`,
    );
    return;
  }
  if (Object.hasOwn(services, name)) mistakes.push(`--to names the service ${name} twice`);
  if (where.includes("://")) {
    services[name] = { url: where };
    return;
  }
  const addresses = where.split(",").map((one) => one.trim());
  const [only = ""] = addresses;
  const host = addresses.length === 1 ? readAddress(only) : only;
  // A name is looked up again and again; what has several addresses has several endpoints.
  services[name] =
    typeof host === "object" && isIP(host.host) === 0 && !only.startsWith("unix:")
      ? { discovery: { dns: host.host, port: host.port } }
      : { discovery: { static: addresses } };
}

/** `127.0.0.1:4140`, with what is spoken before it (`tcp://`) and the service behind it (`=orders`), where that is said. */
function readListen(
  text: string,
  allowConnect: boolean,
  { listeners, services, mistakes }: Read,
): void {
  const { protocol, rest } = readProtocol("--listen", text, mistakes);
  const at = rest.startsWith("unix:") ? rest.indexOf("=") : rest.lastIndexOf("=");
  const listen = at < 0 ? rest : rest.slice(0, at);
  const said = at < 0 ? undefined : rest.slice(at + 1);
  const address = readListenAddress(listen);
  if (typeof address === "string") {
    mistakes.push(`--listen ${address} (got ${shown(text)})`);
    return;
  }
  if (said === "") mistakes.push(`--listen has no service behind = (got ${shown(text)})`);
  const service = said ?? (protocol === "tcp" ? onlyOne(text, services, mistakes) : undefined);
  if (allowConnect && protocol !== undefined) {
    mistakes.push(
      `--allow-connect is for what is found out: leave ${protocol}:// out of ${shown(text)}`,
    );
  }
  const name = freeName(service === undefined ? "outbound" : `outbound-${service}`, listeners);
  listeners[name] = {
    listen,
    ...(service !== undefined && { service }),
    ...(protocol !== undefined && { protocol }),
    ...(allowConnect && { allowConnect }),
  };
}

/** `tcp://` and the address behind it. Undefined: it is found out what is spoken. */
function readProtocol(
  option: string,
  text: string,
  mistakes: string[],
): { readonly protocol: string | undefined; readonly rest: string } {
  const [, scheme, rest = ""] = /^([a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? [];
  const protocol = scheme?.toLowerCase();
  if (protocol === undefined) return { protocol, rest: text };
  if (!SPOKEN.includes(protocol)) {
    const known = SPOKEN.map((one) => `${one}://`).join(", ");
    mistakes.push(`${option} can begin with ${known} (got ${shown(text)})`);
  }
  return { protocol, rest };
}

/** Bytes do not say where they go to: the service that there is. */
function onlyOne(
  text: string,
  services: Readonly<Record<string, object>>,
  mistakes: string[],
): string | undefined {
  const names = Object.keys(services);
  if (names.length === 1) return names[0];
  const example = `${text}=${names[0] ?? "db"}`;
  mistakes.push(`--listen needs a service for TCP, such as ${example} (got ${shown(text)})`);
  return undefined;
}

/** Of a server: metrics and `servers.<name>` know the listener by it. */
function freeName(wanted: string, taken: Readonly<Record<string, unknown>>): string {
  if (!Object.hasOwn(taken, wanted)) return wanted;
  for (let i = 2; ; i++) if (!Object.hasOwn(taken, `${wanted}-${i}`)) return `${wanted}-${i}`;
}

function readAdmin(text: string | undefined, mistakes: string[]): ListenAddress | undefined {
  if (text === undefined) return undefined;
  const address = readListenAddress(text);
  if (typeof address !== "string") return address;
  mistakes.push(`--admin ${address} (got ${shown(text)})`);
  return undefined;
}

/** What keeps several processes from sharing that address; undefined: nothing. */
export function sharedRule(listen: string): string | undefined {
  if (listen.endsWith(":0")) {
    return `--workers share a port, and ${listen} is another for each of them`;
  }
  return listen.startsWith("unix:")
    ? `--workers share a port, and ${listen} is a socket that one process alone can listen on`
    : undefined;
}

function countIn(env: Env, variable: string, mistakes: string[]): number | undefined {
  const text = env[variable]?.trim() ?? "";
  if (text === "") return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  mistakes.push(`${variable} must be a whole number from 1 on (got ${shown(text)})`);
  return undefined;
}

function durationIn(env: Env, variable: string, mistakes: string[]): number | undefined {
  const text = env[variable]?.trim() ?? "";
  if (text === "") return undefined;
  const ms = parseDuration(text);
  if (ms === undefined) {
    const rule = 'must be a duration with its unit, such as "500ms" or "1m30s"';
    mistakes.push(`${variable} ${rule} (got ${shown(text)})`);
  }
  return ms;
}

function choiceIn<T extends string>(
  given: T | undefined,
  env: Env,
  variable: string,
  among: readonly T[],
  mistakes: string[],
): T {
  const text = env[variable]?.trim() ?? "";
  if (given !== undefined || text === "") return given ?? among[0]!;
  const found = among.find((one) => one === text);
  if (found === undefined) {
    mistakes.push(`${variable} must be one of ${among.join(", ")} (got ${shown(text)})`);
  }
  return found ?? among[0]!;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);
}
