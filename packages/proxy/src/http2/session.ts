/**
 * A connection of the proxy to a server that speaks HTTP/2: when it takes streams, and how it ends. Nothing is sent before
 * the server has said its settings, which prove that it speaks HTTP/2 and say how many streams it takes. What a
 * stream is, one attempt, is in `session-stream.ts`.
 */
import type { Socket } from "node:net";
import { StreamEnds, type CloseTrigger, type ServiceConfig, type Where } from "@inmesh/core/spi";
import {
  HTTP2_IDLE_MS,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  headTooLarge,
  type PooledSession,
  type SessionEnd,
  type SessionOwner,
} from "@inmesh/http/spi/codec";
import { Defects, onEvent } from "../defects.ts";
import type { Exchange } from "../exchange.ts";
import type { Flushed } from "../flushes.ts";
import type { Http2Clock } from "./clock.ts";
import { Http2Connection } from "./connection.ts";
import type { ConnectionLimits, ConnectionTimes } from "./connection-life.ts";
import { ERROR, PREFACE, SETTING, writeSettings } from "./frames.ts";
import { headBytesOf, OWN_FIELDS_BYTES, SessionStream } from "./session-stream.ts";
import { STREAM_WINDOW, type Http2Stream } from "./stream.ts";
import { DEFAULT_TABLE_BYTES } from "./tables.ts";

const VERSION = 2;
/** Servers of gRPC end a connection, and the calls on it, when pings come more often than this (A8). */
const GRPC_PING_INTERVAL_MS = 300_000;
/** Of a connection that is as good as used up (faults.md G20). */
const LAST_ID = 2 ** 30;
const MAX_REPLY_FIELDS = 200;
const WRITE_STALL_MS = 30_000;
/** Servers send what clients must not. */
const PEER_FLOODS = { maxPings: 100, maxSettingsFrames: 10, maxGlitches: 100 };
const TRAILER_LIMITS = { maxTrailerCount: 32, maxTrailerBytes: 8_192 };

export class Http2Session extends Http2Connection implements SessionEnd, PooledSession {
  readonly #service: ServiceConfig;
  readonly #owner: SessionOwner<Http2Session>;
  readonly #clock: Http2Clock;
  readonly #ends = new StreamEnds();
  #nextId = 1;
  #state: "settling" | "open" | "leaving" | "refusing" | "closed" = "settling";
  #used = false;
  /** How often something of a reply has come. */
  answers = 0;
  #ending = false;
  /** Questions of `prove` without an answer. */
  #proofs = 0;
  /** Times the usual silence before a ping. */
  readonly #patience: number;
  protected times: ConnectionTimes;
  #isGrpc = false;
  lastStreamId: number = Infinity;
  goawayCode = 0;
  error: Error | undefined = undefined;

  constructor(
    socket: Socket,
    service: ServiceConfig,
    clock: Http2Clock,
    owner: SessionOwner<Http2Session>,
  ) {
    super(socket, clock, limitsOf(service), DEFAULT_TABLE_BYTES);
    this.#service = service;
    this.#owner = owner;
    this.#clock = clock;
    this.#patience = clock.patience;
    this.times = timesOf(PING_INTERVAL_MS * clock.patience);
    // An error of TLS, such as the peer's alert, ends no socket by itself.
    socket.on("error", (error) => {
      this.error ??= error;
      socket.destroy();
    });
    onEvent(socket, "data", clock.runtime, this, (bytes) => this.read(bytes));
    onEvent(socket, "end", clock.runtime, this, () => this.#inputEnded());
    clock.sweep.add(this);
    const { out } = this;
    out.reserve(PREFACE.length);
    PREFACE.copy(out.buffer, out.at);
    out.at += PREFACE.length;
    writeSettings(out, [
      [SETTING.headerTableSize, DEFAULT_TABLE_BYTES],
      [SETTING.enablePush, 0],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, service.limits.maxReplyHeaderBytes],
    ]);
    this.window.open(out);
    this.flush();
  }

