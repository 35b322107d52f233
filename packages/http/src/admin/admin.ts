/** `mesh.admin`: opens the API of this process. Nothing of it is loaded before the first `listen`. */
import { MeshError, type Mesh } from "@inmesh/core/spi";
import type { Inspection } from "@inmesh/core/spi/inspect";
import type { AdminListener } from "./listener.ts";
import type { AdminOptions } from "./options.ts";

export class MeshAdmin {
  readonly #mesh: Mesh;
  /** One for all listeners: what is changed by one of them is seen by all. */
  #inspection: Inspection | undefined = undefined;
  readonly #open = new Set<Promise<AdminListener>>();
  #isClosed = false;

  /** Use `mesh.admin`. */
  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  /**
   * Serves metrics, health and the state of this process (docs/reference/admin-api.md), by default on a free port of
   * 127.0.0.1 and for those alone who have the token that it gives back. It does not keep the process alive; `mesh.close`
   * closes it. May be called more than once. Rejects with a ConfigError that names every mistake of the options, an
   * AdminError with `code`, `address` and `hint` if it cannot listen, and a MeshError after `mesh.close`.
   */
  listen(options: AdminOptions = {}): Promise<AdminListener> {
    const opened: Promise<AdminListener> = this.#listen(options, () => this.#open.delete(opened));
    this.#open.add(opened);
    opened.catch(() => this.#open.delete(opened));
    return opened;
  }

  async #listen(options: AdminOptions, closed: () => void): Promise<AdminListener> {
    if (this.#isClosed) throw closedError();
    const { Inspection: Made, openListener, viewOf } = await import("./listener.ts");
    this.#inspection ??= new Made(this.#mesh);
    return openListener(viewOf(this.#mesh, this.#inspection), options, closed);
  }

  /** Every listener, for good. Idempotent. */
  async close(graceMs?: number): Promise<void> {
    this.#isClosed = true;
    const opened = await Promise.allSettled(this.#open);
    await Promise.all(
      opened.flatMap((one) => (one.status === "fulfilled" ? [one.value.close(graceMs)] : [])),
    );
    this.#inspection?.logLevel.clear();
  }
}

function closedError(): MeshError {
  return new MeshError({
    code: "closed",
    reason: "closing",
    message: "mesh.admin.listen: the mesh is closed",
    progress: "not-sent",
  });
}
