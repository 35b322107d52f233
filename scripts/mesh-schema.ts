/**
 * The text of docs/reference/mesh.schema.json, for editors: the schema that the parser itself uses,
 * which takes its ranges and descriptions from the table of fields. What needs more than one place
 * (known backends, sums of weights, ranges of durations) only the parser knows.
 */
import { configJsonSchema } from "../packages/core/src/config/schema.ts";

export function meshSchema(): string {
  const { $schema, ...rest } = configJsonSchema();
  const schema = {
    $schema,
    title: "inmesh configuration",
    description: "mesh.yaml or mesh.json; see docs/reference/config.md.",
    ...rest,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}
