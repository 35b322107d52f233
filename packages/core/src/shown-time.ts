/** Lengths of time as people are shown them, in logs, in answers and by the command line: in one form. */

/** `0.4ms`, `12ms`, `1.24s`, `15s`, `3m12s`, `2h05m`, `4d03h`; `-` where there is none, `never` for Infinity. */
export function duration(ms: number | undefined): string {
  if (ms === undefined || Number.isNaN(ms)) return "-";
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
