/** gRPC's test service as grpc-js sees it: its definition, its messages, and a client of it. */
import { makeClientConstructor, type Client, type ServiceDefinition } from "@grpc/grpc-js";
import type {
  CallOptions,
  ChannelCredentials,
  ClientDuplexStream,
  ClientOptions,
  ClientReadableStream,
  ClientUnaryCall,
  ClientWritableStream,
  Metadata,
  requestCallback,
} from "@grpc/grpc-js";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";

export interface Payload {
  readonly body?: Buffer;
}
export interface EchoStatus {
  readonly code?: number;
  readonly message?: string;
}
export interface LoadReport {
  readonly cpuUtilization?: number;
  /** `memory_utilization` in requests, `mem_utilization` in reports. */
  readonly memoryUtilization?: number;
  readonly memUtilization?: number;
  readonly requestCost?: Readonly<Record<string, number>>;
  readonly utilization?: Readonly<Record<string, number>>;
}
export interface SimpleRequest {
  readonly responseSize?: number;
  readonly payload?: Payload | null;
  readonly responseStatus?: EchoStatus | null;
  readonly orcaPerQueryReport?: LoadReport | null;
}
export interface SimpleResponse {
  readonly payload?: Payload | null;
}
export interface InputRequest {
  readonly payload?: Payload | null;
}
export interface InputResponse {
  readonly aggregatedPayloadSize?: number;
}
export interface OutputRequest {
  readonly responseParameters?: readonly { size?: number; intervalUs?: number }[];
  readonly payload?: Payload | null;
  readonly responseStatus?: EchoStatus | null;
  readonly orcaOobReport?: LoadReport | null;
}
export interface OutputResponse {
  readonly payload?: Payload | null;
}

type Unary<In, Out> = (
  request: In,
  metadata: Metadata,
  options: CallOptions,
  callback: requestCallback<Out>,
) => ClientUnaryCall;

export interface TestClient extends Client {
  emptyCall: Unary<object, object>;
  unaryCall: Unary<SimpleRequest, SimpleResponse>;
  unimplementedCall: Unary<object, object>;
  streamingInputCall(
    metadata: Metadata,
    options: CallOptions,
    callback: requestCallback<InputResponse>,
  ): ClientWritableStream<InputRequest>;
  streamingOutputCall(
    request: OutputRequest,
    metadata: Metadata,
    options: CallOptions,
  ): ClientReadableStream<OutputResponse>;
  fullDuplexCall(
    metadata: Metadata,
    options: CallOptions,
  ): ClientDuplexStream<OutputRequest, OutputResponse>;
}

export interface LoadReportRequest {
  readonly reportInterval?: { readonly seconds?: number; readonly nanos?: number } | null;
}

export interface OrcaClient extends Client {
  streamCoreMetrics(request: LoadReportRequest): ClientReadableStream<LoadReport>;
}

/** What the constructor of a client takes. */
export type ClientArguments = readonly [
  address: string,
  credentials: ChannelCredentials,
  options: ClientOptions,
];

const LOADING = { keepCase: false, longs: Number, defaults: true, oneofs: true };
const testing = loadSync(fileURLToPath(new URL("testing.proto", import.meta.url)), LOADING);
const orca = loadSync(fileURLToPath(new URL("orca.proto", import.meta.url)), LOADING);

export const TEST_SERVICE = testing["grpc.testing.TestService"] as ServiceDefinition;
const UNIMPLEMENTED_SERVICE = testing["grpc.testing.UnimplementedService"] as ServiceDefinition;
export const ORCA_SERVICE = orca["xds.service.orca.v3.OpenRcaService"] as ServiceDefinition;

const LoadReportType = orca["xds.service.orca.v3.OrcaLoadReport"] as MessageTypeDefinition<
  object,
  LoadReport
>;
export const parseLoadReport = LoadReportType.deserialize;
export const formatLoadReport = LoadReportType.serialize;

const TestConstructor = makeClientConstructor(TEST_SERVICE, "TestService");
const UnimplementedConstructor = makeClientConstructor(UNIMPLEMENTED_SERVICE, "Unimplemented");
const OrcaConstructor = makeClientConstructor(ORCA_SERVICE, "OpenRcaService");

export function testClient(args: ClientArguments): TestClient {
  return new TestConstructor(...args) as unknown as TestClient;
}

/** A client of the service that no server has; it has `unimplementedCall` only. */
export function unimplementedClient(args: ClientArguments): TestClient {
  return new UnimplementedConstructor(...args) as unknown as TestClient;
}

export function orcaClient(args: ClientArguments): OrcaClient {
  return new OrcaConstructor(...args) as unknown as OrcaClient;
}
