/** What other libraries call it, and the key under which it stands here. */
const OTHER_WORDS: ReadonlyMap<string, readonly [key: string, meant: string]> = new Map([
  ["retries", ["retry", "retry: { attempts }"]],
  ["timeout", ["timeouts", "timeouts: { request }"]],
  ["timeoutMs", ["timeouts", "timeouts: { requestMs }"]],
  ["endpoints", ["discovery", "discovery: { static: […] }"]],
  ["addresses", ["discovery", "discovery: { static: […] }"]],
  ["hosts", ["discovery", "discovery: { static: […] }"]],
  ["circuitBreaker", ["breaker", "breaker"]],
  ["loadBalancer", ["balancer", "balancer"]],
]);
const LIMIT = /^(?:max|min)[A-Z]/;

/** Names the key that was probably meant, for mistakes about unknown keys. */
export function unknownKeyRule(key: string, known: readonly string[]): string {
  const [under, meant] = OTHER_WORDS.get(key) ?? [];
  if (under !== undefined && known.includes(under)) {
    return `is not known; did you mean "${meant}"?`;
  }
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.floor(key.length / 2) + 1);
  for (const candidate of known) {
    const distance = editDistance(key.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  if (best !== undefined) return `is not known; did you mean "${best}"?`;
  if (LIMIT.test(key) && known.includes("limits")) {
    return `is not known; if it is a limit, it stands under limits: { ${key} }`;
  }
  return `is not known; known here: ${known.join(", ")}`;
}

/** Levenshtein, with swapped neighbours as one edit. Long keys are not worth the work. */
export function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return Infinity;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
