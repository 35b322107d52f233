/**
 * One HTTP/2 connection to an endpoint: a channel of grpc-js that knows one address and shares its
 * connection with nobody. grpc-js dials anew by itself when a server says goodbye; a lane that could
 * not connect is given up as a whole, because grpc-js would wait for longer than a breaker does.
 */
import {
  Channel,
  connectivityState,
  type ChannelCredentials,
  type ChannelOptions,
} from "@grpc/grpc-js";
import {
  endOfAge,
  StreamEnds,
  type AttemptCanceller,
  type MeshError,
  type Redial,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { WireCall } from "../call-types.ts";
import { Dials } from "./dials.ts";
import { DirectCall } from "./direct-call.ts";
import { standingOf, type Standing } from "../internals.ts";

/** What a channel does with messages that go out. */
const MESSAGE_OPTIONS = ["grpc.default_compression_algorithm", "grpc.max_send_message_length"];

/** A server that is slow with everything is not dialled more often than this. */
const TRUSTED_MS = 500;

/** An attempt, as far as its lane, and who owns the lane, ask of it. */
export interface LaneUser extends AttemptCanceller {
  readonly attempt: { readonly answeredAt: number };
  /** It has been given the lane's connection. */
  readonly started: boolean;
  readonly where: Where;
  /** The lane has its connection. */
  connected(): void;
  /** No connection came about. */
  refuse(error: MeshError): void;
}

export class Lane {
  readonly channel: Channel;
  readonly credentials: ChannelCredentials;
  /** Of the wiring it was made with. */
  readonly key: string | undefined;
  /** Then another takes its place. */
  readonly endsAt: number;
  /** Attempts on it. */
  readonly exchanges: Set<LaneUser> = new Set();
  /** It gets no further attempts. */
  retired = false;
  readonly #runtime: Runtime;
  readonly #connectMs: number;
  /** No connection within the time given. */
  readonly #onTimeout: (lane: Lane) => void;
  readonly #onEmpty: (lane: Lane) => void;
  readonly #authority: string;
  /** Its messages go out as they are. */
  readonly #plain: boolean;
  readonly #dials = new Dials();
  readonly #redial: Redial;
  /** Of the connection it has. */
  #ends = new StreamEnds();
  /** It was left because the server refuses its streams. */
  #refusing = false;
  #ready = false;
  /** When the connection came about. */
  #readyAt = 0;
  /** Undefined: there is no connection, or none that takes calls past the channel. */
  #standing: Standing | undefined = undefined;
  readonly #trustedUntil: number;
  /** The last reply, as far as its attempt has ended. */
  #answeredAt = 0;
  #stallMark = 0;
  #watching = false;
  #shut = false;
  #dialling: Timer | undefined = undefined;
  #whenDialled: ((reached: boolean) => void)[] = [];

  constructor(
    target: string,
    credentials: ChannelCredentials,
    options: ChannelOptions,
    { timeouts, limits }: ServiceConfig,
    runtime: Runtime,
    redial: Redial,
    onTimeout: (lane: Lane) => void,
    onEmpty: (lane: Lane) => void,
    key: string | undefined,
  ) {
    this.credentials = credentials;
    this.key = key;
    this.#authority = String(options["grpc.default_authority"]);
    this.#plain = !MESSAGE_OPTIONS.some((name) => options[name] !== undefined);
    this.channel = new Channel(target, credentials, options);
    this.endsAt = endOfAge(limits.maxConnectionAgeMs, runtime);
    this.#trustedUntil = runtime.now() + TRUSTED_MS;
    this.#runtime = runtime;
    this.#connectMs = timeouts.connectMs;
    this.#redial = redial;
    this.#onTimeout = onTimeout;
    this.#onEmpty = onEmpty;
  }

  /** It has a connection at this very moment. */
  get connected(): boolean {
    return this.channel.getConnectivityState(false) === connectivityState.READY;
  }

  /** It is being dialled, and TCP has connected. */
  get hasSocket(): boolean {
    return this.#dials.connected;
  }

  /** A call on this lane, not started. `plain`: its head goes out as it is. */
  open(exchange: LaneUser, path: string, host: string | undefined, plain: boolean): WireCall {
    this.exchanges.add(exchange);
    if (this.#ready) exchange.connected();
    else this.dial();
    const standing = this.#standing;
    if (plain && standing?.ready === true) {
      return new DirectCall(standing, path, host ?? this.#authority);
    }
    return this.channel.createCall(path, Infinity, host, null, 0);
  }

  left(exchange: LaneUser): void {
    if (!this.exchanges.delete(exchange)) return;
    this.#answeredAt = Math.max(this.#answeredAt, exchange.attempt.answeredAt);
    if (this.exchanges.size > 0) return;
    this.#closeIfEmpty();
    this.#onEmpty(this);
  }

  /**
   * An attempt that began at `since` has timed out. If nothing was answered meanwhile, the peer may be
   * gone, or packets be lost behind which all others wait; the kernel would take a quarter of an hour
   * to say so. New attempts get another connection; those on this one may still be answered.
   */
  suspect(since: number): void {
    if (this.#answeredAt < since && this.#runtime.now() > this.#trustedUntil) this.retire();
  }

  /** The server has answered a call. */
  streamAnswered(): void {
    this.#ends.answered();
  }

  /** A call that had begun was given up, which resets its stream. */
  streamReset(): void {
    if (this.#ends.reset()) this.retire();
  }

  /** The server has refused the stream of a call. */
  streamRefused(): void {
    if (this.retired || !this.#ends.refused()) return;
    if (!this.#redial.replaces(this.#ends.served)) return;
    this.#refusing = true;
    this.retire();
  }

  /** Connects, if it is not connected. */
  dial(): void {
    if (this.#dialling !== undefined || this.#ready || this.#shut) return;
    this.#stallMark = this.#runtime.loop.enter(this.#runtime.now());
    this.#dialling = this.#runtime.after(this.#connectMs, expired, this);
    this.#look(true);
  }

  /** Resolves when it is known whether there is a connection. */
  reach(): Promise<boolean> {
    if (this.#ready) return Promise.resolve(true);
    if (this.retired) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#whenDialled.push(resolve);
      this.dial();
    });
  }

  #look(tryToConnect: boolean): void {
    const { channel } = this;
    const state = tryToConnect
      ? this.#dials.during(() => channel.getConnectivityState(true))
      : channel.getConnectivityState(false);
    if (state === connectivityState.READY) this.#reached();
    else {
      if (this.#ready) this.#lost();
      if (state === connectivityState.TRANSIENT_FAILURE) return this.#dialled(false);
    }
    if (this.#watching || this.#shut) return;
    this.#watching = true;
    this.channel.watchConnectivityState(state, Infinity, () => {
      this.#watching = false;
      if (!this.#shut) this.#look(false);
    });
  }

  #lost(): void {
    this.#ready = false;
    this.#standing = undefined;
    let last = this.#answeredAt;
    for (const { attempt } of this.exchanges) last = Math.max(last, attempt.answeredAt);
    if (!this.#refusing) this.#redial.ended(last >= this.#readyAt);
  }

  #reached(): void {
    this.#ready = true;
    this.#ends = new StreamEnds();
    this.#readyAt = this.#runtime.now();
    this.#standing = this.#plain ? standingOf(this.channel) : undefined;
    for (const exchange of this.exchanges) if (!exchange.started) exchange.connected();
    this.#dialled(true);
  }

  #dialled(reached: boolean): void {
    this.#disarm();
    const waiting = this.#whenDialled;
    this.#whenDialled = [];
    for (const resolve of waiting) resolve(reached);
    if (reached) return this.#dials.won();
    this.#dials.giveUp();
    this.retired = true;
    this.#closeIfEmpty();
  }

  #disarm(): number {
    if (this.#dialling === undefined) return 0;
    this.#dialling.cancel();
    this.#dialling = undefined;
    return this.#runtime.loop.leave(this.#runtime.now()) - this.#stallMark;
  }

  /** The time is up, except for what this process itself was held up for. */
  expire(): void {
    const stalledMs = this.#disarm();
    if (stalledMs > 0) {
      this.#stallMark = this.#runtime.loop.enter(this.#runtime.now());
      this.#dialling = this.#runtime.after(stalledMs, expired, this);
      return;
    }
    this.retired = true;
    this.#onTimeout(this);
    this.#dialled(false);
  }

  /**
   * Attempts on it go on to their ends, also those that wait for its connection; that is closed behind
   * the last of them.
   */
  retire(): void {
    this.retired = true;
    this.#closeIfEmpty();
  }

  #closeIfEmpty(): void {
    // A closed channel would leave calls that it has not begun yet waiting for ever.
    if (!this.retired || this.#shut || this.exchanges.size > 0) return;
    this.#shut = true;
    this.#dialled(this.#ready);
    this.#dials.giveUp();
    this.channel.close();
  }
}

function expired(lane: Lane): void {
  lane.expire();
}