  get where(): Where {
    return this.#owner.where;
  }

  get ending(): boolean {
    return this.#state !== "settling" && this.#state !== "open";
  }

  get served(): boolean {
    return this.#ends.served;
  }

  get streams(): number {
    return this.open.size;
  }

  get room(): number {
    if (this.#state !== "open" || this.proving || this.fault !== undefined || this.ended) return 0;
    return this.settings.maxStreams - this.open.size;
  }

  get endedBy(): CloseTrigger | undefined {
    if (this.lastStreamId !== Infinity) return "peer";
    if (this.error !== undefined || this.fault !== undefined) return "error";
    return this.#ending ? undefined : "peer";
  }

  /** There is room for it. Does not throw. */
  start(exchange: Exchange): void {
    try {
      this.#start(exchange);
    } catch (error) {
      Defects.of(this.runtime).end(error, this);
      exchange.defective();
    }
  }

  #start(exchange: Exchange): void {
    const reused = this.#used;
    this.#used = true;
    const id = this.#nextId;
    const stream = new SessionStream(id, this, exchange);
    const { maxHeaderBytes } = this.settings;
    if (
      maxHeaderBytes !== Infinity &&
      exchange.request.headBytes + OWN_FIELDS_BYTES > maxHeaderBytes
    ) {
      const bytes = headBytesOf(exchange);
      if (bytes > maxHeaderBytes) {
        exchange.fail(headTooLarge(this.where, maxHeaderBytes));
        return;
      }
    }
    if (!exchange.begin(stream, VERSION, reused)) return;
    this.#nextId += 2;
    if (!this.#isGrpc && exchange.request.isGrpc) {
      this.#isGrpc = true;
      this.times = timesOf(GRPC_PING_INTERVAL_MS * this.#patience);
    }
    this.openedStream(stream);
    stream.begin(this.#service);
    if (id > LAST_ID) this.leave();
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** Takes no new streams, and ends with its last. */
  leave(): void {
    this.#leave("leaving");
  }

  #leave(state: "leaving" | "refusing"): void {
    if (this.ending) return;
    this.#state = state;
    this.#owner.leaving(this);
    if (this.open.size === 0) this.close();
  }

  close(): void {
    if (this.#state === "settling" || this.#state === "open") this.#state = "leaving";
    this.#ending = true;
    if (this.open.size === 0) this.finish();
  }

  override destroy(error?: Error): void {
    this.error ??= error;
    this.#ending = true;
    super.destroy();
  }

  flushLater(stream: Flushed): void {
    this.#clock.flushes.add(stream);
  }

  /** A stream is wanted no longer. */
  gaveUp(): void {
    this.#owner.streamReset("client");
    if (this.#ends.reset()) this.leave();
  }

  answered(): void {
    this.#ends.answered();
  }

  /** It is asked whether it is alive, and takes no streams before it has said so. */
  get proving(): boolean {
    return this.#proofs > 0;
  }

  /** Asks whether it is alive. What does not answer ends. */
  prove(patienceMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.ending) return resolve(false);
      let isDecided = false;
      this.#proofs++;
      this.askAlive((isAlive) => {
        isDecided = true;
        this.#proofs--;
        resolve(isAlive);
        if (isAlive) this.#owner.roomChanged(this);
      });
      this.runtime.after(
        patienceMs,
        (session) => {
          if (!isDecided) session.destroy(new Error(`no answer to a ping within ${patienceMs} ms`));
        },
        this,
      );
    });
  }

  /**
   * A stream has had its time, and nothing was answered on the whole connection meanwhile. The server may be gone, or
   * packets be lost behind which all others wait, and the kernel would take a quarter of an hour to say so: new streams
   * get another connection, those on this one may still be answered (faults.md C20).
   */
  suspect(): void {
    this.error ??= new Error("nothing was answered in the whole time of an attempt");
    this.leave();
  }

  #inputEnded(): void {
    // The server sends nothing more: what has no reply will have none.
    if (this.open.size > 0) return super.destroy();
    // Until its socket has closed, which takes some turns, nothing may begin on it.
    if (!this.ending) this.#state = "leaving";
    this.finish();
  }

