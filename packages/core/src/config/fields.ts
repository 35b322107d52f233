/**
 * Every field that a user may write: the options of the capabilities (capability-options.ts) with their places, and
 * what stands around them.
 */
import { POLICY_GROUPS, ROUTES, SERVER, SERVER_LIMIT_OPTIONS } from "../capability-options.ts";
import { type Field, fieldsOf } from "./field.ts";
import { LIMITS } from "./limits.ts";
import { SERVICE } from "./service-options.ts";

/** The policies of a service, which `defaults` may set for all. */
export const POLICY_FIELDS: readonly Field[] = [
  ...Object.entries(POLICY_GROUPS).flatMap(([group, options]) => fieldsOf(options, group)),
  ...fieldsOf(SERVICE),
];

/** What stands under the name of a server. */
export const SERVER_FIELDS: readonly Field[] = [
  ...fieldsOf(SERVER),
  ...fieldsOf(SERVER_LIMIT_OPTIONS, "limits"),
];

/** What stands around the policies. */
export const STRUCTURE_FIELDS: readonly Field[] = [
  {
    path: "defaults",
    type: "object",
    defaultText: "all defaults",
    meaning: "Policies for every service, also for services no source names.",
  },
  {
    path: "services",
    type: "object",
    defaultText: "none",
    rangeText: `at most ${LIMITS.services}`,
    meaning: "The services by name: letters, digits, `-`, `_` and `.`, or host:port.",
    nameElsewhere: "Envoy `clusters`, Gateway API's `Service` as parent of a route",
  },
  {
    path: "services.*.url",
    type: "text",
    defaultText: "none",
    rangeText: "`http://` or `https://`, without path or user",
    meaning:
      "Gives scheme and authority, and DNS discovery when `discovery` is left out. An IP address is used as it is.",
    nameElsewhere: "gRPC's target",
  },
  {
    path: "services.*.scheme",
    type: "choice",
    choices: ["http", "https"],
    defaultText: "that of `url`, else `http`",
    meaning: "Whether the connections to the endpoints use TLS.",
    noEffectWhen: "`url` says the same",
    nameElsewhere: "Envoy `transport_socket`",
  },
  {
    path: "services.*.authority",
    type: "text",
    defaultText: "that of `url`, else from `discovery`, else the service's name",
    rangeText: "host, or host:port",
    meaning: "What stands in Host and in the TLS server name.",
    nameElsewhere: "gRPC `grpc.default_authority`, Envoy `host_rewrite_literal`",
  },
  {
    path: "services.*.discovery",
    type: "object",
    defaultText: "DNS of `url`",
    rangeText: "one of `dns`, `srv`, `static`, `file`",
    meaning: "Where the endpoints come from.",
  },
  {
    path: "services.*.discovery.dns",
    type: "text",
    defaultText: "the host of `url`",
    rangeText: "a DNS name",
    meaning: "Every A and AAAA record is an endpoint.",
    nameElsewhere: "Envoy `STRICT_DNS`, gRPC `dns:///`",
  },
  {
    path: "services.*.discovery.port",
    type: "integer",
    min: 1,
    max: 65_535,
    defaultText: "the port of `url`",
    meaning: "Port of the endpoints that DNS names.",
    noEffectWhen: "`discovery.dns` is not written (it is a mistake then)",
  },
  {
    path: "services.*.discovery.srv",
    type: "text",
    defaultText: "none",
    rangeText: "`_service._protocol.name`",
    meaning: "Addresses, ports, priorities and weights from SRV records.",
  },
  {
    path: "services.*.discovery.file",
    type: "text",
    defaultText: "none",
    rangeText: "path of a `.yaml` or `.json` file, from the process's working directory",
    meaning:
      "A file with a list as under `static`, followed while the service is in use. While it is wrong or missing the last good list stays; an empty list is believed after 30 s.",
    nameElsewhere: "Envoy's EDS from a file (`path_config_source`)",
  },
  {
    path: "services.*.discovery.static",
    type: "list",
    defaultText: "none",
    rangeText: "`host:port`, `unix:/path` or an object, at least one",
    meaning: "A fixed list of endpoints.",
    nameElsewhere: "Envoy `STATIC` and `load_assignment`",
  },
  {
    path: "services.*.discovery.static[].host",
    type: "text",
    defaultText: "must be written",
    rangeText: "a DNS name, an IP address, or `unix:` and an absolute path",
    meaning: "Where the endpoint is.",
  },
  {
    path: "services.*.discovery.static[].port",
    type: "integer",
    min: 1,
    max: 65_535,
    defaultText: "must be written, except for a socket with a path",
    meaning: "Its port.",
  },
  {
    path: "services.*.discovery.static[].weight",
    type: "number",
    min: 0,
    max: LIMITS.weight,
    defaultText: "1",
    meaning: "Relative share of calls. 0 beside others: only if nothing else is available.",
    nameElsewhere: "Envoy `load_balancing_weight`",
  },
  {
    path: "services.*.discovery.static[].zone",
    type: "text",
    defaultText: "none",
    meaning: "Where it stands, for zone-aware balancing.",
    nameElsewhere: "Envoy `locality.zone`",
  },
  {
    path: "services.*.discovery.static[].uid",
    type: "text",
    defaultText: "none",
    meaning: "Identity besides the address: a recycled address starts afresh.",
  },
  {
    path: "services.*.discovery.static[].metadata",
    type: "object",
    defaultText: "none",
    rangeText: "texts by name",
    meaning: "Free labels; they never leave the process.",
  },
  ...Object.entries(ROUTES).map(([place, option]) => ({
    ...option,
    path: `services.*.routes${place}`,
    option,
  })),
  {
    path: "servers",
    type: "object",
    defaultText: "none",
    rangeText: `at most ${LIMITS.services}`,
    meaning:
      "Options of the servers of this process, by the `name` that they have in code. Code wins over it. A server without a `mesh` does not read it.",
    nameElsewhere: "Envoy `listeners`",
  },
  {
    path: "servers.*.limits",
    type: "object",
    defaultText: "all defaults",
    meaning: "What its peers may cost it.",
  },
];

export const FIELDS: readonly Field[] = [
  ...POLICY_FIELDS,
  ...STRUCTURE_FIELDS,
  ...SERVER_FIELDS.map(({ parsed: _parsed, path, ...rest }) => ({
    ...rest,
    path: `servers.*.${path}`,
  })),
];

/** What a policy is when nobody writes it. */
export function defaultOf(field: Field): unknown {
  return field.default;
}
