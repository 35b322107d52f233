/** gRPC for inmesh: any client of @grpc/grpc-js, with the powers of the mesh. */
export { meshChannel, meshGrpc, type GrpcOptions } from "./mesh-channel.ts";
export { callInfo, type CallInfo } from "./client/call-info.ts";
export type { MethodDefinitions } from "./client/method-names.ts";
export { createMesh, type MeshOptions } from "@inmesh/core";
export {
  meshGrpcServer,
  MeshGrpcServer,
  type GrpcServerOptions,
  type GrpcServerSnapshot,
} from "./server/mesh-grpc-server.ts";
export type { GrpcHealthOptions } from "./server/health.ts";
export {
  DEFAULT_GRPC_LIMITS,
  grpcServerOptions,
  type GivenGrpcLimit,
  type GrpcServerLimits,
} from "./server/limits.ts";
export type { GrpcCutReason, GrpcRefusalReason } from "./server/refusals.ts";
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
