/** The service of the gRPC benchmark: bytes in, bytes out, so that no serialiser is measured. */
import { type MethodDefinition, type ServiceDefinition } from "@grpc/grpc-js";

const pass = (bytes: Buffer): Buffer => bytes;

function method(path: string, requestStream: boolean, responseStream: boolean) {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  } satisfies MethodDefinition<Buffer, Buffer>;
}

export const BYTES: ServiceDefinition = {
  echo: method("/bench.Bytes/Echo", false, false),
  up: method("/bench.Bytes/Up", true, false),
  down: method("/bench.Bytes/Down", false, true),
};

/** Bytes of a message of the streams. */
export const MESSAGE_BYTES = 1_024;
