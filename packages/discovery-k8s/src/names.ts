/**
 * Names under which Kubernetes publishes Services in DNS: `orders.shop.svc`, with the domain of the cluster or
 * without. https://github.com/kubernetes/dns/blob/master/docs/specification.md
 */
import { readFileSync } from "node:fs";
import type { DiscoveryConfig } from "@inmesh/core/spi/discovery";
import type { KubernetesService } from "./source.ts";

const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const DEFAULT_DOMAIN = "cluster.local";
const NAME: RegExp = new RegExp(`^(${LABEL})\\.(${LABEL})\\.svc(?:\\.(.+))?$`);
/** SRV records exist for named ports alone, so the name of the port is known. */
const SRV: RegExp = new RegExp(`^_(${LABEL})\\._tcp\\.(.+)$`);

let domains: readonly string[] | undefined;

/** The Service that a target of `dns` or `srv` names; undefined: it names none. */
export function serviceNamed(target: DiscoveryConfig): KubernetesService | undefined {
  if (target.kind === "dns") {
    const found = split(target.host);
    return found && { ...found, port: "", number: target.port };
  }
  if (target.kind !== "srv") return undefined;
  const [, port = "", host = ""] = SRV.exec(target.name.toLowerCase()) ?? [];
  const found = split(host);
  return found && { ...found, port };
}

function split(host: string): { namespace: string; service: string } | undefined {
  const [, service, namespace, domain] = NAME.exec(host.replace(/\.$/, "")) ?? [];
  if (service === undefined || namespace === undefined) return undefined;
  if (domain !== undefined && !(domains ??= clusterDomains()).includes(domain)) return undefined;
  return { namespace, service };
}

/** A pod has `svc.<domain of the cluster>` in its search list. */
function clusterDomains(): readonly string[] {
  try {
    return domainsIn(readFileSync("/etc/resolv.conf", "utf8"));
  } catch {
    return [DEFAULT_DOMAIN];
  }
}

export function domainsIn(resolvConf: string): readonly string[] {
  const found = resolvConf.matchAll(/^\s*search\s(.*)$/gm);
  const searched = Array.from(found, ([, list = ""]) => list.trim().split(/\s+/)).flat();
  const own = searched.flatMap((name) => (name.startsWith("svc.") ? [name.slice(4)] : []));
  return [DEFAULT_DOMAIN, ...own.map((name) => name.replace(/\.$/, "").toLowerCase())];
}
