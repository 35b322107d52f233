/**
 * `@inmesh/core/spi/server`: for a package that serves a protocol, with the limits, the context and the
 * drain of the other servers. Not covered by semver before 1.0.
 */

// What every server has once, and the order of everything that happens to a request.
export {
  type CountedReasons,
  ServerCore,
  SHARED_SERVER_OPTIONS,
  type SharedServerOptions,
  type SharedServerSnapshot,
} from "../server/server-core.ts";
export type { Speaks } from "../server/announcing.ts";
export type { ServerPipeline, ServerProtocol } from "../server/pipeline.ts";
export type { ServerAnswer, Stage } from "../server/server-layer.ts";
export { ServedCall } from "../server/served-call.ts";
export type { HeadField } from "../route/facts.ts";
export {
  Refusal,
  REFUSAL_CODES,
  SHARED_REFUSALS,
  type RefusalCode,
  type SharedRefusalReason,
} from "../server/refusals.ts";

// The request being served, as its handler and the calls that it makes see it.
export {
  CALLBACKS_RESTORE,
  context,
  runServed,
  ServedRequest,
  type Priority,
  type ServedRequestInit,
} from "../context.ts";
export { ConnectionPeer, type ServerPeer } from "../tls/peer.ts";
export { ServerIdentity, type ServerTls } from "../tls/server-identity.ts";
export type { Trust, Posture } from "../server/posture.ts";
export { grantedPriority, parseCount } from "../server/claims.ts";
export { isClaim } from "../claim-names.ts";
export { hasTraceparentShape, isTraceparent, sampledTraceId } from "../traceparent.ts";
export { isInstrumented } from "../observe/instrumented.ts";

// Where the connections of a server are reported.
export { measureConnections, type ServedConnectionEvents } from "../server/served-connections.ts";
export type { CloseTrigger, ConnectionRecord, Spoken } from "../telemetry/connections.ts";

// Limits, what a connection has misused, and the end of a server.
export {
  DEFAULT_GRPC_LIMITS,
  DEFAULT_HTTP_LIMITS,
  limitsOver,
  type GrpcServerLimits,
  type HttpServerLimits,
  type SharedLimits,
} from "../server/limits.ts";
export { ServerSettings } from "../server/settings.ts";
export { calmDown, Misuse, type ConnectionUse } from "../server/misuse.ts";
export { Tally } from "../server/tally.ts";
export { isMet } from "../server/readiness.ts";
export { type LeavingConnections, type ServerState } from "../server/drain.ts";
export { removeStaleSocket } from "../server/stale-socket.ts";
export { destroyStream, endSocketFirst, watchSending } from "../server/socket-first.ts";

// Lines of the log.
export { LOG_EVENTS, safeLog } from "../log.ts";
export { LimitedLog, linesAbout } from "../limited-log.ts";
export { promised } from "../promised.ts";

// Private members of Node and of libraries.
export { Degraded, type PrivateMember } from "../degraded.ts";
