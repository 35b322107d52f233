/**
 * What accepts the connections of one address: it keeps to its limits, finds out what each connection speaks, and hands it
 * to the front of that protocol.
 */
import type { Socket } from "node:net";
import type { Runtime } from "@inmesh/core/spi/transport";
import { Defects } from "../defects.ts";
import type { Detected, Front } from "./accepted.ts";
import { clientOf, listenText, targetOf, type ListenAddress } from "./address.ts";
import { BoundAddress, type BindOptions } from "./bound-address.ts";
import type { Detection } from "./detect.ts";
import { FirstBytesReader, type FirstBytes, type NoFirstBytes } from "./first-bytes.ts";

/** Why a connection was not served, beside what fronts say. */
export const LISTEN_REASONS = [
  "no_bytes",
  "proxy_header",
  "proxy_header_timeout",
  "connections",
  "connections_per_address",
] as const;
export type ListenReason = (typeof LISTEN_REASONS)[number];

export interface ListenerOptions extends BindOptions {
  /** Undefined: found out from the first bytes. */
  readonly protocol: Detected | undefined;
  /** How long it may take to find that out. */
  readonly detectTimeoutMs: number;
  /** Connections begin with a header of the PROXY protocol. */
  readonly proxyProtocol: boolean;
  /** Infinity: any number. */
  readonly maxConnectionsPerAddress: number;
}

/** What a listener reads of the server that it belongs to. */
export interface ListenerOwner {
  readonly runtime: Runtime;
  /** A change counts from the next connection on. */
  readonly limits: { readonly maxConnections: number };
  count(reason: ListenReason): void;
}

export class Listener {
  /** As bound, with the port that was free for 0. Before `listen`: as asked for. */
  address: ListenAddress;
  /** Undefined: it has none yet, or another listener has it now. */
  #bound: BoundAddress | undefined = undefined;
  #options: ListenerOptions;
  readonly #owner: ListenerOwner;
  #fronts: Readonly<Record<Detected, Front>>;
  readonly #sockets = new Set<Socket>();
  readonly #undecided = new Map<Socket, FirstBytesReader>();
  readonly #perAddress = new Map<string, number>();
  #given: Detection | undefined;
  #onDecided: PromiseWithResolvers<void> | undefined = undefined;

  constructor(
    options: ListenerOptions,
    fronts: Readonly<Record<Detected, Front>>,
    owner: ListenerOwner,
  ) {
    this.address = options.address;
    this.#options = options;
    this.#fronts = fronts;
    this.#owner = owner;
    this.#given = options.protocol === undefined ? undefined : { protocol: options.protocol };
  }

  /** For connections from now on. The address stays. */
  configure(
    options: Omit<ListenerOptions, "address" | "reusePort" | "socketMode">,
    fronts: Readonly<Record<Detected, Front>>,
  ): void {
    this.#options = { ...this.#options, ...options };
    this.#fronts = fronts;
    const { protocol } = options;
    this.#given = protocol === undefined ? undefined : { protocol };
  }

  /** As bound. */
  get text(): string {
    return listenText(this.address);
  }

  /** Rejects with a ListenError that says what to do. */
  async listen(): Promise<void> {
    this.#has(await BoundAddress.open(this.#options, this.#taker));
  }

  /** In the place of `listen`: takes the address of another listener, and from now on what comes there, also what waits. */
  takeAddress(from: Listener): void {
    const bound = from.#bound!;
    from.#bound = undefined;
    bound.taker = this.#taker;
    this.#has(bound);
  }

  #has(bound: BoundAddress): void {
    this.#bound = bound;
    this.address = bound.address;
  }

  /** It can give its address to another one. */
  get hasAddress(): boolean {
    return this.#bound !== undefined;
  }

  /** No further connection is accepted. Of those that came last it may still have to be found out what they speak. Idempotent. */
  stopListening(): void {
    this.#bound?.close();
    this.#bound = undefined;
  }

  /** Resolves when of every connection it is known what is spoken on it, which takes no longer than `detectTimeoutMs`. */
  decided(): Promise<void> {
    if (this.#undecided.size === 0) return Promise.resolve();
    this.#onDecided ??= Promise.withResolvers();
    return this.#onDecided.promise;
  }

  /** Every connection, those of fronts too. */
  destroy(): void {
    this.stopListening();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Connections that are open. */
  get size(): number {
    return this.#sockets.size;
  }

  // ── what comes ───────────────────────────────────────────────────────────────────────────────

  readonly #taker = (socket: Socket): void => {
    try {
      this.#accept(socket);
    } catch (error) {
      Defects.of(this.#owner.runtime).end(error, socket);
    }
  };

  #accept(socket: Socket): void {
    // Whatever the owner of the socket does, its error must not end the process.
    socket.on("error", () => {});
    const refused = this.#refusal(socket);
    if (refused !== undefined) {
      this.#owner.count(refused);
      socket.resetAndDestroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#gone(socket));
    const { proxyProtocol, detectTimeoutMs: timeoutMs } = this.#options;
    if (this.#given !== undefined && !proxyProtocol) {
      const { protocol } = this.#given;
      const found = { protocol, head: EMPTY, client: undefined, target: undefined };
      return this.#handOver(socket, found);
    }
    const options = { proxyProtocol, protocol: this.#given, timeoutMs };
    this.#undecided.set(socket, new FirstBytesReader(socket, options, this.#owner.runtime, this));
  }

  /** Counts the connection for its address, unless there are too many. */
  #refusal(socket: Socket): ListenReason | undefined {
    if (this.#sockets.size >= this.#owner.limits.maxConnections) return "connections";
    const { maxConnectionsPerAddress } = this.#options;
    const { remoteAddress } = socket;
    if (maxConnectionsPerAddress === Infinity || remoteAddress === undefined) return undefined;
    const count = (this.#perAddress.get(remoteAddress) ?? 0) + 1;
    if (count > maxConnectionsPerAddress) return "connections_per_address";
    this.#perAddress.set(remoteAddress, count);
    socket.once("close", () => {
      const left = this.#perAddress.get(remoteAddress)! - 1;
      if (left === 0) this.#perAddress.delete(remoteAddress);
      else this.#perAddress.set(remoteAddress, left);
    });
    return undefined;
  }

  #gone(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#isDecided(socket);
  }

  #isDecided(socket: Socket): void {
    this.#undecided.delete(socket);
    if (this.#undecided.size > 0) return;
    this.#onDecided?.resolve();
    this.#onDecided = undefined;
  }

  /** Of FirstBytesReader. */
  known(socket: Socket, found: FirstBytes): void {
    this.#isDecided(socket);
    this.#handOver(socket, found);
  }

  /** Of FirstBytesReader. */
  refused(socket: Socket, reason: NoFirstBytes): void {
    this.#isDecided(socket);
    if (reason !== "no_bytes") this.#owner.count(reason);
    socket.destroy();
  }

  #handOver(socket: Socket, found: FirstBytes): void {
    const { protocol, head, serverName } = found;
    this.#fronts[protocol].accept({
      socket,
      head,
      client: found.client ?? clientOf(socket),
      target: found.target ?? targetOf(socket),
      serverName,
    });
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
