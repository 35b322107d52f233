/**
 * The sockets that a lane is dialling. grpc-js forgets a dial that it gives up, and the kernel goes on
 * with it for two minutes, during which the process cannot end; here it ends with the time to connect.
 */
import { connect, type Socket } from "node:net";
import { withoutCaller } from "@inmesh/core/spi";

const KEEPALIVE_DELAY_MS = 10_000;

export class Dials {
  readonly #sockets = new Set<Socket>();
  #over = false;

  /** `to`: host and port, or a path. Rejects with the system's error. */
  readonly dial = (to: object): Promise<Socket> =>
    new Promise((resolve, reject) => {
      // Channels that are closed try once more, a second later, for nobody.
      if (this.#over) throw new Error("the channel is closed");
      const socket = withoutCaller(() => connect(to as never));
      this.#sockets.add(socket);
      socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
      const closed = (): void => reject(new Error("Socket closed"));
      socket.once("error", reject);
      socket.once("close", closed);
      socket.once("connect", () => {
        socket.removeListener("error", reject);
        socket.removeListener("close", closed);
        resolve(socket);
      });
    });

  /** There is a connection: of two address families one was faster. */
  won(): void {
    for (const socket of this.#sockets) if (socket.connecting) socket.destroy();
    this.#sockets.clear();
  }

  /** There will be none, or no further one. */
  giveUp(): void {
    this.#over = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}
