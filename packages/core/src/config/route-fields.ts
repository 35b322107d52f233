/** The fields of a route: its matches, its changes of headers, its destinations. See fields.ts. */
import type { Field } from "./field.ts";
import { LIMITS } from "./limits.ts";

/** Both modifiers have the same three lists. */
function modifierFields(
  key: string,
  meaning: string,
  nameElsewhere: string,
  noEffectWhen?: string,
): readonly Field[] {
  const path = `services.*.routes[].filters[].${key}`;
  const name: Omit<Field, "path"> = {
    type: "text",
    defaultText: "must be written",
    rangeText: "letters, digits, `-`, `_`, `.`; not reserved",
    meaning: "The header's name, in any case.",
  };
  const value: Omit<Field, "path"> = {
    type: "text",
    defaultText: "must be written",
    rangeText: "printable ASCII, no blank at either end",
    meaning: "Its value. Not shown in messages about mistakes.",
  };
  const list: Omit<Field, "path" | "meaning"> = {
    type: "list",
    defaultText: "none",
    rangeText: `at most ${LIMITS.headersPerList}`,
  };
  return [
    {
      path,
      type: "object",
      defaultText: "none",
      rangeText: `at least one change, at most ${LIMITS.modifierBytes} bytes of names and values, a name once in a list`,
      meaning,
      nameElsewhere,
      ...(noEffectWhen !== undefined && { noEffectWhen }),
    },
    {
      path: `${path}.set`,
      ...list,
      meaning: "Headers that take the place of those of the name, also of added ones.",
    },
    { path: `${path}.set[].name`, ...name },
    { path: `${path}.set[].value`, ...value },
    {
      path: `${path}.add`,
      ...list,
      meaning: "Headers that come behind those of the name, where it may stand more than once.",
    },
    { path: `${path}.add[].name`, ...name },
    { path: `${path}.add[].value`, ...value },
    {
      path: `${path}.remove`,
      ...list,
      meaning: "Names of headers that are taken out, also of those that are added or set.",
    },
  ];
}

