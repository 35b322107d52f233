/**
 * Dials one endpoint for a pool whose origin is the service: Host and SNI are the service's, the
 * address is the endpoint's. The only place that opens sockets; undici and HTTP/2 get theirs here.
 * Keeps what undici does not report: which connections ended in an error.
 */
import { connect as connectTcp, type NetConnectOpts, type Socket } from "node:net";
import {
  addressOf,
  connectError,
  Exhaustion,
  isPeerAlert,
  MeshError,
  socketPathOf,
  timeoutError,
  withoutCaller,
  type CloseTrigger,
  type ConnectionRecord,
  type EndpointInfo,
  type ResetTrigger,
  type Runtime,
  type ServiceConfig,
  type Spoken,
  type TlsContext,
  type Where,
} from "@inmesh/core/spi";

/** A spare connection from a breaker's handshake is kept no longer than an idle one. */
const SPARE_MS = 4_000;
/** RFC 8305 §5; Node's own default differs between its versions. */
const FAMILY_ATTEMPT_MS = 250;
const KEEPALIVE_DELAY_MS = 10_000;

/** Where a connector reports what it opens. */
export interface Reported {
  readonly record: ConnectionRecord;
  /** What is to be spoken, unless TLS agrees on something else. */
  readonly protocol: Spoken;
  /** What its connections belong to. */
  readonly owner: object;
}

export type Dialled = (error: MeshError | null, socket: Socket | null) => void;

/** Where a socket puts what it reads, see `onread` of `net.Socket`. */
export type OnRead = NonNullable<NetConnectOpts["onread"]>;

export class Connector {
  readonly where: Where;
  readonly #service: ServiceConfig;
  readonly #runtime: Runtime;
  readonly #secure: TlsContext | undefined;
  readonly #protocols: readonly string[];
  readonly #watchesAlerts: boolean;
  readonly #options: object;
  readonly #reported: Reported | undefined;
  readonly #zone: string | undefined;
  /** Errors by which a peer refused our certificate after the handshake (faults.md T5). */
  readonly #rejections = new WeakSet<Error>();
  /**
   * undici ends a reply whose length only the close shows as if it were complete, also when the close
   * was a reset (faults.md C12), and it may do so long after the event if the reader had paused.
   */
  readonly #broken = new WeakSet<Socket>();
  readonly #dialling = new Set<Socket>();
  readonly #exhaustion: Exhaustion;
  #spare: Socket | undefined = undefined;

  /**
   * `secure`: TLS with this context, else plain TCP. `protocols`: for ALPN, best first. `reported`: default
   * nowhere.
   */
  constructor(
    endpoint: EndpointInfo,
    service: ServiceConfig,
    runtime: Runtime,
    secure: TlsContext | undefined,
    protocols: readonly string[],
    reported?: Reported,
  ) {
    this.#reported = reported;
    this.#zone = endpoint.zone;
    this.#service = service;
    this.#runtime = runtime;
    this.#exhaustion = new Exhaustion(runtime);
    this.#secure = secure;
    this.#protocols = protocols;
    this.#watchesAlerts = secure !== undefined && !protocols.includes("h2");
    const address = addressOf(endpoint);
    this.where = { service: service.name, address, serverName: secure?.serverName };
    this.#options = placeOf(endpoint);
  }

