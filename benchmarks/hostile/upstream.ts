/**
 * An upstream that answers calls named `…-bad` with the steps of an input, and all others with their own
 * name. It reads what clients of ours write, which is right, and no more of it than it needs.
 */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { resetSocket } from "@inmesh/core/testing";
import { frameSteps } from "./frames.ts";
import { frame, PREFACE, takeFrames } from "../../packages/http/test/support/h2-frames.ts";
import { stepsOf, type Step } from "./notation.ts";

export type Speaks = "http1" | "http2" | "grpc";

const DRAINED_WITHIN_MS = 2_000;
/** Events that are kept to explain a finding. */
const MAX_HEARD = 24;
/** Until a client knows that its connection has ended. */
const NOTICED_WITHIN_MS = 20;

export class Upstream {
  /** How calls named `…-bad` are answered. */
  text = "";
  readonly #server: Server;
  /** With what resolves when they are closed. */
  readonly #sockets = new Map<Socket, Promise<void>>();
  /** Inputs that are being played, with the sockets they are played on. */
  readonly #playing = new Map<Promise<void>, Socket>();
  /** What came last, in which order and on which connection. */
  readonly heard: string[] = [];
  #connections = 0;

  constructor(speaks: Speaks) {
    // Without it the kernel holds a second small write back until the first is acknowledged, which the client does
    // with its next request: what an input wrote long before would come as the reply to that.
    this.#server = createServer({ noDelay: true }, (socket) => {
      const number = ++this.#connections;
      this.#hear(`${number} opened`);
      socket.on("close", () => this.#hear(`${number} closed`));
      const closed = new Promise<void>((resolve) => {
        socket.on("close", () => {
          this.#sockets.delete(socket);
          resolve();
        });
      });
      this.#sockets.set(socket, closed);
      socket.on("error", () => {});
      if (speaks === "http1") this.#http1(socket, number);
      else this.#http2(socket, speaks === "grpc");
    });
  }

  async start(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /**
   * Until the last step of every input has been played. What takes longer is cut off with its connection:
   * its late bytes would be taken for part of the next input, which says nothing of them.
   */
  async over(ms: number): Promise<void> {
    await within(
      ms,
      Promise.all(this.#playing.keys()).then(() => {}),
    );
    for (const socket of this.#playing.values()) socket.destroy();
    await Promise.all(this.#playing.keys());
  }

  #play(socket: Socket, steps: readonly Step[]): void {
    const closed = this.#sockets.get(socket);
    if (closed === undefined) return;
    const playing = play(socket, steps, closed).finally(() => this.#playing.delete(playing));
    this.#playing.set(playing, socket);
  }

  /** Ends all connections: the next input finds none that an input has left in another state. */
  async hangUp(): Promise<void> {
    const closed = [...this.#sockets.values()];
    for (const socket of this.#sockets.keys()) socket.destroy();
    await Promise.all(closed);
    await sleep(NOTICED_WITHIN_MS);
  }

  close(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
    this.#server.close();
  }

  #hear(what: string): void {
    this.heard.push(what);
    if (this.heard.length > MAX_HEARD) this.heard.shift();
  }

  #http1(socket: Socket, number: number): void {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (;;) {
        const end = text.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = text.slice(0, end);
        const whole = bodyEnd(text, end + 4, head);
        if (whole === undefined) return;
        text = text.slice(whole);
        const name = /^\w+ \/([^ ]*)/.exec(head)?.[1] ?? "";
        this.#hear(`${number} ${name}`);
        if (name.endsWith("-bad")) this.#play(socket, stepsOf(this.text));
        else
          write(
            socket,
            Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}`),
          );
      }
    });
  }

  #http2(socket: Socket, grpc: boolean): void {
    let bytes: Buffer = Buffer.alloc(0);
    let prefaced = false;
    const bodies = new Map<number, Buffer>();
    write(socket, frame(4, 0, 0, Buffer.alloc(0)));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!prefaced) {
        if (bytes.length < PREFACE.length) return;
        bytes = bytes.subarray(PREFACE.length);
        prefaced = true;
      }
      bytes = takeFrames(bytes, ({ type, flags, id, payload }) => {
        if (type === 4 && (flags & 1) === 0) write(socket, frame(4, 1, 0, Buffer.alloc(0)));
        if (type === 6 && (flags & 1) === 0) write(socket, frame(6, 1, 0, payload));
        if (type === 3) bodies.delete(id);
        if (type === 0) bodies.set(id, Buffer.concat([bodies.get(id) ?? Buffer.alloc(0), payload]));
        if ((type !== 0 && type !== 1) || (flags & 1) === 0) return;
        const body = bodies.get(id) ?? Buffer.alloc(0);
        bodies.delete(id);
        const name = body.subarray(grpc ? 5 : 0).toString();
        if (name.endsWith("-bad")) this.#play(socket, frameSteps(this.text, id));
        else
          this.#play(
            socket,
            frameSteps(
              grpc
                ? `H $ :status=200 content-type=application/grpc | D $ m:${name} | HE $ grpc-status=0`
                : `H $ :status=200 | DE $ ${name}`,
              id,
            ),
          );
      });
    });
  }
}

/** Where the body of a request of ours ends: by its length or by its chunks. Undefined: not yet here. */
function bodyEnd(text: string, start: number, head: string): number | undefined {
  if (/transfer-encoding/i.test(head)) {
    const end = text.indexOf("0\r\n\r\n", start);
    return end < 0 ? undefined : end + 5;
  }
  const end = start + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  return end <= text.length ? end : undefined;
}

function write(socket: Socket, bytes: Buffer): boolean {
  return !socket.writable || socket.write(bytes);
}

async function play(socket: Socket, steps: readonly Step[], closed: Promise<void>): Promise<void> {
  for (const step of steps) {
    if (socket.destroyed) return;
    if (step.kind === "wait") await within(step.ms, closed);
    else if (step.kind === "end") socket.end();
    else if (step.kind === "reset") resetSocket(socket);
    else if (step.kind === "bytes" && !write(socket, step.bytes)) {
      const drained = new Promise<void>((resolve) => socket.once("drain", resolve));
      await within(DRAINED_WITHIN_MS, drained, closed);
    }
  }
}

/** Until one of them resolves, or so long. */
async function within(ms: number, ...promises: readonly Promise<void>[]): Promise<void> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).catch(() => {});
  await Promise.race([...promises, late]);
  over.abort();
}
