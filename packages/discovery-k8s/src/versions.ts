/** Resource versions. Since Kubernetes 1.35 they are comparable decimals (KEP-5504), and etcd's have always been. */

const DECIMAL = /^(0|[1-9]\d{0,38})$/;

/**
 * Negative: `a` is older than `b`; 0: the same; positive: newer. Undefined: they cannot be compared, because one of
 * them is no decimal number.
 */
export function compareVersions(a: string, b: string): number | undefined {
  if (a === b) return 0;
  if (!DECIMAL.test(a) || !DECIMAL.test(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

export function isOlder(a: string, b: string): boolean {
  const order = compareVersions(a, b);
  return order !== undefined && order < 0;
}
