/**
 * One call as grpc-js's client drives it: metadata, messages, reads and an end. A channel does not hear
 * what kind of call it carries, and the default timeout is for calls with one reply. grpc-js makes a
 * unary call in one go: it asks for the message, sends its own, and ends. Whatever does not do all of
 * it in the turn it starts in counts as a stream.
 */
import type { Metadata } from "@grpc/grpc-js";
import { Metadata as OwnMetadata, status as Status } from "@grpc/grpc-js";
import {
  Call,
  context,
  inheritFrom,
  MeshError,
  stacklessError,
  type ServedRequest,
  type Service,
} from "@inmesh/core/spi";
import { carry } from "./call-info.ts";
import type {
  AuthContext,
  CallCredentials,
  ServedCall,
  WireCall,
  WireListener,
  WireStatus,
  WriteContext,
} from "../call-types.ts";
import { PREVIOUS_ATTEMPTS, sendable } from "../metadata.ts";
import type { GrpcReply } from "./reply.ts";
import { GrpcRequest } from "./request.ts";
import { statusOf } from "../status.ts";

let number = 0;

export class MeshCall implements WireCall, WireListener {
  readonly #service: Service<GrpcRequest, GrpcReply>;
  readonly #request: GrpcRequest;
  readonly #call: Call<GrpcRequest>;
  readonly #served: ServedRequest | undefined;
  /** What it inherits from that request is more than the trace. */
  #inherits = false;
  readonly #maxMetadataBytes: number;
  readonly #number = ++number;
  #listener: WireListener | undefined = undefined;
  #metadata: Metadata | undefined = undefined;
  #begun = false;
  #leaveParent: (() => void) | undefined = undefined;
  #ended = false;
  #readFirst = false;
  /** What the application ended it with: that, and not what the mesh makes of it, is its status. */
  #own: WireStatus | undefined = undefined;

  /** `deadlineAt`: of the caller, on the runtime's clock; Infinity: none. */
  constructor(
    service: Service<GrpcRequest, GrpcReply>,
    request: GrpcRequest,
    deadlineAt: number,
    maxMetadataBytes: number,
  ) {
    this.#service = service;
    this.#request = request;
    this.#maxMetadataBytes = maxMetadataBytes;
    const call = new Call(service.name, request, false, true, deadlineAt);
    this.#call = call;
    request.call = call;
    if (deadlineAt !== Infinity) call.askedUntil = deadlineAt;
    const served = context.getStore();
    this.#served = served;
    if (served === undefined) return;
    this.#inherits = inheritFrom(served, call, service.runtime.now());
  }

  // ── the client's half ────────────────────────────────────────────────────────────────────────

  start(metadata: Metadata, listener: WireListener): void {
    this.#listener = listener;
    this.#metadata = metadata;
    process.nextTick(beginStream, this);
  }

  sendMessageWithContext(sending: WriteContext, message: Buffer): void {
    if (!this.#ended) this.#request.write(sending, message);
  }

  halfClose(): void {
    if (this.#ended) return;
    const { messages } = this.#request;
    this.#request.halfClosed = true;
    if (this.#begun) messages.wake();
    else this.begin(this.#readFirst && messages.count === 1);
  }

  startRead(): void {
    if (this.#ended) return;
    this.#request.reading = true;
    if (this.#begun) this.#request.read();
    else this.#readFirst = this.#request.messages.count === 0;
  }

  cancelWithStatus(code: Status, details: string): void {
    if (this.#ended || this.#own !== undefined) return;
    const status = { code, details, metadata: new OwnMetadata() };
    this.#own = status;
    if (!this.#begun) {
      this.#begun = true;
      process.nextTick(finish, this, status);
      return;
    }
    const message = `${this.#service.name}: ${details}`;
    const error = stacklessError("cancelled", "caller", "maybe-processed", message);
    this.#call.cancel(error, "abandoned");
  }

  setCredentials(credentials: CallCredentials): void {
    this.#request.credentials = credentials;
  }

  getPeer(): string {
    return this.#call.attempt?.endpoint?.address ?? this.#service.name;
  }

  getCallNumber(): number {
    return this.#number;
  }

  getAuthContext(): AuthContext {
    const { exchange } = this.#request;
    // Calls of grpc-js 1.13 have none.
    const inner: Partial<WireCall> | undefined = exchange?.inner;
    return carry({ ...inner?.getAuthContext?.() }, this.#call);
  }

  // ── through the pipeline ─────────────────────────────────────────────────────────────────────

  /** `unary`: one message goes, one comes. Does nothing the second time, or before `start`. */
  begin(unary: boolean): void {
    const metadata = this.#metadata;
    if (this.#begun || metadata === undefined) return;
    this.#begun = true;
    const call = this.#call;
    this.#request.unary = unary;
    call.streaming = !unary;
    this.#run(metadata);
  }

  #run(metadata: Metadata): void {
    const call = this.#call;
    try {
      const own = sendable(call.service, metadata, this.#maxMetadataBytes);
      const served = this.#served;
      const toPeer = this.#service.config.peer;
      this.#request.begin(own, toPeer ? served : undefined, this.#inherits);
      call.traceId = this.#request.traceId ?? served?.traceId;
      if (this.#inherits) served!.adopt(call);
    } catch (error) {
      process.nextTick(finish, this, failure(error));
      return;
    }
    this.#service.current(call).then(
      (reply) => this.#deliver(reply),
      (error: unknown) => process.nextTick(finish, this, failure(error)),
    );
  }

  #deliver(reply: GrpcReply): void {
    try {
      reply.deliver(this);
    } catch (error) {
      // Out of the promise: what the application throws is an exception of its own, as without a mesh.
      process.nextTick(rethrow, error);
    }
    this.#request.letGo();
  }

  /** Ends when the call being served is cancelled by its own client. */
  endWith(parent: NonNullable<ServedCall>): void {
    const cancel = (): void => this.cancelWithStatus(Status.CANCELLED, "Cancelled by parent call");
    parent.on("cancelled", cancel);
    this.#leaveParent = () => parent.removeListener("cancelled", cancel);
  }

  // ── what comes back ──────────────────────────────────────────────────────────────────────────

  onReceiveMetadata(metadata: Metadata): void {
    if (this.#ended) return;
    // Clients see how many attempts came before the one that is answered (gRFC A6).
    const previous = (this.#call.attempt?.number ?? 1) - 1;
    if (previous > 0) metadata.set(PREVIOUS_ATTEMPTS, String(previous));
    this.#listener?.onReceiveMetadata(metadata);
  }

  onReceiveMessage(message: unknown): void {
    this.#request.reading = false;
    if (!this.#ended) this.#listener?.onReceiveMessage(message);
  }

  onReceiveStatus(status: WireStatus): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#leaveParent?.();
    this.#request.end();
    this.#listener?.onReceiveStatus(carry(this.#own ?? status, this.#call));
  }
}

function beginStream(call: MeshCall): void {
  call.begin(false);
}

function rethrow(error: unknown): never {
  throw error;
}

function finish(call: MeshCall, status: WireStatus): void {
  call.onReceiveStatus(status);
}

function failure(error: unknown): WireStatus {
  if (error instanceof MeshError) return statusOf(error);
  const details = error instanceof Error ? error.message : String(error);
  return { code: Status.INTERNAL, details, metadata: new OwnMetadata() };
}
