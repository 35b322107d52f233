/** The messages of the conformance suite, and the way they come and go: each after its length. */
import { Metadata } from "@grpc/grpc-js";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";

export const PACKAGE = "connectrpc.conformance.v1";
export const SERVICE: string = `${PACKAGE}.ConformanceService`;

export interface Header {
  readonly name: string;
  readonly value: readonly string[];
}
export interface Packed {
  readonly typeUrl: string;
  readonly value: Buffer;
}
export interface TlsCredentials {
  readonly cert: Buffer;
  readonly key: Buffer;
}
export interface Cancel {
  readonly beforeCloseSend?: object;
  readonly afterCloseSendMs?: number;
  readonly afterNumResponses?: number;
}
export interface ClientRequest {
  readonly testName: string;
  readonly compression: number;
  readonly host: string;
  readonly port: number;
  readonly serverTlsCert: Buffer;
  readonly clientTlsCreds: TlsCredentials | null;
  readonly messageReceiveLimit: number;
  readonly method?: string;
  readonly streamType: number;
  readonly requestHeaders: readonly Header[];
  readonly requestMessages: readonly Packed[];
  readonly timeoutMs?: number;
  readonly requestDelayMs: number;
  readonly cancel: Cancel | null;
}
export interface ErrorMessage {
  readonly code: number;
  readonly message?: string;
  readonly details: readonly Buffer[];
}
export interface ClientResult {
  responseHeaders: Header[];
  payloads: Buffer[];
  error?: ErrorMessage;
  responseTrailers: Header[];
}
export interface ClientResponse {
  readonly testName: string;
  readonly response?: ClientResult;
  readonly error?: { readonly message: string };
}
export interface ServerRequest {
  readonly useTls: boolean;
  readonly clientTlsCert: Buffer;
  readonly messageReceiveLimit: number;
  readonly serverCreds: TlsCredentials | null;
}
export interface ServerResponse {
  readonly host: string;
  readonly port: number;
  readonly pemCert?: Buffer;
}
export interface UnaryDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseData?: Buffer;
  readonly error?: ErrorMessage;
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}
export interface StreamDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseData: readonly Buffer[];
  readonly error: ErrorMessage | null;
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}
export interface UnaryDefined {
  readonly responseDefinition: UnaryDefinition | null;
}
export interface StreamDefined {
  readonly responseDefinition: StreamDefinition | null;
  readonly fullDuplex?: boolean;
}
export interface RequestInfo {
  readonly requestHeaders?: readonly Header[];
  readonly timeoutMs?: number;
  readonly requests: readonly Packed[];
}
export interface PayloadMessage {
  readonly data?: Buffer;
  readonly requestInfo?: RequestInfo;
}

const file = fileURLToPath(new URL("conformance.proto", import.meta.url));
const loaded = loadSync(file, {
  longs: Number,
  defaults: true,
  arrays: true,
  oneofs: false,
});

interface Codec<T> {
  encode(value: T): Buffer;
  decode(bytes: Buffer): T;
}

function codec<T>(name: string): Codec<T> {
  const type = loaded[`${PACKAGE}.${name}`] as unknown as MessageTypeDefinition<object, object>;
  return {
    encode: (value) => type.serialize(value as object),
    decode: (bytes) => type.deserialize(bytes) as T,
  };
}

export const clientRequest: Codec<ClientRequest> = codec("ClientCompatRequest");
export const clientResponse: Codec<ClientResponse> = codec("ClientCompatResponse");
export const serverRequest: Codec<ServerRequest> = codec("ServerCompatRequest");
export const serverResponse: Codec<ServerResponse> = codec("ServerCompatResponse");
export const statusMessage: Codec<ErrorMessage> = codec("Status");
export const unaryDefined: Codec<UnaryDefined> = codec("UnaryDefined");
export const serverStreamDefined: Codec<StreamDefined> = codec("ServerStreamDefined");
export const bidiStreamDefined: Codec<StreamDefined> = codec("BidiStreamDefined");
export const payloadMessage: Codec<PayloadMessage> = codec("ConformancePayload");
export const requestInfo: Codec<RequestInfo> = codec("RequestInfo");
export const packed: Codec<Packed> = codec("Packed");
export const response: Codec<{ readonly payload: Buffer }> = codec("Response");

/** The messages of a stream, each after four bytes of length. */
export async function* messagesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of input) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4) {
      const end = 4 + rest.readUInt32BE(0);
      if (rest.length < end) break;
      yield rest.subarray(4, end);
      rest = rest.subarray(end);
    }
  }
}

export function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(message.length);
  return Buffer.concat([head, message]);
}

/** Binary values travel in these messages as unpadded base64. */
export function metadataOf(headers: readonly Header[]): Metadata {
  const metadata = new Metadata();
  for (const { name, value } of headers) {
    for (const one of value) {
      const binary = name.toLowerCase().endsWith("-bin");
      metadata.add(name, binary ? Buffer.from(one, "base64") : one);
    }
  }
  return metadata;
}

export function headersOf(metadata: Metadata): Header[] {
  return Object.keys(metadata.getMap()).map((name) => ({
    name,
    value: metadata
      .get(name)
      .map((one) => (typeof one === "string" ? one : one.toString("base64").replaceAll("=", ""))),
  }));
}
