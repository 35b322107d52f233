/**
 * Regular expressions from configuration, matched in time linear in the text. A person who may write a
 * route must not be able to stall the event loop with `(a+)+$`, so the backtracking engine of the
 * language is out of the question; this is RE2 syntax (no look-around, no back references).
 *
 * An expression must match the **whole** text: the Gateway API leaves this open, and like most of
 * its implementations we anchor. `/v1` does not match `/v1/x`, `/v1/.*` does. `.` does not match a
 * line break and case counts, unless the expression starts with `(?s)` or `(?i)`.
 */
import type * as Re2 from "re2js";
import { loadRe2 } from "../lazy.cjs";
import { messageOf } from "../errors.ts";

export interface SafeRegExp {
  /** Whether all of `text` matches. */
  test(text: string): boolean;
}

const maxSourceChars = 1024;
/**
 * Work for a text is at most its length times this. Counted repetitions multiply (`.{1000}` is a
 * thousand instructions), so a short source alone bounds little.
 */
const maxProgramSize = 4096;

let library: typeof Re2 | undefined;

/** Throws an Error that names the expression and what is wrong with it. */
export function compileSafeRegExp(source: string): SafeRegExp {
  if (source.length > maxSourceChars) {
    throw new Error(
      `regular expression is too long: ${source.length} characters, at most ${maxSourceChars}`,
    );
  }
  // Loaded with the first expression: most meshes have none, and the engine is not small.
  library ??= loadRe2() as typeof Re2;
  let compiled: Re2.RE2JS;
  try {
    compiled = library.RE2JS.compile(source);
  } catch (cause) {
    const reason = messageOf(cause);
    const detail = reason.replace(/^error parsing regexp: /, "");
    throw new Error(`invalid regular expression ${JSON.stringify(source)}: ${detail}`, { cause });
  }
  const size = compiled.programSize();
  if (size > maxProgramSize) {
    throw new Error(
      `regular expression ${JSON.stringify(source)} is too complex: ` +
        `${size} instructions, at most ${maxProgramSize}`,
    );
  }
  return { test: (text) => compiled.testExact(text) };
}
