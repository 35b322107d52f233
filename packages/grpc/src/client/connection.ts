/**
 * The way to one endpoint: one HTTP/2 connection, and further ones while each of them carries as
 * many streams as servers usually allow. Balancing, retries and breakers stand above; here grpc-js
 * has one address and is set to try nothing by itself.
 */
import { credentials, type ChannelOptions } from "@grpc/grpc-js";
import {
  Exhaustion,
  type MeshError,
  stacklessError,
  Redial,
  socketPathOf,
  timeoutError,
  ServiceTls,
  type Attempt,
  type CloseTrigger,
  type Connection,
  type ConnectionFacts,
  type ConnectionRecord,
  type EndpointInfo,
  type Outcome,
  type Runtime,
  type ServiceConfig,
} from "@inmesh/core/spi";
import { wasHandshaking } from "./connect-failure.ts";
import { Exchange, type ExchangeOwner } from "./exchange.ts";
import { FreezeWatch } from "./freeze-watch.ts";
import { Lane } from "./lane.ts";
import type { GrpcReply } from "./reply.ts";
import type { GrpcRequest, Wiring } from "./request.ts";
import { tlsCredentials } from "./tls-credentials.ts";

/** What servers announce; above it HTTP/2 makes streams wait in line behind each other. */
const STREAMS_PER_LANE = 100;
/** HTTP/2 needs few; each is a socket and a handshake at the server. */
const MAX_LANES = 4;

export class GrpcConnection implements Connection<GrpcRequest, GrpcReply>, ExchangeOwner {
  readonly service: ServiceConfig;
  readonly #target: string;
  readonly #tls: ServiceTls | undefined;
  readonly #unwatch: (() => void) | undefined;
  readonly #freezes: FreezeWatch;
  readonly #unwatchFreezes: () => void;
  readonly #options: ChannelOptions;
  readonly #runtime: Runtime;
  readonly #maxLanes: number;
  readonly #redial: Redial;
  readonly #record: ConnectionRecord | undefined;
  readonly #zone: string | undefined;
  #lanes: Lane[] = [];
  readonly #leaving = new Set<Lane>();
  readonly #exhaustion: Exhaustion;
  #closing: Promise<void> | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;

  /** `tls`, of an https service, and `freezes` are shared by its connections. `record`: default nowhere. */
  constructor(
    endpoint: EndpointInfo,
    service: ServiceConfig,
    runtime: Runtime,
    tls?: ServiceTls,
    freezes: FreezeWatch = new FreezeWatch(runtime),
    record?: ConnectionRecord,
  ) {
    this.#record = record;
    this.#zone = endpoint.zone;
    this.service = service;
    this.#runtime = runtime;
    this.#redial = new Redial(runtime);
    this.#exhaustion = new Exhaustion(runtime);
    this.#freezes = freezes;
    this.#unwatchFreezes = freezes.use(() => this.#renew("idle"));
    // If it is forgotten, nothing may be sent in plain text.
    this.#tls = tls ?? (service.scheme === "https" ? new ServiceTls(service, runtime) : undefined);
    this.#unwatch = this.#tls?.use(() => this.#renew("identity"));
    this.#target = targetOf(endpoint);
    this.#options = channelOptions(service);
    this.#maxLanes = Math.min(MAX_LANES, service.limits.maxConnectionsPerEndpoint);
  }

  send(attempt: Attempt<GrpcRequest>): Promise<GrpcReply> {
    const refusal = this.#tls?.context.refusal(this.service.name, this.#runtime.wallNow());
    if (refusal !== undefined) return refuse(attempt, refusal);
    if (this.#exhaustion.pauses(attempt.startedAt) && this.#lanes.every((lane) => lane.retired)) {
      return refuse(attempt, this.#exhausted(attempt));
    }
    this.#freezes.look(attempt.startedAt);
    const lane = this.#lane(attempt.startedAt, attempt.call.request.wiring);
    const exchange = new Exchange(attempt, this, this.#runtime);
    const pauseMs = this.#redial.pauseMs(attempt.startedAt);
    return pauseMs === 0 || lane.connected ? exchange.send(lane) : exchange.hold(lane, pauseMs);
  }

  #lane(now: number, wiring: Wiring | undefined): Lane {
    const key = wiring?.key;
    let count = 0;
    let best: Lane | undefined;
    for (const lane of this.#lanes) {
      if (lane.retired || now > lane.endsAt) return this.#replace(now, wiring);
      if (lane.key !== key) continue;
      if (lane.exchanges.size < STREAMS_PER_LANE) return lane;
      if (best === undefined || lane.exchanges.size < best.exchanges.size) best = lane;
      count++;
    }
    return best === undefined || count < this.#maxLanes ? this.#open(wiring) : best;
  }

  #replace(now: number, wiring: Wiring | undefined): Lane {
    const old = this.#lanes;
    this.#lanes = old.filter((lane) => !lane.retired && now <= lane.endsAt);
    for (const lane of old) if (!this.#lanes.includes(lane)) this.#dismiss(lane, "age");
    return this.#lane(now, wiring);
  }

  /** `why`: unless it was to end for another reason already. */
  #dismiss(lane: Lane, why: CloseTrigger): void {
    if (!lane.retired) this.#record?.closing(lane, why);
    if (lane.exchanges.size > 0) this.#leaving.add(lane);
    lane.retire();
  }

