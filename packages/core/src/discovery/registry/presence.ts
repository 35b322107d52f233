/**
 * Proof that a process lives: a socket in the registry that it listens on. The kernel takes connections to it for as
 * long as the process exists, and refuses them from the moment of its end, however it ended: after SIGKILL, after a
 * crash of the machine that left the file behind, and where another process has got the pid. So no clock, no
 * heartbeat and no pid is compared (docs/decisions/0049-registry.md). A reader keeps its connection, whose end is
 * the news that the process has ended.
 */
import { randomBytes } from "node:crypto";
import { unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { withoutCaller } from "../../no-caller.ts";
import { presencePath } from "./entry.ts";

/** Of the path of a socket, without the byte that ends it. Longer ones are cut silently by some versions of Node. */
const MAX_PATH_BYTES = process.platform === "linux" ? 107 : 103;
/** Readers whose connections are kept; further ones ask again and again (liveness.ts). */
const MAX_READERS = 512;

export class Presence {
  readonly id: string = `${process.pid}-${randomBytes(4).toString("hex")}`;
  readonly path: string;
  readonly #server: Server;
  readonly #readers = new Set<Socket>();
  #closed = false;

  private constructor(dir: string) {
    this.path = presencePath(dir, this.id);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Rejects if it cannot listen there, with an Error that says what to do about a path that is too long. */
  static async listen(dir: string): Promise<Presence> {
    const presence = new Presence(dir);
    const excess = Buffer.byteLength(presence.path) - MAX_PATH_BYTES;
    if (process.platform !== "win32" && excess > 0) {
      throw new Error(
        `${dir} is too long for the path of a socket, by ${excess} bytes: name another one by INMESH_REGISTRY or createMesh({ registry })`,
      );
    }
    await withoutCaller(() => presence.#listen());
    return presence;
  }

  #listen(): Promise<void> {
    const server = this.#server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      // Exclusive: a worker of node:cluster would otherwise listen by its primary, which outlives it.
      server.listen({ path: this.path, exclusive: true }, () => {
        server.off("error", reject);
        // Too many open files: those who ask are not accepted, and still know that the process lives.
        server.on("error", () => {});
        server.unref();
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#closed || this.#readers.size >= MAX_READERS) return void socket.destroy();
    socket.unref();
    this.#readers.add(socket);
    socket.on("close", () => this.#readers.delete(socket));
    // Nothing is to be read, but the end.
    socket.on("data", () => socket.destroy());
  }

  /** Readers learn it in the same moment as they would of an end of the process. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#server.close();
    if (process.platform !== "win32") {
      try {
        unlinkSync(this.path);
      } catch {
        // Node has removed it already.
      }
    }
    for (const socket of this.#readers) socket.destroy();
  }
}
