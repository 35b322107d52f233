/**
 * `discovery: { dns: …, port: … }` and `discovery: { srv: … }`: endpoints from DNS. All services of a mesh share
 * one resolver and its cache, which are loaded when first needed.
 */
import { isIP } from "node:net";
import { authorityOf, hostRule } from "../../config/address.ts";
import type { DiscoveryKind, DiscoveryMesh } from "../kind.ts";
import { lazyDiscovery } from "../lazy.ts";
import type { Discovery } from "../discovery.ts";

const SRV_NAME = /^_[A-Za-z0-9-]{1,62}\._[A-Za-z0-9-]{1,62}\.(.+)$/;

/** A and AAAA records of `host`. */
export const dnsKind: DiscoveryKind<{ readonly host: string; readonly port: number }> = {
  name: "dns",
  fields: [
    {
      path: "dns",
      type: "text",
      defaultText: "the host of `url`",
      rangeText: "a DNS name",
      meaning: "Every A and AAAA record is an endpoint.",
      nameElsewhere: "Envoy `STRICT_DNS`, gRPC `dns:///`",
    },
    {
      path: "port",
      type: "integer",
      min: 1,
      max: 65_535,
      defaultText: "the port of `url`",
      meaning: "Port of the endpoints that DNS names.",
      noEffectWhen: "`discovery.dns` is not written (it is a mistake then)",
    },
  ],
  read(written, { url, mistake }) {
    const { dns } = written;
    if (typeof dns !== "string") return undefined;
    const host = dns.toLowerCase();
    const wrong =
      isIP(host) === 0 ? hostRule(host) : "must be a DNS name; write an address under static";
    if (wrong !== undefined) mistake(["dns"], wrong, dns);
    const port = "port" in written ? written["port"] : url?.port;
    if (port === undefined) mistake(["port"], `must be written: { dns: ${dns}, port: 8080 }`);
    return wrong === undefined && typeof port === "number" ? { host, port } : undefined;
  },
  authority: ({ host, port }, scheme) => authorityOf(host, port, scheme),
  write: ({ host, port }) => ({ dns: host, port }),
  describe: ({ host, port }) => `dns ${host}:${port}`,
  open: ({ host, port }, mesh) => inDns({ kind: "dns", host, port }, mesh),
};

/** SRV records, for example `_http._tcp.orders.shop.svc.cluster.local`. */
export const srvKind: DiscoveryKind<{ readonly name: string }> = {
  name: "srv",
  fields: [
    {
      path: "srv",
      type: "text",
      defaultText: "none",
      rangeText: "`_service._protocol.name`",
      meaning: "Addresses, ports, priorities and weights from SRV records.",
    },
  ],
  read({ srv }, { mistake }) {
    if (typeof srv !== "string") return undefined;
    const rest = SRV_NAME.exec(srv)?.[1];
    if (rest !== undefined && isIP(rest) === 0 && hostRule(rest) === undefined) {
      return { name: srv };
    }
    const rule = "must be _service._protocol.name, such as _http._tcp.orders.shop.svc";
    mistake(["srv"], rule, srv);
    return undefined;
  },
  authority: ({ name }) => SRV_NAME.exec(name)?.[1],
  write: ({ name }) => ({ srv: name }),
  describe: ({ name }) => `srv ${name}`,
  open: ({ name }, mesh) => inDns({ kind: "srv", name }, mesh),
};

type DnsTarget =
  | { readonly kind: "dns"; readonly host: string; readonly port: number }
  | { readonly kind: "srv"; readonly name: string };

function inDns(target: DnsTarget, mesh: DiscoveryMesh): Discovery {
  return lazyDiscovery("dns", async () => (await mesh.shared(loadDns))(target));
}

async function loadDns(mesh: DiscoveryMesh): Promise<(target: DnsTarget) => Discovery> {
  const { runtime } = mesh;
  const { dnsDiscovery, measuredResolver } = await import("./dns.ts");
  const resolver = measuredResolver(mesh);
  return (target) => dnsDiscovery(target, { runtime, resolver });
}
