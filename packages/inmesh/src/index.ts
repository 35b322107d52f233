/** The one install: everything an application needs to make calls through the mesh. */
export {
  createMesh,
  defaultMesh,
  HttpHeaders,
  HttpMesh,
  meshClient,
  MeshClient,
} from "@inmesh/http";
export type {
  ClientOptions,
  FetchInit,
  HttpReply,
  Installation,
  MeshDispatcher,
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
