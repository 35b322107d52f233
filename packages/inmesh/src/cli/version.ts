/** What stands in package.json, which a test compares: reading it would cost each start a file. */

export const VERSION = "0.1.0";

/** `engines.node`. */
export const OLDEST_NODE: readonly [major: number, minor: number] = [22, 19];
