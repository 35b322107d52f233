/**
 * What stands around the policies of services, by its place; see option.ts. What stands in a route and in a server is
 * described in their folders. In texts `{services}` is the number in limits.ts.
 */
export const STRUCTURE = {
  /**
   * Policies for every service, also for services no source names.
   * - Default: all defaults
   */
  defaults: { type: "object" },
  /**
   * The services by name: letters, digits, `-`, `_` and `.`, or host:port.
   * - Default: none
   * - Range: at most {services}
   * - Elsewhere: Envoy `clusters`, Gateway API's `Service` as parent of a route
   */
  services: { type: "object" },
  /**
   * Gives scheme and authority, and DNS discovery when `discovery` is left out. An IP address is used as it is.
   * - Default: none
   * - Range: `http://` or `https://`, without path or user
   * - Elsewhere: gRPC's target
   */
  "services.*.url": { type: "text" },
  /**
   * Whether the connections to the endpoints use TLS.
   * - Default: that of `url`, else `http`
   * - No effect when `url` says the same
   * - Elsewhere: Envoy `transport_socket`
   */
  "services.*.scheme": { type: "choice", choices: ["http", "https"] },
  /**
   * What stands in Host and in the TLS server name.
   * - Default: that of `url`, else from `discovery`, else the service's name
   * - Range: host, or host:port
   * - Elsewhere: gRPC `grpc.default_authority`, Envoy `host_rewrite_literal`
   */
  "services.*.authority": { type: "text" },
  /**
   * Where the endpoints come from.
   * - Default: DNS of `url`
   * - Range: one of `dns`, `srv`, `static`, `file`, or a kind of `createMesh({ discoveries })`
   */
  "services.*.discovery": { type: "object" },
  /**
   * The listeners of mesh-proxy; see [mesh-proxy](proxy.md). Other programs pass over it.
   * - Default: none
   * - No effect when the program is not mesh-proxy
   */
  proxy: { type: "object" },
} as const;
