/**
 * Two sockets, each of which gets what comes on the other: with back-pressure, so that a slow reader holds up its
 * writer and nothing is gathered; with half-close, because protocols end one direction first; and with the end of one
 * side passed on as it came: a FIN as a FIN, a reset as a reset.
 */
import type { Socket } from "node:net";
import type { Runtime, Timer } from "@inmesh/core/spi/transport";
import { Defects, onEvent } from "../defects.ts";
import { writeAndFree } from "../spent.ts";

/** `failure`: the endpoint has broken it off; `abandoned`: the client has; `idle`: neither has sent anything for long. */
export type TunnelEnd = "success" | "failure" | "abandoned" | "idle";

/** How often the bytes of an idle limit are looked at. */
const LOOKS_PER_LIMIT = 4;

export class Tunnel {
  readonly #client: Socket;
  readonly #endpoint: Socket;
  readonly #runtime: Runtime;
  readonly #idleTimeoutMs: number;
  readonly #end = Promise.withResolvers<TunnelEnd>();
  #outcome: TunnelEnd | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #moved = 0;
  #movedAt = 0;

  /** Both sockets are paused, have `allowHalfOpen` and an `error` listener, and belong to the tunnel from now on. */
  constructor(client: Socket, endpoint: Socket, runtime: Runtime, idleTimeoutMs: number) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#runtime = runtime;
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** `first` and then `head` go to the endpoint before anything else. Resolves when both sockets have closed. */
  run(first: Buffer, head: Buffer): Promise<TunnelEnd> {
    const [client, endpoint] = [this.#client, this.#endpoint];
    const runtime = this.#runtime;
    onEvent(client, "close", runtime, this, () => this.#closed(client, endpoint, "abandoned"));
    onEvent(endpoint, "close", runtime, this, () => this.#closed(endpoint, client, "failure"));
    if (endpoint.destroyed || client.destroyed) {
      const [gone, other] = client.destroyed ? [client, endpoint] : [endpoint, client];
      this.#closed(gone, other, client.destroyed ? "abandoned" : "failure");
      return this.#end.promise;
    }
    endpoint.cork();
    if (first.length > 0) endpoint.write(first);
    if (head.length > 0) endpoint.write(head);
    endpoint.uncork();
    // It may have ended while it was looked at: that event does not come again.
    if (client.readableEnded) endpoint.end();
    else this.#pass(client, endpoint);
    this.#pass(endpoint, client);
    if (this.#idleTimeoutMs !== Infinity) {
      this.#movedAt = this.#runtime.now();
      this.look();
    }
    return this.#end.promise;
  }

  /** Both sides at once, such as after an error of the proxy's own. */
  destroy(): void {
    this.#client.destroy();
    this.#endpoint.destroy();
  }

  /** An error of the proxy's own at its clock. Does not throw. */
  broke(error: unknown): void {
    Defects.of(this.#runtime).end(error, this);
  }

  #pass(from: Socket, to: Socket): void {
    const runtime = this.#runtime;
    onEvent(from, "data", runtime, this, (chunk) => {
      if (!to.destroyed && !writeAndFree(to, chunk)) from.pause();
    });
    onEvent(to, "drain", runtime, this, () => void from.resume());
    onEvent(from, "end", runtime, this, () => {
      if (!to.destroyed) to.end();
    });
    from.resume();
  }

  /** Bytes are counted by the sockets, so that idleness costs no chunk anything. */
  look(): void {
    const now = this.#runtime.now();
    const moved = this.#client.bytesRead + this.#client.bytesWritten + this.#endpoint.bytesRead;
    // What waits for a slow reader is no idleness of the writer's, and no progress either.
    if (moved !== this.#moved) {
      this.#moved = moved;
      this.#movedAt = now;
    } else if (now - this.#movedAt >= this.#idleTimeoutMs) {
      this.#outcome ??= "idle";
      return this.destroy();
    }
    const left = this.#movedAt + this.#idleTimeoutMs - now;
    const step = Math.max(1, Math.min(left, this.#idleTimeoutMs / LOOKS_PER_LIMIT));
    this.#timer = this.#runtime.after(step, look, this);
  }

  #closed(gone: Socket, other: Socket, broken: TunnelEnd): void {
    const isOrderly = gone.errored === null && gone.readableEnded && gone.writableFinished;
    if (!isOrderly) this.#outcome ??= broken;
    if (!other.destroyed) {
      // An orderly end has been passed on by `end`, and the other side has still to close.
      if (!isOrderly) reset(other);
      return;
    }
    this.#timer?.cancel();
    this.#end.resolve(this.#outcome ?? "success");
  }
}

function look(tunnel: Tunnel): void {
  try {
    tunnel.look();
  } catch (error) {
    tunnel.broke(error);
  }
}

/** A Unix socket has no reset. */
function reset(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
