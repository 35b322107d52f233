/**
 * The connections over HTTP/1 to one endpoint: those that are free in a stack, so that the ones used last are
 * used again and the others grow idle; attempts that wait in the order in which they came.
 */
import { type MeshError, type Runtime, type ServiceConfig, type Timer } from "@inmesh/core/spi";
import { KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MS, type Connector } from "@inmesh/http/spi/codec";
import type { Exchange } from "../exchange.ts";
import type { Flushes } from "../flushes.ts";
import type { UpstreamPool } from "../upstream.ts";
import { Http1Upstream, type UpstreamOwner } from "./upstream.ts";

const SWEEP_MS = 1_000;

export class Http1Pool implements UpstreamPool, UpstreamOwner {
  readonly config: ServiceConfig;
  readonly application = "http/1.1";
  readonly runtime: Runtime;
  readonly flushes: Flushes;
  readonly #connector: Connector;
  readonly #all = new Set<Http1Upstream>();
  readonly #idle: Http1Upstream[] = [];
  readonly #waiting = new Set<Exchange>();
  #dialling = 0;
  #sweep: Timer | undefined = undefined;
  #closed: (() => void) | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  #destroyed: MeshError | undefined = undefined;

  constructor(config: ServiceConfig, connector: Connector, runtime: Runtime, flushes: Flushes) {
    this.config = config;
    this.#connector = connector;
    this.runtime = runtime;
    this.flushes = flushes;
  }

  get open(): number {
    return this.#all.size;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  dispatch(exchange: Exchange): void {
    const idle = this.#idle;
    for (let one = idle.pop(); one !== undefined; one = idle.pop()) {
      if (one.isUsable) return one.start(exchange);
    }
    const { maxQueuedPerEndpoint } = this.config.limits;
    if (this.#waiting.size >= maxQueuedPerEndpoint) {
      this.#forgetDead();
      if (this.#waiting.size >= maxQueuedPerEndpoint) {
        exchange.refuseQueue(this.#waiting.size);
        return;
      }
    }
    this.#waiting.add(exchange);
    exchange.queued();
    this.#dialMore();
  }

  /** Those that were cancelled while they waited. */
  #forgetDead(): void {
    for (const one of this.#waiting) if (one.over) this.#waiting.delete(one);
  }

  #dialMore(): void {
    const { maxConnectionsPerEndpoint } = this.config.limits;
    if (this.#destroyed !== undefined || this.#dialling >= this.#waiting.size) return;
    if (this.#all.size + this.#dialling >= maxConnectionsPerEndpoint) return;
    this.#dialling++;
    this.#dial((error, upstream) => {
      this.#dialling--;
      if (upstream === undefined) {
        const first = this.#first();
        if (first !== undefined) first.fail(error!);
        // Those behind it may have been waiting for this one.
        this.#dialMore();
        this.#look();
      } else this.free(upstream);
    });
  }

  #dial(done: (error: MeshError | null, upstream: Http1Upstream | undefined) => void): void {
    const upstream = new Http1Upstream(this);
    this.#connector.dial((error, socket) => {
      if (socket === null) return done(error, undefined);
      if (this.#destroyed !== undefined) {
        socket.destroy();
        return done(this.#destroyed, undefined);
      }
      this.#all.add(upstream);
      upstream.connected(socket, this.#connector);
      done(null, upstream);
    }, upstream.onread);
  }

  /** The next that still waits. */
  #first(): Exchange | undefined {
    for (const one of this.#waiting) {
      this.#waiting.delete(one);
      if (!one.over) return one;
    }
    return undefined;
  }

  // ── what its connections say ─────────────────────────────────────────────────────────────────

  free(upstream: Http1Upstream): void {
    const next = this.#waiting.size > 0 ? this.#first() : undefined;
    if (next !== undefined) return upstream.start(next);
    if (this.#closing !== undefined) {
      upstream.close();
      return;
    }
    this.#idle.push(upstream);
    this.#sweep ??= this.runtime.after(SWEEP_MS, sweep, this);
  }

  gone(upstream: Http1Upstream): void {
    this.#all.delete(upstream);
    const at = this.#idle.lastIndexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#waiting.size > 0) this.#dialMore();
    this.#look();
  }

  /** Closes what has been idle for too long. */
  sweep(): void {
    this.#sweep = undefined;
    const now = this.runtime.now();
    const idle = this.#idle;
    let kept = 0;
    for (const one of idle) {
      if (one.isUsable && now < one.idleUntil(KEEP_ALIVE_MS, KEEP_ALIVE_MARGIN_MS)) {
        idle[kept++] = one;
      } else one.close();
    }
    idle.length = kept;
    if (kept > 0) this.#sweep = this.runtime.after(SWEEP_MS, sweep, this);
  }

  // ── its life ─────────────────────────────────────────────────────────────────────────────────

  probe(): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#closing !== undefined) return resolve(false);
      this.#dial((_, upstream) => {
        if (upstream !== undefined) this.free(upstream);
        resolve(upstream !== undefined);
      });
    });
  }

  distrust(): boolean {
    return false;
  }

  close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    this.#closing = new Promise((resolve) => (this.#closed = resolve));
    for (const one of this.#idle.splice(0)) one.close();
    this.#look();
    return this.#closing;
  }

  #look(): void {
    if (this.#closed === undefined || this.#all.size > 0 || this.#dialling > 0) return;
    this.#forgetDead();
    if (this.#waiting.size > 0) return;
    this.#sweep?.cancel();
    this.#closed();
  }

  destroy(error: MeshError): void {
    this.#destroyed = error;
    void this.close();
    for (const one of this.#waiting) one.fail(error);
    this.#waiting.clear();
    for (const one of this.#all) one.end(error);
    this.#connector.destroy();
  }
}

function sweep(pool: Http1Pool): void {
  pool.sweep();
}
