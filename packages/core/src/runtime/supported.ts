/**
 * Whether Node itself is safe to build on. Its HTTP/2, TLS and parsers stand below everything here, so
 * a weakness of theirs is one of ours. The table is data: who reads of a security release of Node
 * changes it, the day it was last compared with them (`npm run pack:check` watches its age), and the list
 * of releases in its test.
 */

/** The day on which the table below was last compared with Node's security releases. */
export const NODE_FLOORS_AS_OF = "2026-11-22";

/** By line, the first release (minor, patch) without a published weakness that concerns a mesh. */
export const NODE_FLOORS: ReadonlyMap<number, readonly [number, number]> = new Map([
  [22, [23, 5]],
  [24, [22, 3]],
  [26, [13, 1]],
]);

/** Why this version of Node should be replaced, for people; undefined: it should not. */
export function runtimeProblem(version: string): string | undefined {
  const [line = 0, minor = 0, patch = 0] = version.replace(/^v/, "").split(".").map(Number);
  const floor = NODE_FLOORS.get(line);
  if (floor === undefined) {
    if (line > Math.max(...NODE_FLOORS.keys())) return undefined; // newer than this table
    return `Node ${line} gets no security releases any more: use ${[...NODE_FLOORS.keys()].join(", ")}`;
  }
  const [leastMinor, leastPatch] = floor;
  const isBelow = minor < leastMinor || (minor === leastMinor && patch < leastPatch);
  if (!isBelow) return undefined;
  return `Node ${version} has known weaknesses: use ${line}.${leastMinor}.${leastPatch} or newer`;
}

/** The oldest Node that runs undici 8; package.json says the same under `engines`. */
const OLDEST: readonly [number, number] = [22, 19];

/**
 * Throws an Error on a Node that is too old to run at all. Without it the first call would fail with a
 * TypeError from inside undici, which says nothing about the cause.
 */
export function assertSupported(version: string = process.version): void {
  const [line = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  if (line > OLDEST[0] || (line === OLDEST[0] && minor >= OLDEST[1])) return;
  throw new Error(`inmesh needs Node ${OLDEST.join(".")} or newer, and this is Node ${version}`);
}
