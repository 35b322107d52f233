/**
 * The shape of what users write, as a zod schema: types, ranges, unknown keys. Rules that need more
 * than one place (known backends, sums of weights, inherited values) are in `parse.ts`.
 * zod is loaded at the first use, because importing inmesh must stay cheap.
 */
import { createRequire } from "node:module";
import type * as Zod from "zod";
import { unknownKeyRule } from "./did-you-mean.ts";
import { DURATION_PATTERN, formatDuration, parseDuration } from "./duration.ts";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Report } from "./plain.ts";
import {
  type Field,
  groupOf,
  LIMITS,
  millisecondNames,
  nameOf,
  POLICY_FIELDS,
  rangeOf,
  STRUCTURE_FIELDS,
} from "./fields.ts";

type Shape = Record<string, Zod.ZodType>;

/** A plain name, or host and port: what a client that was given a URL is called. */
export const SERVICE_NAME: RegExp =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** A name that is one of HTTP and of gRPC's metadata, and of nothing that every object has. */
const CHANGED_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const CHANGED_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const NO_CONTROLS = /^\P{Cc}*$/u;

let made: Zod.ZodType | undefined;
let madeEndpoints: Zod.ZodType | undefined;

/** The schema of a whole configuration. Made once, kept. */
export function configSchema(): Zod.ZodType {
  made ??= new SchemaMaker(loadZod()).config();
  return made;
}

/** The same as JSON Schema, for editors and for the tests that compare it with the table of fields. */
export function configJsonSchema(): Record<string, unknown> {
  return loadZod().toJSONSchema(configSchema(), { unrepresentable: "any", io: "input" });
}

function loadZod(): typeof Zod {
  return createRequire(import.meta.url)("zod") as typeof Zod;
}

class SchemaMaker {
  readonly #z: typeof Zod;

  constructor(z: typeof Zod) {
    this.#z = z;
  }

