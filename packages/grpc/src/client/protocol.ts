/** gRPC as a protocol of the mesh: what every way in hands to `mesh.service`. */
import { grpcCallDuration, grpcCodeOfError, ServiceTls, type Protocol } from "@inmesh/core/spi";
import { GrpcConnection } from "./connection.ts";
import { FreezeWatch } from "./freeze-watch.ts";
import type { GrpcReply } from "./reply.ts";
import type { GrpcRequest } from "./request.ts";

export const GRPC: Protocol<GrpcRequest, GrpcReply> = {
  name: "grpc",
  statusOf: grpcCodeOfError,
  standard: { calls: grpcCallDuration },
  transport: (service, runtime, identities, record) => {
    const tls =
      service.scheme === "https" ? new ServiceTls(service, runtime, identities) : undefined;
    const freezes = new FreezeWatch(runtime);
    return {
      connect: (endpoint) => new GrpcConnection(endpoint, service, runtime, tls, freezes, record),
      get problem() {
        return tls?.problem;
      },
      get ready() {
        return tls?.ready;
      },
    };
  },
};
