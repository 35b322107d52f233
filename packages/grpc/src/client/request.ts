/**
 * One call's request: what routes ask about it, and the messages so far. Messages are kept as the
 * bytes that go out, so a further attempt sends the same again; a call that streams more than may be kept
 * (gRFC A6) gives up that possibility, and goes on.
 */
import { Metadata, type ChannelOptions } from "@grpc/grpc-js";
import {
  formatGrpcTimeout,
  OTHER_NAME,
  ReplayBuffer,
  sampledTraceId,
  type Attempt,
  type Call,
  type HeadField,
  type HeaderChanges,
  type ReplayConsumer,
  type ReplayMemory,
  type ReplayOwner,
  type ReplayReader,
  type RoutedRequest,
  type ServedRequest,
} from "@inmesh/core/spi";
import type { CallCredentials, WireCall, WriteContext } from "../call-types.ts";
import {
  changeMetadata,
  fieldsOf,
  HOPS,
  PREVIOUS_ATTEMPTS,
  PRIORITY,
  textOf,
  TIMEOUT,
  TRACEPARENT,
  TRACESTATE,
} from "../metadata.ts";
import type { Classify } from "../status.ts";

/** gRPC's own value (gRFC A6): what a call keeps. */
const PER_CALL_BYTES = 1_048_576;

export interface Message {
  readonly bytes: Buffer;
  readonly flags: number | undefined;
  /** The writer waits for it. */
  readonly written: WriteContext["callback"];
}

/** An attempt that runs, as far as the request and its writer ask of it. */
export interface RequestSender extends ReplayConsumer {
  readonly attempt: Attempt<GrpcRequest>;
  /** Where it is in the messages: those that its connection has taken. */
  readonly place: ReplayReader<Message, RequestSender>;
  /** grpc-js's own call, for what it alone knows. */
  readonly inner: WireCall | undefined;
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

export class GrpcRequest implements RoutedRequest, ReplayOwner<Message, RequestSender> {
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
  /** For metrics: `package.Service/Method` if that is known to be one. Writer: MeshChannel. */
  methodName: string = OTHER_NAME;
  /** What it is the request of. Writer: MeshCall. */
  call: Call<GrpcRequest> | undefined = undefined;
  /** The attempt in progress; of several side by side the first, until one is chosen. */
  exchange: RequestSender | undefined = undefined;
  /** The reader waits for a message. */
  reading = false;
  /** No further message follows. */
  halfClosed = false;
  /** What the attempts that run send, and further ones send again. */
  readonly messages: ReplayBuffer<Message, RequestSender>;

  constructor(
    pathname: string,
    host: string | undefined,
    classify: Classify | undefined,
    memory: ReplayMemory,
  ) {
    this.pathname = pathname;
    this.host = host;
    this.classify = classify;
    this.messages = new ReplayBuffer(this, memory, PER_CALL_BYTES);
  }

  header(name: string): string | undefined {
    return textOf(this.metadata, name);
  }

  queryParam(): undefined {
    return undefined;
  }

  /** The sampled trace that the application has put it into; undefined: none. */
  get traceId(): string | undefined {
    return sampledTraceId(textOf(this.metadata, TRACEPARENT));
  }

  get queryText(): string {
    return "";
  }

  fields(): HeadField[] {
    return fieldsOf(this.metadata);
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

  setTrace(traceparent: string): void {
    this.metadata.set(TRACEPARENT, traceparent);
  }

  /** Writes what the next hop has to know of this attempt. grpc-js copies it when the attempt starts. */
  stamp(attempt: Attempt<GrpcRequest>, now: number): Metadata {
    const { headers, kind } = attempt;
    // What runs beside another attempt writes nothing into a head that the other may not have sent yet.
    const shared = headers === undefined && kind !== "hedge";
    const metadata = shared ? this.metadata : this.metadata.clone();
    const { deadlineAt } = attempt.call;
    if (deadlineAt !== Infinity) metadata.set(TIMEOUT, formatGrpcTimeout(deadlineAt - now));
    const { announcedNumber } = attempt;
    if (announcedNumber > 1) metadata.set(PREVIOUS_ATTEMPTS, String(announcedNumber - 1));
    if (headers !== undefined) changeMetadata(metadata, headers);
    return metadata;
  }

  /** An attempt begins, alone or beside those that run: its way through the messages. */
  sentBy(exchange: RequestSender, beside: boolean): RequestSender["place"] {
    if (!beside) this.exchange = exchange;
    const place = this.messages.read(exchange);
    // The messages have overflowed while no attempt ran: this one has them, and no other one can.
    if (!this.messages.replayable && place.state === "open") this.call?.choose(exchange.attempt);
    return place;
  }

  /** Its reply is delivered. */
  answeredBy(exchange: RequestSender): void {
    this.exchange = exchange;
  }

  /** There will be no further attempt: what the one that was answered has sent is not needed again. */
  letGo(): void {
    if (this.call !== undefined) this.call.replayable = false;
    this.messages.commit(this.exchange?.place);
  }

  /** The reader waits for a message. */
  read(): void {
    for (const { consumer } of this.messages.readers) consumer.read();
  }

  write(context: WriteContext, bytes: Buffer): void {
    this.messages.write({ bytes, flags: context.flags, written: context.callback });
  }

  /** The call is over. Writers that still wait are not called, as in grpc-js: they would only go on. */
  end(): void {
    this.letGo();
    this.messages.close();
    this.exchange = undefined;
  }

  // ── what the buffer of messages asks ─────────────────────────────────────────────────────────

  bytesOf({ bytes }: Message): number {
    return bytes.length;
  }

  taken({ written }: Message): void {
    written?.();
  }

  /** What was sent is not kept any more, so only one attempt can send the rest. */
  overflowed(last: RequestSender["place"] | undefined): void {
    const { call } = this;
    if (call === undefined) return;
    call.replayable = false;
    if (last !== undefined) call.choose(last.consumer.attempt);
  }
}
