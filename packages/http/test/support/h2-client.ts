/** A byte-exact HTTP/2 client: sends any frame, legal or not, and keeps what comes back. */
import { onTestFinished } from "./beside.ts";
import { DATA, END_STREAM, settings, type Frame } from "./h2-peer.ts";
import { RawClient } from "./raw-client.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Its preface has been said. Ends with the test. */
export class H2Client {
  readonly raw: RawClient;

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  static async to(port: number): Promise<H2Client> {
    const raw = await RawClient.to(port);
    onTestFinished(() => void raw.socket.destroy());
    const client = new H2Client(raw);
    client.send(PREFACE, settings());
    return client;
  }

  /** All frames so far; what is not whole yet is left out. */
  get frames(): Frame[] {
    const bytes = Buffer.from(this.raw.text, "latin1");
    const frames: Frame[] = [];
    for (let at = 0; at + 9 <= bytes.length;) {
      const end = at + 9 + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const payload = bytes.subarray(at + 9, end);
      frames.push({
        type: bytes[at + 3]!,
        flags: bytes[at + 4]!,
        id: bytes.readUInt32BE(at + 5),
        payload,
      });
      at = end;
    }
    return frames;
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
}
