/**
 * One HTTP/2 connection. The only place that makes client sessions: one without an `error` listener
 * turns a reset into an uncaught exception of the host. It knows how many streams fit, whether the
 * peer is leaving and which streams it has taken, and whether it is still there at all.
 */
import type * as Http2 from "node:http2";
import type { Socket } from "node:net";
import { HTTP_2 } from "../../standard.ts";
import type { Line } from "../pool.ts";
import { HTTP2_IDLE_MS, PING_INTERVAL_MS, PING_TIMEOUT_MS } from "../pool-life.ts";
import type { PooledSession, SessionOwner } from "./session-pool.ts";
import { ENHANCE_YOUR_CALM } from "./stream-error.ts";
import {
  ConnectionPeer,
  endStreamsFirst,
  StreamEnds,
  watchOpen,
  type CloseTrigger,
  type Runtime,
  type ServiceConfig,
  type Timer,
  type ServerPeer,
} from "@inmesh/core/spi";

const CONNECTION_WINDOW_BYTES = 1_048_576;
/** Stream ids are 31 bits, and a client uses every second one (faults.md G20). */
const LAST_ID = 2 ** 30;
/**
 * In megabytes: as much as Node can hold. It never takes off what a cancelled upload has not sent, and
 * above its limit it would refuse every reply on the connection with a reset of its own.
 */
const MAX_SESSION_MEMORY_MB = 2 ** 32 - 1;

/**
 * settling  the peer's settings are not here yet, so it may not speak HTTP/2: no streams
 * open      takes streams, as many as there is room for
 * proving   asked whether it is alive, and not used meanwhile
 * leaving   no new streams; it ends with those it has. Settings may still come first
 * refusing  the same, because the peer takes no requests on it
 * closed    it has ended
 */
type SessionState = "settling" | "open" | "proving" | "leaving" | "refusing" | "closed";

export class Http2Session implements Line, PooledSession {
  readonly version: number = HTTP_2;
  /** A reply has an end of its own here. */
  readonly broken = false;
  streams = 0;
  #state: SessionState = "settling";
  /** Those of them that nothing here waits for, and whose peer does not know yet. */
  #unwanted = 0;
  /** The largest request head that the peer takes, as `fieldBytes` counts. */
  maxFieldBytes: number = Infinity;
  /** GOAWAY: streams above were not processed, and will not be. */
  lastStreamId: number = Infinity;
  /** GOAWAY's error code; 0: an orderly goodbye. */
  goawayCode = 0;
  /** Why it ended; undefined: without a reason. */
  error: Error | undefined = undefined;
  readonly #http2: Http2.ClientHttp2Session;
  readonly #socket: Socket;
  #peer: ServerPeer | undefined = undefined;
  readonly #runtime: Runtime;
  readonly #owner: SessionOwner<Http2Session>;
  readonly #pingIntervalMs: number;
  readonly #ends = new StreamEnds();
  #limit = 0;
  #watch: Timer | undefined = undefined;
  #idle: Timer | undefined = undefined;
  #bytesSeen = 0;
  #used = false;
  /** It was ended from here. */
  #ending = false;
  #pingedAt = -1;

