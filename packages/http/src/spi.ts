/**
 * `@inmesh/http/spi`: for a package that serves and forwards HTTP, such as a proxy or a gateway. The server
 * is `meshServer`; its handler makes a call of each request, and hands the reply on as it comes. Not covered
 * by semver before 1.0.
 */

/**
 * HTTP as a protocol of the mesh: `mesh.service(name, HTTP)` is what a call is made to. `Origins` finds the
 * service behind an origin such as `http://orders`, by the rules of `mesh.fetch`, and says which origins are
 * none of ours.
 */
export { HTTP } from "./client/protocol.ts";
export { Origins } from "./doors/origins.ts";
export type { HttpService, StartingService } from "./client/start.ts";

/**
 * A request, and its call. `startCall` sends it through the pipeline of its service, with the deadline, the
 * priority and the trace of the request being served, and resolves when the head of the reply is here.
 * A `WireWatcher` (`request.watcher`) learns of interim replies and upgrades.
 */
export { HttpRequest, type WireWatcher } from "./client/request.ts";
export { callOf, replyTo, startCall, type RetryWatcher } from "./client/start.ts";
export type { RequestBody } from "./client/body.ts";
export type { CallInit } from "./client/call-options.ts";

/**
 * The reply. `sendTo(sink)` delivers its body as it comes, without a stream in between, and `discard` says
 * that it is not wanted. A `BodySink` that is `paused` holds the peer back until `reply.flow()`.
 */
export { HttpReply, type BodySink, type BodySource } from "./client/reply.ts";
export type { HttpResult } from "./client/lease.ts";

/** Header fields: what is passed on of those received, and which trailers may be. */
export { forwardedFields } from "./client/forwarded.ts";
export { allowedTrailers, HttpHeaders, isAllowedTrailer, type RawHeaders } from "./headers.ts";

/** Names of fields that a mesh reads and writes, and what its servers refuse, so that a codec of one's own says the same. */
export {
  ATTEMPT,
  FINAL,
  HOPS,
  LEAVING,
  NACK,
  PRIORITY,
  REASON,
  retryAfterMs,
  TIMEOUT_MS,
} from "./headers.ts";
export { REFUSALS, type RefusalReason } from "./server/refusals.ts";
export { COUNTED, type CutReason } from "./server/cuts.ts";

/** What a status, and a method, mean for retries, breakers and metrics. */
export { classify, isCallerFault, isIdempotent } from "./client/classify.ts";
/** What a target and an authority may be made of. */
export { ABSOLUTE, IN_PATH, IN_QUERY, isHost, isTarget, TARGET_BYTES } from "./server/validate.ts";
export { ofMeshError as failureOfMeshError, type Failure } from "./client/failure.ts";

/** Dials an endpoint as the clients of the mesh do: with its TLS, its time limit, and the words for what fails. */
export { Connector, type Dialled, type OnRead, type Reported } from "./client/connector.ts";

/** What the end of an HTTP/2 stream says about the request on it. */
export {
  headTooLarge,
  isRefusal,
  streamError,
  type SessionEnd,
  type StreamEnd,
} from "./client/http2/stream-error.ts";

/** Durations under the names of OpenTelemetry's semantic conventions. */
export {
  attributesOf,
  CLIENT_DURATION,
  HTTP_1_0,
  HTTP_1_1,
  HTTP_2,
  numberOf,
  SERVER_DURATION,
} from "./standard.ts";
