/**
 * Services and servers from environment variables, for containers that have no file:
 * `INMESH_SERVICE_ORDERS_V2=http://orders-v2:8080` is the service `orders-v2`.
 * `INMESH_SERVER_ORDERS={"limits":{"maxInFlight":500}}` are options of the server `orders`.
 * `INMESH_CONFIG` names the configuration file.
 */
import type { LocatedLayer } from "../merge.ts";
import { ConfigError, makeMistake, type Mistake, type PathPart } from "../mistakes.ts";
import { emptyRaw, isRaw } from "../plain.ts";
import type { ConfigSource } from "../source.ts";
import { authorityRule, readUrl, type UrlTarget } from "../target.ts";

export interface EnvConfig {
  /** Path from INMESH_CONFIG. */
  readonly file: string | undefined;
  /** What all variables say; undefined: there are none. Each mistake names its own. */
  readonly layer: LocatedLayer | undefined;
  readonly mistakes: readonly Mistake[];
}

const PREFIX = "INMESH_SERVICE_";
const SERVER_PREFIX = "INMESH_SERVER_";
const MAX_TEXT = 65_536;

/** Read once: what is set later has no effect. Undefined: there is no variable of ours. */
export function environmentSource({ layer, mistakes }: EnvConfig): ConfigSource | undefined {
  if (layer === undefined) return undefined;
  return {
    name: "environment",
    rank: "environment",
    required: true,
    watch(sink) {
      sink.replace(layer);
      if (mistakes.length > 0) sink.failed(new ConfigError(mistakes));
      return { stop() {} };
    },
  };
}

/** `env` is read when called, not when imported: tests and loaders of .env files come later. */
export function readEnvConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): EnvConfig {
  const input = emptyRaw() as Record<"services" | "servers", Record<string, unknown>>;
  const mistakes: Mistake[] = [];
  const writers = new Map<string, string>();
  for (const variable of Object.keys(env).sort()) {
    const text = env[variable]?.trim();
    // An empty variable is how shells and compose files say "not set".
    const isServer = variable.startsWith(SERVER_PREFIX);
    const prefix = isServer ? SERVER_PREFIX : PREFIX;
    if (!variable.startsWith(prefix) || text === undefined || text === "") continue;
    const origin = `env:${variable}`;
    const report = (rule: string): void => {
      mistakes.push(makeMistake([variable], rule, text, origin));
    };
    const name = variable.slice(prefix.length).toLowerCase().replaceAll("_", "-");
    const noun = isServer ? "server" : "service";
    const section = `${noun}s` as const;
    const other = writers.get(`${section} ${name}`);
    if (other !== undefined) report(`must not name the same ${noun} as ${other}`);
    writers.set(`${section} ${name}`, variable);
    if (name === "") report(`must have a ${noun}'s name behind ${prefix}`);
    const read = isServer ? readServer : readService;
    const one = text.length > MAX_TEXT ? tooLong(report) : read(text, report);
    if (one !== undefined) (input[section] ??= emptyRaw())[name] = one;
  }
  const originOf = ([section, name]: readonly PathPart[]): string | undefined => {
    const variable = writers.get(`${section} ${name}`);
    return variable === undefined ? undefined : `env:${variable}`;
  };
  const says = Object.keys(input).length > 0 || mistakes.length > 0;
  const file = env["INMESH_CONFIG"]?.trim();
  return {
    file: file === "" ? undefined : file,
    layer: says ? { origin: "env", input, originOf } : undefined,
    mistakes,
  };
}

function readServer(text: string, report: (rule: string) => void): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (isRaw(value)) return value;
  } catch {
    // Said below.
  }
  report('must be a JSON object, such as {"limits":{"maxInFlight":500}}');
  return undefined;
}

function tooLong(report: (rule: string) => void): undefined {
  report(`must have at most ${MAX_TEXT} characters; use a file`);
  return undefined;
}

function readService(text: string, report: (rule: string) => void): object | undefined {
  const srv = /^srv\+(https?):\/\/([^/?#]+)\/?$/i.exec(text);
  if (srv !== null) return readSrv(srv[1] ?? "", srv[2] ?? "", report);
  const targets: UrlTarget[] = [];
  let failed = false;
  for (const part of text.split(",").map((piece) => piece.trim())) {
    const read = readUrl(part);
    if ("rules" in read) {
      failed = true;
      for (const rule of read.rules) report(rule);
    } else targets.push(read);
  }
  const [first] = targets;
  if (failed || first === undefined) return undefined;
  if (targets.length === 1) return { url: text };
  if (targets.some((target) => target.scheme !== first.scheme)) {
    report("must use http or https for all addresses, not both");
    return undefined;
  }
  const endpoints = targets.map(({ discovery }) =>
    discovery.kind === "static"
      ? discovery.endpoints[0]
      : { host: discovery.host, port: discovery.port },
  );
  return { scheme: first.scheme, discovery: { static: endpoints } };
}

function readSrv(scheme: string, name: string, report: (rule: string) => void): object | undefined {
  const rest = /^_[^.]+\._[^.]+\.(.+)$/.exec(name)?.[1];
  if (rest === undefined || rest.includes(":") || authorityRule(rest) !== undefined) {
    report("must be srv+http://_service._protocol.name, such as srv+http://_http._tcp.orders.shop");
    return undefined;
  }
  return { scheme: scheme.toLowerCase(), discovery: { srv: name } };
}