export const ROUTE_FIELDS: readonly Field[] = [
  {
    path: "services.*.routes",
    type: "list",
    defaultText: "none",
    rangeText: `at most ${LIMITS.routesPerService}`,
    meaning: "Rules for some of the calls; a call that matches none takes the service's policies.",
    nameElsewhere: "Gateway API `HTTPRoute.rules`",
  },
  {
    path: "services.*.routes[].name",
    type: "text",
    defaultText: "`route-1`, `route-2`, …",
    rangeText: "unique, at most 100 characters",
    meaning: "Names the route in metrics and errors.",
  },
  {
    path: "services.*.routes[].matches",
    type: "list",
    defaultText: "everything",
    rangeText: `at most ${LIMITS.matchesPerRoute}`,
    meaning: "Any of them must hold; within one, all conditions.",
    nameElsewhere: "Gateway API `matches`",
  },
  {
    path: "services.*.routes[].matches[].method",
    type: "text",
    defaultText: "any",
    rangeText: "capital letters, or the object below",
    meaning: "As a text, the HTTP method. As an object, the gRPC service and method.",
    nameElsewhere: "Gateway API `method` of HTTPRoute, and of GRPCRoute",
  },
  {
    path: "services.*.routes[].matches[].method.service",
    type: "text",
    defaultText: "any",
    rangeText: "a full name, such as `shop.Orders`, unless an expression",
    meaning:
      "The gRPC service. Service and method are another way to write `path`, which must not stand beside them: `/service/method`, or the prefix `/service`.",
  },
  {
    path: "services.*.routes[].matches[].method.method",
    type: "text",
    defaultText: "any",
    rangeText: "a name, such as `Get`, unless an expression",
    meaning: "The gRPC method. One of the two must be written.",
  },
  {
    path: "services.*.routes[].matches[].method.type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How both are compared. An expression must match from the start to the end.",
  },
  {
    path: "services.*.routes[].matches[].path",
    type: "object",
    defaultText: "any",
    meaning: "The path, without the query.",
  },
  {
    path: "services.*.routes[].matches[].path.type",
    type: "choice",
    choices: ["Exact", "PathPrefix", "RegularExpression"],
    defaultText: "`PathPrefix`",
    meaning:
      "How the value is compared. A prefix ends at a `/`; an expression must match from the start to the end.",
  },
  {
    path: "services.*.routes[].matches[].path.value",
    type: "text",
    defaultText: "must be written",
    rangeText: "starts with `/` unless an expression",
    meaning: "The path to compare with.",
  },
  {
    path: "services.*.routes[].matches[].headers",
    type: "list",
    defaultText: "any",
    rangeText: `at most ${LIMITS.conditionsPerMatch}`,
    meaning: "Conditions on request headers.",
  },
  {
    path: "services.*.routes[].matches[].headers[].type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How the value is compared.",
  },
  {
    path: "services.*.routes[].matches[].headers[].name",
    type: "text",
    defaultText: "must be written",
    meaning: "The header's name, in any case.",
  },
  {
    path: "services.*.routes[].matches[].headers[].value",
    type: "text",
    defaultText: "must be written",
    meaning: "The value to compare with.",
  },
  {
    path: "services.*.routes[].matches[].queryParams",
    type: "list",
    defaultText: "any",
    rangeText: `at most ${LIMITS.conditionsPerMatch}`,
    meaning: "Conditions on query parameters.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].type",
    type: "choice",
    choices: ["Exact", "RegularExpression"],
    defaultText: "`Exact`",
    meaning: "How the value is compared.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].name",
    type: "text",
    defaultText: "must be written",
    meaning: "The parameter's name; case matters.",
  },
  {
    path: "services.*.routes[].matches[].queryParams[].value",
    type: "text",
    defaultText: "must be written",
    meaning: "The value to compare with.",
  },
  {
    path: "services.*.routes[].idempotent",
    type: "boolean",
    defaultText: "`false`",
    meaning: "The route's calls may be sent twice, whatever their method.",
    noEffectWhen: "`retry.attempts` is 1",
  },
  {
    path: "services.*.routes[].streaming",
    type: "boolean",
    defaultText: "`false`",
    meaning:
      "Replies stream for long: latency is the time to the head, and no inherited deadline applies.",
  },
  {
    path: "services.*.routes[].overloadedMeansUnprocessed",
    type: "boolean",
    defaultText: "`false`",
    meaning:
      "A reply that says it is overloaded proves that nothing was processed, so that any call may be sent again.",
  },
  {
    path: "services.*.routes[].filters",
    type: "list",
    defaultText: "none",
    rangeText: "at most one of each",
    meaning:
      "What the route changes in the heads of its calls and of their replies. Routes match what the caller sent; each attempt of a call sends the same, changed once.",
    nameElsewhere: "Gateway API `filters`",
  },
  {
    path: "services.*.routes[].filters[].type",
    type: "choice",
    choices: ["RequestHeaderModifier", "ResponseHeaderModifier"],
    defaultText: "that of the key beside it",
    meaning: "Says once more which of the two it is, as Gateway API does.",
  },
  ...modifierFields(
    "requestHeaderModifier",
    "Changes the headers of a request, or the metadata of a gRPC call, before it is sent.",
    "Gateway API `requestHeaderModifier`, Envoy `request_headers_to_add` and `…_to_remove`",
  ),
  ...modifierFields(
    "responseHeaderModifier",
    "Changes the headers of a reply, or the leading metadata of a gRPC reply, before the application sees it; the mesh itself reads what was received.",
    "Gateway API `responseHeaderModifier`, Envoy `response_headers_to_add` and `…_to_remove`",
    "the reply is interim (1xx) or an upgrade; trailers, and so a gRPC reply that has nothing else, stay",
  ),
  {
    path: "services.*.routes[].backendRefs",
    type: "list",
    defaultText: "the service itself",
    rangeText: `at most ${LIMITS.backendRefsPerRoute}, weights not all 0`,
    meaning: "Weighted destinations.",
    nameElsewhere: "Gateway API `backendRefs`, Envoy `weighted_clusters`",
  },
  {
    path: "services.*.routes[].backendRefs[].name",
    type: "text",
    defaultText: "must be written",
    rangeText: "a service of this configuration",
    meaning: "The destination.",
  },
  {
    path: "services.*.routes[].backendRefs[].weight",
    type: "number",
    min: 0,
    max: LIMITS.weight,
    defaultText: "1",
    meaning: "Its share of the calls.",
  },
];
