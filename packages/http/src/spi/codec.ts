/**
 * `@inmesh/http/spi/codec`: for a package that reads and writes HTTP itself, such as a proxy, and says and means the same
 * as the mesh's own clients and servers. Loads no HTTP library. Not covered by semver before 1.0.
 */

/** Names of fields that a mesh reads and writes, and what its servers refuse, so that a codec of one's own says the same. */
export {
  ATTEMPT,
  FINAL,
  HOPS,
  isAllowedTrailer,
  LEAVING,
  NACK,
  PRIORITY,
  REASON,
  retryAfterMs,
  TIMEOUT_MS,
} from "../headers.ts";
export { REFUSALS, type RefusalReason } from "../server/refusals.ts";
export { COUNTED, type CutReason } from "../server/cuts.ts";

/** What a status, and a method, mean for retries, breakers and metrics. */
export { classify, isCallerFault, isIdempotent } from "../client/classify.ts";
/** What a target and an authority may be made of. */
export { Authorities } from "../server/authorities.ts";
export { ABSOLUTE, IN_PATH, IN_QUERY, isHost, isTarget, TARGET_BYTES } from "../server/validate.ts";
export { ofMeshError as failureOfMeshError, type Failure } from "../client/failure.ts";

/** Dials an endpoint as the clients of the mesh do: with its TLS, its time limit, and the words for what fails. */
export {
  Connector,
  placeOf,
  type Dialled,
  type OnRead,
  type Reported,
} from "../client/connector.ts";

/** How long connections to an endpoint are kept, and how a pool of them ends. */
export {
  HTTP2_IDLE_MS,
  KEEP_ALIVE_MARGIN_MS,
  KEEP_ALIVE_MS,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  REMEMBER_HTTP1_MS,
  shutPool,
  STALE_MS,
} from "../client/pool-life.ts";

/** HTTP/2 connections to an endpoint, over node:http2 or over a codec of one's own. */
export {
  SessionPool,
  type PooledSession,
  type SessionOwner,
} from "../client/http2/session-pool.ts";

/** What the end of an HTTP/2 stream says about the request on it. */
export {
  headTooLarge,
  HTTP2_ERRORS,
  isRefusal,
  streamError,
  type SessionEnd,
  type StreamEnd,
} from "../client/http2/stream-error.ts";

/** Durations under the names of OpenTelemetry's semantic conventions. */
export { clientDurationOf, HTTP_1_0, HTTP_1_1, HTTP_2, serverDurationOf } from "../standard.ts";
