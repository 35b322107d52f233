/**
 * The life of a connection of HTTP/2 and of the streams on it, whichever side this is: what begins, what is reset,
 * what fails and how all of it ends, and the clock that notices what does not move. It reads no frame;
 * `connection.ts` does.
 */
import type { Socket } from "node:net";
import type { Runtime } from "@inmesh/core/spi";
import { Defects, onEvent } from "../defects.ts";
import type { Flushes } from "../flushes.ts";
import type { Http2Clock } from "./clock.ts";
import { Floods, type FloodKind, type FloodLimits } from "./floods.ts";
import {
  ERROR,
  errorName,
  writeGoaway,
  writePing,
  writeReset,
  writeWindowUpdate,
} from "./frames.ts";
import { HeadBlock } from "./head-block.ts";
import { Liveness } from "./liveness.ts";
import type { Outgoing } from "./outgoing.ts";
import { PeerSettings, type SettingsOwner } from "./peer-settings.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { RecentResets } from "./recent-resets.ts";
import { Sending, type SendingOwner } from "./sending.ts";
import { StreamTable } from "./stream-table.ts";
import type { Http2Stream, StreamOwner } from "./stream.ts";

export interface ConnectionLimits extends FloodLimits {
  /** Of one head, as RFC 9113 §6.5.2 counts. */
  readonly maxHeaderBytes: number;
  readonly maxHeaderCount: number;
  /** Of trailers; beyond it all of them are dropped. */
  readonly maxTrailerCount: number;
  readonly maxTrailerBytes: number;
  readonly writeStallTimeoutMs: number;
}

/** From an error to the end, so that the peer can read why (design rule S11). */
const LINGER_MS = 1_000;
/** What a PING of this side's carries. */
const PING_BYTES: Buffer = Buffer.from("mesh-prx");

/** What a connection does for how long, in milliseconds. */
export interface ConnectionTimes {
  /** No stream: it is not worth keeping. */
  readonly idleMs: number;
  /** Nothing came although streams are open: a PING asks whether the peer is there. Infinity: never. */
  readonly pingIntervalMs: number;
  /** From that PING to the end. */
  readonly pingTimeoutMs: number;
}

/** Why a connection ended that this side has ended; undefined: its peer has. */
export interface ConnectionFault {
  readonly code: number;
  readonly why: string;
}

export abstract class ConnectionLife implements StreamOwner, SendingOwner, SettingsOwner {
  readonly socket: Socket;
  /** Streams in progress, by number. */
  readonly open: StreamTable<Http2Stream> = new StreamTable();
  /** What the peer has said. */
  readonly settings: PeerSettings;
  readonly sending: Sending;
  /** Nothing more is read or written. */
  ended = false;
  /** This side has found a fault, and waits only for the peer to read of it. */
  fault: ConnectionFault | undefined = undefined;
  protected readonly runtime: Runtime;
  protected readonly flushes: Flushes;
  protected readonly limits: ConnectionLimits;
  protected readonly out: Outgoing;
  protected readonly floods: Floods;
  protected readonly window: ReceiveWindow = new ReceiveWindow();
  protected readonly resetStreams: RecentResets = new RecentResets();
  /** A head that is not whole. */
  protected readonly block: HeadBlock;
  #ticks = 0;
  #idleTicks = 0;
  readonly #liveness = new Liveness();
  /** Of this side's PINGs without an answer, who is to hear of it. */
  #asked: ((isAlive: boolean) => void)[] = [];

