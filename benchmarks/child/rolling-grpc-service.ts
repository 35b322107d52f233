/** What one call of the rolling restart of gRPC servers asks for: numbers, in texts. */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

const write = (text: string): Buffer => Buffer.from(text);
const read = (bytes: Buffer): string => String(bytes);

function method(name: string, requestStream: boolean, responseStream: boolean) {
  return {
    path: `/bench.Rolling/${name}`,
    requestStream,
    responseStream,
    requestSerialize: write,
    requestDeserialize: read,
    responseSerialize: write,
    responseDeserialize: read,
  } satisfies MethodDefinition<string, string>;
}

export const ROLLING: ServiceDefinition = {
  unary: method("Unary", false, false),
  up: method("Up", true, false),
  down: method("Down", false, true),
  both: method("Both", true, true),
};

/** Messages of a stream, numbered from 0, and the time between two. */
export const MESSAGES = 8;
export const MESSAGE_EVERY_MS = 2;