  #open(wiring: Wiring | undefined): Lane {
    const [own, options] =
      this.#tls === undefined
        ? [credentials.createInsecure(), {}]
        : tlsCredentials(this.#tls.context, this.#record);
    const record = this.#record;
    const hasCertificate = this.#tls?.context.hasCertificate === true;
    const lane = new Lane(
      this.#target,
      own,
      { ...wiring?.options, ...this.#options, ...options },
      this.service,
      this.#runtime,
      this.#redial,
      (late) => this.#timedOut(late),
      (empty) => this.#emptied(empty),
      wiring?.key,
      record && {
        record,
        mutual: hasCertificate ? "true" : "false",
        zone: record.nearness(this.#zone),
      },
    );
    this.#lanes.push(lane);
    return lane;
  }

  /** Other certificates, or a process that was frozen: new calls make new connections, the old ones end with their calls. */
  #renew(why: CloseTrigger): void {
    const old = this.#lanes;
    this.#lanes = [];
    for (const lane of old) this.#dismiss(lane, why);
  }

  #timedOut(lane: Lane): void {
    const { connectMs } = this.service.timeouts;
    const handshaking = wasHandshaking(lane.credentials, lane.hasSocket);
    for (const exchange of lane.exchanges) {
      exchange.refuse(timeoutError(exchange.where, connectMs, handshaking));
    }
  }

  /** A dial failed for want of sockets; `code` says which. */
  exhaustedBy(code: unknown): void {
    this.#exhaustion.note(code);
  }

  #exhausted({ endpoint }: Attempt<GrpcRequest>): MeshError {
    const address = endpoint?.address ?? "";
    const where = { service: this.service.name, address, serverName: undefined };
    return this.#exhaustion.refusal(where);
  }

  #emptied(lane: Lane): void {
    this.#leaving.delete(lane);
    if (this.#onEmpty !== undefined && this.inFlight === 0) this.#onEmpty();
  }

  get connected(): boolean {
    return this.#lanes.some((lane) => !lane.retired && lane.connected);
  }

  describe(): ConnectionFacts {
    let open = 0;
    let queued = 0;
    for (const lanes of [this.#lanes, this.#leaving]) {
      for (const lane of lanes) {
        if (lane.connected) open++;
        for (const exchange of lane.exchanges) if (!exchange.started) queued++;
      }
    }
    return { open, application: open > 0 ? "h2" : undefined, queued, unread: undefined };
  }

  get inFlight(): number {
    let count = 0;
    for (const lane of this.#lanes) count += lane.exchanges.size;
    for (const lane of this.#leaving) count += lane.exchanges.size;
    return count;
  }

  /** What a cancelled attempt says. One that never had a connection says nothing about the endpoint. */
  cancelled(
    exchange: Exchange,
    error: MeshError,
    outcome: "timeout" | "abandoned",
  ): { readonly error: MeshError; readonly outcome: Outcome } {
    if (exchange.started || outcome === "abandoned") return { error, outcome };
    const reason = error.reason === "attempt_timeout" ? "attempt_timeout" : "queue_wait";
    const what = "deadline exceeded while waiting for a connection";
    return { error: this.#waited(exchange, reason, what, error), outcome: "abandoned" };
  }

  /** Still without a connection after `queueMs`: another endpoint may have one. */
  outwaited(exchange: Exchange): MeshError {
    const { queueMs } = this.service.timeouts;
    const what = `no connection within ${queueMs} ms (timeouts.queue)`;
    return this.#waited(exchange, "queue_wait", what, undefined);
  }

  #waited(
    { where }: Exchange,
    reason: "attempt_timeout" | "queue_wait",
    what: string,
    cause: MeshError | undefined,
  ): MeshError {
    const message = `${this.service.name} → ${where.address}: ${what}`;
    return stacklessError("deadline_exceeded", reason, "not-sent", message, cause);
  }

  probe(): Promise<boolean> {
    if (this.#closing !== undefined) return Promise.resolve(false);
    const lane = this.#lane(this.#runtime.now(), undefined);
    return lane.reach();
  }

  close(graceMs: number): Promise<void> {
    this.#unwatch?.();
    this.#unwatchFreezes();
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const lanes = this.#lanes;
    for (const lane of lanes) this.#record?.closing(lane, "drain");
    if (this.inFlight > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#runtime.after(
          graceMs,
          () => {
            for (const lane of [...lanes, ...this.#leaving]) {
              for (const exchange of lane.exchanges)
                exchange.cancelAttempt(this.#shutdown(), "abandoned");
            }
          },
          undefined,
          true,
        );
        this.#onEmpty = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    for (const lane of lanes) lane.retire();
  }

  #shutdown(): MeshError {
    const message = `${this.service.name}: the connection was closed before the attempt ended`;
    return stacklessError("cancelled", "shutdown", "maybe-processed", message);
  }
}

function refuse(attempt: Attempt<GrpcRequest>, error: MeshError): Promise<never> {
  attempt.error = error;
  attempt.settle("abandoned");
  return Promise.reject(error);
}

function targetOf({ host, port }: EndpointInfo): string {
  if (socketPathOf(host) !== undefined) return host; // grpc-js writes it the same way
  if (host.includes(":")) return `ipv6:[${host}]:${port}`;
  return /^[0-9.]+$/.test(host) ? `ipv4:${host}:${port}` : `dns:///${host}:${port}`;
}

function channelOptions(service: ServiceConfig): ChannelOptions {
  return {
    "grpc.default_authority": service.authority,
    // Two lanes to one address are two connections; grpc-js would share one.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_retries": 0,
    // What may be sent again is kept once, above: here a write is done when the connection took it.
    "grpc.per_rpc_retry_buffer_size": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_channelz": 0,
    // Many servers allow a ping every five minutes and say goodbye to who sends more (faults.md G11).
    "grpc.keepalive_permit_without_calls": 0,
    "grpc.client_idle_timeout_ms": 1_800_000,
  };
}