  constructor(socket: Socket, { runtime, flushes }: Http2Clock, limits: ConnectionLimits) {
    this.socket = socket;
    this.runtime = runtime;
    this.flushes = flushes;
    this.limits = limits;
    this.floods = new Floods(limits, () => runtime.now());
    this.settings = new PeerSettings(this);
    this.sending = new Sending(this, flushes, this.floods);
    this.out = this.sending.out;
    this.block = new HeadBlock(limits.maxHeaderBytes);
    onEvent(socket, "drain", runtime, this, () => this.sending.drained());
    socket.on("error", () => undefined); // `close` follows
    onEvent(socket, "close", runtime, this, () => this.#closed());
    socket.setNoDelay(true);
  }

  // ── what the sides add ───────────────────────────────────────────────────────────────────────

  /** A stream is gone, and there is room for another. */
  protected abstract streamClosed(stream: Http2Stream): void;
  /** The peer reset it, or made this side do so. */
  protected abstract streamReset(stream: Http2Stream, byPeer: boolean): void;
  protected abstract flooded(kind: FloodKind | "head_too_large"): void;
  /** The highest stream of the peer that was or will be looked at, for GOAWAY. */
  protected abstract readonly lastPeerStream: number;
  /** All that is wanted of its peer has come, and what this side still sends is of no use (§8.1): no end can break it off. */
  protected isAnswered(_stream: Http2Stream): boolean {
    return false;
  }
  /** `fault` was set; streams end next. */
  protected faulted(): void {}
  protected abstract connectionClosed(): void;
  /** The peer takes nothing of what was written. */
  protected abstract stalled(): void;
  /** Once a second. `age`: of this connection in seconds; `headAge`: of a head that is not whole. */
  protected ticked(_age: number, _headAge: number): void {}
  protected abstract readonly times: ConnectionTimes;
  /** It has had no stream for `idleMs`; once a second from then on. */
  protected abstract idled(): void;
  /** The peer has not answered a PING for `pingTimeoutMs`. */
  protected abstract vanished(): void;
  abstract headEnds(stream: Http2Stream): void;

  // ── streams ──────────────────────────────────────────────────────────────────────────────────

  protected get reads(): boolean {
    return !this.ended && this.fault === undefined;
  }

  /** What goes out of the connection at the end of this turn. */
  protected flush(): void {
    this.sending.flush();
  }

  protected openedStream(stream: Http2Stream): void {
    this.floods.streams++;
    this.#idleTicks = 0;
    this.open.add(stream);
  }

  taken(bytes: number): void {
    if (!this.window.taken(bytes) || !this.reads) return;
    this.window.reopen(this.out);
    this.flush();
  }

  openWindow(stream: Http2Stream, bytes: number): void {
    if (stream.closed || stream.remoteEnded) return;
    stream.receiveWindow += bytes;
    writeWindowUpdate(this.out, stream.id, bytes);
    this.flush();
  }

  sentEnd(stream: Http2Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.closeStream(stream);
  }

  /** RST_STREAM from this side. */
  resetStream(stream: Http2Stream, code: number): void {
    if (stream.closed) return;
    this.refuseStream(stream.id, code);
    this.forgetStream(stream);
  }

  /** The peer broke a rule of one stream. False: nothing more is read. */
  streamError(stream: Http2Stream, code: number, why: string): boolean {
    this.resetStream(stream, code);
    this.streamReset(stream, false);
    stream.failed(code, why);
    return this.reads;
  }

  /** RST_STREAM for one that has no object. */
  protected refuseStream(id: number, code: number): void {
    writeReset(this.out, id, code);
    this.resetStreams.byUs(id);
    this.flush();
  }

  /** As if it had been reset, without a frame that says so. */
  protected forgetStream(stream: Http2Stream): void {
    this.closeStream(stream);
    stream.drop();
  }

  protected closeStream(stream: Http2Stream): void {
    if (stream.closed) return;
    stream.close();
    this.open.remove(stream);
    this.streamClosed(stream);
  }

  // ── what is irregular ────────────────────────────────────────────────────────────────────────

  // Of the next three, false: nothing more is read.

  /** A frame that no request or reply needs. */
  protected aside(): boolean {
    return this.floods.aside() ? this.flood("frames") : true;
  }

  /** Something irregular that is let through. */
  protected glitch(): boolean {
    return this.floods.glitch() ? this.flood("glitches") : true;
  }

  protected flood(kind: FloodKind | "head_too_large"): false {
    this.flooded(kind);
    return this.fail(ERROR.enhanceYourCalm, `too many: ${kind}`);
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────

  /** GOAWAY with NO_ERROR: the peer opens no streams above `lastStream`. */
  protected goaway(lastStream: number): void {
    writeGoaway(this.out, lastStream, ERROR.none, "");
    this.flush();
  }

  /** The peer broke a rule of the connection: GOAWAY says which, and the connection ends. Always false. */
  fail(code: number, why: string): false {
    if (!this.reads) return false;
    this.fault = { code, why: `${errorName(code)}: ${why}` };
    this.faulted();
    writeGoaway(this.out, this.lastPeerStream, code, why);
    this.#endAll();
    this.#sendLast();
    return false;
  }

  /** Nothing is in progress any more, and nothing is to come. */
  protected finish(): void {
    if (this.ended) return;
    this.#sendLast();
  }

  #sendLast(): void {
    const { socket } = this;
    if (socket.destroyed) return;
    this.sending.last();
    this.runtime.after(LINGER_MS, destroy, socket);
  }

  destroy(): void {
    this.socket.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.ended) return;
    this.ended = true;
    try {
      this.#endAll();
    } finally {
      // Whatever else goes wrong, its owner must not wait for it.
      const asked = this.#asked;
      this.#asked = [];
      for (const answer of asked) answer(false);
      this.connectionClosed();
    }
  }

