/**
 * Every field that a user may write: the options of the capabilities (capability-options.ts) with their
 * places, and what stands around them.
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
    rangeText: "one of `dns`, `srv`, `static`, `file`, or a kind of `createMesh({ discoveries })`",
    meaning: "Where the endpoints come from.",
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

/** What a policy is when it is not written. */
export function defaultOf(field: Field): unknown {
  return field.default;
}
