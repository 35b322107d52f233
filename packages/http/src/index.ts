/** HTTP over the mesh: `meshClient(nameOrUrl).fetch(path)`. */

export { meshClient, MeshClient, type ClientOptions } from "./mesh-client.ts";
export { createMesh, defaultMesh, HttpMesh, type Installation } from "./http-mesh.ts";
export type { MeshAdmin } from "./admin/admin.ts";
export { AdminError } from "./admin/admin-error.ts";
export type { AdminListener } from "./admin/listener.ts";
export type { AdminOptions } from "./admin/options.ts";
export { HTTP } from "./client/protocol.ts";
export type { MeshDispatcher } from "./doors/any-dispatcher.ts";
export type { PublicReply as HttpReply } from "./client/public-reply.ts";
export type { ReplyInfo } from "./client/reply.ts";
export { StatusError } from "./client/status-error.ts";
export type {
  ClientHooks,
  HookedCall,
  HookedError,
  HookedReply,
  HookedRetry,
} from "./client/hooks.ts";
export type { FetchInit, QueryInput, QueryValue, RequestInit } from "./client/call-options.ts";
export { HttpHeaders } from "./headers.ts";
export type { RequestBody } from "./client/body.ts";
export { meshServer, MeshServer, type ServerOptions, type ServerSnapshot } from "./mesh-server.ts";
export type { HealthOptions } from "./server/health.ts";
export { DEFAULT_LIMITS, type ServerLimits } from "./server/limits.ts";
export type { ServerTls } from "@inmesh/core/spi";
export type { GivenLimit, NodeServer } from "./server/listeners.ts";
export type { Posture } from "@inmesh/core/spi";
export { REFUSALS, type RefusalReason } from "./server/refusals.ts";
export {
  refusal,
  type Refusal,
  type RefusalCode,
  type RefusalInit,
  type ServerAnswer,
  type ServerEnd,
  type ServerHandler,
  type ServerLayer,
  type ServerPeer,
  type ServerRequest,
} from "@inmesh/core";
