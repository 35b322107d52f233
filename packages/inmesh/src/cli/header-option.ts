/** What `-H 'x-user: 7'` says, as curl reads it. */
import { UsageFailure } from "./failure.ts";

/** By lower-case name; values without space around them. Throws a `UsageFailure` with all that is wrong. */
export function headersIn(texts: readonly string[]): Record<string, string> {
  const mistakes: string[] = [];
  const headers: [string, string][] = [];
  for (const text of texts) {
    const at = text.indexOf(":");
    const name = text.slice(0, Math.max(0, at)).trim().toLowerCase();
    if (/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) headers.push([name, text.slice(at + 1).trim()]);
    else {
      mistakes.push(
        `-H must be the name of a field, a colon and its value, such as 'x-user: 7' (got ${JSON.stringify(text)})`,
      );
    }
  }
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  return Object.fromEntries(headers);
}
