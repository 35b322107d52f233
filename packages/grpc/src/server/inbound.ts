/**
 * A call as it comes in. One object is three things: what its handler's calls inherit, grpc-js's
 * call with us in the middle, and the listener of that call. grpc-js offers a class for the second
 * and builders for the third; they cost a dozen closures per call, and say no more than this does.
 *
 * grpc-js ends some calls by itself (deadline, message too large) without asking its interceptors.
 * What is certain is `onCancel`: it comes once for every call, also for one that ended well.
 */
import { AsyncResource } from "node:async_hooks";
import type { Metadata, ServerInterceptingCallInterface } from "@grpc/grpc-js";
import {
  CALLBACKS_RESTORE,
  ConnectionPeer,
  context,
  runServed,
  ServedCall,
  httpCodeOfGrpc,
  type HeadField,
  type Outcome,
  type ServerPeer,
} from "@inmesh/core/spi";
import type { ServedListener, ServedStatus } from "../call-types.ts";
import type { Http2Stream } from "../internals.ts";
import { fieldsOf } from "../metadata.ts";
import { outcomeOf } from "../status.ts";
import { repliedMetadata } from "./replied-metadata.ts";
import type { SessionUse } from "./sessions.ts";

export interface InboundOwner {
  /** Of the server. */
  readonly name: string;
  /** Handlers are wrapped by another instrumentation, which makes a span for each call. */
  readonly tracedByOthers: boolean;
  /** Its metadata is here: it is begun, or refused. */
  serve(inbound: Inbound): void;
  /** Its connection; undefined if that is not known. */
  useOf(inbound: Inbound): SessionUse | undefined;
  /** It is over, and was in progress. */
  ended(inbound: Inbound): void;
}

/** They are not counted, so nothing has to happen when one is collected. */
const SCOPE = { requireManualDestroy: true };
let beginLate: (inbound: Inbound) => void;

/** Only grpc-js calls what uses this, in callbacks of Node's, which restore the context behind it. */
export function enterContext<T>(inbound: Inbound, inner: (inbound: Inbound) => T): T {
  if (!CALLBACKS_RESTORE || inbound.within !== undefined) return runServed(inbound, inner, inbound);
  context.enterWith(inbound);
  return inner(inbound);
}

/** By path; only registered methods come here, so it stays as small as they are few. */
const METHOD_NAMES = new Map<string, string>();

const CANCELLED = 1;
const STATUS = "grpc-status";

export class Inbound extends ServedCall implements ServerInterceptingCallInterface, ServedListener {
  readonly call: ServerInterceptingCallInterface;
  readonly path: string;
  /** The metadata of the call. Given up when the call has ended. */
  metadata: Metadata | undefined = undefined;
  /** The status that the handler, or a refusal, ended it with; undefined while there is none. */
  status: number | undefined = undefined;
  /** Since when a message waits for the client to read; 0: none does. Writer: InboundCalls. */
  stalledAt = 0;
  /** The stream and the connection it came by; undefined if unknown. Writers: MeshGrpcServer, Sessions. */
  stream: Http2Stream | undefined = undefined;
  connection: SessionUse | undefined = undefined;
  /** Neighbours in the list of calls in progress. Writer: InboundCalls. */
  previous: Inbound | undefined = undefined;
  next: Inbound | undefined = undefined;
  readonly #owner: InboundOwner;
  readonly #oneRequest: boolean;
  readonly #oneReply: boolean;
  /** Its handler is begun by the end of its only request, and nothing of the host's sees it before. */
  readonly late: boolean;
  #begun = false;
  #listener: ServedListener | undefined = undefined;
  /** Keeps the context for what comes later. One late request with one reply needs none. */
  #scope: AsyncResource | undefined = undefined;
  /** Called when the message that waits has been taken. */
  #written: (() => void) | undefined = undefined;
  #onWritten: (() => void) | undefined = undefined;

  /** `oneRequest`, `oneReply`: that side sends one message, and its end follows at once; `alone`: no other interceptor. */
  constructor(
    call: ServerInterceptingCallInterface,
    path: string,
    oneRequest: boolean,
    oneReply: boolean,
    alone: boolean,
    owner: InboundOwner,
  ) {
    super();
    this.call = call;
    this.path = path;
    this.#oneRequest = oneRequest;
    this.#oneReply = oneReply;
    this.late = oneRequest && alone;
    this.#owner = owner;
  }

