/**
 * One HTTP/2 connection to an endpoint: a channel of grpc-js that knows one address and shares its
 * connection with no other. grpc-js dials anew by itself when a server says goodbye; a lane that could
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
  type CloseTrigger,
  type ConnectionRecord,
  type MeshError,
  type Mutual,
  type Nearness,
  type Redial,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi";
import type { WireCall } from "../call-types.ts";
import { Dials, type DialEvents } from "./dials.ts";
import { DirectCall } from "./direct-call.ts";
import { standingOf, type Standing } from "../internals.ts";
import { foreignNames } from "./tls-credentials.ts";

/** What a channel does with messages that go out. */
const MESSAGE_OPTIONS = ["grpc.default_compression_algorithm", "grpc.max_send_message_length"];

/** A server that is slow with everything is not dialled more often than this. */
const TRUSTED_MS = 500;

/** Where a lane reports its connections, and what it says of them. */
export interface LaneReport {
  readonly record: ConnectionRecord;
  readonly mutual: Mutual;
  readonly zone: Nearness;
}

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

/**
 * none      there is no connection. grpc-js may make one by itself
 * dialling  the time that an attempt waits for it is running
 * ready     there is one. `standing`: undefined if it takes no calls past the channel
 */
type LaneConnection =
  | { readonly state: "none" }
  | { readonly state: "dialling"; readonly timer: Timer; readonly stallMark: number }
  | { readonly state: "ready"; readonly since: number; readonly standing: Standing | undefined };

/**
 * open      attempts may be added
 * retired   it gets no further attempts, and closes behind the last of those it has
 * refusing  the same, because the server refuses its streams
 * shut      its channel is closed
 */
type LaneLife = "open" | "retired" | "refusing" | "shut";

const NONE: LaneConnection = { state: "none" };

