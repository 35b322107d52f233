/** Fields of a head as a tap shows them: secrets redacted, control characters escaped, bounded. */
import { isSecretName } from "../secret-names.ts";
import { shownText } from "../shown-text.ts";

export const REDACTED = "[redacted]";
/** Of a text that came from outside. */
const MAX_TEXT = 256;
const MAX_FIELDS = 100;

/** A text that came from outside, in an event. */
export function eventText(text: string): string {
  return shownText(text, MAX_TEXT);
}

/** `more`: lower-case names whose values are redacted too. */
export function shownFields(
  fields: Iterable<readonly [name: string, value: string]>,
  more: ReadonlySet<string>,
): Record<string, string> {
  const shown = new Map<string, string>();
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    const key = eventText(lower);
    const before = shown.get(key);
    if (before === undefined && shown.size === MAX_FIELDS) continue;
    if (isSecretName(lower) || more.has(lower)) shown.set(key, REDACTED);
    else shown.set(key, eventText(before === undefined ? value : `${before}, ${value}`));
  }
  return Object.fromEntries(shown);
}
