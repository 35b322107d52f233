/** Numbers as tables show them: short, of one width where they stand below each other, never a guess. */

/** Where there is no number: nothing was counted, or the process does not say. */
export const NOTHING = "-";

/** `0.4ms`, `12ms`, `1.24s`, `15s`, `3m12s`, `2h05m`, `4d03h`. */
export function duration(ms: number | undefined): string {
  if (ms === undefined || Number.isNaN(ms)) return NOTHING;
  if (!Number.isFinite(ms)) return "never";
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms === 0) return "0ms";
  if (ms < 0.05) return "<0.1ms";
  if (ms < 999.5) return `${Number(ms.toFixed(ms < 9.95 ? 1 : 0))}ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${Number(seconds.toFixed(seconds < 9.995 ? 2 : 1))}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

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
