/**
 * The server's half of gRPC's interoperability cases, on grpc-js: what gRPC's Go client expects.
 *
 * Not here: compressed answers, which a grpc-js server cannot send, and the checks that a request
 * was compressed, which it cannot see.
 */
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ORCA_SERVICE,
  TEST_SERVICE,
  formatLoadReport,
  type EchoStatus,
  type InputRequest,
  type InputResponse,
  type LoadReport,
  type LoadReportRequest,
  type OutputRequest,
  type OutputResponse,
  type SimpleRequest,
  type SimpleResponse,
} from "./testing.ts";

export function interopServer(): Server {
  const server = new Server();
  const load: Load = { report: {} };
  server.addService(ORCA_SERVICE, {
    streamCoreMetrics: (call: ServerWritableStream<LoadReportRequest, LoadReport>) =>
      streamCoreMetrics(call, load),
  });
  server.addService(TEST_SERVICE, {
    emptyCall: (_call: ServerUnaryCall<object, object>, done: sendUnaryData<object>) =>
      done(null, {}),
    unaryCall,
    streamingInputCall,
    streamingOutputCall: (call: ServerWritableStream<OutputRequest, OutputResponse>) =>
      void answer(call, call.request).then(() => call.end()),
    fullDuplexCall: (call: Duplex) => void fullDuplex(call, load),
    halfDuplexCall: (call: Duplex) => void halfDuplex(call),
  });
  return server;
}

/**
 * grpc-js's own recorders are not used: `ServerMetricRecorder` knows no memory utilization, which
 * `orca_oob` asks for, and the option for reports with answers costs 10 ms of CPU for each call, as
 * grpc-js 1.14.7 reads their definition from its files anew.
 */
interface Load {
  report: LoadReport;
}

type Duplex = ServerDuplexStream<OutputRequest, OutputResponse>;

/** Listens without TLS on a port of the system's choice. */
export function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

function unaryCall(
  call: ServerUnaryCall<SimpleRequest, SimpleResponse>,
  done: sendUnaryData<SimpleResponse>,
): void {
  const trailers = echo(call);
  const { responseStatus, responseSize, orcaPerQueryReport: report } = call.request;
  if (isError(responseStatus)) return done({ ...statusOf(responseStatus), metadata: trailers });
  if (report != null) trailers.set(LOAD_REPORT, formatLoadReport(reportOf(report)));
  done(null, { payload: { body: Buffer.alloc(responseSize ?? 0) } }, trailers);
}

function streamingInputCall(
  call: ServerReadableStream<InputRequest, InputResponse>,
  done: sendUnaryData<InputResponse>,
): void {
  let aggregatedPayloadSize = 0;
  call.on("data", (message: InputRequest) => {
    aggregatedPayloadSize += message.payload?.body?.length ?? 0;
  });
  call.on("end", () => done(null, { aggregatedPayloadSize }));
}

async function fullDuplex(call: Duplex, load: Load): Promise<void> {
  const trailers = echo(call);
  try {
    for await (const message of messagesOf(call)) {
      if (isError(message.responseStatus)) {
        call.emit("error", { ...statusOf(message.responseStatus), metadata: trailers });
        return;
      }
      if (message.orcaOobReport != null) load.report = reportOf(message.orcaOobReport);
      await answer(call, message);
    }
    call.end(trailers);
  } catch {
    // The client went away.
  }
}

async function halfDuplex(call: Duplex): Promise<void> {
  const messages: OutputRequest[] = [];
  try {
    for await (const message of messagesOf(call)) messages.push(message);
    for (const message of messages) await answer(call, message);
    call.end();
  } catch {
    // The client went away.
  }
}

/** A loop over the call itself destroys it at the end, with its status not yet sent. */
function messagesOf(call: Duplex): AsyncIterable<OutputRequest> {
  return call.iterator({ destroyOnReturn: false }) as AsyncIterable<OutputRequest>;
}

async function answer(
  call: { write(message: OutputResponse): boolean },
  request: OutputRequest,
): Promise<void> {
  for (const { size = 0, intervalUs = 0 } of request.responseParameters ?? []) {
    if (intervalUs > 0) await sleep(intervalUs / 1000);
    call.write({ payload: { body: Buffer.alloc(size) } });
  }
}

function streamCoreMetrics(
  call: ServerWritableStream<LoadReportRequest, LoadReport>,
  load: Load,
): void {
  const { seconds = 0, nanos = 0 } = call.request.reportInterval ?? {};
  const timer = setInterval(() => call.write(load.report), seconds * 1000 + nanos / 1e6);
  call.on("cancelled", () => clearInterval(timer));
}

function reportOf({ memoryUtilization, ...others }: LoadReport): LoadReport {
  return { ...others, memUtilization: memoryUtilization ?? 0 };
}

/** Sends one key back at once, and gives another for the end. */
function echo(call: {
  readonly metadata: Metadata;
  sendMetadata(metadata: Metadata): void;
}): Metadata {
  const head = new Metadata();
  const trailers = new Metadata();
  for (const value of call.metadata.get(INITIAL)) head.add(INITIAL, value);
  for (const value of call.metadata.get(TRAILING)) trailers.add(TRAILING, value);
  if (head.get(INITIAL).length > 0) call.sendMetadata(head);
  return trailers;
}

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";
const LOAD_REPORT = "endpoint-load-metrics-bin";

function isError(end: EchoStatus | null | undefined): end is EchoStatus {
  return (end?.code ?? status.OK) !== status.OK;
}

function statusOf(end: EchoStatus): { code: number; details: string } {
  return { code: end.code ?? status.OK, details: end.message ?? "" };
}
