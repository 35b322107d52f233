/**
 * The client under test of Connect's conformance suite: `node client.ts <way>`. Reads what to call
 * from stdin, calls it, and writes to stdout what came back; in any order.
 */
import { Client, Metadata, status } from "@grpc/grpc-js";
import type { CallOptions, ClientDuplexStream, ServiceError, StatusObject } from "@grpc/grpc-js";
import type { EventEmitter } from "node:events";
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

/** What has come back so far. Answers are data of a stream, or come to `done`. */
class Received {
  readonly result: ClientResult = { responseHeaders: [], payloads: [], responseTrailers: [] };
  readonly ended: Promise<void>;
  over = false;
  #wake: () => void = () => {};
  #ended!: () => void;

  constructor() {
    this.ended = new Promise((resolve) => (this.#ended = resolve));
  }

  done = (error: ServiceError | null, payload?: Buffer): void => {
    if (payload !== undefined) this.result.payloads.push(payload);
    if (error !== null) this.#fail(error);
  };

  watch(call: EventEmitter, streamed: boolean, onPayload: (count: number) => void): void {
    let parts = streamed ? 2 : 1;
    const part = (): void => {
      parts -= 1;
      if (parts === 0) this.#ended();
    };
    call.on("metadata", (head: Metadata) => (this.result.responseHeaders = headersOf(head)));
    call.on("status", (end: StatusObject) => {
      this.result.responseTrailers = headersOf(end.metadata);
      if (end.code !== status.OK) this.#fail(end);
      this.#over();
      part();
    });
    if (!streamed) return;
    // A stream says its end after the last answer was taken, which may be after the status.
    call.on("end", part);
    call.on("error", () => {}); // says the same as `status`
    call.on("data", (payload: Buffer) => {
      onPayload(this.result.payloads.push(payload));
      this.#wake();
    });
  }

  /** Until that many answers are there, or no more will come. */
  async wait(count: number): Promise<void> {
    while (this.result.payloads.length < count && !this.over) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #over(): void {
    this.over = true;
    this.#wake();
  }

  #fail({ code, details, metadata }: StatusObject): void {
    const [packed] = metadata.get("grpc-status-details-bin");
    const known = packed instanceof Buffer ? statusMessage.decode(packed).details : [];
    this.result.error = { code, message: details, details: known };
  }
}

async function invoke(client: Client, request: ClientRequest): Promise<ClientResult> {
  const path = `/${SERVICE}/${request.method}`;
  const metadata = metadataOf(request.requestHeaders);
  const options: CallOptions =
    request.timeoutMs === undefined ? {} : { deadline: Date.now() + request.timeoutMs };
  const { afterNumResponses, afterCloseSendMs, beforeCloseSend } = request.cancel ?? {};
  const [first = Buffer.alloc(0), ...rest] = request.requestMessages.map(({ value }) => value);

  const received = new Received();
  const { done } = received;
  const type = request.streamType;
  const call =
    type === UNARY
      ? client.makeUnaryRequest(path, raw, payloadOf, first, metadata, options, done)
      : type === CLIENT_STREAM
        ? client.makeClientStreamRequest(path, raw, payloadOf, metadata, options, done)
        : type === SERVER_STREAM
          ? client.makeServerStreamRequest(path, raw, payloadOf, first, metadata, options)
          : client.makeBidiStreamRequest(path, raw, payloadOf, metadata, options);
  const streamed = type !== UNARY && type !== CLIENT_STREAM;
  received.watch(call, streamed, (count) => {
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
  return received.result;
}

/** grpc-js can lose the end of a call; the runner would wait for it much longer. */
const CALL_TIMEOUT_MS = 10_000;
const late = async (): Promise<never> => {
  await sleep(CALL_TIMEOUT_MS, undefined, { ref: false });
  throw new Error("the call did not end");
};

/** The runner hands out all cases at once; deadlines would measure the crowd. */
const MAX_RUNNING = 12;

const { clientFor, close } = connections(process.argv[2] ?? "bare");
const running = new Set<Promise<void>>();
for await (const message of messagesOf(process.stdin)) {
  const request = clientRequest.decode(message);
  const { testName } = request;
  const one = Promise.race([invoke(clientFor(request), request), late()])
    .then((result) => clientResponse.encode({ testName, response: result }))
    .catch((error: unknown) =>
      clientResponse.encode({ testName, error: { message: String(error) } }),
    )
    .then((bytes) => void process.stdout.write(framed(bytes)));
  running.add(one);
  void one.then(() => running.delete(one));
  if (running.size >= MAX_RUNNING) await Promise.race(running);
}
await Promise.all(running);
await close();
