/** The service that gRPC's inputs call: bytes in, bytes out. */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

const pass = (bytes: Buffer): Buffer => bytes;

function method(
  path: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  };
}

export const BYTES_SERVICE: ServiceDefinition = {
  echo: method("/t.Bytes/Echo", false, false),
  up: method("/t.Bytes/Up", true, false),
  down: method("/t.Bytes/Down", false, true),
  both: method("/t.Bytes/Both", true, true),
};

/** A call as a handler understood it: the SHA-1 of each message. */
export interface SeenCall {
  readonly path: string;
  readonly messages: readonly string[];
  readonly whole: boolean;
}
