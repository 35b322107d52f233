/** A request of node:http as routes see it, and what its events say about the endpoint. */
import { errorMonitor } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import { MeshError, type HeaderChanges, type Outcome, type ServiceConfig } from "@inmesh/core/spi";
import { changeIncoming } from "../client/header-changes.ts";
import { LentRequest, type Lease } from "../client/lease.ts";
import { hideMarks } from "../client/marks.ts";
import { isAmbiguous } from "../client/reply-limits.ts";
import { HOST, NAMESPACE } from "../headers.ts";

export class AgentRequest extends LentRequest {
  readonly #request: ClientRequest;

  /** Headers can still be set as long as node has not written them: given as an array, it has. */
  constructor(request: ClientRequest, { authority }: ServiceConfig) {
    super(request.path, request.method, undefined, null);
    this.#request = request;
    if (request.headersSent) return;
    for (const name of request.getHeaderNames()) {
      if (name.startsWith(NAMESPACE)) request.removeHeader(name);
    }
    request.setHeader(HOST, authority);
  }

  override header(name: string): string | undefined {
    const value = this.#request.getHeader(name);
    return Array.isArray(value) ? value[0] : value === undefined ? undefined : String(value);
  }

  /** As long as node has not written them. */
  override changeHeaders({ taken, given }: HeaderChanges): void {
    const request = this.#request;
    if (request.headersSent) return;
    for (const name of taken) request.removeHeader(name);
    for (let i = 0; i < given.length; i += 2) request.appendHeader(given[i]!, given[i + 1]!);
  }

  /** What the mesh adds goes out with the request, if it is not too late. */
  override stamp(number: number, remainingMs: number): void {
    super.stamp(number, remainingMs);
    if (this.#request.headersSent) return;
    for (let i = 0; i < this.headers.length; i += 2) {
      this.#request.setHeader(this.headers[i]!, this.headers[i + 1]!);
    }
  }
}

/** node sets it for a reply that hands the connection over. */
type Head = IncomingMessage & { readonly upgrade: boolean | null };

/** Settles the lease by what happens to the request, whoever made it and however it ends. */
export function watch(request: ClientRequest, lease: Lease): void {
  new Watched(request, lease).listen();
}

/**
 * It must not change what the request does: no `error` listener, which would swallow an error that
 * nobody handles, and a reply that nobody listens for is still thrown away.
 */
class Watched {
  readonly #request: ClientRequest;
  readonly #lease: Lease;
  #outcome: Outcome | undefined = undefined;
  /** The peer ended or reset the connection, or it failed: not we. */
  #peerLeft = false;

  constructor(request: ClientRequest, lease: Lease) {
    this.#request = request;
    this.#lease = lease;
  }

  listen(): void {
    const request = this.#request;
    const lease = this.#lease;
    lease.socket.once("end", this.#onPeer);
    lease.socket.prependOnceListener("error", this.#onPeer);
    request.prependOnceListener("response", (reply: IncomingMessage) => this.#replied(reply));
    request.once(errorMonitor, (error: Error) => this.#failed(error));
    request.once("close", () => this.#closed());
  }

  readonly #onPeer = (): void => {
    this.#peerLeft = true;
  };

  #replied(reply: IncomingMessage): void {
    const { changes } = this.#lease;
    this.#outcome = this.#lease.replied(reply.statusCode ?? 0, reply.headers);
    hideMarks(reply);
    if (changes !== undefined) changeIncoming(reply, changes);
    const { "transfer-encoding": coding } = reply.headers;
    if (coding !== undefined && isAmbiguous(coding)) return void this.#request.destroy(ambiguous());
    // Node throws a reply away if there is no listener; ours must not be what keeps it.
    if (this.#request.listenerCount("response") === 0) reply.resume();
    reply.once("end", () => this.#settle(this.#outcome!));
    reply.once("close", () => this.#cut(reply));
  }

  /** After its end this comes too late to count. */
  #cut(reply: IncomingMessage): void {
    if (!reply.complete) this.#failed(reply.errored ?? new Error("the reply was cut"));
  }

  #failed(error: Error & { readonly code?: unknown }): void {
    const { code } = error;
    const broken = typeof code === "string" && (code.startsWith("HPE_") || code === "bad_response");
    this.#release();
    this.#lease.fail(error, this.#peerLeft || broken ? "failure" : "abandoned");
  }

  #closed(): void {
    // A connection that changed hands has a head and no reply.
    const { res: head } = this.#request as unknown as { res?: Head };
    if (this.#outcome === undefined && head?.upgrade === true) {
      this.#settle(this.#lease.replied(head.statusCode ?? 0, head.headers));
    } else if (this.#outcome === undefined) {
      this.#failed(new Error("the request was closed without a reply"));
    }
  }

  #settle(outcome: Outcome): void {
    this.#release();
    this.#lease.settle(outcome);
  }

  /** The socket lives on with other requests. */
  #release(): void {
    this.#lease.socket.off("end", this.#onPeer);
    this.#lease.socket.off("error", this.#onPeer);
  }
}

function ambiguous(): MeshError {
  return new MeshError({
    code: "bad_response",
    reason: "malformed_response",
    message: "the reply has more than one transfer-encoding, or one behind chunked",
    progress: "maybe-processed",
  });
}
