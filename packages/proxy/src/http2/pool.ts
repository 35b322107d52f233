/** The HTTP/2 connections to one endpoint, for exchanges of the proxy: the pool of packages/http over its own codec. */
import type { Socket } from "node:net";
import {
  connectError,
  MeshError,
  protocolMismatch,
  type Runtime,
  type ServiceConfig,
  type Where,
} from "@inmesh/core/spi";
import { SessionPool, type Connector } from "@inmesh/http/spi/codec";
import { Defects } from "../defects.ts";
import type { Exchange } from "../exchange.ts";
import type { UpstreamPool } from "../upstream.ts";
import type { Http2Clock } from "./clock.ts";
import { Http2Session } from "./session.ts";

export class Http2UpstreamPool extends SessionPool<Http2Session, Exchange> implements UpstreamPool {
  readonly #connector: Connector;
  readonly #clock: Http2Clock;
  readonly #fallBack: ((waiting: readonly Exchange[]) => void) | undefined;

  /** `fallBack`: takes what waits where TLS does not agree on HTTP/2. Default: that fails. */
  constructor(
    service: ServiceConfig,
    connector: Connector,
    runtime: Runtime,
    clock: Http2Clock,
    fallBack?: (waiting: readonly Exchange[]) => void,
  ) {
    super(service, connector, runtime);
    this.#connector = connector;
    this.#clock = clock;
    this.#fallBack = fallBack;
  }

  get open(): number {
    return this.sessions.size;
  }

  get application(): string | undefined {
    return this.sessions.size > 0 ? "h2" : undefined;
  }

  dispatch(exchange: Exchange): void {
    if (this.isClosed) exchange.fail(closedPool(this.where));
    else if (this.#isQueueFull) exchange.refuseQueue(this.queued);
    else if (!this.place(exchange)) exchange.queued();
  }

  get #isQueueFull(): boolean {
    const { maxQueuedPerEndpoint } = this.service.limits;
    if (this.queued < maxQueuedPerEndpoint) return false;
    this.forgetOver();
    return this.queued >= maxQueuedPerEndpoint;
  }

  override probe(): Promise<boolean> {
    const [session] = this.sessions;
    return session?.prove(this.service.timeouts.connectMs) ?? super.probe();
  }

  distrust(): boolean {
    for (const session of this.sessions) void session.prove(this.service.timeouts.connectMs);
    return true;
  }

  // ── of the pool ──────────────────────────────────────────────────────────────────────────────

  protected override dialled(socket: Socket): void {
    try {
      super.dialled(socket);
    } catch (defect) {
      Defects.of(this.runtime).end(defect, socket);
      this.notReached(connectError(this.where, defect as Error, false));
    }
  }

  protected speak(socket: Socket): Http2Session {
    return new Http2Session(socket, this.service, this.#clock, this);
  }

  protected notAgreed(socket: Socket): void {
    this.#connector.explain(socket, () => "drain");
    // In order, so that its server has nothing to complain of.
    socket.destroySoon();
    const fallBack = this.#fallBack;
    if (fallBack !== undefined) fallBack(this.surrender());
    else this.notReached(protocolMismatch(this.where, "TLS did not agree on HTTP/2 (ALPN h2)"));
  }

  protected start(session: Http2Session, exchange: Exchange): void {
    session.start(exchange);
  }

  protected refuse(exchange: Exchange, error: MeshError): void {
    exchange.fail(error);
  }

  protected breakOff(error: MeshError): void {
    for (const session of this.sessions) session.destroy(error);
  }

  protected override isOver(exchange: Exchange): boolean {
    return exchange.over;
  }
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
