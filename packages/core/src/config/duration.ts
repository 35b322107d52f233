/**
 * Durations as people write them: `500ms`, `2s`, `1h30m` (Gateway API's GEP-2257). Inside the mesh
 * a duration is a whole number of milliseconds, and Infinity where the text is `none`.
 */
const SHAPE = /^(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}$/;
/** For schemas: what `parseDuration` reads. */
export const DURATION_PATTERN: string = SHAPE.source;
const PART = /([0-9]{1,5})(h|ms|m|s)/g;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Milliseconds, or undefined if the text is no duration. `none` is left to the caller. */
export function parseDuration(text: string): number | undefined {
  if (!SHAPE.test(text)) return undefined;
  let total = 0;
  for (const [, digits, unit] of text.matchAll(PART)) {
    total += Number(digits) * (UNIT_MS[unit ?? ""] ?? 0);
  }
  return total;
}

/** The shortest text that `parseDuration` reads back; `none` for Infinity. */
export function formatDuration(ms: number): string {
  if (ms === Infinity) return "none";
  let rest = Math.round(ms);
  let text = "";
  for (const [unit, size] of Object.entries(UNIT_MS)) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === "" ? "0s" : text;
}