  /** `patience`: times the usual interval between pings, after a peer that found them too many. */
  constructor(
    socket: Socket,
    service: ServiceConfig,
    runtime: Runtime,
    owner: SessionOwner<Http2Session>,
    patience: number,
  ) {
    this.#socket = socket;
    this.#runtime = runtime;
    this.#owner = owner;
    this.#pingIntervalMs = PING_INTERVAL_MS * patience;
    const { maxReplyHeaderBytes } = service.limits;
    const session = process
      .getBuiltinModule("node:http2")
      .connect(`${service.scheme}://${service.authority}`, {
        createConnection: () => socket,
        // Node resets a stream above these without a reason; ours is checked before, and has one.
        settings: { enablePush: false, maxHeaderListSize: 2 * maxReplyHeaderBytes },
        maxHeaderListPairs: 256,
        maxSessionMemory: MAX_SESSION_MEMORY_MB,
        maxReservedRemoteStreams: 0,
      });
    this.#http2 = session;
    endStreamsFirst(session, (error) => {
      this.#takeNoMore("leaving");
      this.error ??= error;
    });
    session.on("error", (error: Error) => (this.error ??= error));
    // An error of TLS, such as the peer's alert, ends neither socket nor session by itself.
    socket.once("error", (error) => this.destroy(error));
    session.once("remoteSettings", () => {
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      this.unref(); // until its first stream
    });
    session.on("remoteSettings", ({ maxConcurrentStreams, maxHeaderListSize }) => {
      this.maxFieldBytes = maxHeaderListSize ?? Infinity;
      this.#limit = maxConcurrentStreams ?? Infinity;
      if (this.#state === "settling") this.#state = "open";
      owner.roomChanged(this);
    });
    session.on("goaway", (code: number, lastStreamId: number) => {
      this.goawayCode = code;
      this.lastStreamId = Math.min(this.lastStreamId, lastStreamId);
      this.leave();
    });
    session.on("close", () => {
      const refusing = this.#state === "refusing";
      this.#state = "closed";
      this.#watch?.cancel();
      this.#idle?.cancel();
      // Streams hear of it in ticks of their own: they are to find the reason above.
      owner.closed(this, refusing);
    });
  }

  get peer(): ServerPeer {
    return (this.#peer ??= ConnectionPeer.of(this.#socket));
  }

  reuse(): boolean {
    const used = this.#used;
    this.#used = true;
    return used;
  }

  /** What ends it, as far as that is known here. */
  get endedBy(): CloseTrigger | undefined {
    if (this.lastStreamId !== Infinity) return "peer";
    if (this.error !== undefined) return "error";
    return this.#ending ? undefined : "peer";
  }

  get served(): boolean {
    return this.#ends.served;
  }

  /** Streams that can start now. */
  get room(): number {
    return this.#state !== "open" || this.#http2.destroyed ? 0 : this.#limit - this.streams;
  }

  /** Takes no new streams. Node destroys a broken session some ticks before it says so. */
  get ending(): boolean {
    return this.#isLeaving || this.#http2.destroyed;
  }

  get #isLeaving(): boolean {
    return this.#state === "leaving" || this.#state === "refusing" || this.#state === "closed";
  }

  /** It is asked whether it is alive: it will have room, or be gone. */
  get proving(): boolean {
    return this.#state === "proving";
  }

  /** The peer thought that we ping too often (faults.md G11). */
  get calmed(): boolean {
    return this.goawayCode === ENHANCE_YOUR_CALM;
  }

  /** Throws what Node finds wrong with the headers. */
  request(headers: Http2.OutgoingHttpHeaders, endStream: boolean): Http2.ClientHttp2Stream {
    const stream = this.#http2.request(headers, { endStream });
    watchOpen(stream);
    if (this.streams++ === 0) {
      this.#idle?.cancel();
      this.#http2.ref();
      this.#bytesSeen = this.#socket.bytesRead;
      this.#watch ??= this.#runtime.after(this.#pingIntervalMs, lookAlive, this);
    }
    if ((stream.id ?? 0) > LAST_ID) this.leave();
    return stream;
  }

  /** `unwanted`: it was given up without a reset. */
  released(unwanted: boolean): void {
    this.streams--;
    if (unwanted) this.#unwanted--;
    if (this.streams > this.#unwanted || this.#state === "closed") return;
    if (this.#unwanted > 0) return this.destroy(undefined);
    if (this.#isLeaving) return this.close();
    // While it is asked whether it is alive, the pool waits for the answer.
    if (!this.proving) this.unref();
    this.#idle = this.#runtime.after(HTTP2_IDLE_MS, closeIdle, this);
  }

  /** No call waits for it: it must not keep the process alive. */
  unref(): void {
    this.#http2.unref();
  }

  /** The peer has begun to answer a stream. */
  streamAnswered(): void {
    this.#ends.answered();
  }

  /** A stream was reset from here. */
  streamReset(): void {
    this.#owner.streamReset("client");
    if (this.#ends.reset()) this.leave();
  }

  /**
   * A stream is wanted no longer. False: it must not be reset, because a further reset could cost the
   * others the connection. It ends with that, as soon as none of its streams is wanted.
   */
  gaveUp(): boolean {
    if (!this.#ends.resetsSpent) {
      this.streamReset();
      return true;
    }
    if (++this.#unwanted === this.streams) this.destroy(undefined);
    return false;
  }

  /** The peer has reset a stream. */
  resetByPeer(): void {
    this.#owner.streamReset("server");
  }

  /** The peer has refused a stream. */
  streamRefused(): void {
    if (!this.#isLeaving && this.#ends.refused()) this.replace();
  }

  /** Leaves it because the peer takes no request on it, if another may be dialled. */
  replace(): void {
    if (this.#isLeaving || !this.#owner.replaces(this)) return;
    this.#leave("refusing");
  }

  leave(): void {
    if (!this.#isLeaving) this.#leave("leaving");
  }

  /** Why it takes no more streams is what was said first. */
  #takeNoMore(state: "leaving" | "refusing"): void {
    if (!this.#isLeaving) this.#state = state;
  }

  #leave(state: "leaving" | "refusing"): void {
    this.#takeNoMore(state);
    this.#owner.leaving(this);
    if (this.streams === 0) this.close();
  }

  /** Ends when its streams have ended. */
  close(): void {
    this.#takeNoMore("leaving");
    this.#ending = true;
    if (this.#state !== "closed") this.#http2.close();
  }

  /** Ends now; its streams fail. */
  destroy(error: Error | undefined): void {
    this.#takeNoMore("leaving");
    this.#ending = true;
    this.error ??= error;
    this.#http2.destroy();
    this.#socket.destroy();
  }

  /** A ping that is not answered within `patienceMs` ends it. */
  prove(patienceMs: number): void {
    if (this.proving || this.ending) return;
    this.#state = "proving";
    const timer = this.#runtime.after(
      patienceMs,
      () => this.destroy(new Error(`no answer to a ping within ${patienceMs} ms`)),
      undefined,
    );
    this.#http2.ref();
    this.#http2.ping((error) => {
      timer.cancel();
      if (this.proving) this.#state = "open";
      if (error !== null) return;
      this.#owner.roomChanged(this);
      if (this.streams === 0) this.unref();
    });
  }

  /** Every interval while streams wait. Any byte from the peer is a sign of life. */
  lookAlive(): void {
    this.#watch = undefined;
    if (this.#state === "closed" || this.streams === 0) {
      this.#pingedAt = -1;
      return;
    }
    const now = this.#runtime.now();
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#bytesSeen) this.#pingedAt = -1;
    else if (this.#pingedAt < 0) {
      this.#pingedAt = now;
      this.#http2.ping(() => {});
    } else if (now - this.#pingedAt >= PING_TIMEOUT_MS) {
      return this.destroy(new Error(`no answer to a ping within ${PING_TIMEOUT_MS} ms`));
    }
    this.#bytesSeen = bytesRead;
    this.#watch = this.#runtime.after(this.#pingIntervalMs, lookAlive, this);
  }
}

function lookAlive(session: Http2Session): void {
  session.lookAlive();
}

function closeIdle(session: Http2Session): void {
  if (session.streams === 0) session.close();
}
