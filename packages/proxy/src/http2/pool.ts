/**
 * The HTTP/2 connections to one endpoint: as few as the streams need. An attempt waits until the server has said
 * its settings; when all streams are taken, one further connection is dialled at a time. The rules are those of
 * the pool of packages/http (decision 9), for exchanges of the proxy.
 */
import type { Socket } from "node:net";
import {
  connectError,
  isPeerAlert,
  MeshError,
  protocolMismatch,
  Redial,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { Connector } from "@inmesh/http/spi/codec";
import { Defects } from "../defects.ts";
import type { Exchange } from "../exchange.ts";
import type { UpstreamPool } from "../upstream.ts";
import type { Http2Clock } from "./clock.ts";
import { ERROR } from "./frames.ts";
import { Http2Session, type SessionOwner } from "./session.ts";

/** A hundred streams fit into one where servers say what they take; more is for when they do not. */
const MAX_CONNECTIONS = 4;
/** How often the time between pings doubles for an endpoint that finds them too many (faults G11). */
const MAX_PATIENCE = 8;

export class Http2UpstreamPool implements UpstreamPool, SessionOwner {
  readonly #service: ServiceConfig;
  readonly #connector: Connector;
  readonly #runtime: Runtime;
  readonly #clock: Http2Clock;
  readonly #redial: Redial;
  readonly #sessions = new Set<Http2Session>();
  #queue: Exchange[] = [];
  #probes: ((reached: boolean) => void)[] = [];
  #settling: Http2Session | undefined = undefined;
  #settlingTimer: Timer | undefined = undefined;
  #dialling = false;
  #redialling: Timer | undefined = undefined;
  #closed = false;
  #closing: Promise<void> | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;
  readonly #fallBack: ((waiting: readonly Exchange[]) => void) | undefined;
  #patience = 1;

  /** `fallBack`: takes what waits where TLS does not agree on HTTP/2. Default: that fails. */
  constructor(
    service: ServiceConfig,
    connector: Connector,
    runtime: Runtime,
    clock: Http2Clock,
    fallBack?: (waiting: readonly Exchange[]) => void,
  ) {
    this.#fallBack = fallBack;
    this.#service = service;
    this.#connector = connector;
    this.#runtime = runtime;
    this.#clock = clock;
    this.#redial = new Redial(runtime);
  }

  get where(): Where {
    return this.#connector.where;
  }

  get open(): number {
    return this.#sessions.size;
  }

  get queued(): number {
    return this.#queue.length;
  }

  get application(): string | undefined {
    return this.#sessions.size > 0 ? "h2" : undefined;
  }

  dispatch(exchange: Exchange): void {
    if (this.#closed) {
      exchange.fail(closedPool(this.where));
      return;
    }
    const session = this.#queue.length === 0 ? this.#roomiest() : undefined;
    if (session !== undefined) {
      session.start(exchange);
      return;
    }
    // Those that were given up while they waited are not worth their place.
    if (this.#queue.length > 0 && this.#queue[0]!.over) {
      this.#queue = this.#queue.filter(({ over }) => !over);
    }
    this.#queue.push(exchange);
    exchange.queued();
    this.#grow();
  }

  probe(): Promise<boolean> {
    const [session] = this.#sessions;
    if (session !== undefined) return session.prove(this.#service.timeouts.connectMs);
    return new Promise((resolve) => {
      this.#probes.push(resolve);
      this.#grow();
    });
  }

  distrust(): boolean {
    for (const session of this.#sessions) void session.prove(this.#service.timeouts.connectMs);
    return true;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#connector.close();
    if (this.#queue.length > 0 || this.#streams > 0) {
      await new Promise<void>((resolve) => (this.#onEmpty = resolve));
    }
    this.#end();
  }

  destroy(error: MeshError): void {
    this.#closed = true;
    this.#failAll(error);
    this.#connector.destroy();
    this.#end();
    for (const session of this.#sessions) session.end(error);
  }

  get #streams(): number {
    let streams = 0;
    for (const session of this.#sessions) streams += session.open.size;
    return streams;
  }

  #end(): void {
    this.#redialling?.cancel();
    this.#settling?.end(undefined);
    this.#answerProbes(false);
    for (const session of this.#sessions) session.close();
    this.#emptied();
  }

  // ── attempts ─────────────────────────────────────────────────────────────────────────────────

  #roomiest(): Http2Session | undefined {
    let best: Http2Session | undefined;
    for (const session of this.#sessions) {
      if (session.room > 0 && (best === undefined || session.open.size < best.open.size)) {
        best = session;
      }
    }
    return best;
  }

  #drain(): void {
    while (this.#queue.length > 0) {
      const exchange = this.#queue[0]!;
      if (!exchange.over) {
        const session = this.#roomiest();
        if (session === undefined) break;
        this.#queue.shift();
        session.start(exchange);
      } else this.#queue.shift();
    }
    this.#grow();
    this.#emptied();
  }

  #emptied(): void {
    if (this.#onEmpty === undefined || this.#queue.length > 0 || this.#streams > 0) return;
    this.#onEmpty();
  }

  #failAll(error: MeshError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const exchange of queue) exchange.fail(error);
    this.#emptied();
  }

  // ── connections ──────────────────────────────────────────────────────────────────────────────

  #grow(): void {
    if (this.#dialling || (this.#queue.length === 0 && this.#probes.length === 0)) return;
    const { maxConnectionsPerEndpoint } = this.#service.limits;
    let open = 0;
    for (const session of this.#sessions) {
      if (session.proving) return; // it will have room, or be gone
      if (!session.ending) open++;
    }
    if (open >= Math.min(maxConnectionsPerEndpoint, MAX_CONNECTIONS)) return;
    const pauseMs = this.#redial.pauseMs(this.#runtime.now());
    if (pauseMs > 0) {
      this.#redialling ??= this.#runtime.after(pauseMs, redial, this);
      return;
    }
    this.#dialling = true;
    this.#connector.dial((error, socket) => {
      if (error !== null) this.#notReached(error);
      else if (this.#closed && this.#queue.length === 0) {
        this.#dialling = false;
        socket!.destroy();
      } else {
        try {
          this.#connected(socket!);
        } catch (defect) {
          Defects.of(this.#runtime).end(defect, socket!);
        }
      }
    });
  }

  /** Writer: its timer. */
  redial(): void {
    this.#redialling = undefined;
    this.#grow();
  }

  #connected(socket: Socket): void {
    const secure = this.#service.scheme === "https";
    if (secure && (socket as Socket & { alpnProtocol?: unknown }).alpnProtocol !== "h2") {
      this.#connector.explain(socket, () => "drain");
      // In order, so that its server has nothing to complain of.
      socket.destroySoon();
      this.#notAgreed();
      return;
    }
    const session = new Http2Session(socket, this.#service, this.#clock, this, this.#patience);
    this.#settling = session;
    this.#connector.explain(socket, () => session.endedBy);
    const { connectMs } = this.#service.timeouts;
    this.#settlingTimer = this.#runtime.after(
      connectMs,
      (one) => one.end(new Error(`no settings within ${connectMs} ms`)),
      session,
    );
  }

  #notAgreed(): void {
    const fallBack = this.#fallBack;
    if (fallBack === undefined) {
      return this.#notReached(protocolMismatch(this.where, "TLS did not agree on HTTP/2"));
    }
    this.#dialling = false;
    this.#answerProbes(true);
    const queue = this.#queue;
    this.#queue = [];
    fallBack(queue);
    this.#emptied();
  }

  roomChanged(session: Http2Session): void {
    if (this.#settling === session) {
      this.#settling = undefined;
      this.#settlingTimer?.cancel();
      this.#dialling = false;
      this.#sessions.add(session);
      this.#answerProbes(true);
    }
    this.#drain();
  }

  streamReset(by: "client" | "server"): void {
    this.#connector.streamReset(by);
  }

  leaving({ goawayCode }: Http2Session): void {
    if (goawayCode === ERROR.enhanceYourCalm) {
      this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
    }
    this.#grow();
  }

  replaces(session: Http2Session): boolean {
    return this.#redial.replaces(session.served);
  }

  closed(session: Http2Session, refusing: boolean): void {
    if (this.#settling === session) {
      this.#settling = undefined;
      this.#settlingTimer?.cancel();
      this.#notReached(this.#unsettled(session));
      return;
    }
    this.#sessions.delete(session);
    if (!refusing) this.#redial.ended(session.served);
    this.#drain();
  }

  #notReached(error: MeshError): void {
    this.#dialling = false;
    this.#answerProbes(false);
    this.#redial.failed();
    // Others are in use: what waits may still get a stream there.
    if (this.#sessions.size === 0) this.#failAll(error);
    else this.#grow();
  }

  /** It connected, and ended before its settings: nothing of a request was sent. */
  #unsettled({ error, fault }: Http2Session): MeshError {
    const { where } = this;
    if (fault !== undefined && fault.code !== ERROR.none) {
      return protocolMismatch(where, fault.why, error);
    }
    if (error === undefined) return connectError(where, new Error("closed at once"), false);
    if (isPeerAlert(error)) return connectError(where, error, true);
    const { code } = error as Error & { readonly code?: unknown };
    return code === undefined
      ? protocolMismatch(where, error.message, error)
      : connectError(where, error, false);
  }

  #answerProbes(reached: boolean): void {
    const probes = this.#probes;
    this.#probes = [];
    for (const answer of probes) answer(reached);
  }
}

function redial(pool: Http2UpstreamPool): void {
  pool.redial();
}

function closedPool({ service, address }: Where): MeshError {
  return new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: `${service} → ${address}: the connections to this endpoint are being closed`,
    progress: "not-sent",
    stackless: true,
  });
}
