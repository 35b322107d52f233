/**
 * Reads the beginning of one connection until it is known what it is: first the header of the PROXY protocol, where a
 * listener asks for one, then the protocol. Bounded in time and in bytes, and without a listener of its own left on the
 * socket when it calls back.
 */
import type { Socket } from "node:net";
import type { Runtime, Timer } from "@inmesh/core/spi/transport";
import { Defects } from "../defects.ts";
import type { PeerAddress } from "./accepted.ts";
import { detect, MAX_DETECT_BYTES, type Detection } from "./detect.ts";
import { readHeader } from "./proxy-protocol.ts";

export interface FirstBytesOptions {
  /** A header of the PROXY protocol comes first, and a connection without one is refused. */
  readonly proxyProtocol: boolean;
  /** Undefined: the protocol is found out. */
  readonly protocol: Detection | undefined;
  /** For the header, and again for what makes the protocol known. */
  readonly timeoutMs: number;
}

export interface FirstBytes extends Detection {
  readonly head: Buffer;
  /** What the header says; undefined: there was none, or it says nothing. */
  readonly client: PeerAddress | undefined;
  readonly target: PeerAddress | undefined;
}

/** Why nothing became of a connection. `no_bytes`: the client has left without a word. */
export type NoFirstBytes = "no_bytes" | "proxy_header" | "proxy_header_timeout";

export interface FirstBytesOwner {
  /** The socket is paused. */
  known(socket: Socket, found: FirstBytes): void;
  /** The socket is still open. */
  refused(socket: Socket, reason: NoFirstBytes): void;
}

const NOTHING: Buffer = Buffer.alloc(0);
const TCP: Detection = { protocol: "tcp" };

export class FirstBytesReader {
  readonly #socket: Socket;
  readonly #options: FirstBytesOptions;
  readonly #runtime: Runtime;
  readonly #owner: FirstBytesOwner;
  #head: Buffer = NOTHING;
  #awaitsHeader: boolean;
  #client: PeerAddress | undefined = undefined;
  #target: PeerAddress | undefined = undefined;
  #timer: Timer | undefined = undefined;

  /** `socket` is paused, and nothing has been read of it. */
  constructor(
    socket: Socket,
    options: FirstBytesOptions,
    runtime: Runtime,
    owner: FirstBytesOwner,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.#runtime = runtime;
    this.#owner = owner;
    this.#awaitsHeader = options.proxyProtocol;
    socket.on("data", this.#read);
    socket.on("end", this.#ended);
    socket.once("close", this.#closed);
    this.#arm();
    socket.resume();
  }

  /** Nothing has come yet, or only a part of a header. */
  get isSilent(): boolean {
    return this.#head.length === 0;
  }

  /** Without a call of its owner. */
  stop(): void {
    this.#timer?.cancel();
    this.#socket.off("data", this.#read);
    this.#socket.off("end", this.#ended);
    this.#socket.off("close", this.#closed);
  }

  #arm(): void {
    this.#timer?.cancel();
    // It keeps no process alive: what has said nothing has nothing to lose.
    this.#timer = this.#runtime.after(this.#options.timeoutMs, this.#timedOut, undefined);
  }

  readonly #read = (chunk: Buffer): void => {
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    try {
      this.#look();
    } catch (error) {
      this.#defect(error);
    }
  };

  /** What was read first is handed over in the same turn, so it may be an error of a front as well. */
  #defect(error: unknown): void {
    this.stop();
    Defects.of(this.#runtime).end(error, this.#socket);
  }

  #look(): void {
    if (this.#awaitsHeader) {
      const header = readHeader(this.#head);
      if (header === "more") return;
      if ("wrong" in header) return this.#refuse("proxy_header");
      this.#awaitsHeader = false;
      this.#client = header.client;
      this.#target = header.target;
      this.#head = this.#head.subarray(header.length);
      this.#arm();
    }
    const found = this.#options.protocol ?? detect(this.#head);
    if (found !== undefined) this.#known(found);
    else if (this.#head.length >= MAX_DETECT_BYTES) this.#known(TCP);
  }

  /** The client sends no more; what it has sent may still be a whole request of a protocol of its own. */
  readonly #ended = (): void => {
    if (this.#awaitsHeader) return this.#refuse(this.isSilent ? "no_bytes" : "proxy_header");
    try {
      if (this.isSilent) this.#refuse("no_bytes");
      else this.#known(TCP);
    } catch (error) {
      this.#defect(error);
    }
  };

  /** A client that waits for the server to speak first. */
  readonly #timedOut = (): void => {
    try {
      if (this.#awaitsHeader) this.#refuse("proxy_header_timeout");
      else this.#known(TCP);
    } catch (error) {
      this.#defect(error);
    }
  };

  readonly #closed = (): void => this.stop();

  #known({ protocol, serverName }: Detection): void {
    this.stop();
    this.#socket.pause();
    this.#owner.known(this.#socket, {
      protocol,
      serverName,
      head: this.#head,
      client: this.#client,
      target: this.#target,
    });
  }

  #refuse(reason: NoFirstBytes): void {
    this.stop();
    this.#owner.refused(this.#socket, reason);
  }
}
