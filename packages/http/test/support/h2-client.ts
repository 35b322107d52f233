/** A byte-exact HTTP/2 client: sends any frame, legal or not, and keeps what comes back. */
import { onTestFinished } from "./beside.ts";
import {
  DATA,
  END_STREAM,
  frame,
  PREFACE,
  settings,
  SETTINGS,
  takeFrames,
  type Frame,
} from "./h2-frames.ts";
import { RawClient } from "./raw-client.ts";

export class H2Client implements Disposable {
  readonly raw: RawClient;
  readonly #frames: Frame[] = [];
  #readTo = 0;

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  /** Its preface has been said, and it acknowledges nothing. Ends with the test. */
  static async to(port: number): Promise<H2Client> {
    const client = new H2Client(await RawClient.to(port));
    onTestFinished(() => client[Symbol.dispose]());
    client.send(PREFACE, settings());
    return client;
  }

  /** The server's SETTINGS are acknowledged from now on. */
  acknowledge(): void {
    let seen = 0;
    this.raw.socket.on("data", () => {
      for (const { type, flags } of this.frames.slice(seen)) {
        if (type === SETTINGS && (flags & 1) === 0) this.send(frame(SETTINGS, 1, 0));
      }
      seen = this.#frames.length;
    });
  }

  /** All frames so far; what is not whole yet is left out. */
  get frames(): readonly Frame[] {
    const { text } = this.raw;
    if (this.#readTo === text.length) return this.#frames;
    const bytes = Buffer.from(text.slice(this.#readTo), "latin1");
    const rest = takeFrames(bytes, (one) => this.#frames.push(one));
    this.#readTo = text.length - rest.length;
    return this.#frames;
  }

  get closed(): boolean {
    return this.raw.closed;
  }

  /** Resolves when the server has closed the connection. */
  end(): Promise<void> {
    return this.raw.end();
  }

  send(...frames: readonly Buffer[]): void {
    this.raw.send(Buffer.concat(frames));
  }

  async until(holds: (frame: Frame) => boolean, what: string): Promise<Frame> {
    const found = (): Frame | undefined => this.frames.find(holds);
    await this.raw.until(() => found() !== undefined || this.raw.closed, what);
    const got = found();
    if (got === undefined) throw new Error(`closed before ${what}`);
    return got;
  }

  /** The end of the reply on a stream. */
  reply(id: number): Promise<Frame> {
    return this.until(
      (one) => one.id === id && one.type === DATA && (one.flags & END_STREAM) !== 0,
      `the reply on stream ${id}`,
    );
  }

  [Symbol.dispose](): void {
    this.raw.socket.destroy();
  }
}
