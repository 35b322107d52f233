/** gRPC as a protocol of the mesh: what every way in hands to `mesh.service`. */
import {
  grpcCallDuration,
  grpcCodeOfError,
  transportWithTls,
  type Protocol,
} from "@inmesh/core/spi";
import { GrpcConnection } from "./connection.ts";
import { FreezeWatch } from "./freeze-watch.ts";
import type { GrpcReply } from "./reply.ts";
import type { GrpcRequest } from "./request.ts";

export const GRPC: Protocol<GrpcRequest, GrpcReply> = {
  name: "grpc",
  statusOf: grpcCodeOfError,
  standard: { calls: grpcCallDuration },
  transport: (service, runtime, identities, record) => {
    const freezes = new FreezeWatch(runtime);
    return transportWithTls(
      service,
      runtime,
      identities,
      (endpoint, tls) => new GrpcConnection(endpoint, service, runtime, tls, freezes, record),
    );
  },
};
