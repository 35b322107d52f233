/**
 * The listener's half of a forwarded request: the stages of core's server pipeline that are the proxy's own, and
 * the step from a request that is admitted to a call of a service, and from its reply, or its failure, back to
 * the client. What the call inherits is taken from the request directly: no context is entered for it.
 */
import {
  Call,
  inheritFrom,
  MeshError,
  Refusal,
  SHARED_REFUSALS,
  type HttpServerLimits,
  type Protocol,
  type Runtime,
  type ServerAnswer,
  type ServerPipeline,
  type ServerProtocol,
  type Service,
  type Stage,
  type StandardDuration,
} from "@inmesh/core/spi";
import { isIdempotent, REFUSALS, type Authorities } from "@inmesh/http/spi/codec";
import { Defects } from "./defects.ts";
import type { Exchange } from "./exchange.ts";
import { Field } from "./fields.ts";
import { GrpcMethods } from "./grpc-methods.ts";
import { FINAL_MARK, OwnHead } from "./own-reply.ts";
import type { ProxyRequest } from "./request.ts";

export type ForwardProtocol = Protocol<ProxyRequest, Exchange>;
export type ForwardService = Service<ProxyRequest, Exchange>;

/** Which service a request goes to. */
export interface RequestRouter {
  /** Undefined: none that is known. */
  serviceOf(request: ProxyRequest): ForwardService | undefined;
  /** The names that it knows, for people: some of them, where they are many. */
  readonly known: string;
}

/** The authority of a request names no service that is configured. */
const NO_ROUTE = new Refusal({ reason: "no_route", code: "not_found" });

export interface ForwardParts {
  readonly router: RequestRouter;
  readonly limits: HttpServerLimits;
  readonly runtime: Runtime;
  readonly standard: StandardDuration<ProxyRequest>;
  /** The hosts that the listener is; undefined: any. */
  readonly authorities: Authorities | undefined;
}

export class Forward implements ServerProtocol<ProxyRequest> {
  readonly answersHealth = undefined;
  /** Requests in progress. Writers: this, and its listener at their ends. */
  inFlight = 0;
  readonly standard: StandardDuration<ProxyRequest>;
  readonly #router: RequestRouter;
  readonly #limits: HttpServerLimits;
  readonly #runtime: Runtime;
  readonly #authorities: Authorities | undefined;

  constructor({ router, limits, runtime, standard, authorities }: ForwardParts) {
    this.#authorities = authorities;
    this.#router = router;
    this.#limits = limits;
    this.#runtime = runtime;
    this.standard = standard;
  }

  // ── the stages, in their order ───────────────────────────────────────────────────────────────

  read(request: ProxyRequest): Refusal | undefined {
    if (request.refusal !== undefined) return request.refusal;
    const authorities = this.#authorities;
    if (authorities !== undefined && !authorities.has(request.head.authority)) {
      return REFUSALS.misdirected;
    }
    return request.hops > this.#limits.maxHops ? REFUSALS.loop : undefined;
  }

  check(request: ProxyRequest): Refusal | undefined {
    const found = this.#find(request);
    return found instanceof Refusal ? found : undefined;
  }

