/**
 * One call's request: what routes ask about it, and the messages so far. Messages are kept as the
 * bytes that go out, so a further attempt sends the same again; who streams more than the buffer
 * holds gives up that possibility, not the call.
 */
import { Metadata, type ChannelOptions } from "@grpc/grpc-js";
import type { Attempt, Call, HeaderChanges, RoutedRequest, ServedRequest } from "@inmesh/core/spi";
import type { CallCredentials, WireCall, WriteContext } from "../call-types.ts";
import {
  changeMetadata,
  formatTimeout,
  HOPS,
  PREVIOUS_ATTEMPTS,
  PRIORITY,
  textOf,
  TIMEOUT,
  TRACEPARENT,
  TRACESTATE,
} from "../metadata.ts";
import type { ReplayBuffer } from "./replay-buffer.ts";
import type { Classify } from "../status.ts";

export interface Message {
  readonly bytes: Buffer;
  readonly flags: number | undefined;
  /** The writer waits for it. Called once. */
  written: WriteContext["callback"];
}

/** The attempt in progress, as far as the request and its writer ask of it. */
export interface RequestSender {
  readonly attempt: Attempt<GrpcRequest>;
  /** Messages that the connection has taken. */
  readonly written: number;
  /** grpc-js's own call, for what it alone knows. */
  readonly inner: WireCall | undefined;
  /** Sends what has been written since. */
  pump(): void;
  /** The reader waits for a message. */
  read(): void;
}

/** Options of grpc-js that a client wants of its connections. Equal ones have equal keys. */
export interface Wiring {
  readonly key: string;
  readonly options: ChannelOptions;
}

