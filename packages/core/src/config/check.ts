/** Checks data against a zod schema, and reports each broken rule with its path and value. */
import type * as Zod from "zod";
import type { PathPart } from "./mistakes.ts";
import { isRaw, type Report } from "./plain.ts";

export function checkWith(schema: Zod.ZodType, input: unknown, report: Report): void {
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
