/** The one install: everything an application needs to make calls through the mesh. */
export {
  createMesh,
  defaultMesh,
  HttpHeaders,
  HttpMesh,
  meshClient,
  MeshClient,
  StatusError,
} from "@inmesh/http";
export type {
  ClientHooks,
  ClientOptions,
  FetchInit,
  HttpReply,
  HookedCall,
  HookedError,
  HookedReply,
  HookedRetry,
  Installation,
  MeshDispatcher,
  QueryInput,
  ReplyInfo,
  RequestBody,
  RequestInit,
} from "@inmesh/http";
export { meshServer, MeshServer } from "@inmesh/http";
export type { Posture, ServerLimits, ServerOptions, ServerSnapshot } from "@inmesh/http";
export { ConfigError, context, isMeshError, MeshError, ServedRequest } from "@inmesh/core";
export type {
  ConfigSnapshot,
  EndpointSnapshot,
  ErrorCode,
  ErrorReason,
  Log,
  LogEvent,
  LogLine,
  Mesh,
  MeshInput,
  MeshOptions,
  MeshSnapshot,
  Mistake,
  NoRetry,
  Progress,
  RouteInput,
  Series,
  Priority,
  ServedRequestInit,
  ServiceInput,
  ServiceSnapshot,
  Telemetry,
} from "@inmesh/core";
