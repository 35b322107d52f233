/** The one install: everything an application needs to make calls through the mesh. */
export { meshClient, MeshClient, HttpReply, HttpHeaders, defaultMesh } from "@inmesh/http";
export type { ClientOptions, FetchInit, ReplyInfo, RequestBody, RequestInit } from "@inmesh/http";
export { ConfigError, context, createMesh, MeshError, ServedRequest } from "@inmesh/core";
export type {
  EndpointSnapshot,
  ErrorCode,
  ErrorReason,
  Mesh,
  MeshInput,
  MeshOptions,
  MeshSnapshot,
  Mistake,
  Progress,
  RouteInput,
  Series,
  Priority,
  ServedRequestInit,
  ServiceInput,
  ServiceSnapshot,
  Telemetry,
} from "@inmesh/core";
