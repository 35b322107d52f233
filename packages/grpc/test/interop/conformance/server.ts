/**
 * The server under test of Connect's conformance suite: `node server.ts <way>`. Reads from stdin how
 * to listen, says on stdout where, and answers as each request asks until it is asked to stop.
 */
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
} from "@grpc/grpc-js";
import { setTimeout as sleep } from "node:timers/promises";
import {
  bidiStreamDefined,
  framed,
  headersOf,
  messagesOf,
  metadataOf,
  PACKAGE,
  packed,
  payloadMessage,
  requestInfo,
  response,
  SERVICE,
  serverRequest,
  serverResponse,
  serverStreamDefined,
  statusMessage,
  unaryDefined,
  type ErrorMessage,
  type PayloadMessage,
  type RequestInfo,
  type ServerRequest,
  type StreamDefined,
  type StreamDefinition,
  type UnaryDefined,
} from "./messages.ts";
import { serverWay } from "../way.ts";

/** What every kind of call has. */
interface Incoming {
  readonly metadata: Metadata;
  getDeadline(): Date | number;
}
/** A request as it came, which is echoed, and what it asks for. */
type Asked<T> = T & { readonly bytes: Buffer };
type Once = Asked<UnaryDefined>;
type Many = Asked<StreamDefined>;
type Duplex = ServerDuplexStream<Many, PayloadMessage>;

