/** Reads URLs: what a user gives as a service's target. */
import { isIP } from "node:net";
import type { EndpointInfo } from "../endpoint-info.ts";
import { authorityOf, bracketed, DEFAULT_PORTS, readAddress } from "./address.ts";
import { deepFreeze } from "./defaults.ts";
import type { DiscoveryInput } from "./input.ts";
import { makeMistake, type Mistake } from "./mistakes.ts";
import type { ServiceConfig, ServicePolicies } from "./types.ts";

export type ServiceTarget = Pick<ServiceConfig, "name" | "scheme" | "authority" | "discovery">;

/** What a URL alone says: DNS for a name, a list of one for an address. */
export interface UrlTarget extends ServiceTarget {
  readonly discovery:
    | { readonly kind: "dns"; readonly host: string; readonly port: number }
    | { readonly kind: "static"; readonly endpoints: readonly [EndpointInfo] };
}

/** Where a service is that nothing configures, as a target and as it would be written. */
export interface Unconfigured {
  readonly target: ServiceTarget;
  readonly discovery: DiscoveryInput;
}

/** Undefined: there is no such place. A text says why, for the mistake. */
export type FindUnconfigured = (name: string) => Unconfigured | string | undefined;

export type TargetResult =
  | { readonly ok: true; readonly target: ServiceTarget }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/** The pieces of a service from a URL such as `http://orders.shop.svc:8080`. */
export function parseUrlTarget(url: string | URL, origin: string = "code"): TargetResult {
  const text = String(url);
  const read = readUrl(text);
  if (!("rules" in read)) return { ok: true, target: deepFreeze(read) };
  const mistakes = read.rules.map((rule) => makeMistake(["url"], rule, text, origin));
  return { ok: false, mistakes: Object.freeze(mistakes) };
}

/**
 * What only a URL in code describes is taken for a peer if it is `http:`. Third parties are called by
 * `https:`, and without a configuration nothing says that such a service is one of ours.
 */
export function isPeerByUrl({ scheme }: Pick<ServiceTarget, "scheme">): boolean {
  return scheme === "http";
}

/** A service that no source names: the target's pieces and the policies of `defaults`. */
export function defaultServiceConfig(
  target: ServiceTarget,
  defaults: ServicePolicies,
): ServiceConfig {
  const peer = defaults.peer && isPeerByUrl(target);
  return deepFreeze({ ...defaults, ...target, peer, routes: [] });
}

export function readUrl(text: string): UrlTarget | { readonly rules: readonly string[] } {
  const example = "such as http://orders.shop.svc:8080";
  if (/[\s\\\p{Cc}]/u.test(text)) return { rules: [`must be a URL without blanks, ${example}`] };
  const parts = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(.*)$/.exec(text);
  if (parts === null) return { rules: [`must be a URL with its scheme, ${example}`] };
  const [, rawScheme = "", rawAuthority = "", rest = ""] = parts;
  const rules: string[] = [];
  const lower = rawScheme.toLowerCase();
  const scheme = lower === "https" ? "https" : "http";
  if (lower !== scheme) rules.push("must begin with http:// or https://");
  if (rest !== "" && rest !== "/") rules.push("must end after the port; put the path into fetch()");
  const at = rawAuthority.lastIndexOf("@");
  if (at >= 0)
    rules.push("must not hold a user or password; put an Authorization header into fetch()");
  const address = readAddress(rawAuthority.slice(at + 1), DEFAULT_PORTS[scheme]);
  if (typeof address === "string") rules.push(address);
  if (rules.length > 0 || typeof address === "string") return { rules };
  const { host, port } = address;
  const authority = authorityOf(host, port, scheme);
  const discovery: UrlTarget["discovery"] =
    isIP(host) === 0
      ? { kind: "dns", host, port }
      : { kind: "static", endpoints: [{ host, port }] };
  // http and https of one host are two services, so the name of the second says its port.
  const name = scheme === "https" ? `${bracketed(host)}:${port}` : authority;
  return { name, scheme, authority, discovery };
}

export function authorityRule(text: string): string | undefined {
  const address = readAddress(text, 80);
  return typeof address === "string" ? `${address} (the port may be left out)` : undefined;
}

/** What a URL says without a look at any configuration. `name`: of the service that it opens. */
type AskedUrl = Pick<ServiceTarget, "scheme" | "authority"> & { readonly name?: string };

/**
 * Why a URL contradicts the scheme of a service, as a rule with its remedy; undefined if it does not.
 *
 * - The same host and port with the other scheme: one port does not speak both, and which of them is
 *   meant must not depend on the order of the calls. A service with this very scheme goes before.
 * - `https://<name>` for a service whose scheme is http: it would go out in clear text. Left out are
 *   names that are hosts: port 443 of a host is another server than its port 80.
 *
 * `http://<name>` for an https service is no contradiction: the mesh may add TLS, never take it away.
 */
export function schemeConflict(
  asked: AskedUrl,
  services: Iterable<ServiceConfig>,
): string | undefined {
  const { scheme } = asked;
  const authority = withPort(asked.authority, scheme);
  let other: ServiceConfig | undefined;
  for (const service of services) {
    const same = withPort(service.authority, service.scheme) === authority;
    if (service.scheme === scheme) {
      if (same) return undefined;
    } else if (same || (scheme === "https" && isNamed(service, asked))) other = service;
  }
  if (other === undefined) return undefined;
  return `is ${other.scheme} ("${other.scheme}://${other.authority}") and was asked for as ${scheme}: write ${other.scheme}:// where it is called, or set its scheme to ${scheme} in the configuration`;
}

/** By the name that is looked up for it, or as `https://<name>` of a name that is no host. */
function isNamed({ name, discovery }: ServiceConfig, asked: AskedUrl): boolean {
  if (name === asked.name) return true;
  const isHost = isIP(name) !== 0 || (discovery.kind === "dns" && discovery.host === name);
  return name === asked.authority && !isHost;
}

function withPort(authority: string, scheme: "http" | "https"): string {
  return /:\d+$/.test(authority) ? authority : `${authority}:${DEFAULT_PORTS[scheme]}`;
}
