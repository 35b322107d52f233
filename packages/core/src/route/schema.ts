/** The shape of a route: matches, filters and destinations. Rules that need more than one place are in read.ts. */
import type * as Zod from "zod";
import { TOKEN } from "../field-names.ts";
import { LIMITS } from "../config/limits.ts";
import { type SchemaParts, typed } from "../config/schema-parts.ts";
import { ROUTES } from "./options.ts";

/** A name that is one of HTTP and of gRPC's metadata, and of nothing that every object has. */
const CHANGED_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const CHANGED_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** `policies`: those that a route may set itself. */
export function routeSchema(
  parts: SchemaParts,
  policies: Readonly<Record<string, Zod.ZodType>>,
): Zod.ZodType {
  const { z } = parts;
  const condition = (name: Zod.ZodType): Zod.ZodType =>
    parts.object(
      {
        type: parts.structure(ROUTES["[].matches[].headers[].type"]),
        name,
        value: parts.text(),
      },
      "name",
      "value",
    );
  const path = parts.object(
    { type: parts.structure(ROUTES["[].matches[].path.type"]), value: parts.text() },
    "value",
  );
  const rpc = parts
    .object({
      service: parts.structure(ROUTES["[].matches[].method.service"]),
      method: parts.structure(ROUTES["[].matches[].method.method"]),
      type: parts.structure(ROUTES["[].matches[].method.type"]),
    })
    .meta({ anyOf: [{ required: ["service"] }, { required: ["method"] }] });
  const httpMethod = z
    .string(typed("a text"))
    .regex(/^[A-Z][A-Z0-9-]{0,31}$/, "must be a method in capital letters, such as GET");
  const match = parts.object({
    method: z.union(
      [httpMethod, rpc],
      typed("an HTTP method, or an object with a gRPC service and method"),
    ),
    path,
    headers: parts.list(
      condition(z.string(typed("a text")).regex(TOKEN, "must be a header's name")),
      LIMITS.conditionsPerMatch,
    ),
    queryParams: parts.list(
      condition(parts.text().min(1, "must not be empty")),
      LIMITS.conditionsPerMatch,
    ),
  });
  const backend = parts.object(
    { name: parts.text(), weight: parts.structure(ROUTES["[].backendRefs[].weight"]) },
    "name",
  );
  return parts.object({
    name: z
      .string(typed("a text"))
      .regex(/^[^\s\p{Cc}]{1,100}$/u, "must be 1 to 100 characters without blanks"),
    matches: parts.list(match, LIMITS.matchesPerRoute),
    idempotent: z.boolean(typed("true or false")),
    streaming: z.boolean(typed("true or false")),
    overloadedMeansUnprocessed: z.boolean(typed("true or false")),
    filters: parts.list(filterSchema(parts), 2),
    backendRefs: parts.list(backend, LIMITS.backendRefsPerRoute),
    ...policies,
  });
}

function filterSchema(parts: SchemaParts): Zod.ZodType {
  const { z } = parts;
  const name = z
    .string(typed("a text"))
    .max(LIMITS.headerNameLength, `must have at most ${LIMITS.headerNameLength} characters`)
    .regex(CHANGED_NAME, "must be a header's name: letters, digits, -, _ and .");
  const value = z
    .string(typed("a text"))
    .max(LIMITS.textLength, `must have at most ${LIMITS.textLength} characters`)
    .regex(CHANGED_VALUE, "must be printable ASCII, not empty, without a blank at either end");
  const header = parts.object({ name, value }, "name", "value");
  const modifier = parts.object({
    set: parts.list(header, LIMITS.headersPerList),
    add: parts.list(header, LIMITS.headersPerList),
    remove: parts.list(name, LIMITS.headersPerList),
  });
  const keys = ["requestHeaderModifier", "responseHeaderModifier"];
  return parts
    .object({
      type: parts.structure(ROUTES["[].filters[].type"]),
      ...Object.fromEntries(keys.map((key) => [key, modifier])),
    })
    .meta({ oneOf: keys.map((key) => ({ required: [key] })) });
}