const same = (bytes: Buffer): Buffer => bytes;
const method = <T>(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
  decode: (bytes: Buffer) => T,
) => ({
  path: `/${SERVICE}/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: (bytes: Buffer) => ({ bytes, ...decode(bytes) }),
  responseSerialize: (payload: PayloadMessage) =>
    response.encode({ payload: payloadMessage.encode(payload) }),
  responseDeserialize: same,
});
const DEFINITION: ServiceDefinition = {
  Unary: method("Unary", false, false, unaryDefined.decode),
  ClientStream: method("ClientStream", true, false, unaryDefined.decode),
  ServerStream: method("ServerStream", false, true, serverStreamDefined.decode),
  BidiStream: method("BidiStream", true, true, bidiStreamDefined.decode),
};

function infoOf(call: Incoming, name: string, requests: readonly Asked<object>[]): RequestInfo {
  const typeUrl = `type.googleapis.com/${PACKAGE}.${name}Request`;
  const timeoutMs = Math.round(Number(call.getDeadline()) - Date.now());
  return {
    requestHeaders: headersOf(call.metadata),
    ...(Number.isFinite(timeoutMs) ? { timeoutMs } : {}),
    requests: requests.map(({ bytes }) => ({ typeUrl, value: bytes })),
  };
}

/** The error asked for; `info` goes into its details when no answer could carry it. */
function failure(
  { code, message = "", details }: ErrorMessage,
  trailers: Metadata,
  info?: RequestInfo,
): { code: number; details: string; metadata: Metadata } {
  const typeUrl = `type.googleapis.com/${PACKAGE}.ConformancePayload.RequestInfo`;
  const own = info && packed.encode({ typeUrl, value: requestInfo.encode(info) });
  const all = own === undefined ? details : [...details, own];
  const metadata = trailers.clone();
  const known = statusMessage.encode({ code, message, details: all });
  metadata.set("grpc-status-details-bin", known);
  return { code, details: message, metadata };
}

async function answerOnce(
  call: Incoming & { sendMetadata(metadata: Metadata): void },
  name: string,
  requests: readonly Once[],
  done: sendUnaryData<PayloadMessage>,
): Promise<void> {
  const info = infoOf(call, name, requests);
  const definition = requests[0]?.responseDefinition ?? null;
  if (definition === null) return done(null, { requestInfo: info });
  call.sendMetadata(metadataOf(definition.responseHeaders));
  const trailers = metadataOf(definition.responseTrailers);
  if (definition.responseDelayMs > 0) await sleep(definition.responseDelayMs);
  const { error, responseData } = definition;
  if (error != null) return done(failure(error, trailers, info));
  done(null, { ...(responseData && { data: responseData }), requestInfo: info }, trailers);
}

function unary(call: ServerUnaryCall<Once, PayloadMessage>, done: sendUnaryData<PayloadMessage>) {
  void answerOnce(call, "Unary", [call.request], done);
}

function clientStream(
  call: ServerReadableStream<Once, PayloadMessage>,
  done: sendUnaryData<PayloadMessage>,
): void {
  const requests: Once[] = [];
  call.on("data", (request: Once) => requests.push(request));
  call.on("end", () => void answerOnce(call, "ClientStream", requests, done));
}

async function serverStream(call: ServerWritableStream<Many, PayloadMessage>): Promise<void> {
  const { responseDefinition: definition } = call.request;
  if (definition === null) return void call.end();
  call.sendMetadata(metadataOf(definition.responseHeaders));
  await answerRest(call, definition, 0, infoOf(call, "ServerStream", [call.request]));
}

async function bidiStream(call: Duplex): Promise<void> {
  let definition: StreamDefinition | null = null;
  let seen: Many[] = [];
  let sent = 0;
  let fullDuplex: boolean | undefined;
  // Leaving the loop early must not destroy the call, which has its end still to say.
  const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<Many>;
  for await (const request of requests) {
    seen.push(request);
    if (fullDuplex === undefined) {
      // The first request says it for all.
      fullDuplex = request.fullDuplex === true;
      definition = request.responseDefinition;
      if (definition !== null) call.sendMetadata(metadataOf(definition.responseHeaders));
    }
    if (!fullDuplex) continue;
    const data = definition?.responseData[sent];
    if (definition === null || data === undefined) break;
    const info = infoOf(call, "BidiStream", seen);
    if (definition.responseDelayMs > 0) await sleep(definition.responseDelayMs);
    call.write({ data, requestInfo: sent === 0 ? info : { requests: info.requests } });
    sent += 1;
    seen = [];
  }
  if (definition === null) return void call.end();
  await answerRest(call, definition, sent, infoOf(call, "BidiStream", seen));
}

/** The answers that are left, then the end or the error. The first answer of all carries `info`. */
async function answerRest(
  call: ServerWritableStream<Many, PayloadMessage> | Duplex,
  { responseData, responseDelayMs, responseTrailers, error }: StreamDefinition,
  sent: number,
  info: RequestInfo,
): Promise<void> {
  for (const [i, data] of responseData.entries()) {
    if (i < sent) continue;
    if (responseDelayMs > 0) await sleep(responseDelayMs);
    if (call.cancelled) return;
    call.write({ data, ...(i === 0 ? { requestInfo: info } : {}) });
  }
  const trailers = metadataOf(responseTrailers);
  if (error === null) return void call.end(trailers);
  const none = sent === 0 && responseData.length === 0;
  call.emit("error", failure(error, trailers, none ? info : undefined));
}

function credentialsOf({ useTls, serverCreds, clientTlsCert }: ServerRequest): ServerCredentials {
  if (!useTls || serverCreds === null) return ServerCredentials.createInsecure();
  const { key, cert } = serverCreds;
  const pair = [{ private_key: key, cert_chain: cert }];
  const checked = clientTlsCert.length > 0;
  return ServerCredentials.createSsl(checked ? clientTlsCert : null, pair, checked);
}

/** An error here is the client's going away, and then no peer is left to be notified. */
const quietly =
  <C extends { emit(name: string, error: unknown): boolean; readonly cancelled: boolean }>(
    handle: (call: C) => Promise<void>,
  ) =>
  (call: C): void =>
    void handle(call).catch((error: unknown) => {
      if (!call.cancelled) call.emit("error", { code: status.INTERNAL, details: String(error) });
    });

for await (const message of messagesOf(process.stdin)) {
  const request = serverRequest.decode(message);
  const limit = request.messageReceiveLimit;
  const server = new Server(limit > 0 ? { "grpc.max_receive_message_length": limit } : {});
  server.addService(DEFINITION, {
    Unary: unary,
    ClientStream: clientStream,
    ServerStream: quietly(serverStream),
    BidiStream: quietly(bidiStream),
  });
  serverWay(process.argv[2] ?? "bare").wrap(server);
  server.bindAsync("127.0.0.1:0", credentialsOf(request), (error, port) => {
    if (error !== null) throw error;
    const { useTls, serverCreds } = request;
    const pemCert = useTls && serverCreds !== null ? { pemCert: serverCreds.cert } : {};
    process.stdout.write(framed(serverResponse.encode({ host: "127.0.0.1", port, ...pemCert })));
  });
  break; // one process for each server
}
process.once("SIGTERM", () => process.exit(0));
