/**
 * Numbers as tables show them: short, of one width where they stand below each other, never a guess. Lengths of time are
 * written by `duration` of `@inmesh/core/inspect`, as the process itself writes them.
 */

/** Where there is no number: nothing was counted, or the process does not say. */
export const NOTHING = "-";

/** A part of 1: `99.98%`. Only what is all is `100.00%`, and only what is nothing `0.00%`. */
export function percent(ratio: number | undefined): string {
  if (ratio === undefined || !Number.isFinite(ratio)) return NOTHING;
  const hundredths = Math.round(ratio * 10_000);
  if (hundredths === 10_000 && ratio < 1) return "99.99%";
  if (hundredths === 0 && ratio > 0) return "0.01%";
  return `${(hundredths / 100).toFixed(2)}%`;
}

/** For each second: `412.0rps`. */
export function rate(perSecond: number | undefined): string {
  if (perSecond === undefined || !Number.isFinite(perSecond)) return NOTHING;
  if (perSecond > 0 && perSecond < 0.05) return "<0.1rps";
  return `${perSecond.toFixed(1)}rps`;
}

/** `1.02`. */
export function decimal(value: number | undefined, digits = 2): string {
  if (value === undefined || !Number.isFinite(value)) return NOTHING;
  return value.toFixed(digits);
}

/** A part of 1 that somebody chose or that only gives a picture: `70%`, `33.3%`. */
export function share(ratio: number | undefined): string {
  if (ratio === undefined || !Number.isFinite(ratio)) return NOTHING;
  if (ratio > 0 && ratio < 0.001) return "<0.1%";
  return `${Number((ratio * 100).toFixed(1))}%`;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `2s`, `1m30s` in milliseconds; undefined if it is no duration with its unit. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) {
    sum += Number(amount) * UNITS[unit!]!;
  }
  return sum;
}

export function counted(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? "" : "s"}`;
}
