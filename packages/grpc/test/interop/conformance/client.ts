/**
 * The client under test of Connect's conformance suite: `node client.ts <way>`. Reads what to call
 * from stdin, calls it, and writes to stdout what came back; in any order.
 */
import { Client, Metadata, status } from "@grpc/grpc-js";
import type { CallOptions, ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import { setTimeout as sleep } from "node:timers/promises";
import { connections } from "./connections.ts";
import {
  clientRequest,
  clientResponse,
  framed,
  headersOf,
  messagesOf,
  metadataOf,
  response,
  SERVICE,
  statusMessage,
  type ClientRequest,
  type ClientResult,
} from "./messages.ts";

const UNARY = 1;
const CLIENT_STREAM = 2;
const SERVER_STREAM = 3;
const FULL_DUPLEX = 5;

type Call = ClientDuplexStream<Buffer, Buffer>;

/** A request travels as the bytes we were given; of an answer we need its payload. */
const raw = (bytes: Buffer): Buffer => bytes;
const payloadOf = (bytes: Buffer): Buffer => response.decode(bytes).payload;

/** What has come back so far. */
class Received {
  readonly result: ClientResult = { responseHeaders: [], payloads: [], responseTrailers: [] };
  readonly ended: Promise<void>;
  over = false;
  #wake: () => void = () => {};

  constructor(call: NodeJS.EventEmitter, onPayload: (count: number) => void) {
    call.on("error", () => {}); // says the same as `status`
    call.on("metadata", (head: Metadata) => (this.result.responseHeaders = headersOf(head)));
    call.on("data", (payload: Buffer) => {
      onPayload(this.result.payloads.push(payload));
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      call.on("status", (end: StatusObject) => {
        this.over = true;
        this.result.responseTrailers = headersOf(end.metadata);
        if (end.code !== status.OK) this.result.error = errorOf(end);
        this.#wake();
        resolve();
      });
    });
  }

  /** Until that many answers are there, or no more will come. */
  async wait(count: number): Promise<void> {
    while (this.result.payloads.length < count && !this.over) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function errorOf(end: StatusObject): NonNullable<ClientResult["error"]> {
  const [details] = end.metadata.get("grpc-status-details-bin");
  const known = details instanceof Buffer ? statusMessage.decode(details).details : [];
  return { code: end.code, message: end.details, details: known };
}

async function invoke(client: Client, request: ClientRequest): Promise<ClientResult> {
  const path = `/${SERVICE}/${request.method}`;
  const metadata = metadataOf(request.requestHeaders);
  const options: CallOptions =
    request.timeoutMs === undefined ? {} : { deadline: Date.now() + request.timeoutMs };
  const { afterNumResponses, afterCloseSendMs, beforeCloseSend } = request.cancel ?? {};
  const [first = Buffer.alloc(0), ...rest] = request.requestMessages.map(({ value }) => value);

  // Unary answers come to a callback, not as data; they are made to look alike.
  let answered: Buffer | undefined;
  const done = (_error: unknown, value?: Buffer): void => void (answered = value);
  const type = request.streamType;
  const call =
    type === UNARY
      ? client.makeUnaryRequest(path, raw, payloadOf, first, metadata, options, done)
      : type === CLIENT_STREAM
        ? client.makeClientStreamRequest(path, raw, payloadOf, metadata, options, done)
        : type === SERVER_STREAM
          ? client.makeServerStreamRequest(path, raw, payloadOf, first, metadata, options)
          : client.makeBidiStreamRequest(path, raw, payloadOf, metadata, options);
  const received = new Received(call, (count) => {
    if (count === afterNumResponses) call.cancel();
  });

  if (type !== UNARY && type !== SERVER_STREAM) {
    const stream = call as Call;
    const messages = request.requestMessages.length === 0 ? [] : [first, ...rest];
    for (const [i, message] of messages.entries()) {
      if (request.requestDelayMs > 0) await sleep(request.requestDelayMs);
      if (received.over) break;
      stream.write(message);
      if (type === FULL_DUPLEX) await received.wait(i + 1);
    }
    if (beforeCloseSend != null) call.cancel();
    stream.end();
  }
  if (afterCloseSendMs !== undefined) {
    await Promise.race([sleep(afterCloseSendMs), received.ended]);
    call.cancel();
  }
  await received.ended;
  // The callback comes in the same turn as the status, before or after it.
  await new Promise(setImmediate);
  if (answered !== undefined) received.result.payloads.push(answered);
  return received.result;
}

const { clientFor, close } = connections(process.argv[2] ?? "bare");
const running = new Set<Promise<void>>();
for await (const message of messagesOf(process.stdin)) {
  const request = clientRequest.decode(message);
  const { testName } = request;
  const one = invoke(clientFor(request), request)
    .then((result) => clientResponse.encode({ testName, response: result }))
    .catch((error: unknown) =>
      clientResponse.encode({ testName, error: { message: String(error) } }),
    )
    .then((bytes) => void process.stdout.write(framed(bytes)));
  running.add(one);
  void one.then(() => running.delete(one));
}
await Promise.all(running);
await close();
