/** A gRPC service whose messages are texts, with a call of each of the four kinds. */
import * as grpc from "@grpc/grpc-js";

const text = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => String(bytes),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => String(bytes),
};

const kind = (
  path: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<string, string> => ({ path, requestStream, responseStream, ...text });

export const TEXT_SERVICE: Readonly<
  Record<"unary" | "collect" | "expand" | "chat", grpc.MethodDefinition<string, string>>
> = {
  unary: kind("/t.T/Unary", false, false),
  collect: kind("/t.T/Collect", true, false),
  expand: kind("/t.T/Expand", false, true),
  chat: kind("/t.T/Chat", true, true),
};

export const TextClient: grpc.ServiceClientConstructor = grpc.makeGenericClientConstructor(
  TEXT_SERVICE,
  "T",
);
