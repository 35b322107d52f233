/**
 * What stands in a route, by its place in the list `routes`; see option.ts. Here are the kinds and the texts, in
 * schema.ts the shape, in read.ts the rules. In texts `{routesPerService}` is the number in config/limits.ts.
 */
export const ROUTES = {
  /**
   * Rules for some of the calls; a call that matches none takes the service's policies.
   * - Default: none
   * - Range: at most {routesPerService}
   * - Elsewhere: Gateway API `HTTPRoute.rules`
   */
  "": { type: "list" },
  /**
   * Names the route in metrics and errors.
   * - Default: `route-1`, `route-2`, …
   * - Range: unique, at most 100 characters
   */
  "[].name": { type: "text" },
  /**
   * Any of them must hold; within one, all conditions.
   * - Default: everything
   * - Range: at most {matchesPerRoute}
   * - Elsewhere: Gateway API `matches`
   */
  "[].matches": { type: "list" },
  /**
   * As a text, the HTTP method. As an object, the gRPC service and method.
   * - Default: any
   * - Range: capital letters, or the object below
   * - Elsewhere: Gateway API `method` of HTTPRoute, and of GRPCRoute
   */
  "[].matches[].method": { type: "text" },
  /**
   * The gRPC service. Service and method are another way to write `path`, which must not stand
   * beside them: `/service/method`, or the prefix `/service`.
   * - Default: any
   * - Range: a full name, such as `shop.Orders`, unless an expression
   */
  "[].matches[].method.service": { type: "text" },
  /**
   * The gRPC method. One of the two must be written.
   * - Default: any
   * - Range: a name, such as `Get`, unless an expression
   */
  "[].matches[].method.method": { type: "text" },
  /**
   * How both are compared. An expression must match from the start to the end.
   * - Default: `Exact`
   */
  "[].matches[].method.type": { type: "choice", choices: ["Exact", "RegularExpression"] },
  /**
   * The path, without the query.
   * - Default: any
   */
  "[].matches[].path": { type: "object" },
  /**
   * How the value is compared. A prefix ends at a `/`; an expression must match from the start
   * to the end.
   * - Default: `PathPrefix`
   */
  "[].matches[].path.type": {
    type: "choice",
    choices: ["Exact", "PathPrefix", "RegularExpression"],
  },
  /**
   * The path to compare with.
   * - Default: must be written
   * - Range: starts with `/` unless an expression
   */
  "[].matches[].path.value": { type: "text" },
  /**
   * Conditions on request headers.
   * - Default: any
   * - Range: at most {conditionsPerMatch}
   */
  "[].matches[].headers": { type: "list" },
  /**
   * How the value is compared.
   * - Default: `Exact`
   */
  "[].matches[].headers[].type": { type: "choice", choices: ["Exact", "RegularExpression"] },
  /**
   * The header's name, in any case.
   * - Default: must be written
   */
  "[].matches[].headers[].name": { type: "text" },
  /**
   * The value to compare with.
   * - Default: must be written
   */
  "[].matches[].headers[].value": { type: "text" },
  /**
   * Conditions on query parameters.
   * - Default: any
   * - Range: at most {conditionsPerMatch}
   */
  "[].matches[].queryParams": { type: "list" },
  /**
   * How the value is compared.
   * - Default: `Exact`
   */
  "[].matches[].queryParams[].type": { type: "choice", choices: ["Exact", "RegularExpression"] },
  /**
   * The parameter's name; case matters.
   * - Default: must be written
   */
  "[].matches[].queryParams[].name": { type: "text" },
  /**
   * The value to compare with.
   * - Default: must be written
   */
  "[].matches[].queryParams[].value": { type: "text" },
  /**
   * The route's calls may be sent twice, whatever their method.
   * - Default: `false`
   * - No effect when `retry.attempts` is 1
   */
  "[].idempotent": { type: "boolean" },
  /**
   * Replies stream for long: latency is the time to the head, and no inherited deadline
   * applies.
   * - Default: `false`
   */
  "[].streaming": { type: "boolean" },
  /**
   * A reply that says it is overloaded proves that nothing was processed, so that any call may
   * be sent again.
   * - Default: `false`
   */
  "[].overloadedMeansUnprocessed": { type: "boolean" },
  /**
   * What the route changes in the heads of its calls and of their replies. Routes match what
   * the caller sent; each attempt of a call sends the same, changed once.
   * - Default: none
   * - Range: at most one of each
   * - Elsewhere: Gateway API `filters`
   */
  "[].filters": { type: "list" },
  /**
   * Says once more which of the two it is, as Gateway API does.
   * - Default: that of the key beside it
   */
  "[].filters[].type": {
    type: "choice",
    choices: ["RequestHeaderModifier", "ResponseHeaderModifier"],
  },
  /**
   * Changes the headers of a request, or the metadata of a gRPC call, before it is sent.
   * - Default: none
   * - Range: at least one change, at most {modifierBytes} bytes of names and values, a name
   *   once in a list
   * - Elsewhere: Gateway API `requestHeaderModifier`, Envoy `request_headers_to_add` and
   *   `…_to_remove`
   */
  "[].filters[].requestHeaderModifier": { type: "object" },
  /**
   * Headers that take the place of those of the name, also of added ones.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].requestHeaderModifier.set": { type: "list" },
  /**
   * The header's name, in any case.
   * - Default: must be written
   * - Range: letters, digits, `-`, `_`, `.`; not reserved
   */
  "[].filters[].requestHeaderModifier.set[].name": { type: "text" },
  /**
   * Its value. Not shown in messages about mistakes.
   * - Default: must be written
   * - Range: printable ASCII, no blank at either end
   */
  "[].filters[].requestHeaderModifier.set[].value": { type: "text" },
  /**
   * Headers that come behind those of the name, where it may stand more than once.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].requestHeaderModifier.add": { type: "list" },
  /**
   * The header's name, in any case.
   * - Default: must be written
   * - Range: letters, digits, `-`, `_`, `.`; not reserved
   */
  "[].filters[].requestHeaderModifier.add[].name": { type: "text" },
  /**
   * Its value. Not shown in messages about mistakes.
   * - Default: must be written
   * - Range: printable ASCII, no blank at either end
   */
  "[].filters[].requestHeaderModifier.add[].value": { type: "text" },
  /**
   * Names of headers that are taken out, also of those that are added or set.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].requestHeaderModifier.remove": { type: "list" },
  /**
   * Changes the headers of a reply, or the leading metadata of a gRPC reply, before the
   * application sees it; the mesh itself reads what was received.
   * - Default: none
   * - Range: at least one change, at most {modifierBytes} bytes of names and values, a name
   *   once in a list
   * - No effect when the reply is interim (1xx) or an upgrade; trailers, and so a gRPC reply
   *   that has nothing else, stay
   * - Elsewhere: Gateway API `responseHeaderModifier`, Envoy `response_headers_to_add` and
   *   `…_to_remove`
   */
  "[].filters[].responseHeaderModifier": { type: "object" },
  /**
   * Headers that take the place of those of the name, also of added ones.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].responseHeaderModifier.set": { type: "list" },
  /**
   * The header's name, in any case.
   * - Default: must be written
   * - Range: letters, digits, `-`, `_`, `.`; not reserved
   */
  "[].filters[].responseHeaderModifier.set[].name": { type: "text" },
  /**
   * Its value. Not shown in messages about mistakes.
   * - Default: must be written
   * - Range: printable ASCII, no blank at either end
   */
  "[].filters[].responseHeaderModifier.set[].value": { type: "text" },
  /**
   * Headers that come behind those of the name, where it may stand more than once.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].responseHeaderModifier.add": { type: "list" },
  /**
   * The header's name, in any case.
   * - Default: must be written
   * - Range: letters, digits, `-`, `_`, `.`; not reserved
   */
  "[].filters[].responseHeaderModifier.add[].name": { type: "text" },
  /**
   * Its value. Not shown in messages about mistakes.
   * - Default: must be written
   * - Range: printable ASCII, no blank at either end
   */
  "[].filters[].responseHeaderModifier.add[].value": { type: "text" },
  /**
   * Names of headers that are taken out, also of those that are added or set.
   * - Default: none
   * - Range: at most {headersPerList}
   */
  "[].filters[].responseHeaderModifier.remove": { type: "list" },
  /**
   * Weighted destinations.
   * - Default: the service itself
   * - Range: at most {backendRefsPerRoute}, weights not all 0
   * - Elsewhere: Gateway API `backendRefs`, Envoy `weighted_clusters`
   */
  "[].backendRefs": { type: "list" },
  /**
   * The destination.
   * - Default: must be written
   * - Range: a service of this configuration
   */
  "[].backendRefs[].name": { type: "text" },
  /**
   * Its share of the calls.
   * - Default: 1
   */
  "[].backendRefs[].weight": { type: "number", min: 0, max: 2_147_483_648 },
} as const;