  // ── of the connection ────────────────────────────────────────────────────────────────────────

  protected get lastPeerStream(): number {
    return 0;
  }

  protected isIdle(id: number): boolean {
    return (id & 1) === 0 || id >= this.#nextId;
  }

  protected openStream(id: number): undefined | false {
    if (this.isIdle(id)) return this.fail(ERROR.protocol, "HEADERS on a stream that is idle");
    // Of one that has ended: its sender may not know yet.
    return this.glitch() ? undefined : false;
  }

  protected unknownStream(): boolean {
    return this.glitch();
  }

  protected settingsChanged(): void {
    if (this.#state === "settling") this.#state = "open";
    this.#owner.roomChanged(this);
  }

  protected goawayReceived(lastStream: number, code: number): void {
    this.goawayCode = code;
    if (code === ERROR.enhanceYourCalm) this.#clock.pingLess();
    this.lastStreamId = Math.min(this.lastStreamId, lastStream);
    this.leave();
    const lost = this.open.all().filter(({ id }) => id > this.lastStreamId);
    for (const stream of lost) {
      this.forgetStream(stream);
      stream.broken(undefined);
    }
  }

  protected streamClosed(): void {
    if (this.ended || this.fault !== undefined) return;
    if (this.open.size === 0 && this.ending) this.close();
    else this.#owner.roomChanged(this);
  }

  /** A server may have answered before it has read all (faults G15). */
  protected override isAnswered(stream: Http2Stream): boolean {
    return stream.remoteEnded;
  }

  /**
   * A server that has answered may want no more of the upload, and says so by this reset (RFC 9113 §8.1, faults G15). The
   * RFC means a reply whose END_STREAM has come. Node's server may send the reset in the place of it, so
   * a reply is whole, too, if it said how long it is and all of that is here: nothing can be missing but trailers, and
   * gRPC fails without those. With no length nothing shows that it is whole, and it has broken off: curl and the
   * client of Go see it so, while Node's, which relies on nghttp2, passes on a part as if it were all.
   */
  protected override isEndedByReset(stream: Http2Stream): boolean {
    return this.isAnswered(stream) || stream.isWhole;
  }

  protected streamReset(stream: Http2Stream, byPeer: boolean): void {
    if (byPeer) this.#owner.streamReset("server");
    else this.gaveUp();
    void stream;
  }

  /** The server has refused a stream. */
  refused(): void {
    if (!this.ending && this.#ends.refused() && this.#owner.replaces(this)) this.#leave("refusing");
  }

  protected flooded(): void {}

  protected connectionClosed(): void {
    const refusing = this.#state === "refusing";
    this.#state = "closed";
    if (this.fault !== undefined) this.error ??= new Error(this.fault.why);
    this.#clock.sweep.remove(this);
    this.#owner.closed(this, refusing);
  }

  protected override faulted(): void {
    this.error ??= new Error(this.fault!.why);
    this.leave();
  }

  protected stalled(): void {
    this.destroy(new Error(`nothing was taken for ${WRITE_STALL_MS} ms`));
  }

  protected idled(): void {
    if (this.#state === "open") this.close();
  }

  protected vanished(): void {
    this.destroy(new Error(`no answer to a ping within ${PING_TIMEOUT_MS} ms`));
  }
}

function timesOf(pingIntervalMs: number): ConnectionTimes {
  return { idleMs: HTTP2_IDLE_MS, pingIntervalMs, pingTimeoutMs: PING_TIMEOUT_MS };
}

function limitsOf(service: ServiceConfig): ConnectionLimits {
  return {
    ...PEER_FLOODS,
    ...TRAILER_LIMITS,
    maxHeaderBytes: service.limits.maxReplyHeaderBytes,
    maxHeaderCount: MAX_REPLY_FIELDS,
    writeStallTimeoutMs: WRITE_STALL_MS,
  };
}
