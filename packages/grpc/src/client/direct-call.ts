/**
 * A call on a connection that stands. A channel of grpc-js puts five objects above the stream, which
 * resolve, pick, retry, time and compress: for one address without any of that they do nothing, at
 * the price of a dozen promises per call and four per message. This one frames messages and that is
 * all; what it has in common with theirs is what the peer sees.
 */
import { Metadata, status as Status } from "@grpc/grpc-js";
import type {
  AuthContext,
  WireCall,
  WireListener,
  WireStatus,
  WriteContext,
} from "../call-types.ts";
import { onLane } from "./dials.ts";
import type { Standing, StreamCall, Unpacker } from "../internals.ts";
import { ACCEPT_ENCODING, ENCODING, MESSAGE_ACCEPT_ENCODING } from "../metadata.ts";

/** One byte says whether the message is packed, four how long it is. */
const FRAME_BYTES = 5;
const PACKED = 1;

export class DirectCall implements WireCall, WireListener {
  readonly #standing: Standing;
  readonly #path: string;
  readonly #host: string;
  #listener!: WireListener;
  #stream: StreamCall | undefined = undefined;
  #unpacker: Unpacker | undefined = undefined;
  /** A message is being unpacked: the status waits behind it. */
  #unpacking = false;
  #status: WireStatus | undefined = undefined;

  constructor(standing: Standing, path: string, host: string) {
    this.#standing = standing;
    this.#path = path;
    this.#host = host;
  }

  // ── what goes out ────────────────────────────────────────────────────────────────────────────

  /** Writes into `metadata` what grpc-js would. */
  start(metadata: Metadata, listener: WireListener): void {
    this.#listener = listener;
    metadata.set(MESSAGE_ACCEPT_ENCODING, "identity,deflate,gzip");
    metadata.set(ACCEPT_ENCODING, "identity");
    try {
      this.#stream = onLane(() => this.#standing.open(metadata, this.#host, this.#path, this));
    } catch (error) {
      // In grpc-js's words, by which failureOf knows that nothing was sent.
      const details = `Failed to start HTTP/2 stream with error ${(error as Error).message}`;
      process.nextTick(fail, this, details);
    }
  }

  sendMessageWithContext(context: WriteContext, message: Buffer): void {
    const framed = Buffer.allocUnsafe(FRAME_BYTES + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, FRAME_BYTES);
    this.#stream?.sendMessageWithContext(context, framed);
  }

  halfClose(): void {
    this.#stream?.halfClose();
  }

  startRead(): void {
    this.#stream?.startRead();
  }

  cancelWithStatus(code: Status, details: string): void {
    this.#stream?.cancelWithStatus(code, details);
  }

  // ── what comes back ──────────────────────────────────────────────────────────────────────────

  onReceiveMetadata(metadata: Metadata): void {
    if (metadata.get(ENCODING).length > 0) {
      this.#unpacker = this.#standing.unpacker();
      this.#listener.onReceiveMetadata(this.#unpacker.receiveMetadata(metadata));
      return;
    }
    metadata.remove(MESSAGE_ACCEPT_ENCODING);
    this.#listener.onReceiveMetadata(metadata);
  }

  onReceiveMessage(framed: Buffer): void {
    if (framed[0] === PACKED) this.#unpack(framed);
    else this.#listener.onReceiveMessage(framed.subarray(FRAME_BYTES));
  }

  #unpack(framed: Buffer): void {
    this.#unpacking = true;
    this.#unpacker ??= this.#standing.unpacker();
    this.#unpacker.receiveMessage(framed).then(
      (message) => {
        this.#unpacking = false;
        this.#listener.onReceiveMessage(message);
        if (this.#status !== undefined) this.#end(this.#status);
      },
      (error: Partial<WireStatus>) => {
        this.#unpacking = false;
        const { code = Status.INTERNAL, details = "a message could not be read" } = error;
        if (this.#status === undefined) this.cancelWithStatus(code, details);
        else this.#end({ code, details, metadata: new Metadata() });
      },
    );
  }

  onReceiveStatus(status: WireStatus): void {
    if (this.#unpacking) this.#status = status;
    else this.#end(status);
  }

  #end(status: WireStatus): void {
    this.#standing.ended(status);
    this.#listener.onReceiveStatus(status);
  }

  // ── what grpc-js knows ───────────────────────────────────────────────────────────────────────

  getPeer(): string {
    return this.#stream?.getPeer() ?? this.#host;
  }

  getCallNumber(): number {
    return 0;
  }

  getAuthContext(): AuthContext | null {
    return this.#stream?.getAuthContext?.() ?? null;
  }

  /** A call that has any goes through the channel. */
  setCredentials(): void {}
}

function fail(call: DirectCall, details: string): void {
  call.onReceiveStatus({ code: Status.INTERNAL, details, metadata: new Metadata() });
}
