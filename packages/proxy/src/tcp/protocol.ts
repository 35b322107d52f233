/**
 * TCP as a protocol of the mesh. A connection is a call, a dial is an attempt: while no byte has been sent, core sends
 * it to another endpoint, within its bounds for attempts that were never sent; refused and timed-out dials open
 * breakers; how long a dial takes is the latency that endpoints are compared by.
 */
import { connect, type Socket } from "node:net";
import {
  addressOf,
  connectError,
  Exhaustion,
  MeshError,
  timeoutError,
  withoutCaller,
  type Attempt,
  type AttemptCanceller,
  type Connection,
  type ConnectionFacts,
  type ConnectionRecord,
  type EndpointInfo,
  type Outcome,
  type Protocol,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type Where,
} from "@inmesh/core/spi/transport";
import { placeOf } from "@inmesh/http/spi/codec";
import { Defects } from "../defects.ts";
import { TcpReply, type TcpRequest } from "./request.ts";

const KEEP_ALIVE_DELAY_MS = 10_000;

export const TCP: Protocol<TcpRequest, TcpReply> = {
  name: "tcp",
  transport: (service, runtime, _identities, record) => ({
    connect: (endpoint) => new TcpConnection(endpoint, service, runtime, record),
  }),
};

interface DialParts {
  readonly where: Where;
  readonly options: object;
  readonly connectMs: number;
  readonly runtime: Runtime;
  readonly record: ConnectionRecord | undefined;
  readonly zone: string | undefined;
  readonly exhaustion: Exhaustion;
}

/** The way to one endpoint. Nothing is kept between connections: each dials anew. */
class TcpConnection implements Connection<TcpRequest, TcpReply> {
  readonly #parts: DialParts;
  readonly #open = new Set<TcpAttempt>();
  #onIdle: (() => void) | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;

