/**
 * A request that is forwarded. The codec of its client makes one for each, and gives it to the listener's
 * pipeline. It is the request served of core's server half and the request of a call of its client half, so
 * that one object answers for both what routes, layers, observers and metrics ask.
 */
import {
  httpCodeOfGrpc,
  OTHER_NAME,
  ServedCall,
  type Call,
  type HeadField,
  type HeaderChanges,
  type Outcome,
  type Refusal,
  type RoutedRequest,
  type ServerPeer,
  type Trust,
} from "@inmesh/core/spi";
import { classify } from "@inmesh/http/spi/codec";
import type { RequestBody } from "./body.ts";
import { Field, KIND, kindOf } from "./fields.ts";
import type { GrpcMethods } from "./grpc-methods.ts";
import { CANCELLED, UNAVAILABLE, UNKNOWN } from "./grpc-status.ts";
import type { ReplySink } from "./halves.ts";
import type { RequestHead } from "./message.ts";

/** The connection that it came by. */
export interface ClientConnection {
  readonly trust: Trust;
  readonly peer: ServerPeer;
}

/** Where its reply comes from, as its sink sees it. */
export interface ReplySource {
  /** The sink takes more again. Without effect where nothing waits. */
  resume(): void;
  /** The rest is not wanted. */
  abandon(): void;
}

/** The listener that serves it. */
export interface RequestOwner {
  readonly name: string;
  /** Its requests go to an application that the client means by its own authority. Else the service's is sent. */
  readonly keepsAuthority: boolean;
  /** The name by which it adds itself to the `via` of what it passes on; undefined: it does not. */
  readonly via: string | undefined;
  /** The codec has finished with it. */
  ended(request: ProxyRequest): void;
}

export class ProxyRequest extends ServedCall implements RoutedRequest {
  readonly head: RequestHead;
  /** Undefined: it has none. A request that would upgrade has one, for the bytes that follow the 101. */
  readonly body: RequestBody | undefined;
  readonly sink: ReplySink;
  readonly connection: ClientConnection;
  /** `1.0`, `1.1` or `2`. */
  readonly httpVersion: string;
  readonly owner: RequestOwner;
  /** What the codec found wrong with its head. */
  readonly refusal: Refusal | undefined;
  /** Undefined before it has one. Writer: forward. */
  call: Call<ProxyRequest> | undefined = undefined;
  /** Of the reply that is being sent. Writer: forward. */
  exchange: ReplySource | undefined = undefined;
  /** Its client reads replies of gRPC, which only HTTP/2 can carry. */
  readonly isGrpc: boolean;
  /** Of gRPC, those of its service; undefined before it has one. Writer: forward. */
  methods: GrpcMethods | undefined = undefined;
  /** Status of HTTP of the reply; 0: nothing was sent. Writer: forward. */
  sentStatus = 0;
  /** That of gRPC; undefined: nothing has said one. Writers: forward, exchange. */
  sentGrpcStatus: number | undefined = undefined;
  /** What that says. Writer: exchange. */
  sentOutcome: Outcome | undefined = undefined;
  /** It says when to come again. Writer: forward. */
  sentRetryAfter = false;
  /** All of the reply was given to the codec. Writers: forward, exchange. */
  isReplied = false;
  /** What its route has added to its head. */
  #addedBytes = 0;
  /** The reply broke off, and its server is at fault. Writers: exchange, codecs that answer with the error instead. */
  isBroken = false;

