/** Text that came from outside, as people are shown it: control characters escaped, and cut. */
import { escapeText } from "./config/mistakes.ts";

/** At most `maxLength` characters; what was cut ends in `…`. */
export function shownText(text: string, maxLength: number): string {
  // Escaping makes texts longer, so what is cut away is cut before and after it.
  const escaped = escapeText(text.length > maxLength ? text.slice(0, maxLength + 1) : text);
  return escaped.length > maxLength ? `${escaped.slice(0, maxLength - 1)}…` : escaped;
}