  /** From its status on: the last bytes may still wait for the client. */
  override get replied(): boolean {
    return this.status !== undefined;
  }

  // ── what comes in ────────────────────────────────────────────────────────────────────────────

  start(listener: ServedListener): void {
    this.#listener = listener;
    this.call.start(this);
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.metadata = metadata;
    this.#owner.serve(this);
  }

  /**
   * Its handler gets it: inside its own context, which the scope keeps, because entering it again is a
   * tenth of making it; a late one when its request has ended.
   */
  begin(): void {
    this.#begun = true;
    if (!this.late) this.#scope = new AsyncResource("inmesh.served", SCOPE);
    this.#listener!.onReceiveMetadata(this.metadata!);
  }

  #beginLate(): void {
    if (!this.#oneReply) this.#scope = new AsyncResource("inmesh.served", SCOPE);
    this.#listener!.onReceiveHalfClose();
  }

  static {
    beginLate = (inbound) => inbound.#beginLate();
  }

  onReceiveMessage(message: unknown): void {
    if (!this.#begun || this.#listener === undefined) return;
    if (this.late) this.#listener.onReceiveMessage(message);
    else this.#scope?.runInAsyncScope(forwardMessage, undefined, this.#listener, message);
  }

  /** Node says that a stream has ended when it was reset as well: then `onCancel` follows, and only that. */
  onReceiveHalfClose(): void {
    if (!this.#begun || this.#listener === undefined) return;
    if (this.stream?.destroyed === true || this.stream?.aborted === true) return;
    if (this.late) enterContext(this, beginLate);
    else this.#scope?.runInAsyncScope(forwardHalfClose, undefined, this.#listener);
  }

  onCancel(): void {
    if (this.phase === "arrived" || this.phase === "ended") return; // it was refused
    const { stream } = this;
    // The deadline has passed behind a reply that waits to be read: watched until the stream ends.
    const stuck = stream !== undefined && isStuck(stream);
    if (stuck) stream.once("close", () => this.#owner.ended(this));
    else this.#owner.ended(this);
    // Without a status of its handler's, no client waits for what is still done for it.
    if (this.status === undefined) this.leave();
    if (!this.#begun) return; // layers of the application still decide
    if (this.#scope !== undefined) {
      this.#scope.runInAsyncScope(forwardCancel, undefined, this.#listener!);
    } else if (this.status === undefined) runServed(this, forwardCancel, this.#listener!);
    else this.#listener!.onCancel(); // it had its reply
    const over = this.#oneRequest && this.status !== undefined && this.#written === undefined;
    if (over && !stuck) this.#letGo();
  }

  /**
   * Node keeps a stream, and by it grpc-js's call and this one, far longer than the call lasts. What a
   * handler has had and made would wait with it, and be copied by the garbage collector meanwhile.
   */
  #letGo(): void {
    this.#listener = this.#scope = this.connection = this.metadata = undefined;
  }

  // ── what goes out ────────────────────────────────────────────────────────────────────────────

  sendMetadata(metadata: Metadata): void {
    this.call.sendMetadata(metadata);
  }

  /**
   * `callback` runs when the message has left: a client that does not read holds it back. Behind the
   * only reply comes nothing but the status, and both leave in one write if nothing waits between them.
   */
  sendMessage(message: unknown, callback: () => void): void {
    const { stream } = this;
    if (this.#oneReply && stream !== undefined) {
      this.call.sendMessage(message, nothing);
      // Otherwise grpc-js has refused the message, or the client has gone.
      if (!stream.writableEnded && !stream.destroyed) callback();
      return;
    }
    // A handler's stream waits for each; code that does not wait is on its own.
    if (this.#written !== undefined) return this.call.sendMessage(message, callback);
    this.#written = callback;
    this.call.sendMessage(message, (this.#onWritten ??= () => this.#wrote()));
  }

  #wrote(): void {
    const written = this.#written!;
    this.#written = undefined;
    this.stalledAt = 0;
    if (this.#scope === undefined) written();
    else this.#scope.runInAsyncScope(written);
  }

  /** A message has been given to the connection and has not left. */
  get writing(): boolean {
    return (
      this.#written !== undefined || (this.#oneReply && (this.stream?.writableLength ?? 0) > 0)
    );
  }

  /** Instead of its handler. */
  refuse(status: ServedStatus): void {
    this.status ??= status.code;
    this.call.sendStatus(status);
  }

  sendStatus(status: ServedStatus): void {
    this.status ??= status.code;
    this.call.sendStatus(repliedMetadata(status, this.exhausted));
  }

  // ── what layers of the application see ───────────────────────────────────────────────────────

  get service(): string {
    return this.#owner.name;
  }

  get protocol(): string {
    return "grpc";
  }

  /** Registered methods only reach an interceptor: a closed set. */
  get route(): string {
    return this.path;
  }

  /** As metrics have it: without the slash in front. */
  get methodName(): string {
    let name = METHOD_NAMES.get(this.path);
    if (name === undefined) METHOD_NAMES.set(this.path, (name = this.path.slice(1)));
    return name;
  }

  get method(): string {
    return "POST";
  }

  get query(): string {
    return "";
  }

  get tracedByOthers(): boolean {
    return this.#owner.tracedByOthers;
  }

  get peer(): ServerPeer {
    const use = this.#owner.useOf(this);
    if (use?.peer !== undefined) return use.peer;
    if (use?.socket !== undefined) return (use.peer = ConnectionPeer.of(use.socket));
    const { remoteAddress, remotePort } = this.call.getConnectionInfo();
    const { transportSecurityType } = this.call.getAuthContext();
    // Without its socket it is not known whether the certificate that it has shown was proven.
    return new ConnectionPeer(
      remoteAddress,
      remotePort,
      transportSecurityType === "ssl",
      undefined,
    );
  }

  header(name: string): string | undefined {
    const values = this.metadata?.get(name) ?? [];
    const texts = values.filter((value) => typeof value === "string");
    return texts.length === 0 ? undefined : texts.join(", ");
  }

  get httpVersion(): string {
    return "2";
  }

  fields(): HeadField[] {
    return this.metadata === undefined ? [] : fieldsOf(this.metadata);
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** What its handler, or grpc-js itself, answered; CANCELLED if the client left before either could. */
  get endStatus(): number {
    if (this.status !== undefined) return this.status;
    const { stream } = this;
    const code = stream?.sentTrailers?.[STATUS] ?? stream?.sentHeaders?.[STATUS];
    return code === undefined ? CANCELLED : Number(code);
  }

  get endHttpStatus(): number {
    return httpCodeOfGrpc(this.endStatus);
  }

  get endOutcome(): Outcome {
    return outcomeOf(this.endStatus, false);
  }

  // ── what grpc-js knows ───────────────────────────────────────────────────────────────────────

  startRead(): void {
    this.call.startRead();
  }

  getPeer(): string {
    return this.call.getPeer();
  }

  getDeadline(): ReturnType<ServerInterceptingCallInterface["getDeadline"]> {
    return this.call.getDeadline();
  }

  getHost(): string {
    return this.call.getHost();
  }

  getAuthContext(): ReturnType<ServerInterceptingCallInterface["getAuthContext"]> {
    return this.call.getAuthContext();
  }

  getConnectionInfo(): ReturnType<ServerInterceptingCallInterface["getConnectionInfo"]> {
    return this.call.getConnectionInfo();
  }

  getMetricsRecorder(): ReturnType<ServerInterceptingCallInterface["getMetricsRecorder"]> {
    return this.call.getMetricsRecorder();
  }
}

/** What was written waits for the client's window, and the trailers behind it. */
function isStuck(stream: Http2Stream): boolean {
  return stream.writableLength > 0 && stream.sentTrailers === undefined && !stream.destroyed;
}

function nothing(): void {}

function forwardMessage(listener: ServedListener, message: unknown): void {
  listener.onReceiveMessage(message);
}

function forwardHalfClose(listener: ServedListener): void {
  listener.onReceiveHalfClose();
}

function forwardCancel(listener: ServedListener): void {
  listener.onCancel();
}