export function wiringOf(options: ChannelOptions | undefined): Wiring | undefined {
  const entries = Object.entries(options ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return undefined;
  return { key: JSON.stringify(entries), options: Object.fromEntries(entries) };
}

export class GrpcRequest implements RoutedRequest {
  /** A gRPC call is one, whatever it does. */
  readonly method = "POST";
  /** `/package.Service/Method`. */
  readonly pathname: string;
  readonly host: string | undefined;
  metadata: Metadata = new Metadata();
  credentials: CallCredentials | undefined = undefined;
  /** Undefined: connections as the mesh makes them. Writer: MeshChannel. */
  wiring: Wiring | undefined = undefined;
  /** One message comes back, if the call succeeds: head and message are the same news. */
  unary = false;
  readonly classify: Classify | undefined;
  /** What it is the request of. Writer: MeshCall. */
  call: Call<GrpcRequest> | undefined = undefined;
  /** The attempt in progress: it gets what is written from here on. */
  exchange: RequestSender | undefined = undefined;
  /** Those that run beside it, which get the same; undefined: none does. */
  #beside: RequestSender[] | undefined = undefined;
  /** The reader waits for a message. */
  reading = false;
  /** No further message follows. */
  halfClosed = false;
  readonly #buffer: ReplayBuffer;
  #kept = 0;
  /** What may still be sent, or sent again; the first of them has the number `#first`. */
  readonly #messages: Message[] = [];
  #first = 0;

  constructor(
    pathname: string,
    host: string | undefined,
    classify: Classify | undefined,
    buffer: ReplayBuffer,
  ) {
    this.pathname = pathname;
    this.host = host;
    this.classify = classify;
    this.#buffer = buffer;
  }

  header(name: string): string | undefined {
    return textOf(this.metadata, name);
  }

  queryParam(): undefined {
    return undefined;
  }

  /** Takes on the metadata, and what the next hop has to know of the request being served. */
  begin(own: Metadata, served: ServedRequest | undefined, inherits: boolean): void {
    this.metadata = own;
    if (served === undefined) return;
    const { traceparent, tracestate, priority } = served;
    if (inherits) {
      own.set(HOPS, String(served.hops + 1));
      if (priority !== "normal") own.set(PRIORITY, priority);
    }
    if (traceparent === undefined || own.get(TRACEPARENT).length > 0) return;
    own.set(TRACEPARENT, traceparent);
    if (tracestate !== undefined) own.set(TRACESTATE, tracestate);
  }

  changeHeaders(changes: HeaderChanges): void {
    changeMetadata(this.metadata, changes);
  }

  /** Writes what the next hop has to know of this attempt. grpc-js copies it when the attempt starts. */
  stamp(attempt: Attempt<GrpcRequest>, now: number): Metadata {
    const { headers, kind } = attempt;
    // What runs beside another attempt writes nothing into a head that the other may not have sent yet.
    const shared = headers === undefined && kind !== "hedge";
    const metadata = shared ? this.metadata : this.metadata.clone();
    const { deadlineAt } = attempt.call;
    if (deadlineAt !== Infinity) metadata.set(TIMEOUT, formatTimeout(deadlineAt - now));
    const { toldNumber } = attempt;
    if (toldNumber > 1) metadata.set(PREVIOUS_ATTEMPTS, String(toldNumber - 1));
    if (headers !== undefined) changeMetadata(metadata, headers);
    return metadata;
  }

  /** An attempt begins: alone, or beside those that run. */
  sentBy(exchange: RequestSender, beside: boolean): void {
    if (beside) (this.#beside ??= []).push(exchange);
    else {
      this.exchange = exchange;
      this.#beside = undefined;
    }
  }

  /** Its reply is delivered: what is written and read from here on is its alone. */
  answeredBy(exchange: RequestSender): void {
    this.exchange = exchange;
    this.#beside = undefined;
  }

  pump(): void {
    this.exchange?.pump();
    if (this.#beside !== undefined) for (const one of this.#beside) one.pump();
  }

  /** The reader waits for a message. */
  read(): void {
    this.exchange?.read();
    if (this.#beside !== undefined) for (const one of this.#beside) one.read();
  }

  /** Messages written so far. */
  get count(): number {
    return this.#first + this.#messages.length;
  }

  /** The message of that number, from 0; undefined if it is not written yet. */
  message(number: number): Message | undefined {
    return this.#messages[number - this.#first];
  }

  write(context: WriteContext, bytes: Buffer): void {
    this.#messages.push({ bytes, flags: context.flags, written: context.callback });
    if (this.call?.replayable === true) {
      const kept = this.#buffer.take(this.#kept, bytes.length);
      if (kept > 0) this.#kept += kept;
      else {
        this.#goOnWithOne();
        this.letGo();
      }
    }
    this.pump();
  }

  /** What was sent is not kept any more, so only one attempt can send the rest: the one that is farthest. */
  #goOnWithOne(): void {
    if (this.#beside === undefined) return;
    let farthest = this.exchange;
    for (const one of this.#beside) {
      if (!isRunning(farthest) || (isRunning(one) && one.written > farthest!.written))
        farthest = one;
    }
    this.exchange = farthest;
    this.#beside = undefined;
    this.call?.choose(farthest!.attempt);
  }

  /** A message has been handed to the connection: its writer may go on. */
  wrote(number: number): void {
    const message = this.message(number);
    if (message === undefined) return;
    const { written } = message;
    message.written = undefined;
    if (this.call?.replayable !== true) this.#drop(this.#sentByAll(number + 1));
    written?.();
  }

  /** There will be no further attempt: what has been sent is not needed again. */
  letGo(): void {
    if (this.call !== undefined) this.call.replayable = false;
    this.#buffer.give(this.#kept);
    this.#kept = 0;
    this.#drop(this.#sentByAll(this.exchange?.written ?? 0));
  }

  /** Messages that every running attempt has sent. `sent`: by the one that asks, which may run alone. */
  #sentByAll(sent: number): number {
    if (this.#beside === undefined) return sent;
    let least = isRunning(this.exchange) ? this.exchange!.written : Infinity;
    for (const one of this.#beside) if (isRunning(one)) least = Math.min(least, one.written);
    return Math.min(least, this.count);
  }

  #drop(end: number): void {
    const dropped = end - this.#first;
    if (dropped <= 0) return;
    if (dropped === 1) this.#messages.shift();
    else this.#messages.splice(0, dropped);
    this.#first = end;
  }

  /** The call is over. Writers that still wait are not called, as in grpc-js: they would only go on. */
  end(): void {
    this.exchange = this.#beside = undefined;
    this.letGo();
    this.#messages.length = 0;
  }
}

function isRunning(sender: RequestSender | undefined): boolean {
  return sender !== undefined && sender.attempt.outcome === undefined;
}
