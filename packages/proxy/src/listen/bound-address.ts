/**
 * An address that is listened on. Who takes what comes there can change without an instant in which nothing listens: to
 * close an address resets every connection that waits there to be accepted, and others are refused until it is open again.
 */
import { chmodSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { removeStaleSocket } from "@inmesh/core/spi/server";
import { withoutCaller } from "@inmesh/core/spi/transport";
import { listenText, type ListenAddress } from "./address.ts";
import { ListenError } from "./listen-error.ts";

export interface BindOptions {
  readonly address: ListenAddress;
  /** Several processes share the port: SO_REUSEPORT. */
  readonly reusePort: boolean;
  /** Permissions of a Unix socket. */
  readonly socketMode: number;
}

const KEEP_ALIVE_DELAY_MS = 10_000;
/** What waits to be accepted; Node's own is 511. */
const BACKLOG = 4_096;

export class BoundAddress {
  /** Gets each connection, which is paused. Must not throw. Writer: the listener that has the address. */
  taker: (socket: Socket) => void;
  readonly #server: Server;
  #address: ListenAddress;

  /** Rejects with a ListenError that says what to do. */
  static async open(options: BindOptions, taker: (socket: Socket) => void): Promise<BoundAddress> {
    const { path } = options.address;
    if (path !== undefined) await removeStaleSocket(path);
    const bound = new BoundAddress(options.address, taker);
    try {
      await bound.#listen(options);
    } catch (error) {
      bound.close();
      throw error;
    }
    return bound;
  }

  private constructor(address: ListenAddress, taker: (socket: Socket) => void) {
    this.taker = taker;
    this.#address = address;
    this.#server = createServer(
      {
        allowHalfOpen: true,
        pauseOnConnect: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      },
      (socket) => this.taker(socket),
    );
  }

  async #listen({ address, reusePort, socketMode }: BindOptions): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = this.#server;
    const failed = (error: Error): void => reject(ListenError.of(error, listenText(address)));
    server.once("error", failed);
    server.once("listening", () => {
      server.off("error", failed);
      // Such as EMFILE while a connection is accepted: the others go on.
      server.on("error", () => {});
      resolve();
    });
    withoutCaller(() => {
      if (address.path === undefined) {
        const { host, port } = address;
        server.listen({ host, port, backlog: BACKLOG, exclusive: true, reusePort });
      } else server.listen({ path: address.path, backlog: BACKLOG, exclusive: true });
    });
    await promise;
    const bound = server.address() as AddressInfo | string;
    if (typeof bound === "string") chmodSync(bound, socketMode);
    else this.#address = { host: bound.address, port: bound.port };
  }

  /** With the port that was free for 0. */
  get address(): ListenAddress {
    return this.#address;
  }

  /** Idempotent. */
  close(): void {
    if (this.#server.listening) this.#server.close();
  }
}