  #endAll(): void {
    for (const stream of this.open.all()) {
      // Where one of them is what went wrong, the others still have to hear of it.
      try {
        if (this.isAnswered(stream)) this.closeStream(stream);
        else {
          this.forgetStream(stream);
          stream.broken(undefined);
        }
      } catch (error) {
        Defects.of(this.runtime).note(error);
      }
    }
  }

  // ── time ─────────────────────────────────────────────────────────────────────────────────────

  /** Once a second. Clocks are counted here, so that no frame reads one. */
  tick(): void {
    if (this.ended) return;
    this.#ticks++;
    const stallTicks = this.limits.writeStallTimeoutMs / 1_000;
    if (this.sending.isStalled(stallTicks)) return this.stalled();
    const headAge = this.block.tick();
    for (const stream of this.open.all()) {
      stream.stalledTicks = stream.waits && stream.went === 0 ? stream.stalledTicks + 1 : 0;
      const owes = !stream.remoteEnded && !stream.paused && stream.came === 0;
      stream.silentTicks = owes ? stream.silentTicks + 1 : 0;
      const { went } = stream;
      stream.went = stream.came = 0;
      if (stream.stalledTicks >= stallTicks) stream.stalled();
      else stream.look(this.#ticks, went);
    }
    this.ticked(this.#ticks, headAge);
    if (this.reads) this.#lookAlive();
  }

  #lookAlive(): void {
    const { idleMs, pingIntervalMs, pingTimeoutMs } = this.times;
    if (this.open.size === 0) {
      this.#liveness.rest();
      if (++this.#idleTicks * 1_000 >= idleMs) this.idled();
      return;
    }
    this.#idleTicks = 0;
    const sign = this.#liveness.look(this.socket.bytesRead, pingIntervalMs, pingTimeoutMs);
    if (sign === "ask") this.askAlive();
    else if (sign === "gone") this.vanished();
  }

  /** By a PING, whether the peer is there. `answered`: true: it is; false: the connection has ended. */
  protected askAlive(answered: (isAlive: boolean) => void = ignore): void {
    this.#asked.push(answered);
    this.touch();
  }

  /** By a PING to which no answer is awaited: the kernel of a peer that is gone says so. */
  protected touch(): void {
    writePing(this.out, false, PING_BYTES, 0);
    this.flush();
  }

  /** To the oldest PING of this side's, or to none. False: nothing more is read. */
  protected pingAnswered(): boolean {
    const answered = this.#asked.shift();
    if (answered === undefined) return this.aside();
    answered(true);
    return this.reads;
  }

  // ── what the peer's SETTINGS change ──────────────────────────────────────────────────────────

  tableResized(bytes: number): void {
    this.sending.resizeTable(bytes);
  }

  windowsMoved(change: number): boolean {
    for (const stream of this.open.all()) {
      if (!stream.widen(change)) {
        return this.fail(ERROR.flowControl, "a window is larger than 2^31-1");
      }
    }
    return true;
  }
}

function ignore(): void {}

function destroy(socket: Socket): void {
  socket.destroy();
}
