/**
 * The front for what is not HTTP, or is not to be looked at: each connection becomes a call to a service, and its bytes
 * go through as they are.
 */
import type { Socket } from "node:net";
import {
  Call,
  MeshError,
  type ConnectionRecord,
  type Runtime,
  type Service,
} from "@inmesh/core/spi/transport";
import { Defects } from "../defects.ts";
import type { Accepted, Front } from "../listen/accepted.ts";
import { writeHeader, type ProxyVersion } from "../listen/proxy-protocol.ts";
import { TcpRequest, type TcpReply } from "./request.ts";
import { Tunnel } from "./tunnel.ts";

export type TcpService = Pick<Service<TcpRequest, TcpReply>, "name" | "current">;

/** Why a connection was not passed on. */
export type TcpReason = "no_service" | "no_endpoint" | "tunnel_idle";

/** What a client hears that has asked for a tunnel. Must not throw. */
export interface TunnelAsked {
  /** Before the first byte of the endpoint. */
  connected(): void;
  /** There is no tunnel; ends the connection. */
  failed(error: unknown): void;
}

export interface TcpFrontParts {
  readonly runtime: Runtime;
  /** Where a connection goes; undefined: nothing says it. Must not throw. */
  serviceOf(connection: Accepted): TcpService | undefined;
  /** Where connections of clients are reported; undefined: nowhere. */
  readonly connections: ConnectionRecord | undefined;
  /** The endpoint gets a header of the PROXY protocol first. */
  readonly announces: ProxyVersion | undefined;
  /** Without a byte in either direction; Infinity: any time. */
  readonly idleTimeoutMs: number;
  count(reason: TcpReason): void;
}

const EMPTY: Buffer = Buffer.alloc(0);

export class TcpFront implements Front {
  #parts: TcpFrontParts;
  readonly #open = new Set<Socket>();
  #onEmpty: (() => void) | undefined = undefined;

  constructor(parts: TcpFrontParts) {
    this.#parts = parts;
  }

  /** For connections from now on. */
  configure(changed: Pick<TcpFrontParts, "idleTimeoutMs" | "announces">): void {
    this.#parts = { ...this.#parts, ...changed };
  }

  /** Connections that have a call. */
  get size(): number {
    return this.#open.size;
  }

  /** Resolves when none is open. */
  emptied(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    return promise;
  }

  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }

  accept(connection: Accepted): void {
    const service = this.#parts.serviceOf(connection);
    if (service === undefined) {
      this.#parts.count("no_service");
      connection.socket.resetAndDestroy();
      return;
    }
    void this.#pass(connection, service, undefined);
  }

  /** To that service, for a client that waits for what becomes of it. */
  tunnel(connection: Accepted, service: TcpService, asked: TunnelAsked): void {
    void this.#pass(connection, service, asked);
  }

  async #pass(
    connection: Accepted,
    service: TcpService,
    asked: TunnelAsked | undefined,
  ): Promise<void> {
    const { socket, client, target, head } = connection;
    const { announces, runtime, idleTimeoutMs } = this.#parts;
    const request = new TcpRequest(client, target, announces);
    const call = new Call(service.name, request, false, true);
    call.streaming = true;
    call.exclusive = true;
    const left = (): void => {
      try {
        call.cancel(callerLeft(service.name), "abandoned");
      } catch (error) {
        Defects.of(runtime).note(error);
      }
    };
    socket.once("close", left);
    this.#open.add(socket);
    this.#parts.connections?.opened(socket, { protocol: "tcp", mutual: "false" });
    let reply: TcpReply | undefined;
    try {
      reply = await service.current(call);
      socket.off("close", left);
      const first = announces === undefined ? EMPTY : writeHeader(announces, client, target);
      asked?.connected();
      const tunnel = new Tunnel(socket, reply.socket, runtime, idleTimeoutMs);
      const outcome = await tunnel.run(first, head);
      if (outcome === "idle") this.#parts.count("tunnel_idle");
      reply.end(outcome === "idle" ? "abandoned" : outcome);
    } catch (error) {
      if (!(error instanceof MeshError)) Defects.of(runtime).note(error);
      reply?.socket.destroy();
      reply?.end("abandoned");
      // Why, the records of the call say. The client learns of it as of a server that is not there.
      if (!socket.destroyed) {
        this.#parts.count("no_endpoint");
        if (asked === undefined) socket.resetAndDestroy();
        else asked.failed(error);
      }
    } finally {
      this.#open.delete(socket);
      if (this.#open.size === 0) this.#onEmpty?.();
    }
  }
}

function callerLeft(service: string): MeshError {
  return new MeshError({
    code: "cancelled",
    reason: "caller",
    message: `${service}: the client has closed its connection`,
    progress: "not-sent",
    stackless: true,
  });
}
