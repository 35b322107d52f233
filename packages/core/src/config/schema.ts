/**
 * The shape of what users write, as a zod schema: types, ranges, unknown keys. Rules that need more
 * than one place (known backends, sums of weights, inherited values) are in `parse.ts`.
 */
import type * as Zod from "zod";
import { POLICY_FIELDS, SERVER_FIELDS } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Report } from "./plain.ts";
import { routeSchema } from "./route-schema.ts";
import { loadZod, SchemaParts, typed } from "./schema-parts.ts";

/** A plain name, or host and port: what a client that was given a URL is called. */
export const SERVICE_NAME: RegExp =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;

let made: Zod.ZodType | undefined;
let madeEndpoints: Zod.ZodType | undefined;

/** The schema of a whole configuration. Made once, kept. */
export function configSchema(): Zod.ZodType {
  made ??= wholeSchema(new SchemaParts(loadZod()));
  return made;
}

/** The same as JSON Schema, for editors and for the tests that compare it with the table of fields. */
export function configJsonSchema(): Record<string, unknown> {
  return loadZod().toJSONSchema(configSchema(), { unrepresentable: "any", io: "input" });
}

function wholeSchema(parts: SchemaParts): Zod.ZodType {
  const { z } = parts;
  const services = z.record(z.string(), serviceSchema(parts), {
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
    { defaults: parts.object(parts.policies(POLICY_FIELDS)), services: named, servers },
    "",
  );
}

function serviceSchema(parts: SchemaParts): Zod.ZodType {
  const discovery = parts
    .object({
      dns: parts.structure("services.*.discovery.dns"),
      srv: parts.structure("services.*.discovery.srv"),
      port: parts.structure("services.*.discovery.port"),
      static: endpointsSchema(parts).min(1, "must hold at least one endpoint"),
      file: parts.structure("services.*.discovery.file").meta({
        pattern: "\\.([yY][aA]?[mM][lL]|[jJ][sS][oO][nN])$",
      }),
    })
    .meta({
      oneOf: ["dns", "srv", "static", "file"].map((kind) => ({ required: [kind] })),
      dependentRequired: { port: ["dns"] },
    });
  return parts.object({
    url: parts.structure("services.*.url"),
    scheme: parts.structure("services.*.scheme"),
    authority: parts.structure("services.*.authority"),
    discovery,
    routes: parts.list(routeSchema(parts), LIMITS.routesPerService),
    ...parts.policies(POLICY_FIELDS),
  });
}

/** A list of endpoints, in a configuration or in a file of its own. */
function endpointsSchema(parts: SchemaParts): Zod.ZodArray<Zod.ZodType> {
  const { z } = parts;
  const endpoint = parts
    .object(
      {
        host: z.string(typed("a text")),
        port: parts.structure("services.*.discovery.static[].port"),
        weight: parts.structure("services.*.discovery.static[].weight"),
        zone: parts.structure("services.*.discovery.static[].zone"),
        uid: parts.structure("services.*.discovery.static[].uid"),
        metadata: z.record(z.string(), parts.text(), typed("an object with texts")),
      },
      "host",
    )
    .meta({
      // A port or a socket, not both.
      oneOf: [
        { required: ["port"] },
        { properties: { host: { type: "string", pattern: "^unix:" } } },
      ],
    });
  const item = z.union(
    [z.string(), endpoint],
    typed("host:port, unix:/path, or an object with host and port"),
  );
  return parts.list(item, LIMITS.endpointsPerList);
}

/** Every broken rule of the shape, one by one. */
export function checkShape(input: unknown, report: Report): void {
  checkWith(configSchema(), input, report);
}

/** The same for a list of endpoints. */
export function checkEndpoints(input: unknown, report: Report): void {
  madeEndpoints ??= endpointsSchema(new SchemaParts(loadZod()));
  checkWith(madeEndpoints, input, report);
}

function checkWith(schema: Zod.ZodType, input: unknown, report: Report): void {
  const result = schema.safeParse(input);
  if (!result.success) reportIssues(result.error.issues, [], input, report);
}

function reportIssues(
  issues: readonly Zod.core.$ZodIssue[],
  at: readonly PathPart[],
  input: unknown,
  report: Report,
): void {
  for (const issue of issues) {
    const path = [
      ...at,
      ...issue.path.map((part) => (typeof part === "number" ? part : String(part))),
    ];
    if (issue.code === "unrecognized_keys") {
      const rules = issue.message.split("\n");
      for (const [index, key] of issue.keys.entries()) {
        report([...path, key], rules[index] ?? "is not known", valueAt(input, [...path, key]));
      }
    } else if (issue.code === "invalid_union" && isRaw(valueAt(input, path))) {
      // Of "a text or an object" only the second can have been meant.
      reportIssues(issue.errors.at(-1) ?? [], path, input, report);
    } else {
      report(path, issue.message, valueAt(input, path));
    }
  }
}

function valueAt(input: unknown, path: readonly PathPart[]): unknown {
  let value = input;
  for (const part of path) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, part) : undefined;
  }
  return value;
}
