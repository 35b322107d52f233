/**
 * What a server lets one peer cost it: every count, size and time, with its unit in the name; core's
 * server/options.ts has them with the reason for each default. Servers we make get all of them; a server we are
 * given keeps what is stricter, and what cannot be changed is reported in `snapshot().weaker`.
 */
import { DEFAULT_HTTP_LIMITS, type HttpServerLimits } from "@inmesh/core/spi";

export type ServerLimits = HttpServerLimits;
export const DEFAULT_LIMITS: ServerLimits = DEFAULT_HTTP_LIMITS;
