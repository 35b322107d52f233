/**
 * The text of docs/reference/mesh.schema.json, for editors: the schema that the parser itself uses,
 * with the meanings of options from their doc comments. What needs more than one place
 * (known backends, sums of weights, ranges of durations) only the parser knows. `proxy` is that of mesh-proxy.
 */
import {
  groupOf,
  millisecondNames,
  nameOf,
  type Field,
} from "../packages/core/src/config/field.ts";
import {
  POLICY_FIELDS,
  SERVER_FIELDS,
  STRUCTURE_FIELDS,
} from "../packages/core/src/config/fields.ts";
import { configJsonSchema } from "../packages/core/src/config/schema.ts";
import { BUILT_IN_KINDS } from "../packages/core/src/discovery-kinds.ts";
import { PROXY_SECTION } from "../packages/proxy/src/serve/section.ts";
import { docOf } from "./option-docs.ts";

interface Node {
  description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: Node;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

export function meshSchema(): string {
  const { $schema, ...rest } = configJsonSchema(BUILT_IN_KINDS, [PROXY_SECTION]);
  const { defaults, services, servers } = (rest as Node).properties!;
  const service = services!.additionalProperties!;
  for (const field of POLICY_FIELDS) {
    describe(defaults!, field);
    describe(service, field);
    if (field.route === true) describe(service.properties!["routes"]!.items!, field);
  }
  for (const field of STRUCTURE_FIELDS) {
    const node = nodeAt(rest as Node, field.path);
    if (node !== undefined) node.description ??= docOf(field).meaning;
  }
  for (const field of SERVER_FIELDS) describe(servers!.additionalProperties!, field);
  const schema = {
    $schema,
    title: "inmesh configuration",
    description: "mesh.yaml or mesh.json; see docs/reference/config.md.",
    ...rest,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** Says what a policy means where it is written in this object. */
function describe(within: Node, field: Field): void {
  const { meaning } = docOf(field);
  const group = groupOf(field);
  const { properties } = group === undefined ? within : within.properties![group]!;
  properties![nameOf(field)]!.description = meaning;
  for (const name of millisecondNames(field)) {
    properties![name]!.description = `${meaning} In milliseconds.`;
  }
}

/** What stands at `services.*.routes[].name`. */
function nodeAt(root: Node, path: string): Node | undefined {
  let node: Node | undefined = root;
  for (const part of path.replaceAll("[]", ".[]").split(".")) {
    // Of a text or an object, the object has further names.
    const inner: Node | undefined = node?.anyOf?.find((one) => one.properties) ?? node;
    if (part === "*") node = inner?.additionalProperties;
    else node = part === "[]" ? inner?.items : inner?.properties?.[part];
  }
  return node;
}
