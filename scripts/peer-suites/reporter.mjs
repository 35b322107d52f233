/** A reporter for `node --test`: one JSON line for each test that has ended, `{ file, name, ok }`. */
import { relative } from "node:path";

export default async function* lines(source) {
  const path = [];
  for await (const { type, data } of source) {
    if (type === "test:start") path[data.nesting] = data.name;
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.skip !== undefined || data.todo !== undefined) continue;
    const name = [...path.slice(0, data.nesting), data.name].join(" > ");
    const file = data.file === undefined ? "" : relative(process.cwd(), data.file);
    // One that failed for the tests in it alone is no difference of its own.
    const ofOthers = data.details?.error?.failureType === "subtestsFailed";
    const error = type === "test:fail" ? data.details?.error : undefined;
    const why = String(error?.cause?.message ?? error?.message ?? "").split("\n")[0];
    yield `${JSON.stringify({ file, name, ok: type === "test:pass" || ofOthers, why })}\n`;
  }
}
