/** gRPC for inmesh: any client of @grpc/grpc-js, with the powers of the mesh. */
export { meshChannel, meshGrpc, type GrpcOptions, type MeshChannel } from "./mesh-channel.ts";
export { callInfo, type CallInfo } from "./call-info.ts";
export { createMesh, type MeshOptions } from "@inmesh/core";
