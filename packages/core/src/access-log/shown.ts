/** Texts that came from outside, as a line shows them: escaped, and cut. */
import { shownText } from "../shown-text.ts";

const MAX_TEXT = 1_024;

export function shown(text: string): string;
export function shown(text: string | undefined): string | undefined;
export function shown(text: string | undefined): string | undefined {
  return text === undefined ? undefined : shownText(text, MAX_TEXT);
}

/** In quotes, for formats whose fields are. */
export function quoted(text: string): string {
  return `"${shown(text).replaceAll(/["\\]/g, "\\$&")}"`;
}
