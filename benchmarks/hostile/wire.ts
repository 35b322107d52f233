/** Plays the steps of an input on a connection to a server, and sees what comes of it. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { platform } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { resetSocket } from "@inmesh/core/testing";
import { frame, SETTINGS, takeFrames } from "../../packages/http/test/support/h2-frames.ts";
import type { Step } from "./notation.ts";

/** Nothing more came for so long: that was all. */
const QUIET_MS = 60;
const WRITE_WITHIN_MS = 5_000;
const MAX_KEPT = 65_536;
/** Of Linux, where a socket may use any of them. */
const LOOPBACK_ADDRESSES = 1 << 24;

let wires = 0;

/**
 * One of its own for each connection. The port of a connection that was reset is used again at once, and what
 * a server saw of the next one would be taken for what it saw of this one.
 */
function nextAddress(): string {
  if (platform() !== "linux") return "127.0.0.1";
  wires = (wires + 1) % (LOOPBACK_ADDRESSES - 2);
  const host = wires + 1;
  return `127.${host >> 16}.${(host >> 8) & 255}.${host & 255}`;
}

export class Wire {
  readonly socket: Socket;
  /** The first of what came. */
  received: Buffer = Buffer.alloc(0);
  closed = false;
  readonly #http2: boolean;
  #lastAt = performance.now();
  #unread: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, http2: boolean) {
    this.socket = socket;
    this.#http2 = http2;
    socket.on("error", () => {});
    socket.on("close", () => (this.closed = true));
    socket.on("data", (chunk: Buffer) => {
      this.#lastAt = performance.now();
      if (this.received.length < MAX_KEPT) this.received = Buffer.concat([this.received, chunk]);
      if (http2) this.#acknowledge(chunk);
    });
  }

  /** Undefined: it is not let in. */
  static async to(port: number, http2: boolean): Promise<Wire | undefined> {
    const localAddress = nextAddress();
    const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
    const wire = new Wire(socket, http2);
    await Promise.race([
      once(socket, "connect"),
      once(socket, "close"),
      sleep(WRITE_WITHIN_MS, undefined, { ref: false }),
    ]).catch(() => {});
    return socket.readyState === "open" ? wire : undefined;
  }

  /** As a client that keeps to the protocol in this one thing, so that the rest is looked at. */
  #acknowledge(chunk: Buffer): void {
    this.#unread = takeFrames(Buffer.concat([this.#unread, chunk]), ({ type, flags }) => {
      if (type === SETTINGS && (flags & 1) === 0) this.#write(frame(SETTINGS, 1, 0));
    });
  }

  #write(bytes: Buffer): boolean {
    return this.closed || !this.socket.writable || this.socket.write(bytes);
  }

  async play(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (this.closed) return;
      if (step.kind === "wait") await sleep(step.ms);
      else if (step.kind === "pause") this.socket.pause();
      else if (step.kind === "end") this.socket.end();
      else if (step.kind === "reset") resetSocket(this.socket);
      else if (!this.#write(step.bytes)) {
        // A server that reads no further is right; what it does not take is dropped in the end.
        await Promise.race([
          once(this.socket, "drain"),
          once(this.socket, "close"),
          sleep(WRITE_WITHIN_MS, undefined, { ref: false }),
        ]).catch(() => {});
      }
      this.#lastAt = performance.now();
    }
  }

  /** Until it is closed, or nothing more comes. */
  async quiet(quietMs: number = QUIET_MS, withinMs = 2_000): Promise<void> {
    const endsAt = performance.now() + withinMs;
    while (!this.closed && performance.now() < endsAt) {
      if (performance.now() - this.#lastAt >= quietMs) return;
      await sleep(10);
    }
  }

  /** What the server calls this connection. */
  get peer(): string {
    return peerName(this.socket.localAddress, this.socket.localPort);
  }

  get unread(): boolean {
    return this.socket.isPaused();
  }

  get http2(): boolean {
    return this.#http2;
  }
}

/** Address and port of a client, as it and its server write them. */
export function peerName(address: string | undefined, port: number | undefined): string {
  return `${address ?? ""}:${port ?? 0}`;
}