  constructor(
    endpoint: EndpointInfo,
    service: ServiceConfig,
    runtime: Runtime,
    record: ConnectionRecord | undefined,
  ) {
    const { zone } = endpoint;
    this.#parts = {
      where: { service: service.name, address: addressOf(endpoint), serverName: undefined },
      options: { ...placeOf(endpoint), allowHalfOpen: true },
      connectMs: service.timeouts.connectMs,
      runtime,
      record,
      zone,
      exhaustion: new Exhaustion(runtime),
    };
  }

  send(attempt: Attempt<TcpRequest>): Promise<TcpReply> {
    return new Promise((resolve, reject) => {
      const one = new TcpAttempt(attempt, this.#parts, resolve, reject, () => {
        this.#open.delete(one);
        if (this.#open.size === 0) this.#onIdle?.();
      });
      this.#open.add(one);
      one.start();
    });
  }

  close(graceMs: number): Promise<void> {
    return (this.#closing ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    const { runtime, where } = this.#parts;
    if (this.#open.size > 0 && graceMs > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = runtime.after(graceMs, resolve, undefined, true);
      this.#onIdle = resolve;
      await promise;
      timer.cancel();
    }
    for (const one of this.#open) one.cancelAttempt(shutdownError(where), "abandoned");
  }

  /** A dial that succeeds is all that can be known of an endpoint whose protocol is not. */
  probe(): Promise<boolean> {
    return new Promise((resolve) => {
      const { exhaustion, runtime } = this.#parts;
      if (exhaustion.pauses(runtime.now())) return resolve(false);
      const dial = new Dial(this.#parts, (error) => {
        if (error === undefined) dial.socket.destroy();
        resolve(error === undefined);
      });
    });
  }

  describe(): ConnectionFacts {
    return {
      open: [...this.#open].filter(({ isConnected }) => isConnected).length,
      application: undefined,
      queued: undefined,
      unread: undefined,
    };
  }
}

class TcpAttempt implements AttemptCanceller {
  isConnected = false;
  readonly #attempt: Attempt<TcpRequest>;
  readonly #parts: DialParts;
  readonly #resolve: (reply: TcpReply) => void;
  readonly #reject: (error: MeshError) => void;
  readonly #ended: () => void;
  #dial: Dial | undefined = undefined;

  constructor(
    attempt: Attempt<TcpRequest>,
    parts: DialParts,
    resolve: (reply: TcpReply) => void,
    reject: (error: MeshError) => void,
    ended: () => void,
  ) {
    this.#attempt = attempt;
    this.#parts = parts;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#ended = ended;
    attempt.canceller = this;
  }

  start(): void {
    const { exhaustion, runtime, where } = this.#parts;
    if (exhaustion.pauses(runtime.now())) {
      this.#fail(exhaustion.refusal(where), "abandoned");
      return;
    }
    this.#dial = new Dial(this.#parts, (error) => {
      try {
        this.#dialled(error);
      } catch (defect) {
        Defects.of(runtime).end(defect, this);
      }
    });
  }

  /** After an error of the proxy's own, which says nothing about the endpoint. */
  destroy(): void {
    this.cancelAttempt(defectError(this.#parts.where), "abandoned");
    this.#dial?.stop();
  }

  #dialled(error: MeshError | undefined): void {
    const attempt = this.#attempt;
    if (error !== undefined) {
      attempt.connectFailed = error.code === "connect_failed";
      return this.#fail(error, attempt.connectFailed ? "failure" : "abandoned");
    }
    const { runtime } = this.#parts;
    this.isConnected = true;
    attempt.connectionReused = false;
    // Of an endpoint that is not asked anything, how long it takes to accept is what can be compared.
    attempt.sentAt = attempt.startedAt;
    attempt.answeredAt = runtime.now();
    attempt.answered(attempt.answeredAt);
    this.#resolve(new TcpReply(this.#dial!.socket, (outcome) => this.#settle(outcome)));
  }

  cancelAttempt(error: MeshError, outcome: "timeout" | "abandoned"): void {
    if (this.#attempt.outcome !== undefined) return;
    this.#fail(error, outcome);
    this.#dial?.stop();
  }

  #fail(error: MeshError, outcome: Outcome): void {
    if (this.#attempt.outcome !== undefined) return;
    this.#attempt.error = error;
    this.#settle(outcome);
    this.#reject(error);
  }

  #settle(outcome: Outcome): void {
    if (this.#attempt.outcome !== undefined) return;
    this.#attempt.settle(outcome);
    this.#ended();
  }
}

/** Opens one socket, and calls back once, in a later turn. */
class Dial {
  readonly socket: Socket;
  readonly #timer: Timer;
  #isDone = false;

  constructor(
    { where, options, connectMs, runtime, record, zone, exhaustion }: DialParts,
    done: (error: MeshError | undefined) => void,
  ) {
    const startedAt = runtime.now();
    const finish = (error: MeshError | undefined): void => {
      if (this.#isDone) return;
      this.#isDone = true;
      this.#timer.cancel();
      if (error === undefined) {
        record?.connected("tcp", runtime.now() - startedAt);
        record?.opened(this.socket, {
          protocol: "tcp",
          mutual: "false",
          zone: record.nearness(zone),
        });
      } else record?.failed("tcp", error.reason);
      done(error);
    };
    const socket = withoutCaller(() => connect(options as never));
    this.socket = socket;
    socket.pause();
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    socket.setNoDelay(true);
    this.#timer = runtime.after(
      connectMs,
      () => {
        finish(timeoutError(where, connectMs, false));
        socket.destroy();
      },
      undefined,
    );
    socket.once("connect", () => finish(undefined));
    // It stays, so that an error never ends the process; after the dial it is the reply's owner who looks at `close`.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      exhaustion.note(error.code);
      finish(connectError(where, error, false));
    });
  }

  /** Without a call back. */
  stop(): void {
    this.#isDone = true;
    this.#timer.cancel();
    this.socket.destroy();
  }
}

function defectError({ service, address }: Where): MeshError {
  return new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: `${service} → ${address}: an error of mesh-proxy's own has ended the connection: its log has it (proxy.defect)`,
    progress: "maybe-processed",
    stackless: true,
  });
}

function shutdownError({ service, address }: Where): MeshError {
  return new MeshError({
    code: "cancelled",
    reason: "shutdown",
    message: `${service} → ${address}: closed before the connection ended`,
    progress: "maybe-processed",
    stackless: true,
  });
}