  /** The `connect` function of an undici pool. Calls back in a later turn, as undici needs. */
  readonly connect = (_options: unknown, callback: Dialled): void => {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined && !spare.destroyed && spare.readable && spare.writable) {
      spare.ref();
      queueMicrotask(() => callback(null, spare));
      return;
    }
    this.dial(callback);
  };

  /** The peer refused our certificate with the first thing it sent: no request was processed. */
  rejected(error: unknown): boolean {
    return error instanceof Error && this.#rejections.has(error);
  }

  /** This connection ended, or is ending, in an error instead of an orderly close. */
  broke(socket: Socket): boolean {
    return this.#broken.has(socket);
  }

  rejectionError(cause: Error): MeshError {
    return connectError(this.where, cause, true);
  }

  /** Completes a handshake and keeps the connection for the next request. */
  probe(): Promise<boolean> {
    return new Promise((resolve) => {
      this.dial((_, socket) => {
        if (socket !== null) this.keep(socket);
        resolve(socket !== null);
      });
    });
  }

  /** Keeps an open connection for the next request, not for long. */
  keep(socket: Socket): void {
    this.#spare?.destroy();
    this.#spare = socket;
    socket.unref();
    this.#runtime.after(
      SPARE_MS,
      (one) => {
        if (this.#spare !== one) return;
        this.#spare = undefined;
        one.destroy();
      },
      socket,
    );
  }

  close(): void {
    this.#spare?.destroy();
    this.#spare = undefined;
  }

  /** As `close`, and ends what is being dialled. */
  destroy(): void {
    this.close();
    for (const socket of this.#dialling) socket.destroy(new Error("the pool was closed"));
  }

  /**
   * Calls back once, in a later turn, with a connected socket or a `connect_failed`. `onread`: the socket has no
   * `data` events, and puts what it reads there. Default: a stream.
   */
  dial(done: Dialled, onread?: OnRead): void {
    const { connectMs } = this.#service.timeouts;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      queueMicrotask(() => done(refusal, null));
      return;
    }
    const reported = this.#reported;
    const record = reported?.record;
    const dialledAt = this.#runtime.now();
    let connectedAt = dialledAt;
    let settled = false;
    let reached = false;
    /** The peer has sent something: an alert after that proves nothing about requests. */
    let heard = false;
    const finish = (error: Error | null): void => {
      if (settled) return;
      settled = true;
      timer.cancel();
      this.#dialling.delete(socket);
      if (error === null) {
        if (reported !== undefined) this.#report(socket, reported);
        return done(null, socket);
      }
      const failed =
        error instanceof MeshError
          ? error
          : connectError(this.where, error, this.#secure !== undefined && reached);
      this.#exhaustion.note((error as { readonly code?: unknown }).code);
      if (reported !== undefined) {
        record!.failed(reported.protocol, failed.reason);
        if (this.#secure !== undefined && reached) record!.handshakeFailed(failed.reason);
      }
      done(failed, null);
    };
    const socket = withoutCaller(() => this.#open(onread));
    this.#dialling.add(socket);
    const timer = this.#runtime.after(
      connectMs,
      () => {
        finish(timeoutError(this.where, connectMs, this.#secure !== undefined && reached));
        socket.destroy();
      },
      undefined,
    );
    // Of a TLS socket this is TCP's part alone; what fails after it is the handshake.
    socket.once("connect", () => {
      reached = true;
      connectedAt = this.#runtime.now();
      record?.connected("tcp", connectedAt - dialledAt);
    });
    socket.once(this.#secure === undefined ? "connect" : "secureConnect", () => {
      // HTTP/2 takes the handle away from the stream, and has its own proof.
      if (this.#watchesAlerts) socket.once("readable", () => (heard = true));
      if (this.#secure !== undefined) {
        record?.connected("tls", this.#runtime.now() - connectedAt);
      }
      finish(null);
    });
    // Ours is the first `error` listener: it counts before undici ends the reply.
    socket.on("error", (error) => {
      this.#broken.add(socket);
      if (settled && !heard && isPeerAlert(error)) this.#rejections.add(error);
      finish(error);
    });
    // libuv before 1.52 (Node 22) reports a reset that came while the reader had paused as an end,
    // without the read that would show it. Only after a FIN does the socket still know its peer. A Unix
    // socket never knows it, and libuv reports its resets.
    if ("host" in this.#options) {
      socket.on("end", () => {
        if (socket.remoteAddress === undefined) this.#broken.add(socket);
      });
    }
  }

  /** It is open, and what is spoken on it is known. */
  #report(socket: Socket, { record, protocol, owner }: Reported): void {
    const { alpnProtocol } = socket as Socket & { readonly alpnProtocol?: unknown };
    const fellBack = this.#secure !== undefined && alpnProtocol !== "h2";
    record.opened(socket, {
      protocol: fellBack ? "http1" : protocol,
      mutual: this.#secure?.hasCertificate === true ? "true" : "false",
      zone: record.nearness(this.#zone),
      owner,
    });
    record.explain(socket, () => (isOrderly(socket.errored) ? "idle" : undefined));
  }

  /** What ends one of its connections, where it ends in another way than by its owner. */
  explain(socket: Socket, why: () => CloseTrigger | undefined): void {
    this.#reported?.record.explain(socket, why);
  }

  /** A stream of one of its connections was reset. */
  streamReset(trigger: ResetTrigger): void {
    this.#reported?.record.reset(trigger);
  }

  #open(onread: OnRead | undefined): Socket {
    const secure = this.#secure;
    const options = onread === undefined ? this.#options : { ...this.#options, onread };
    const socket =
      secure === undefined
        ? connectTcp({ ...options, highWaterMark: 65_536 } as never)
        : secure.connect(options, this.#protocols);
    socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    socket.setNoDelay(true);
    return socket;
  }

  /** Why nothing is dialled at all now. */
  #refusal(): MeshError | undefined {
    if (this.#exhaustion.pauses(this.#runtime.now())) return this.#exhaustion.refusal(this.where);
    return this.#secure?.refusal(this.#service.name, this.#runtime.wallNow());
  }
}

/** Where a socket to that endpoint is opened, as options of `net.connect`. */
export function placeOf({ host, port }: EndpointInfo): object {
  const path = socketPathOf(host);
  if (path !== undefined) return { path };
  return {
    host,
    port,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: FAMILY_ATTEMPT_MS,
  };
}

/** undici ends a connection by an error also where it only will not use it again: behind `Connection: close`, or idle. */
function isOrderly(error: (Error & { readonly code?: string }) | null): boolean {
  return error?.code === "UND_ERR_INFO" && error.message !== "aborted";
}
