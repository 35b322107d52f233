/**
 * The shape of what users write, as a zod schema: types, ranges, unknown keys. Rules that need more
 * than one place (known backends, sums of weights, inherited values) are in `parse.ts`.
 */
import type * as Zod from "zod";
import { routeSchema } from "../capability-schemas.ts";
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";
import { discoverySchema, fieldsSchema } from "./discovery-schema.ts";
import { POLICY_FIELDS, ROUTE_FIELDS, SERVER_FIELDS } from "./fields.ts";
import type { WrittenKind } from "./kind.ts";
import { LIMITS } from "./limits.ts";
import { loadZod, SchemaParts } from "./schema-parts.ts";
import { type ConfigSection, type Known, NO_SECTIONS, OF_OTHER_PROGRAMS } from "./section.ts";
import { STRUCTURE } from "./structure-options.ts";

/** A plain name, or host and port: what a client that was given a URL is called. */
export const SERVICE_NAME: RegExp =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

type MadeFor = WeakMap<readonly ConfigSection[], Zod.ZodType>;
const made = new WeakMap<readonly WrittenKind[], MadeFor>();

/** The schema of a whole configuration. Made once for each pair of lists, and kept with them. */
export function configSchema({ kinds, sections = NO_SECTIONS }: Known): Zod.ZodType {
  let ofKinds = made.get(kinds);
  if (ofKinds === undefined) made.set(kinds, (ofKinds = new WeakMap()));
  let schema = ofKinds.get(sections);
  if (schema === undefined) {
    ofKinds.set(sections, (schema = wholeSchema(new SchemaParts(loadZod()), kinds, sections)));
  }
  return schema;
}

/** The same as JSON Schema, for editors and for the tests that compare it with the table of fields. */
export function configJsonSchema(
  kinds: readonly WrittenKind[] = BUILT_IN_KINDS,
  sections: readonly ConfigSection[] = NO_SECTIONS,
): Record<string, unknown> {
  const schema = configSchema({ kinds, sections });
  return loadZod().toJSONSchema(schema, { unrepresentable: "any", io: "input" });
}

function wholeSchema(
  parts: SchemaParts,
  kinds: readonly WrittenKind[],
  sections: readonly ConfigSection[],
): Zod.ZodType {
  const { z } = parts;
  const services = z.record(z.string(), serviceSchema(parts, kinds), {
    error: () => "must be an object with services by name",
  });
  const named = services.meta({
    propertyNames: { pattern: SERVICE_NAME.source },
    maxProperties: LIMITS.services,
  });
  const servers = z
    .record(z.string(), parts.object(parts.policies(SERVER_FIELDS)), {
      error: () => "must be an object with servers by name",
    })
    .meta({ propertyNames: { pattern: SERVICE_NAME.source }, maxProperties: LIMITS.services });
  return parts.object(
    {
      defaults: parts.object(parts.policies(POLICY_FIELDS)),
      services: named,
      servers,
      ...sectionShapes(parts, sections),
    },
    "",
  );
}

/** Here and not in section.ts, whose types applications read: older compilers refuse the declarations of zod. */
function sectionShapes(
  parts: SchemaParts,
  sections: readonly ConfigSection[],
): Record<string, Zod.ZodType> {
  const shape: Record<string, Zod.ZodType> = {};
  for (const name of OF_OTHER_PROGRAMS) shape[name] = parts.z.unknown();
  for (const { name, fields } of sections) shape[name] = fieldsSchema(parts, fields);
  return shape;
}

function serviceSchema(parts: SchemaParts, kinds: readonly WrittenKind[]): Zod.ZodType {
  const routes = routeSchema(parts, parts.policies(ROUTE_FIELDS));
  return parts.object({
    url: parts.structure(STRUCTURE["services.*.url"]),
    scheme: parts.structure(STRUCTURE["services.*.scheme"]),
    authority: parts.structure(STRUCTURE["services.*.authority"]),
    discovery: discoverySchema(parts, kinds),
    routes: parts.list(routes, LIMITS.routesPerService),
    ...parts.policies(POLICY_FIELDS),
  });
}
