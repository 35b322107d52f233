/** For transports, discovery sources and exporters. Not covered by semver before 1.0. */
export { createMesh, Mesh, type MeshOptions, type Protocol, type Service } from "./mesh.ts";
export { Degraded, type PrivateMember } from "./degraded.ts";
export { defaultMesh, makeDefaultMeshBy, useAsDefaultMesh } from "./default-mesh.ts";
export {
  Attempt,
  Call,
  type AttemptCanceller,
  type AttemptKind,
  type AttemptListener,
  type AttemptObserved,
  type CallObserved,
  type CallRecorder,
  type EndpointRef,
  type Outcome,
  type PickRule,
  type Reply,
  type Served,
} from "./call.ts";
export { PICKED_BECAUSE } from "./balance/why.ts";
export type { Reachability } from "./running-service.ts";
export { NOT_RETRIED_BECAUSE } from "./retry/why.ts";
export type { Connection, Transport } from "./transport.ts";
export type { Handler, Layer } from "./handler.ts";
export type { HeaderChanges } from "./header-changes.ts";
export type { RoutedRequest } from "./route/facts.ts";
export type { Runtime, Timer } from "./runtime/runtime.ts";
export { Cell, type Watch } from "./watch/watch.ts";
export { endOfAge } from "./runtime/age.ts";
export { NodeRuntime } from "./runtime/node-runtime.ts";
export { assertSupported } from "./runtime/supported.ts";
export { type LeavingConnections, type ServerState } from "./server/drain.ts";
export { loadConfig, type LoadedConfig, type LoadOptions } from "./config/load.ts";
export type { DiscoveryConfig } from "./config/types.ts";
export { assertClientOptions, assertOptions, type OptionKinds } from "./config/options.ts";
export { unknownKeyRule } from "./config/did-you-mean.ts";
export { ServerCore, type SharedServerOptions } from "./server/server-core.ts";
export type { ServerPipeline, ServerProtocol } from "./server/pipeline.ts";
export {
  Refusal,
  REFUSAL_CODES,
  SHARED_REFUSALS,
  type RefusalCode,
  type SharedRefusalReason,
} from "./server/refusals.ts";
export { ServedCall, type ServerPeer } from "./server/served-call.ts";
export type { ServerAnswer, Stage } from "./server/server-layer.ts";
export {
  DEFAULT_GRPC_LIMITS,
  DEFAULT_HTTP_LIMITS,
  limitsOver,
  type GrpcServerLimits,
  type HttpServerLimits,
  type SharedLimits,
} from "./server/limits.ts";
export { ServerSettings } from "./server/settings.ts";
export { isMet } from "./server/readiness.ts";
export type { Beliefs, Posture } from "./server/posture.ts";
export { Misuse, type ConnectionUse } from "./server/misuse.ts";
export { Tally } from "./server/tally.ts";
export { Redial } from "./redial.ts";
export { StreamEnds } from "./stream-ends.ts";
export { removeStaleSocket } from "./server/stale-socket.ts";
export { destroyStream, endSocketFirst, watchSending } from "./server/socket-first.ts";
export { endStreamsFirst, watchOpen } from "./streams-first.ts";
export { CONNECTION_FIELDS, TOKEN } from "./field-names.ts";
export { isClaim } from "./claim-names.ts";
export { grantedPriority, parseCount } from "./server/claims.ts";
export { hasTraceparentShape } from "./traceparent.ts";
export { LOG_EVENTS, safeLog } from "./log.ts";
export { LimitedLog } from "./limited-log.ts";
export {
  CALLBACKS_RESTORE,
  context,
  inheritedDeadlineAt,
  inheritFrom,
  ServedRequest,
  type Priority,
  type ServedRequestInit,
} from "./context.ts";
export type { Discovery, EndpointSink, EndpointWatch } from "./discovery/discovery.ts";
export { addressOf, socketPathOf, type EndpointInfo } from "./endpoint-info.ts";
export { staticDiscovery } from "./discovery/static.ts";
export type {
  Counter,
  Histogram,
  Instrument,
  Labels,
  Series,
  Telemetry,
} from "./telemetry/telemetry.ts";
export { Observers } from "./observe/observers.ts";
export { Recorder } from "./telemetry/recorder.ts";
export { INSTRUMENTS } from "./telemetry/instruments.ts";
export type { MeshConfig, ServiceConfig, ServicePolicies } from "./config/types.ts";
export { DEFAULT_POLICIES } from "./config/defaults.ts";
export { withoutCaller } from "./no-caller.ts";
export { schemeConflict } from "./config/target.ts";
export {
  MeshError,
  ERROR_CODES,
  ERROR_REASONS,
  placed,
  type ErrorCode,
  type ErrorReason,
  type NoRetry,
  type Progress,
} from "./errors.ts";
export {
  connectError,
  exhausted,
  isConnectStrike,
  isExhaustion,
  isPeerAlert,
  protocolMismatch,
  textOfWhere,
  timeoutError,
  type Where,
} from "./connect-error.ts";
export type { TlsContext } from "./tls/context.ts";
export { TlsFiles } from "./tls/files.ts";
export { TlsFollower } from "./tls/follow.ts";
export type { TlsPem } from "./config/pem.ts";
