/** Full jitter: `min(maxMs, baseMs · 2^retry) · u`. The cap comes before the jitter, and the first pause has jitter too. */
export function backoffMs(retry: number, baseMs: number, maxMs: number, u: number): number {
  return Math.min(maxMs, baseMs * 2 ** retry) * u;
}
