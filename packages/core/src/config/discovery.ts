/** Reads where a service's endpoints come from: `url`, `discovery`, `scheme` and `authority`. */
import { isIP } from "node:net";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, listOf, type Raw, rawOf, type Report } from "./plain.ts";
import {
  authorityOf,
  authorityRule,
  hostRule,
  readAddress,
  readSocket,
  readUrl,
  type ServiceTarget,
} from "./target.ts";
import type { DiscoveryConfig } from "./types.ts";

const SRV_NAME = /^_[A-Za-z0-9-]{1,62}\._[A-Za-z0-9-]{1,62}\.(.+)$/;

export function readTarget(
  name: string,
  raw: Raw,
  path: readonly PathPart[],
  report: Report,
): ServiceTarget | undefined {
  const fromUrl = targetOfUrl(raw["url"], path, report);
  const written = raw["scheme"];
  if (fromUrl !== undefined && typeof written === "string" && written !== fromUrl.scheme) {
    report(
      [...path, "scheme"],
      `must be left out or agree with url, which says ${fromUrl.scheme}`,
      written,
    );
  }
  const scheme = written === "https" || written === "http" ? written : (fromUrl?.scheme ?? "http");
  const discovery =
    "discovery" in raw
      ? readDiscovery(raw["discovery"], fromUrl, [...path, "discovery"], report)
      : fromUrl?.discovery;
  if (discovery === undefined && !("discovery" in raw) && !("url" in raw)) {
    const rule = `needs an address: write "url: http://${name}:8080", or "discovery: { dns: ${name}, port: 8080 }"`;
    report(path, rule, undefined);
  }
  const authority = readAuthority(raw["authority"], path, report) ?? fromUrl?.authority;
  if (discovery === undefined) return undefined;
  return {
    name,
    scheme,
    discovery,
    authority: authority ?? defaultAuthority(name, discovery, scheme),
  };
}

function targetOfUrl(
  url: unknown,
  path: readonly PathPart[],
  report: Report,
): ServiceTarget | undefined {
  if (typeof url !== "string") return undefined;
  const read = readUrl(url);
  if (!("rules" in read)) return read;
  for (const rule of read.rules) report([...path, "url"], rule, url);
  return undefined;
}

function readAuthority(
  text: unknown,
  path: readonly PathPart[],
  report: Report,
): string | undefined {
  if (typeof text !== "string") return undefined;
  const rule = authorityRule(text);
  if (rule !== undefined) report([...path, "authority"], rule, text);
  return text.toLowerCase();
}

function defaultAuthority(
  name: string,
  discovery: DiscoveryConfig,
  scheme: "http" | "https",
): string {
  if (discovery.kind === "dns") return authorityOf(discovery.host, discovery.port, scheme);
  if (discovery.kind === "srv") return SRV_NAME.exec(discovery.name)?.[1] ?? name;
  return name;
}

function readDiscovery(
  value: unknown,
  fromUrl: ServiceTarget | undefined,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  if (!isRaw(value)) return undefined;
  const kinds = ["dns", "srv", "static", "file"].filter((kind) => kind in value);
  if (kinds.length !== 1) {
    const rule =
      kinds.length === 0
        ? "must have one of dns, srv, static, file"
        : `must have only one of ${kinds.join(", ")}`;
    report(path, rule, value);
  }
  if ("port" in value && !("dns" in value)) {
    report([...path, "port"], "is only used with dns", value["port"]);
  }
  // Each is read, so that the mistakes of all are told.
  const found: (DiscoveryConfig | undefined)[] = [];
  if ("dns" in value) found.push(readDns(value, fromUrl, path, report));
  if ("srv" in value) found.push(readSrv(value["srv"], path, report));
  if ("static" in value) found.push(readStatic(value["static"], path, report));
  if ("file" in value) found.push(readFile(value["file"], path, report));
  return found[0];
}