  constructor(
    head: RequestHead,
    body: RequestBody | undefined,
    sink: ReplySink,
    connection: ClientConnection,
    httpVersion: string,
    owner: RequestOwner,
    refusal: Refusal | undefined,
  ) {
    super();
    this.head = head;
    this.body = body;
    this.sink = sink;
    this.connection = connection;
    this.httpVersion = httpVersion;
    this.isGrpc = httpVersion === "2" && head.isGrpc;
    this.owner = owner;
    this.refusal = refusal;
    this.remainingMs = head.remainingMs;
    this.headBytes = head.headBytes;
    this.attempt = head.attempt;
    this.hops = head.hops;
    this.priority = head.priority;
    this.rawTraceparent = head.rawTraceparent;
    this.rawTracestate = head.rawTracestate;
    this.traceId = head.traceId;
    this.untrustedDeadline = !connection.trust.deadlineIsOurs;
  }

  /** The codec: the last byte of the reply is out, or the client has gone. Without effect from the second time on. */
  finish(): void {
    const { observed, body } = this;
    if (observed !== undefined && body !== undefined) {
      observed.receivedBytes = body.whole?.length ?? body.writtenBytes;
    }
    this.owner.ended(this);
  }

  override get replied(): boolean {
    return this.isReplied;
  }

  // ── what both halves ask ─────────────────────────────────────────────────────────────────────

  get service(): string {
    return this.owner.name;
  }

  get protocol(): string {
    return this.isGrpc ? "grpc" : "http";
  }

  get route(): string {
    return this.isGrpc && this.methodName !== OTHER_NAME ? this.path : "default";
  }

  /** Of gRPC, for metrics: a closed set. */
  get methodName(): string {
    return this.methods?.nameOf(this.path) ?? OTHER_NAME;
  }

  get method(): string {
    return this.head.method;
  }

  get path(): string {
    return this.head.path;
  }

  get pathname(): string {
    return this.path;
  }

  get query(): string {
    const { target } = this.head;
    const at = target.indexOf("?");
    return at < 0 ? "" : target.slice(at + 1);
  }

  get queryText(): string {
    return this.query;
  }

  queryParam(name: string): string | undefined {
    return new URLSearchParams(this.query).get(name) ?? undefined;
  }

  get peer(): ServerPeer {
    return this.connection.peer;
  }

  header(name: string): string | undefined {
    const lower = name.toLowerCase();
    if (lower === "host") return this.head.authority;
    return this.head.fields.get(lower);
  }

  fields(): HeadField[] {
    const { fields, authority } = this.head;
    const all: HeadField[] = [["host", authority]];
    for (let n = 0; n < fields.count; n++) all.push([fields.nameOf(n), fields.valueOf(n)]);
    return all;
  }

  get tracedByOthers(): boolean {
    return false;
  }

  // ── of the call ──────────────────────────────────────────────────────────────────────────────

  changeHeaders({ taken, given }: HeaderChanges): void {
    const { fields } = this.head;
    fields.remove(taken);
    for (let i = 0; i < given.length; i += 2) {
      // A route must not write what the codecs write: two lengths, say.
      if (kindOf(given[i]!) !== KIND.plain) continue;
      fields.add(new Field(given[i]!, given[i + 1]!));
      this.#addedBytes += given[i]!.length + given[i + 1]!.length;
    }
  }

  /** Bytes of the target and of every field that an attempt sends, about. */
  get sentHeadBytes(): number {
    return this.headBytes + this.#addedBytes;
  }

  setTrace(traceparent: string): void {
    this.head.fields.add(new Field("traceparent", traceparent));
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  get endStatus(): number {
    if (!this.isGrpc) return this.sentStatus;
    if (this.isBroken) return UNAVAILABLE;
    // A reply that ends without a status has failed (faults.md G8).
    return this.sentGrpcStatus ?? (this.isReplied ? UNKNOWN : CANCELLED);
  }

  get endHttpStatus(): number {
    return this.isGrpc ? httpCodeOfGrpc(this.endStatus) : this.sentStatus;
  }

  get endOutcome(): Outcome {
    if (this.isBroken) return "failure";
    if (!this.isReplied || this.cut !== undefined) return "abandoned";
    return this.sentOutcome ?? classify(this.endHttpStatus, this.sentRetryAfter);
  }
}