  /** Asked for twice, because layers of the application may wait in between; routers remember the last answer. */
  #find(request: ProxyRequest): ForwardService | Refusal {
    try {
      const service = this.#router.serviceOf(request);
      if (service !== undefined) return service;
    } catch {
      // A mesh with more services than it may have: what one client asks for must not end the process.
      return SHARED_REFUSALS.concurrency;
    }
    // HTTP/1.0 may leave it out, where a listener has one service.
    return request.head.authority === "" ? REFUSALS.bad_host : NO_ROUTE;
  }

  admitted(): void {
    this.inFlight++;
  }

  released(): void {
    this.inFlight--;
  }

  enter(request: ProxyRequest, inner: Stage<ProxyRequest>): ServerAnswer {
    return inner(request);
  }

  handle(request: ProxyRequest): void {
    const service = this.#find(request);
    if (service instanceof Refusal) return this.refuse(request, service);
    const { head, body } = request;
    const idempotent = head.hasIdempotencyKey || isIdempotent(head.method);
    const call = new Call<ProxyRequest>(service.name, request, idempotent, true);
    // What would change the protocol is no stream that could be sent twice.
    if (head.upgrade !== undefined) call.replayable = false;
    else if (body !== undefined && body.whole === undefined) {
      call.exclusive = true;
      body.onOverflow = () => (call.replayable = false);
      if (!body.replayable) call.replayable = false;
    }
    // Which of its kinds a call of gRPC is, only its client and its server know; their deadline is in its head.
    call.streaming = request.isGrpc;
    if (request.isGrpc) request.methods = GrpcMethods.of(service.config);
    call.traceId = request.traceId;
    request.call = call;
    call.startedAt = request.startedAt || this.#runtime.now();
    if (inheritFrom(request, call, call.startedAt)) request.adopt(call);
    let sent: Promise<Exchange>;
    try {
      sent = service.current(call);
    } catch (error) {
      return this.#fail(request, error);
    }
    sent.then(
      (reply) => this.#deliver(request, reply),
      (error: unknown) => this.#fail(request, error),
    );
  }

  refuse(request: ProxyRequest, refusal: Refusal): void {
    const { givesReasons } = request.connection.trust;
    const own = request.isGrpc
      ? OwnHead.ofGrpcRefusal(refusal, givesReasons)
      : OwnHead.ofRefusal(refusal, givesReasons);
    // Only to who gets reasons at all: what is behind a listener is no business of who can merely reach it.
    if (refusal === NO_ROUTE && givesReasons) own.explain(knownText(this.#router.known));
    request.sentRetryAfter = refusal.retryAfterMs !== undefined;
    this.#write(request, own, refusal.close);
  }

  // ── the way back ─────────────────────────────────────────────────────────────────────────────

  #deliver(request: ProxyRequest, exchange: Exchange): void {
    try {
      this.#reply(request, exchange);
    } catch (error) {
      Defects.of(this.#runtime).end(error, { destroy: () => this.#breakOff(request, exchange) });
    }
  }

  #breakOff({ sink }: ProxyRequest, exchange: Exchange): void {
    exchange.abandon();
    sink.fail(undefined);
  }

  #reply(request: ProxyRequest, exchange: Exchange): void {
    const { sink } = request;
    request.body?.commit();
    if (request.phase === "ended") return exchange.abandon();
    const { error } = exchange.attempt;
    // It has broken off before anything of it could be passed on.
    if (error !== undefined) return this.#answer(request, error);
    const head = exchange.head!;
    request.exchange = exchange;
    const { via } = request.owner;
    if (via !== undefined) {
      const version = exchange.attempt.wireVersion === 2 ? "2" : "1.1";
      head.fields.add(new Field("via", `${version} ${via}`));
    }
    request.sentStatus = head.status;
    const grpcStatus = exchange.attempt.status;
    if (grpcStatus !== undefined) {
      // It has no message, so this head may be its end.
      request.sentGrpcStatus = grpcStatus;
      request.sentOutcome = exchange.outcome;
    }
    // What the server says of its own attempts was for this hop; what this hop has tried is for the next.
    if (request.exhausted && exchange.code >= 500) head.fields.add(FINAL_MARK);
    if (exchange.isUpgrade) sink.upgraded(head);
    else {
      if (head.status === 503) request.sentRetryAfter = exchange.retryAfterMs !== undefined;
      sink.head(head, false);
    }
    exchange.sendTo(sink);
  }

  #fail(request: ProxyRequest, error: unknown): void {
    // No layer of an application stands in between, and core rejects with nothing else.
    if (!(error instanceof MeshError)) Defects.of(this.#runtime).note(error);
    try {
      this.#answer(request, error);
    } catch (again) {
      Defects.of(this.#runtime).end(again, { destroy: () => request.sink.fail(undefined) });
    }
  }

  #answer(request: ProxyRequest, error: unknown): void {
    if (request.phase === "ended") return;
    const { exhausted } = request;
    const { givesReasons } = request.connection.trust;
    const own = request.isGrpc
      ? OwnHead.ofGrpcError(error, exhausted, givesReasons)
      : OwnHead.ofError(error, exhausted, givesReasons);
    this.#write(request, own, false);
  }

  #write(request: ProxyRequest, { head, status, grpcStatus, body }: OwnHead, close: boolean): void {
    const { sink } = request;
    request.sentStatus = status;
    request.sentGrpcStatus = grpcStatus;
    request.isReplied = true;
    sink.head(head, close);
    // Behind a reply to HEAD a body would be read as the next reply.
    if (body.length > 0 && request.method !== "HEAD") sink.data(body, 0, body.length);
    sink.end(undefined);
  }
}

function knownText(names: string): string {
  return `A request names its service by Host or :authority. Services of this listener: ${names}.`;
}

/** What the listener needs of its pipeline. */
export type ForwardPipeline = ServerPipeline<ProxyRequest>;
