/** The listeners that the configuration asks for: opened at the start, and kept as it says while it changes. */
import { isDeepStrictEqual } from "node:util";
import type { Mesh } from "@inmesh/core/spi/transport";
import { ListenError } from "../listen/listen-error.ts";
import { Port, type PortParts } from "./port.ts";
import type { ListenerConfig, ProxyConfig } from "./section.ts";

/** What callers of a listener that is not configured any more have, to go elsewhere. */
const REMOVED_GRACE_MS = 30_000;

type Listeners = ProxyConfig["listeners"];

/** A listener that is new, or whose address changes. */
interface Move {
  /** What has its name until then; undefined: it is new. */
  readonly port: Port | undefined;
  /** Undefined: it cannot have its address. */
  next: Port | undefined;
  /** Which gives it its address, if it can have its own new one; undefined: it listens already. */
  readonly from: Port | undefined;
}

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
    if (this.#isLeaving) return;
    const { listeners } = configOf(this.#parts.mesh);
    const preparing: Promise<Move>[] = [];
    const giving = new Set<Port>();
    for (const [name, config] of Object.entries(listeners)) {
      const port = this.#open.get(name);
      if (port !== undefined && isDeepStrictEqual(port.config, config)) continue;
      if (port?.config.listen === config.listen) this.#configure(port, config);
      else preparing.push(this.#prepare(name, config, listeners, giving));
    }
    const moves = await Promise.all(preparing);
    if (this.#isLeaving) {
      for (const { next } of moves) void next?.drain(0, true);
      return;
    }
    this.#keepWhatStays(moves);
    // In one turn, in which no connection is accepted: of two that swap their addresses each takes that of the other.
    for (const { next, from } of moves) if (from !== undefined) next?.takeAddress(from);
    for (const { next, port } of moves) {
      if (next === undefined) continue;
      if (port !== undefined) this.#remove(port);
      this.#opened(next);
    }
    for (const port of this.list) {
      if (!Object.hasOwn(listeners, port.name)) this.#remove(port);
    }
  }

  #configure(port: Port, config: ListenerConfig): void {
    try {
      port.configure(config);
    } catch (error) {
      this.#failed(port.name, error, port);
    }
  }

  /** `giving`: those whose address another one gets. Does not reject. */
  async #prepare(
    name: string,
    config: ListenerConfig,
    listeners: Listeners,
    giving: Set<Port>,
  ): Promise<Move> {
    const port = this.#open.get(name);
    const isOpen = (one: Port): boolean => this.#open.get(one.name) === one;
    // One that stays, and has the address, is found when it is opened.
    const from = [...this.list, ...this.#leaving.keys()].find(
      (one) =>
        one.has(config.listen) &&
        !giving.has(one) &&
        !(isOpen(one) && listeners[one.name]?.listen === one.config.listen),
    );
    try {
      if (from === undefined) {
        return { port, next: await Port.open(name, config, this.#parts), from: undefined };
      }
      const next = new Port(name, config, this.#parts);
      giving.add(from);
      if (isOpen(from) && Object.hasOwn(listeners, from.name)) return { port, next, from };
      // It is not configured any more, and could close the address meanwhile.
      next.takeAddress(from);
      return { port, next, from: undefined };
    } catch (error) {
      this.#failed(name, error, port);
      return { port, next: undefined, from: undefined };
    }
  }

  /** An address does not go over from a listener that cannot have its new one, and so on. */
  #keepWhatStays(moves: readonly Move[]): void {
    for (;;) {
      const stuck = moves.find(
        ({ next, from }) =>
          next !== undefined &&
          from !== undefined &&
          !moves.some((one) => one.port === from && one.next !== undefined),
      );
      if (stuck === undefined) return;
      const { next, from, port } = stuck;
      stuck.next = undefined;
      void next!.drain(0, true);
      const why = `${next!.config.listen} is the address of the listener ${from!.name}, which stays there`;
      this.#failed(next!.name, new Error(why), port);
    }
  }

  /** Whatever it is, the other listeners go on. */
  #failed(name: string, error: unknown, port: Port | undefined): void {
    const kept = port === undefined ? "it is not there" : `it stays on ${port.address}`;
    const hint = error instanceof ListenError ? `: ${error.hint}` : "";
    const message = `${name}: ${error instanceof Error ? error.message : String(error)}; ${kept}${hint}`;
    this.#parts.mesh.log({ level: "warn", event: "proxy.listener_failed", message });
  }

  #remove(port: Port): void {
    if (this.#open.get(port.name) === port) this.#open.delete(port.name);
    const left = port.drain(REMOVED_GRACE_MS, false).then(() => void this.#leaving.delete(port));
    this.#leaving.set(port, left);
  }
}

export function configOf(mesh: Mesh): ProxyConfig {
  const { sections } = mesh.config.current;
  return (sections?.["proxy"] as ProxyConfig | undefined) ?? NOTHING;
}

const NOTHING: ProxyConfig = { listeners: {}, drainGraceMs: 25_000 };
