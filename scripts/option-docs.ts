/**
 * What the doc comments in the `options.ts` files of the capabilities say of each option. In the sources it is
 * a comment, so that editors show it and no process has it in memory.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseSync } from "oxc-parser";
import type { Field } from "../packages/core/src/config/field.ts";
import { LIMITS } from "../packages/core/src/config/limits.ts";

const root: string = join(import.meta.dirname, "..");

export interface OptionDoc {
  readonly meaning: string;
  readonly defaultText: string | undefined;
  readonly range: string | undefined;
  readonly reason: string | undefined;
  readonly noEffectWhen: string | undefined;
  readonly nameElsewhere: string | undefined;
}

const DOCS: ReadonlyMap<object, OptionDoc> = await readDocs();

/** Throws an Error for an option without a doc comment. */
export function docOf(field: Field): OptionDoc {
  const { option, meaning, defaultText, rangeText: range, noEffectWhen, nameElsewhere } = field;
  if (option === undefined) {
    return {
      meaning: meaning!,
      defaultText,
      range,
      reason: undefined,
      noEffectWhen,
      nameElsewhere,
    };
  }
  const doc = DOCS.get(option);
  if (doc === undefined) throw new Error(`${field.path}: no doc comment in its options.ts`);
  return doc;
}

/** By the object that describes the option, which is found by the name of its export and its own. */
async function readDocs(): Promise<Map<object, OptionDoc>> {
  const docs = new Map<object, OptionDoc>();
  for (const file of globSync("packages/core/src/**/{*-,}options.ts", { cwd: root }).sort()) {
    const path = join(root, file);
    const exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
    const text = readFileSync(path, "utf8");
    const { program, comments } = parseSync(file, text);
    for (const statement of program.body) {
      if (statement.type !== "ExportNamedDeclaration") continue;
      if (statement.declaration?.type !== "VariableDeclaration") continue;
      for (const { id, init } of statement.declaration.declarations) {
        const literal = init?.type === "TSAsExpression" ? init.expression : undefined;
        if (id.type !== "Identifier" || literal?.type !== "ObjectExpression") continue;
        const options = exported[id.name] as Readonly<Record<string, object>>;
        for (const property of literal.properties) {
          if (property.type !== "Property") continue;
          const { key } = property;
          const name =
            key.type === "Identifier" ? key.name : key.type === "Literal" ? key.value : "";
          const end = text.slice(0, property.start).trimEnd().length;
          const comment = comments.find((one) => one.end === end);
          if (comment !== undefined) docs.set(options[String(name)]!, readDoc(comment.value));
        }
      }
    }
  }
  return docs;
}

function readDoc(comment: string): OptionDoc {
  const [meaning = "", ...items] = comment
    .split("\n")
    .map((line) => line.replace(/^\s*\*+ ?/, "").trimEnd())
    .join("\n")
    .trim()
    .split(/^- /m)
    .map((part) => part.trim().replaceAll(/\s+/g, " "));
  const item = (start: string): string | undefined =>
    items.find((one) => one.startsWith(start))?.slice(start.length);
  return {
    meaning,
    defaultText: item("Default: "),
    range: item("Range: ")?.replaceAll(
      /\{(\w+)\}/g,
      (_, name: keyof typeof LIMITS) => `${LIMITS[name]}`,
    ),
    reason: item("Reason: "),
    noEffectWhen: item("No effect when "),
    nameElsewhere: item("Elsewhere: "),
  };
}
