/**
 * Connections of clients over HTTP/2 (RFC 9113, prior knowledge): what their streams are opened and counted by, and how
 * they are asked to leave. What a stream is, a request of the listener and the sink of its reply, is in
 * `front-stream.ts`.
 */
import type { Socket } from "node:net";
import {
  ConnectionPeer,
  endOfAge,
  Misuse,
  Tally,
  type ConnectionUse,
  type Trust,
} from "@inmesh/core/spi";
import type { CutReason } from "@inmesh/http/spi/codec";
import { Defects, onEvent } from "../defects.ts";
import type { FrontConnection, FrontParts } from "../listener.ts";
import { Http2Clock } from "./clock.ts";
import { Http2Connection } from "./connection.ts";
import type { ConnectionTimes } from "./connection-life.ts";
import type { FloodKind } from "./floods.ts";
import {
  ERROR,
  FRAME,
  MAX_STREAM_ID,
  PREFACE,
  SETTING,
  writeGoaway,
  writeSettings,
} from "./frames.ts";
import { FrontStream, type FrontStreamOwner } from "./front-stream.ts";
import type { ListenerRules } from "./request-fields.ts";
import { STREAM_WINDOW, type Http2Stream } from "./stream.ts";

/** The second GOAWAY of a drain comes after a round trip to any client (faults.md G1). */
const LEAVE_MS = 1_000;
/** Less than a second, because the listener's clock may be a little early. */
const TICK_MS = 950;

/** What the connections of one listener share. */
export class Http2Front {
  readonly parts: FrontParts;
  readonly clock: Http2Clock;
  readonly misuse: Misuse<Http2FrontConnection, CutReason>;

  readonly rules: Omit<ListenerRules, "secure">;

  constructor(parts: FrontParts, rules: Omit<ListenerRules, "secure">) {
    this.parts = parts;
    this.rules = rules;
    this.clock = new Http2Clock(parts.runtime);
    this.misuse = new Misuse<Http2FrontConnection, CutReason>(
      parts.limits,
      parts.runtime,
      (connection) => connection.calmDown(),
      (reason) => parts.count(reason),
    );
  }

  /** `first`: what was read already, from the first byte on. */
  accept(socket: Socket, first: Buffer | undefined): void {
    new Http2FrontConnection(socket, this).start(first);
  }
}

