/**
 * What we use of undici, loaded by path instead of through its index. The index costs twice the
 * import time, and it installs undici's dispatcher under a global symbol: on Node 22 that alone
 * breaks the built-in fetch (a POST with an explicit content-length). Importing inmesh must change
 * nothing global. The price: the paths are not covered by undici's semver, so its minor is pinned
 * and a test imports them (docs/decisions/0004-undici-by-path.md).
 */
import type * as Undici from "undici";
import connectByPath from "undici/lib/core/connect.js";
import PoolByPath from "undici/lib/dispatcher/pool.js";

export const Pool: typeof Undici.Pool = PoolByPath;
export const buildConnector: typeof Undici.buildConnector = connectByPath;
