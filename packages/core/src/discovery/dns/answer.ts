/** What a decoded reply says about one name: its records, the way to them, and for how long. */
import type { Answer, DecodedPacket } from "dns-packet";
import { normalAddress } from "./address.ts";
import { DnsError } from "./dns-error.ts";
import { plainName, type QueryType, responseCode } from "./exchange.ts";
import { NXDOMAIN } from "./rcode.ts";

/** One SRV record, as a resolver reports it. */
export interface SrvRecord {
  /** Without the trailing dot; `""` for ".": the service is decidedly not available. */
  readonly target: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
  /** Addresses that came with the answer. Empty: they have to be asked for. */
  readonly addresses: readonly string[];
}

/** What was found for one absolute name. Nothing in it: there is none (NXDOMAIN or NODATA). */
export interface Found {
  readonly addresses: readonly string[];
  readonly services: readonly SrvRecord[];
  /** As it was received, in seconds; the smallest of all records along the aliases. */
  readonly ttlS: number;
  /** The reply ends with an alias whose records it does not hold: ask for this name. */
  readonly alias: string | undefined;
  /** CNAMEs followed within the reply. */
  readonly hops: number;
  /** There is none because the name does not exist; false: it has no records of this type. */
  readonly nxdomain: boolean;
}

/** More aliases in a row are a loop, or as bad as one. */
export const MAX_ALIASES = 8;

/** Reads a NOERROR or NXDOMAIN reply; `server` is named in errors. Throws a DnsError if it does not answer the question. */
export function readAnswer(
  packet: DecodedPacket,
  name: string,
  type: QueryType,
  server = "",
): Found {
  const answers = packet.answers ?? [];
  let owner = plainName(name);
  let ttlS = Number.POSITIVE_INFINITY;
  // NXDOMAIN is about the last name of the chain (RFC 6604 §3): records of it would contradict that.
  const none = responseCode(packet) === NXDOMAIN;
  for (let hops = 0; hops <= MAX_ALIASES; hops++) {
    const own = answers.filter((record) => isOf(record, type, owner));
    if (own.length > 0 && !none) {
      for (const record of own) ttlS = Math.min(ttlS, ttlOf(record));
      return collect(own, packet.additionals ?? [], ttlS, hops);
    }
    const alias = answers.find((record) => isOf(record, "CNAME", owner));
    if (alias === undefined || alias.type !== "CNAME") {
      return nothing(packet, owner, ttlS, hops, server);
    }
    ttlS = Math.min(ttlS, ttlOf(alias));
    owner = plainName(alias.data);
  }
  throw new DnsError("malformed", `dns ${type} ${name}: more than ${MAX_ALIASES} aliases in a row`);
}

/** Another class is another name space: its data is no address, whatever it looks like. */
function isOf(record: Answer, type: QueryType | "CNAME", owner: string): boolean {
  if (record.type !== type || plainName(record.name) !== owner) return false;
  return record.class === undefined || record.class === "IN";
}

/** Seconds. 2^31 and more counts as 0 (RFC 2181 §8). */
function ttlOf(record: Answer): number {
  const ttl = record.type === "OPT" ? 0 : (record.ttl ?? 0);
  return ttl >= 2 ** 31 ? 0 : ttl;
}

/** No record: there is none, or an alias leads on, or the server knows nothing about the name. */
function nothing(
  packet: DecodedPacket,
  owner: string,
  ttlS: number,
  hops: number,
  server: string,
): Found {
  const nxdomain = responseCode(packet) === NXDOMAIN;
  const none: Found = { addresses: [], services: [], ttlS, alias: undefined, hops, nxdomain };
  const soa = packet.authorities?.find((record) => record.type === "SOA");
  if (soa?.type === "SOA") {
    const minimum = soa.data.minimum ?? 0;
    return { ...none, ttlS: Math.min(ttlS, ttlOf(soa), minimum >= 2 ** 31 ? 0 : minimum) };
  }
  if (nxdomain) return { ...none, ttlS: 0 };
  if (hops > 0) return { ...none, alias: owner };
  // A referral from a server that neither owns the zone nor asks others: no news about the name.
  if (!packet.flag_aa && !packet.flag_ra) {
    throw new DnsError("servfail", `dns ${owner} → ${server}: the server does not serve this name`);
  }
  return { ...none, ttlS: 0 };
}

function collect(
  own: readonly Answer[],
  additionals: readonly Answer[],
  smallestS: number,
  hops: number,
): Found {
  let ttlS = smallestS;
  const addresses = new Set<string>();
  const services: SrvRecord[] = [];
  const glue = new Map<string, string[]>();
  for (const record of additionals) {
    if (record.type !== "A" && record.type !== "AAAA") continue;
    const address = normalAddress(record.data);
    if (address === undefined) continue;
    const key = plainName(record.name);
    const known = glue.get(key);
    if (known === undefined) glue.set(key, [address]);
    else known.push(address);
  }
  for (const record of own) {
    if (record.type === "A" || record.type === "AAAA") {
      const address = normalAddress(record.data);
      if (address !== undefined) addresses.add(address);
    } else if (record.type === "SRV") {
      const target = plainName(record.data.target);
      services.push({
        target,
        port: record.data.port,
        priority: record.data.priority ?? 0,
        weight: record.data.weight ?? 0,
        addresses: glue.get(target) ?? [],
      });
    }
  }
  if (services.length > 0 && glue.size > 0) {
    const targets = new Set(services.map((service) => service.target));
    for (const record of additionals) {
      if (record.type !== "A" && record.type !== "AAAA") continue;
      if (targets.has(plainName(record.name))) ttlS = Math.min(ttlS, ttlOf(record));
    }
  }
  return { addresses: [...addresses], services, ttlS, alias: undefined, hops, nxdomain: false };
}