export class Lane {
  readonly channel: Channel;
  readonly credentials: ChannelCredentials;
  /** The key of the wiring that the lane was made with. */
  readonly key: string | undefined;
  /** Instant at which another lane takes its place. */
  readonly endsAt: number;
  /** The attempts on it. */
  readonly exchanges: Set<LaneUser> = new Set();
  readonly #runtime: Runtime;
  readonly #connectMs: number;
  /** No connection within the time given. */
  readonly #onTimeout: (lane: Lane) => void;
  readonly #onEmpty: (lane: Lane) => void;
  readonly #authority: string;
  /** Its messages go out as they are. */
  readonly #plain: boolean;
  readonly #dials: Dials;
  readonly #report: LaneReport | undefined;
  /** With credentials of grpc-js's, whose handshake is not seen: since TCP has connected. */
  #handshakingSince: number | undefined = undefined;
  /** Why no connection came about was reported. */
  #failed = false;
  /** Its connection has carried an attempt. */
  #used = false;
  readonly #redial: Redial;
  /** Of the connection it has. */
  #ends = new StreamEnds();
  #life: LaneLife = "open";
  #connection: LaneConnection = NONE;
  readonly #trustedUntil: number;
  /** The last reply, as far as its attempt has ended. */
  #answeredAt = 0;
  /** grpc-js is asked to say when its state changes. */
  #watching = false;
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
    report?: LaneReport,
  ) {
    this.#report = report;
    this.#dials = new Dials(report && this.#reportTo(report));
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

  #reportTo({ record, mutual, zone }: LaneReport): DialEvents {
    return {
      dialling: (socket) => {
        const startedAt = this.#runtime.now();
        socket.once("connect", () => {
          const now = this.#runtime.now();
          if (foreignNames.has(this.credentials)) this.#handshakingSince = now;
          record.connected("tcp", now - startedAt);
        });
      },
      won: (socket) => {
        const since = this.#handshakingSince;
        this.#handshakingSince = undefined;
        if (since !== undefined) record.connected("tls", this.#runtime.now() - since);
        record.opened(socket, { protocol: "grpc", mutual, zone, owner: this });
        record.explain(socket, () => this.#endedBy);
      },
    };
  }

  /** Without a reason, and not from here: it was the peer. */
  get #endedBy(): CloseTrigger | undefined {
    return this.#life === "shut" ? undefined : "peer";
  }

  /** No connection came about, for that reason. Reported once: then the lane is given up. */
  failed(reason: string): void {
    if (this.#failed) return;
    this.#failed = true;
    const record = this.#report?.record;
    record?.failed("grpc", reason);
    if (this.#handshakingSince !== undefined) record?.handshakeFailed(reason);
  }

  /** An attempt begins on its connection. True: that has carried another before. */
  reuse(): boolean {
    const used = this.#used;
    this.#used = true;
    return used;
  }

  /** It gets no further attempts. */
  get retired(): boolean {
    return this.#life !== "open";
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
    if (this.#connection.state === "ready") exchange.connected();
    else this.dial();
    // Dialling may have found that there is one.
    const now = this.#connection;
    const standing = now.state === "ready" ? now.standing : undefined;
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
    if (this.#answeredAt >= since || this.#runtime.now() <= this.#trustedUntil) return;
    this.#report?.record.closing(this, "error");
    this.retire();
  }

  /** The server leaves it, or has gone. */
  sessionGone(): void {
    this.#report?.record.closing(this, "peer");
    this.retire();
  }

  /** The server has answered a call. */
  streamAnswered(): void {
    this.#ends.answered();
  }

  /** A call that had begun was given up, which resets its stream. */
  streamReset(): void {
    this.#report?.record.reset("client");
    if (this.#ends.reset()) this.retire();
  }

  /** The server has refused the stream of a call. */
  streamRefused(): void {
    this.#report?.record.reset("server");
    if (this.retired || !this.#ends.refused()) return;
    if (!this.#redial.replaces(this.#ends.served)) return;
    this.#retire("refusing");
  }

  /** Connects, if it is not connected. */
  dial(): void {
    if (this.#connection.state !== "none" || this.#life === "shut") return;
    this.#arm(this.#connectMs);
    this.#look(true);
  }

  #arm(ms: number): void {
    const stallMark = this.#runtime.loop.enter(this.#runtime.now());
    const timer = this.#runtime.after(ms, expired, this);
    this.#connection = { state: "dialling", timer, stallMark };
  }

  /** Resolves when it is known whether there is a connection. */
  reach(): Promise<boolean> {
    if (this.#connection.state === "ready") return Promise.resolve(true);
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
      if (this.#connection.state === "ready") this.#lost(this.#connection.since);
      if (state === connectivityState.TRANSIENT_FAILURE) {
        // Attempts hear why, and say so.
        if (this.exchanges.size === 0) this.failed("connect_refused");
        return this.#dialled(false);
      }
    }
    if (this.#watching || this.#life === "shut") return;
    this.#watching = true;
    this.channel.watchConnectivityState(state, Infinity, () => {
      this.#watching = false;
      if (this.#life !== "shut") this.#look(false);
    });
  }

  #lost(since: number): void {
    this.#connection = NONE;
    let last = this.#answeredAt;
    for (const { attempt } of this.exchanges) last = Math.max(last, attempt.answeredAt);
    if (this.#life !== "refusing") this.#redial.ended(last >= since);
  }

  #reached(): void {
    this.#disarm();
    this.#ends = new StreamEnds();
    this.#used = false;
    const standing = this.#plain ? standingOf(this.channel) : undefined;
    this.#connection = { state: "ready", since: this.#runtime.now(), standing };
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
    this.retire();
  }

  /** For how long this process was held up while it waited. */
  #disarm(): number {
    const dialling = this.#connection;
    if (dialling.state !== "dialling") return 0;
    dialling.timer.cancel();
    this.#connection = NONE;
    return this.#runtime.loop.leave(this.#runtime.now()) - dialling.stallMark;
  }

  /** The time is up, except for what this process itself was held up for. */
  expire(): void {
    const stalledMs = this.#disarm();
    if (stalledMs > 0) return this.#arm(stalledMs);
    this.#takeNoMore("retired");
    if (this.exchanges.size === 0) this.failed("connect_timeout");
    this.#onTimeout(this);
    this.#dialled(false);
  }

  /**
   * Attempts on it go on to their ends, also those that wait for its connection; that is closed behind
   * the last of them.
   */
  retire(): void {
    this.#retire("retired");
  }

  #retire(life: "retired" | "refusing"): void {
    this.#takeNoMore(life);
    this.#closeIfEmpty();
  }

  /** Why it takes no more attempts is what was said first. */
  #takeNoMore(life: "retired" | "refusing"): void {
    if (this.#life === "open") this.#life = life;
  }

  #closeIfEmpty(): void {
    // A closed channel would leave calls that it has not begun yet waiting for ever.
    if (this.#life === "open" || this.#life === "shut" || this.exchanges.size > 0) return;
    this.#life = "shut";
    this.#dialled(this.#connection.state === "ready");
    this.#dials.giveUp();
    this.channel.close();
  }
}

function expired(lane: Lane): void {
  lane.expire();
}
