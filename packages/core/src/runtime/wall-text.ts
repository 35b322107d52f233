/** An instant of the wall clock as text. */

/** `2000-10-10T13:55:36.000Z`, in UTC (RFC 3339). */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