export class Http2FrontConnection
  extends Http2Connection
  implements FrontConnection, FrontStreamOwner, ConnectionUse<Http2FrontConnection>
{
  readonly front: Http2Front;
  readonly trust: Trust;
  readonly secure: boolean;
  readonly refusesUnderscores: boolean;
  readonly kept: ReadonlySet<string> | undefined;
  // Of core's `Misuse`.
  readonly session: Http2FrontConnection = this;
  evicted = false;
  resets = 0;
  readonly recentResets: Tally = new Tally();
  streams = 0;
  headBytes = 0;
  readAt = 0;
  #lastStream = 0;
  #prefaceLeft: number = PREFACE.length;
  #leaving: "no" | "asked" | "final" = "no";
  /** The client sends no more, and may still read. */
  #hasInputEnded = false;
  #lookedAt = 0;
  /** It has served long enough: clients spread again, over servers that are new. */
  readonly #endsAt: number;
  #unserved: FrontStream[] = [];
  #peer: ConnectionPeer | undefined = undefined;
  readonly #onClosed: () => void;
  protected times: ConnectionTimes;

  constructor(socket: Socket, front: Http2Front) {
    const { parts } = front;
    super(socket, front.clock, parts.limits, parts.limits.maxHeaderTableBytes);
    this.front = front;
    this.refusesUnderscores = front.rules.refusesUnderscores;
    this.kept = front.rules.kept;
    this.secure = (socket as { encrypted?: boolean }).encrypted === true;
    this.trust = parts.trustOf(() => this.peer);
    const { keepAliveIdleMs, pingIntervalMs, pingTimeoutMs } = parts.limits;
    this.times = { idleMs: keepAliveIdleMs, pingIntervalMs, pingTimeoutMs };
    this.#endsAt = endOfAge(parts.limits.maxConnectionAgeMs, parts.runtime);
    this.#onClosed = parts.opened(this, socket, "http2");
  }

  start(first: Buffer | undefined): void {
    const { maxConcurrentStreams, maxHeaderTableBytes, maxHeaderBytes } = this.front.parts.limits;
    writeSettings(this.out, [
      [SETTING.headerTableSize, maxHeaderTableBytes],
      [SETTING.maxConcurrentStreams, maxConcurrentStreams],
      [SETTING.initialWindowSize, STREAM_WINDOW],
      [SETTING.maxHeaderListSize, maxHeaderBytes],
      [SETTING.noRfc7540Priorities, 1],
    ]);
    this.window.open(this.out);
    this.flush();
    const { socket } = this;
    onEvent(socket, "data", this.runtime, this, (bytes) => this.#read(bytes));
    // A client that sends no more may still read.
    onEvent(socket, "end", this.runtime, this, () => this.#inputEnded());
    // Who found out what is spoken on it has paused it, and a `data` listener does not undo that.
    socket.resume();
    if (first !== undefined && first.length > 0) this.#read(first);
    if (this.front.parts.isLeaving) this.leave();
  }

  #read(bytes: Buffer): void {
    this.readAt = this.runtime.now();
    let at = 0;
    if (this.#prefaceLeft > 0) {
      const left = this.#prefaceLeft;
      at = Math.min(left, bytes.length);
      const from = PREFACE.length - left;
      if (bytes.compare(PREFACE, from, from + at, 0, at) !== 0) {
        this.fail(ERROR.protocol, "no preface of HTTP/2");
        return;
      }
      this.#prefaceLeft -= at;
      if (at === bytes.length) return;
    }
    this.read(bytes, at);
    if (this.#unserved.length === 0) return;
    const unserved = this.#unserved;
    this.#unserved = [];
    for (const stream of unserved) stream.serve();
  }

  get parts(): FrontParts {
    return this.front.parts;
  }

  tolerate(): boolean {
    return this.glitch();
  }

  holds(headBytes: number): boolean {
    const holds = this.front.misuse.holds(this, headBytes);
    this.headBytes += headBytes;
    return holds;
  }

  serveLater(stream: FrontStream): void {
    this.#unserved.push(stream);
  }

  /**
   * Requests that are whole may still be answered. Others never become so, and one of gRPC may have no deadline that
   * would end it.
   */
  #inputEnded(): void {
    this.#leaving = "final";
    if (this.open.size === 0) return this.finish();
    for (const stream of this.open.all()) {
      if (stream.remoteEnded) continue;
      this.resetStream(stream, ERROR.cancel);
      stream.broken(undefined);
    }
    this.#hasInputEnded = true;
    // A client that is gone altogether refuses it, which the kernel says at the next one: the connection ends with that.
    // One that still reads need not answer, and cannot.
    this.times = { ...this.times, pingIntervalMs: Infinity };
    if (this.open.size > 0) this.touch();
  }

  get peer(): ConnectionPeer {
    return (this.#peer ??= ConnectionPeer.of(this.socket) as ConnectionPeer);
  }

  // ── of the listener ──────────────────────────────────────────────────────────────────────────

  get active(): number {
    return this.open.size;
  }

  get destroyed(): boolean {
    return this.ended || this.fault !== undefined;
  }

  /**
   * RFC 9113 §6.8: a first GOAWAY that lets in what is on its way, and a second one that says which was the last.
   * The connection ends with its last stream.
   */
  leave(): void {
    if (this.#leaving !== "no" || this.destroyed) return;
    this.#leaving = "asked";
    // Unless another reason was said before.
    this.front.parts.closing(this.socket, "drain");
    this.goaway(MAX_STREAM_ID);
    this.runtime.after(LEAVE_MS, leaveForGood, this);
  }

  leaveForGood(): void {
    if (this.#leaving === "final" || this.destroyed) return;
    this.#leaving = "final";
    this.goaway(this.#lastStream);
    if (this.open.size === 0) this.finish();
  }

  look(now: number): void {
    if (now - this.#lookedAt < TICK_MS) return;
    this.#lookedAt = now;
    if (now >= this.#endsAt && this.#leaving === "no") {
      this.front.parts.closing(this.socket, "age");
      this.leave();
    }
    this.tick();
  }

  closeIdle(): void {
    if (this.open.size === 0) this.leaveForGood();
  }

  /** It has done too much of something: it is asked to go, and destroyed a second later by core. */
  calmDown(): void {
    writeGoaway(this.out, this.#lastStream, ERROR.enhanceYourCalm, "");
    this.#leaving = "final";
    this.flush();
  }

  // ── of the connection ────────────────────────────────────────────────────────────────────────

  protected get lastPeerStream(): number {
    return this.#lastStream;
  }

  protected isIdle(id: number): boolean {
    return id > Math.max(this.#lastStream, this.#ignoredUpTo) || (id & 1) === 0;
  }

  protected openStream(id: number): Http2Stream | undefined | false {
    if ((id & 1) === 0) return this.fail(ERROR.protocol, "a stream with an even number");
    if (id <= this.#lastStream) {
      return this.fail(ERROR.streamClosed, "HEADERS on a stream that has ended");
    }
    this.#lastStreamSeen(id);
    // Behind the second GOAWAY nothing is looked at any more; its sender sends it elsewhere.
    if (this.#leaving === "final") return undefined;
    const { parts, misuse } = this.front;
    if (this.open.size >= parts.limits.maxConcurrentStreams) {
      this.refuseStream(id, ERROR.refusedStream);
      // Before it knew of the limit, it could not keep to it.
      if (this.settings.confirmed) misuse.reset(this, NaN, Infinity);
      return undefined;
    }
    this.streams++;
    const stream = new FrontStream(id, this);
    this.openedStream(stream);
    return stream;
  }

  #lastStreamSeen(id: number): void {
    if (this.#leaving !== "final") this.#lastStream = id;
    else if (id > this.#lastStream) this.#ignoredUpTo = Math.max(this.#ignoredUpTo, id);
  }

  #ignoredUpTo = 0;

  protected unknownStream(id: number, type: number): boolean {
    if (id <= this.#ignoredUpTo && this.#leaving === "final") return true;
    return this.fail(
      ERROR.streamClosed,
      `${type === FRAME.data ? "DATA" : "a frame"} on a stream that has ended`,
    );
  }

  protected settingsChanged(): void {}

  protected goawayReceived(): void {
    // The client opens nothing more; what is in progress goes on.
    if (this.open.size === 0) this.finish();
    else if (this.#leaving === "no") this.#leaving = "asked";
    this.#clientLeaves = true;
  }

  #clientLeaves = false;

  protected streamClosed(stream: Http2Stream): void {
    this.headBytes -= stream.headBytes;
    if (this.open.size > 0 || this.destroyed) return;
    if (this.#leaving === "final" || this.#clientLeaves) this.finish();
  }

  protected streamReset(stream: Http2Stream, byPeer: boolean): void {
    this.front.parts.streamReset(byPeer ? "client" : "server");
    const { request } = stream as FrontStream;
    const startedAt = request?.startedAt ?? NaN;
    this.front.misuse.reset(
      this,
      startedAt === 0 ? NaN : startedAt,
      request?.deadlineAt ?? Infinity,
    );
  }

  protected flooded(kind: FloodKind | "head_too_large"): void {
    this.front.parts.count(kind);
  }

  protected connectionClosed(): void {
    if (this.fault !== undefined && !this.#counted) this.front.parts.count("http2_error");
    this.#onClosed();
  }

  #counted = false;

  protected stalled(): void {
    this.#counted = true;
    this.front.parts.count("write_stall");
    this.destroy();
  }

  protected override trailersDropped(): void {
    this.front.parts.count("trailers");
  }

  protected override ticked(age: number, headAge: number): void {
    if (this.#hasInputEnded) this.touch();
    const { handshakeTimeoutMs, headersTimeoutMs } = this.front.parts.limits;
    if (!this.settings.settled && age * 1_000 >= handshakeTimeoutMs) {
      this.#counted = true;
      this.front.parts.count("handshake_timeout");
      this.fail(ERROR.settingsTimeout, "no preface and SETTINGS");
    } else if (headAge * 1_000 >= headersTimeoutMs) {
      this.#counted = true;
      this.front.parts.count("head_timeout");
      this.fail(ERROR.enhanceYourCalm, "a head does not end");
    }
  }

  protected idled(): void {
    if (this.#leaving !== "no") return;
    this.front.parts.closing(this.socket, "idle");
    this.leave();
  }

  protected vanished(): void {
    this.front.parts.closing(this.socket, "error");
    this.destroy();
  }
}

function leaveForGood(connection: Http2FrontConnection): void {
  try {
    connection.leaveForGood();
  } catch (error) {
    Defects.of(connection.front.parts.runtime).end(error, connection);
  }
}