  config(): Zod.ZodType {
    const z = this.#z;
    const services = z.record(z.string(), this.#service(), {
      error: () => "must be an object with services by name",
    });
    const named = services.meta({
      propertyNames: { pattern: SERVICE_NAME.source },
      maxProperties: LIMITS.services,
    });
    return this.#object(
      { defaults: this.#object(this.#policies(POLICY_FIELDS)), services: named },
      "",
    );
  }

  #service(): Zod.ZodType {
    const discovery = this.#object({
      dns: this.#structure("services.*.discovery.dns"),
      srv: this.#structure("services.*.discovery.srv"),
      port: this.#structure("services.*.discovery.port"),
      static: this.endpoints().min(1, "must hold at least one endpoint"),
      file: this.#structure("services.*.discovery.file").meta({
        pattern: "\\.([yY][aA]?[mM][lL]|[jJ][sS][oO][nN])$",
      }),
    }).meta({
      oneOf: ["dns", "srv", "static", "file"].map((kind) => ({ required: [kind] })),
      dependentRequired: { port: ["dns"] },
    });
    return this.#object({
      url: this.#structure("services.*.url"),
      scheme: this.#structure("services.*.scheme"),
      authority: this.#structure("services.*.authority"),
      discovery,
      routes: this.#list(this.#route(), LIMITS.routesPerService),
      ...this.#policies(POLICY_FIELDS),
    });
  }

  /** A list of endpoints, in a configuration or in a file of its own. */
  endpoints(): Zod.ZodArray<Zod.ZodType> {
    const z = this.#z;
    const endpoint = this.#object(
      {
        host: z.string(typed("a text")),
        port: this.#structure("services.*.discovery.static[].port"),
        weight: this.#structure("services.*.discovery.static[].weight"),
        zone: this.#structure("services.*.discovery.static[].zone"),
        uid: this.#structure("services.*.discovery.static[].uid"),
        metadata: z.record(z.string(), this.#text(), typed("an object with texts")),
      },
      "host",
    ).meta({
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
    return this.#list(item, LIMITS.endpointsPerList);
  }

  #route(): Zod.ZodType {
    const z = this.#z;
    const condition = (name: Zod.ZodType): Zod.ZodType =>
      this.#object(
        {
          type: this.#structure("services.*.routes[].matches[].headers[].type"),
          name,
          value: this.#text(),
        },
        "name",
        "value",
      );
    const path = this.#object(
      { type: this.#structure("services.*.routes[].matches[].path.type"), value: this.#text() },
      "value",
    );
    const rpc = this.#object({
      service: this.#structure("services.*.routes[].matches[].method.service"),
      method: this.#structure("services.*.routes[].matches[].method.method"),
      type: this.#structure("services.*.routes[].matches[].method.type"),
    }).meta({ anyOf: [{ required: ["service"] }, { required: ["method"] }] });
    const httpMethod = z
      .string(typed("a text"))
      .regex(/^[A-Z][A-Z0-9-]{0,31}$/, "must be a method in capital letters, such as GET");
    const match = this.#object({
      method: z.union(
        [httpMethod, rpc],
        typed("an HTTP method, or an object with a gRPC service and method"),
      ),
      path,
      headers: this.#list(
        condition(z.string(typed("a text")).regex(TOKEN, "must be a header's name")),
        LIMITS.conditionsPerMatch,
      ),
      queryParams: this.#list(
        condition(this.#text().min(1, "must not be empty")),
        LIMITS.conditionsPerMatch,
      ),
    });
    const backend = this.#object(
      { name: this.#text(), weight: this.#structure("services.*.routes[].backendRefs[].weight") },
      "name",
    );
    return this.#object({
      name: z
        .string(typed("a text"))
        .regex(/^[^\s\p{Cc}]{1,100}$/u, "must be 1 to 100 characters without blanks"),
      matches: this.#list(match, LIMITS.matchesPerRoute),
      idempotent: z.boolean(typed("true or false")),
      streaming: z.boolean(typed("true or false")),
      overloadedMeansUnprocessed: z.boolean(typed("true or false")),
      filters: this.#list(this.#filter(), 2),
      backendRefs: this.#list(backend, LIMITS.backendRefsPerRoute),
      ...this.#policies(POLICY_FIELDS.filter((field) => field.route === true)),
    });
  }

  #filter(): Zod.ZodType {
    const z = this.#z;
    const name = z
      .string(typed("a text"))
      .max(LIMITS.headerNameLength, `must have at most ${LIMITS.headerNameLength} characters`)
      .regex(CHANGED_NAME, "must be a header's name: letters, digits, -, _ and .");
    const value = z
      .string(typed("a text"))
      .max(LIMITS.textLength, `must have at most ${LIMITS.textLength} characters`)
      .regex(CHANGED_VALUE, "must be printable ASCII, not empty, without a blank at either end");
    const header = this.#object({ name, value }, "name", "value");
    const modifier = this.#object({
      set: this.#list(header, LIMITS.headersPerList),
      add: this.#list(header, LIMITS.headersPerList),
      remove: this.#list(name, LIMITS.headersPerList),
    });
    const keys = ["requestHeaderModifier", "responseHeaderModifier"];
    return this.#object({
      type: this.#structure("services.*.routes[].filters[].type"),
      ...Object.fromEntries(keys.map((key) => [key, modifier])),
    }).meta({ oneOf: keys.map((key) => ({ required: [key] })) });
  }

  /** One object for each group (`timeouts`, `retry`, …), from the table of fields. */
  #policies(fields: readonly Field[]): Shape {
    const groups = new Map<string, Shape>();
    const shape: Shape = {};
    for (const field of fields) {
      const group = groupOf(field);
      const target = group === undefined ? shape : (groups.get(group) ?? {});
      if (group !== undefined) groups.set(group, target);
      target[nameOf(field)] = this.#leaf(field);
      for (const name of millisecondNames(field)) target[name] = this.#milliseconds(field);
    }
    for (const [group, inner] of groups) shape[group] = this.#object(inner);
    return shape;
  }

  #structure(path: string): Zod.ZodType {
    const field = STRUCTURE_FIELDS.find((candidate) => candidate.path === path);
    if (field === undefined) throw new TypeError(`no field ${path}`);
    return this.#leaf(field);
  }

  #leaf(field: Field): Zod.ZodType {
    return this.#typed(field).meta({ description: field.meaning });
  }

  #typed(field: Field): Zod.ZodType {
    const z = this.#z;
    switch (field.type) {
      case "duration":
        return this.#duration(field);
      case "boolean":
        return z.boolean(typed("true or false"));
      case "choice":
        return z.enum(
          [...(field.choices ?? [])],
          typed(`one of ${(field.choices ?? []).join(", ")}`),
        );
      case "integer":
        return this.#ranged(z.number(typed("a whole number")).int("must be a whole number"), field);
      case "number":
        return this.#ranged(z.number(typed("a number")), field);
      case "pem":
        return this.#pem();
      case "list": {
        const status = this.#ranged(
          z.number(typed("a status")).int("must be a whole number"),
          field,
        );
        return this.#list(status, 200);
      }
      default:
        return this.#text();
    }
  }

  #ranged(schema: Zod.ZodNumber, field: Field): Zod.ZodNumber {
    const { min = -Infinity, max = Infinity } = field;
    return schema.min(min, `must be at least ${min}`).max(max, `must be at most ${max}`);
  }

  #duration(field: Field): Zod.ZodType {
    const [inCode = ""] = millisecondNames(field);
    const wrong = `must be a duration with its unit, such as "500ms" or "1m30s" (a plain number goes under ${inCode})`;
    const schema = this.#z.string({ error: () => wrong }).check((context) => {
      const text = context.value;
      const ms = text === "none" ? Infinity : parseDuration(text);
      const message = ms === undefined ? wrong : durationRule(field, ms);
      if (message !== undefined) context.issues.push({ code: "custom", message, input: text });
    });
    // In a pattern, because a schema for editors cannot run the check.
    return schema.meta({
      pattern: field.none === true ? `${DURATION_PATTERN}|^none$` : DURATION_PATTERN,
    });
  }

  /** The form of code: a number, or Infinity. Also `none`, which JSON can say. */
  #milliseconds(field: Field): Zod.ZodType {
    const z = this.#z;
    // z.number() refuses Infinity, which is what "no timeout" is in code.
    const schema = z.custom<number | "none">(
      (value) => value === "none" || typeof value === "number",
      {
        error: () => "must be a whole number of milliseconds",
        abort: true,
      },
    );
    const checked = schema.check((context) => {
      const ms = context.value === "none" ? Infinity : context.value;
      const whole = Number.isInteger(ms) || ms === Infinity;
      const message = whole ? durationRule(field, ms) : "must be a whole number of milliseconds";
      if (message !== undefined) context.issues.push({ code: "custom", message, input: ms });
    });
    const { min = 0, max } = field;
    const number = { type: "integer", minimum: min, ...(max !== undefined && { maximum: max }) };
    return checked.meta({
      description: `${field.meaning} In milliseconds.`,
      anyOf: field.none === true ? [number, { const: "none" }] : [number],
    });
  }

  #text(): Zod.ZodString {
    return this.#z
      .string(typed("a text"))
      .max(LIMITS.textLength, `must have at most ${LIMITS.textLength} characters`)
      .regex(NO_CONTROLS, "must not hold control characters");
  }

  /** Has lines, and may be a bundle of many certificates. */
  #pem(): Zod.ZodType {
    return this.#z
      .string(typed("the path of a PEM file, or a PEM text"))
      .min(1, "must not be empty: leave it out for the default")
      .max(1_048_576, "must have at most 1 MiB");
  }

  #list(item: Zod.ZodType, max: number): Zod.ZodArray<Zod.ZodType> {
    return this.#z.array(item, typed("a list")).max(max, `must hold at most ${max} items`);
  }

  #object(shape: Shape, ...required: readonly string[]): Zod.ZodType {
    const inner: Shape = {};
    for (const [key, schema] of Object.entries(shape)) {
      inner[key] = required.includes(key) ? schema : schema.optional();
    }
    const known = Object.keys(shape).filter((key) => !key.endsWith("Ms"));
    return this.#z.strictObject(inner, {
      error: (issue) =>
        issue.code === "unrecognized_keys"
          ? issue.keys.map((key) => unknownKeyRule(key, known)).join("\n")
          : "must be an object (leave the key out to take the default)",
    });
  }
}

function durationRule(field: Field, ms: number): string | undefined {
  const { min = 0, max = Infinity } = field;
  if (ms === Infinity)
    return field.none === true ? undefined : `must be a limit: ${rangeOf(field)}`;
  if (ms < min) return `must be at least ${formatDuration(min)}`;
  if (ms > max) return `must be at most ${formatDuration(max)}`;
  return undefined;
}

function typed(what: string): { error: (issue: { input?: unknown }) => string } {
  return {
    error: (issue) => (issue.input === undefined ? `must be written: ${what}` : `must be ${what}`),
  };
}

/** Every broken rule of the shape, one by one. */
export function checkShape(input: unknown, report: Report): void {
  checkWith(configSchema(), input, report);
}

/** The same for a list of endpoints. */
export function checkEndpoints(input: unknown, report: Report): void {
  madeEndpoints ??= new SchemaMaker(loadZod()).endpoints();
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
