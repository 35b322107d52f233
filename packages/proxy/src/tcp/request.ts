/** A connection as a call of the mesh: what routes and observers may ask of it, and what it becomes. */
import type { Socket } from "node:net";
import type { HeadField, Outcome, Reply, RoutedRequest } from "@inmesh/core/spi/transport";
import type { PeerAddress } from "../listen/accepted.ts";
import type { ProxyVersion } from "../listen/proxy-protocol.ts";

export class TcpRequest implements RoutedRequest {
  /** Nothing is known of what is inside: a route without conditions is all that can match. */
  readonly method = "TCP";
  readonly pathname = "/";
  readonly client: PeerAddress | undefined;
  readonly target: PeerAddress | undefined;
  /** The endpoint gets a header of the PROXY protocol first; undefined: none. */
  readonly announces: ProxyVersion | undefined;

  constructor(
    client: PeerAddress | undefined,
    target: PeerAddress | undefined,
    announces: ProxyVersion | undefined,
  ) {
    this.client = client;
    this.target = target;
    this.announces = announces;
  }

  header(): undefined {}

  queryParam(): undefined {}

  get queryText(): string {
    return "";
  }

  fields(): HeadField[] {
    return [];
  }

  /** There is no head. */
  changeHeaders(): void {}
}

/** A connection to an endpoint. Its attempt settles when it has ended. */
export class TcpReply implements Reply {
  readonly outcome: Outcome = "success";
  readonly nacked = false;
  readonly code = 0;
  readonly retryAfterMs = undefined;
  readonly waitsForAll = false;
  readonly final = false;
  /** Paused, with `allowHalfOpen`. */
  readonly socket: Socket;
  readonly #settle: (outcome: Outcome) => void;

  constructor(socket: Socket, settle: (outcome: Outcome) => void) {
    this.socket = socket;
    this.#settle = settle;
  }

  changeHeaders(): void {}

  discard(): void {
    this.end("abandoned");
    this.socket.destroy();
  }

  /** What the connection says about its endpoint, once. */
  end(outcome: Outcome): void {
    this.#settle(outcome);
  }
}