function readDns(
  raw: Raw,
  fromUrl: ServiceTarget | undefined,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  const { dns } = raw;
  if (typeof dns !== "string") return undefined;
  const host = dns.toLowerCase();
  const wrong =
    isIP(host) === 0 ? hostRule(host) : "must be a DNS name; write an address under static";
  if (wrong !== undefined) report([...path, "dns"], wrong, dns);
  const urlPort = portOf(fromUrl?.discovery);
  const port = "port" in raw ? raw["port"] : urlPort;
  if (port === undefined)
    report([...path, "port"], `must be written: { dns: ${dns}, port: 8080 }`, undefined);
  return wrong === undefined && typeof port === "number" ? { kind: "dns", host, port } : undefined;
}

function portOf(discovery: DiscoveryConfig | undefined): number | undefined {
  if (discovery?.kind === "dns") return discovery.port;
  return discovery?.kind === "static" ? discovery.endpoints[0]?.port : undefined;
}

function readSrv(
  name: unknown,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  if (typeof name !== "string") return undefined;
  const rest = SRV_NAME.exec(name)?.[1];
  if (rest === undefined || isIP(rest) !== 0 || hostRule(rest) !== undefined) {
    report(
      [...path, "srv"],
      "must be _service._protocol.name, such as _http._tcp.orders.shop.svc",
      name,
    );
    return undefined;
  }
  return { kind: "srv", name };
}

function readStatic(
  value: unknown,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  const endpoints = readEndpoints(value, [...path, "static"], report);
  return endpoints.length === 0 ? undefined : { kind: "static", endpoints };
}

function readFile(
  file: unknown,
  path: readonly PathPart[],
  report: Report,
): DiscoveryConfig | undefined {
  if (typeof file !== "string") return undefined;
  if (!/\.(ya?ml|json)$/i.test(file)) {
    report([...path, "file"], "must be named .yaml, .yml or .json", file);
  }
  return { kind: "file", path: file };
}

/** A list of endpoints; what is wrong is reported and left out. */
export function readEndpoints(
  value: unknown,
  path: readonly PathPart[],
  report: Report,
): EndpointInfo[] {
  const endpoints: EndpointInfo[] = [];
  const seen = new Set<string>();
  for (const [index, item] of listOf(value).entries()) {
    const at = [...path, index];
    const endpoint =
      typeof item === "string" ? readText(item, at, report) : readObject(rawOf(item), at, report);
    if (endpoint === undefined) continue;
    const identity = `${addressOf(endpoint)} ${endpoint.uid ?? ""}`;
    if (seen.has(identity))
      report(at, "must not be listed twice; use weight for a larger share", addressOf(endpoint));
    seen.add(identity);
    endpoints.push(endpoint);
  }
  return endpoints;
}

function readText(
  text: string,
  path: readonly PathPart[],
  report: Report,
): EndpointInfo | undefined {
  const address = text.startsWith("unix:") ? readSocket(text) : readAddress(text);
  if (typeof address !== "string") return address;
  report(path, address, text);
  return undefined;
}

function readObject(raw: Raw, path: readonly PathPart[], report: Report): EndpointInfo | undefined {
  const { weight, zone, uid, metadata } = raw;
  const at = readPlace(raw, path, report);
  if (at === undefined) return undefined;
  return {
    ...at,
    ...(typeof weight === "number" && { weight }),
    ...(typeof zone === "string" && { zone }),
    ...(typeof uid === "string" && { uid }),
    ...(isRaw(metadata) && { metadata: metadata as Record<string, string> }),
  };
}

function readPlace(raw: Raw, path: readonly PathPart[], report: Report): EndpointInfo | undefined {
  const { host, port } = raw;
  if (typeof host !== "string") return undefined;
  if (host.startsWith("unix:")) {
    if (port !== undefined) report([...path, "port"], "is not used with a socket", port);
    const socket = readSocket(host);
    if (typeof socket !== "string") return socket;
    report([...path, "host"], socket, host);
    return undefined;
  }
  if (port === undefined) report([...path, "port"], "must be written: a whole number", port);
  const lower = host.toLowerCase();
  const wrong = host.startsWith("[") ? "must be written without brackets" : hostRule(lower);
  if (wrong !== undefined) report([...path, "host"], wrong, host);
  return wrong === undefined && typeof port === "number" ? { host: lower, port } : undefined;
}
