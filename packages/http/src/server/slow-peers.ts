/**
 * The watch over clients that take their time: a body that stalls or trickles in, a reply that no client
 * reads. Only requests that outlive a look at the list are watched at all, so the usual one pays
 * nothing; from then on Node's own inactivity timer of the socket or stream does the work.
 */
import type { Socket } from "node:net";
import type { Runtime, Timer } from "@inmesh/core/spi";
import type { Inbound } from "./inbound.ts";
import type { ServerLimits } from "./limits.ts";
import type { Http2ServerResponse } from "./listeners.ts";
import { ReplyProgress } from "./reply-progress.ts";

const MAX_LOOK_MS = 5_000;
/** A client may pause for as long as `writeStallTimeoutMs`, and has to make up for it in the same window. */
const REPLY_WINDOW_STALLS = 2;

export interface SlowPeerListener {
  /** The client owes the rest of a body. */
  bodyTimedOut(inbound: Inbound): void;
  /** The client does not read, or hardly. */
  writeStalled(inbound: Inbound): void;
}

export class SlowPeers {
  readonly #limits: ServerLimits;
  readonly #runtime: Runtime;
  readonly #listener: SlowPeerListener;
  readonly #quietMs: number;
  readonly #lookMs: number;
  /** The list of requests in progress, newest first. Writer: the server. */
  first: Inbound | undefined = undefined;
  #timer: Timer | undefined = undefined;

  constructor(limits: ServerLimits, runtime: Runtime, listener: SlowPeerListener) {
    this.#limits = limits;
    this.#runtime = runtime;
    this.#listener = listener;
    this.#quietMs = Math.min(limits.bodyIdleTimeoutMs, limits.writeStallTimeoutMs);
    const shortestMs = Math.min(this.#quietMs, limits.bodyRateWindowMs);
    this.#lookMs = Math.max(10, Math.min(MAX_LOOK_MS, shortestMs / 4));
  }

  add(inbound: Inbound): void {
    const { first } = this;
    inbound.next = first;
    if (first !== undefined) first.previous = inbound;
    this.first = inbound;
    this.#timer ??= this.#runtime.after(this.#lookMs, look, this);
  }

  remove(inbound: Inbound): void {
    const { previous, next } = inbound;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    inbound.previous = inbound.next = undefined;
  }

  /** Costs O(requests in progress), once per look. */
  look(): void {
    this.#timer = undefined;
    const now = this.#runtime.now();
    for (let one = this.first; one !== undefined; one = one.next) one.connection.waiting = 0;
    for (let one = this.first; one !== undefined; one = one.next) {
      if (one.progress?.waits === true) one.connection.waiting++;
    }
    for (let inbound = this.first; inbound !== undefined;) {
      const { next } = inbound;
      if (!inbound.watched) this.#watch(inbound, now);
      else {
        this.#rate(inbound, now);
        if (!inbound.timed) this.#arm(inbound);
      }
      inbound = next;
    }
    if (this.first !== undefined) this.#timer = this.#runtime.after(this.#lookMs, look, this);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #watch(inbound: Inbound, now: number): void {
    inbound.watched = true;
    inbound.markAt = now;
    inbound.markBytes = bytesRead(inbound);
    if (inbound.http2 && this.#limits.minReplyRate > 0) {
      inbound.progress = new ReplyProgress(inbound, now);
    }
    this.#arm(inbound);
  }

  /** Not over a shorter timeout of the application's, which the timer is needed for. */
  #arm(inbound: Inbound): void {
    const { members } = inbound.owner;
    const ownMs = timeoutOf(inbound);
    if (ownMs > 0 && ownMs <= this.#quietMs) return;
    inbound.timed = true;
    inbound.response.setTimeout(this.#quietMs, () => this.#quiet(inbound));
    if (!inbound.http2) return;
    const stream = streamOf(inbound.request);
    if (!stream.closed && !stream.destroyed) members.timed(stream);
  }

  /** Not a byte, in or out, for `quietMs`. */
  #quiet(inbound: Inbound): void {
    const { response } = inbound;
    if (unsent(inbound) > 0) this.#listener.writeStalled(inbound);
    else if (owesBody(inbound)) this.#listener.bodyTimedOut(inbound);
    // The handler takes its time: that is its own affair. The timer has to be armed again.
    else response.setTimeout(this.#quietMs);
  }

  #rate(inbound: Inbound, now: number): void {
    const { minBodyRate, bodyRateWindowMs, minReplyRate, writeStallTimeoutMs } = this.#limits;
    const windowMs = REPLY_WINDOW_STALLS * writeStallTimeoutMs;
    if (inbound.progress !== undefined && inbound.progress.rate(now, windowMs) < minReplyRate) {
      return this.#listener.writeStalled(inbound);
    }
    if (minBodyRate === 0 || inbound.http2) return;
    const read = bytesRead(inbound);
    if (!owesBody(inbound)) {
      inbound.markAt = now;
      inbound.markBytes = read;
      return;
    }
    const elapsedMs = now - inbound.markAt;
    if (elapsedMs < bodyRateWindowMs) return;
    const rate = ((read - inbound.markBytes) * 1000) / elapsedMs;
    inbound.markAt = now;
    inbound.markBytes = read;
    if (rate < minBodyRate) this.#listener.bodyTimedOut(inbound);
  }
}

function look(peers: SlowPeers): void {
  peers.look();
}

/** The rest of the body is the client's turn: the handler has read nearly all there is. */
function owesBody({ request, http2 }: Inbound): boolean {
  if (request.complete || request.readableLength >= request.readableHighWaterMark) return false;
  if (!http2) return true;
  // What the handler has not asked for yet waits in the stream: is that all of it, or as much as it may be?
  const { remoteClose, localWindowSize } = streamOf(request).state;
  return remoteClose !== 1 && localWindowSize !== undefined && localWindowSize > 0;
}

/** In force on its socket or stream; 0: none. */
function timeoutOf({ request, http2, owner }: Inbound): number {
  if (http2) return owner.members.streamTimeoutMs(streamOf(request));
  return request.socket?.timeout ?? 0;
}

function streamOf(request: unknown): Http2ServerResponse["stream"] {
  return (request as { stream: Http2ServerResponse["stream"] }).stream;
}

function bytesRead({ request, http2 }: Inbound): number {
  if (http2) return 0;
  return (request.socket as Socket | null)?.bytesRead ?? 0;
}

function unsent({ request, response, http2 }: Inbound): number {
  if (response.writableLength > 0) return response.writableLength;
  return http2 ? 0 : (request.socket?.writableLength ?? 0);
}
