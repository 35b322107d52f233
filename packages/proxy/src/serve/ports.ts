/** The listeners that the configuration asks for: opened at the start, and kept as it says while it changes. */
import { isDeepStrictEqual } from "node:util";
import type { Mesh } from "@inmesh/core/spi/transport";
import { ListenError } from "../listen/listen-error.ts";
import { Port, type PortParts } from "./port.ts";
import type { ListenerConfig, ProxyConfig } from "./section.ts";

/** What callers of a listener that is not configured any more have, to go elsewhere. */
const REMOVED_GRACE_MS = 30_000;

export class Ports {
  readonly #parts: PortParts;
  readonly #open = new Map<string, Port>();
  /** Those that are not configured any more, until their last connection has ended. */
  readonly #leaving = new Map<Port, Promise<void>>();
  #changes: Promise<void> = Promise.resolve();
  #unwatch: (() => void) | undefined = undefined;
  #isLeaving = false;

  constructor(parts: PortParts) {
    this.#parts = parts;
  }

  /** In the order of the configuration. */
  get list(): readonly Port[] {
    return [...this.#open.values()];
  }

  /** Of all, connections that are open. */
  get connections(): number {
    return this.list.reduce((sum, port) => sum + port.connections, 0);
  }

  /** Opens all of them, or none. Rejects with every ListenError there is, as an AggregateError. */
  async start(): Promise<void> {
    const { mesh } = this.#parts;
    const { listeners } = configOf(mesh);
    const opened = await Promise.allSettled(
      Object.entries(listeners).map(([name, config]) => Port.open(name, config, this.#parts)),
    );
    const failed = opened.flatMap((one) =>
      one.status === "rejected" ? [one.reason as Error] : [],
    );
    const ports = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    if (failed.length > 0) {
      await Promise.all(ports.map((port) => port.drain(0, true)));
      throw new AggregateError(failed, failed.map(({ message }) => message).join("; "));
    }
    for (const port of ports) this.#opened(port);
    this.#unwatch = mesh.config.subscribe(() => this.#changed());
  }

  /** `noticed`: callers need no time to notice. Idempotent: a later call can only shorten the time. */
  async drain(graceMs: number, noticed: boolean = graceMs === 0): Promise<void> {
    this.#isLeaving = true;
    this.#unwatch?.();
    const all = this.list.map((port) => port.drain(graceMs, noticed));
    await Promise.all([...all, ...this.#leaving.values()]);
  }

  #opened(port: Port): void {
    this.#open.set(port.name, port);
    const message = `${port.name}: listens on ${port.address}`;
    this.#parts.mesh.log({ level: "info", event: "proxy.listening", message });
  }

  /** One change after the other: opening an address takes a while. */
  #changed(): void {
    this.#changes = this.#changes.then(() => this.#apply());
  }

  async #apply(): Promise<void> {
    const { listeners } = configOf(this.#parts.mesh);
    for (const [name, config] of Object.entries(listeners)) {
      if (this.#isLeaving) return;
      await this.#applyOne(name, config);
    }
    for (const port of this.list) {
      if (!Object.hasOwn(listeners, port.name)) this.#remove(port);
    }
  }

  async #applyOne(name: string, config: ListenerConfig): Promise<void> {
    const port = this.#open.get(name);
    if (port !== undefined && isDeepStrictEqual(port.config, config)) return;
    try {
      if (port !== undefined && port.config.listen === config.listen) return port.configure(config);
      this.#freeAddress(config.listen);
      const next = await Port.open(name, config, this.#parts);
      if (port !== undefined) this.#remove(port);
      if (this.#isLeaving) return await next.drain(0, true);
      this.#opened(next);
    } catch (error) {
      // Whatever it is, the other listeners go on.
      const kept = port === undefined ? "it is not there" : `it stays on ${port.address}`;
      const hint = error instanceof ListenError ? `: ${error.hint}` : "";
      const message = `${name}: ${error instanceof Error ? error.message : String(error)}; ${kept}${hint}`;
      this.#parts.mesh.log({ level: "warn", event: "proxy.listener_failed", message });
    }
  }

  #remove(port: Port): void {
    if (this.#open.get(port.name) === port) this.#open.delete(port.name);
    const left = port.drain(REMOVED_GRACE_MS, false).then(() => void this.#leaving.delete(port));
    this.#leaving.set(port, left);
  }

  /**
   * A listener with another name takes the place of one that is not configured any more: its callers go on to the new one,
   * so that they need no time to notice, and the address would be in use for that time.
   */
  #freeAddress(listen: string): void {
    const { listeners } = configOf(this.#parts.mesh);
    for (const port of this.list) {
      if (port.config.listen === listen && !Object.hasOwn(listeners, port.name)) this.#remove(port);
    }
    for (const port of this.#leaving.keys()) {
      if (port.config.listen === listen) port.stopListening();
    }
  }
}

export function configOf(mesh: Mesh): ProxyConfig {
  const { sections } = mesh.config.current;
  return (sections?.["proxy"] as ProxyConfig | undefined) ?? NOTHING;
}

const NOTHING: ProxyConfig = { listeners: {}, drainGraceMs: 25_000 };
