/**
 * The limits that servers of every protocol have, and the check of what an application gives. A protocol has
 * further ones (options.ts).
 */
import { unknownKeyRule } from "../config/did-you-mean.ts";
import { renderValue } from "../config/mistakes.ts";
import { defaultsOf } from "../config/field.ts";
import type { ParsedOptions } from "../option.ts";
import { GRPC_SERVER_LIMITS, HTTP_SERVER_LIMITS, SERVER_LIMITS } from "./options.ts";

export type SharedLimits = ParsedOptions<typeof SERVER_LIMITS>;
export type HttpServerLimits = SharedLimits & ParsedOptions<typeof HTTP_SERVER_LIMITS>;
export type GrpcServerLimits = SharedLimits & ParsedOptions<typeof GRPC_SERVER_LIMITS>;

const SHARED_LIMITS: SharedLimits = defaultsOf(SERVER_LIMITS);
export const DEFAULT_HTTP_LIMITS: HttpServerLimits = {
  ...SHARED_LIMITS,
  ...defaultsOf(HTTP_SERVER_LIMITS),
};
export const DEFAULT_GRPC_LIMITS: GrpcServerLimits = {
  ...SHARED_LIMITS,
  ...defaultsOf(GRPC_SERVER_LIMITS),
};

/**
 * The given over the defaults. Throws a RangeError that names every limit that is none of ours, or no
 * number from 0 up. `owner`: the function that got them, such as `meshServer`.
 */
export function limitsOver<L extends SharedLimits>(
  owner: string,
  defaults: L,
  given: Partial<L> | undefined,
): L {
  if (given === undefined) return defaults;
  const mistakes: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      mistakes.push(`limits.${name} ${unknownKeyRule(name, Object.keys(defaults))}`);
    } else if (typeof value !== "number" || !(value >= 0)) {
      mistakes.push(`limits.${name} must be a number from 0 up, is ${renderValue(value)}`);
    }
  }
  if (mistakes.length > 0) {
    throw new RangeError(mistakes.map((mistake) => `${owner}: ${mistake}`).join("\n"));
  }
  return { ...defaults, ...given };
}
