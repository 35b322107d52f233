/** For applications. Transports and discovery sources use `@inmesh/core/spi`. */
export { createMesh, type Mesh } from "./mesh.ts";
export type { MeshOptions } from "./mesh-options.ts";
export {
  isMeshError,
  MeshError,
  type MeshErrorJson,
  type ErrorCode,
  type ErrorReason,
  type NoRetry,
  type Progress,
} from "./errors.ts";
export { ConfigError, type Mistake } from "./config/mistakes.ts";
export type { MeshInput, RouteInput, ServiceInput } from "./config/input.ts";
export type {
  ConfigLayer,
  ConfigReport,
  ConfigSink,
  ConfigSource,
  ConfigWatch,
  SourceMesh,
} from "./config/source.ts";
export type { Rank, SourceRank } from "./config/ranks.ts";
export type { ConfigOrigin } from "./config/store.ts";
export type { ConfigSourceSnapshot } from "./config-sources.ts";
export { context, ServedRequest, type Priority, type ServedRequestInit } from "./context.ts";
export { refusal, type Refusal, type RefusalCode, type RefusalInit } from "./server/refusals.ts";
export type { ServerEnd, ServerRequest } from "./server/served-call.ts";
export type {
  IdentityMaterial,
  IdentitySink,
  IdentitySource,
  IdentityWatch,
  PeerFacts,
} from "./tls/identity.ts";
export type { IdentitySnapshot } from "./tls/identities.ts";
export type { ServerPeer } from "./tls/peer.ts";
export type { ServerAnswer, ServerHandler, ServerLayer } from "./server/server-layer.ts";
export type { Log, LogEvent, LogLevel, LogLine } from "./log.ts";
export type {
  ConfigSnapshot,
  EndpointSnapshot,
  MeshSnapshot,
  ServiceSnapshot,
} from "./snapshot.ts";
export type {
  ConfigChange,
  DiscoveryChange,
  EndedAttempt,
  EndedCall,
  EndedRequest,
  EndpointChange,
  ObservedAttempt,
  ObservedCall,
  ObservedRequest,
  Observer,
  StartedAttempt,
} from "./observe/observer.ts";
export type { ObserversSnapshot } from "./observe/observers.ts";
export { accessLog, type AccessLogFormat, type AccessLogOptions } from "./access-log/access-log.ts";
export type { LineStream } from "./access-log/lines.ts";
export { parseTapOptions } from "./tap/parse.ts";
export type { Tap } from "./tap/taps.ts";
export type { TapOptions, TapStatus } from "./tap/options.ts";
export type {
  TapAttempt,
  TapCall,
  TapDecision,
  TapEnd,
  TapEvent,
  TapLost,
  TapPeer,
  TapRequest,
} from "./tap/event.ts";
export type { ExportedMesh, Exporter } from "./exporter.ts";
export type { StandardMetrics } from "./telemetry/standard.ts";
export type {
  Counter,
  Exemplar,
  Histogram,
  Instrument,
  Labels,
  Series,
  Telemetry,
} from "./telemetry/telemetry.ts";
