/** A request of node:http as routes see it, and what its events say about the endpoint. */
import { AsyncResource } from "node:async_hooks";
import { errorMonitor, type EventEmitter } from "node:events";
import type { ClientRequest, IncomingMessage, OutgoingHttpHeader } from "node:http";
import {
  MeshError,
  stacklessError,
  type HeadField,
  type HeaderChanges,
  type Outcome,
  type ServiceConfig,
} from "@inmesh/core/spi";
import { changeIncoming } from "../client/header-changes.ts";
import { LeasedRequest, type Lease } from "../client/lease.ts";
import { hideMarks } from "../client/marks.ts";
import { isAmbiguous, MAX_INTERIM, MAX_REPLY_FIELDS } from "../client/reply-limits.ts";
import { HOST, HOST_RULE, NAMESPACE } from "../headers.ts";
import { AgentError } from "./agent-error.ts";

export class AgentRequest extends LeasedRequest {
  readonly #request: ClientRequest;
  /** What the attempt in progress has changed, and what stood there before. */
  #replaced: Map<string, OutgoingHttpHeader | undefined> | undefined = undefined;

  /**
   * Headers can still be set as long as node has not written them: given as an array, it has, and they
   * go out as they are. Throws a MeshError (`bad_header`) if another Host was set than the service's,
   * as the other doors do; node itself sets the one of the URL.
   */
  constructor(request: ClientRequest, { authority, name }: ServiceConfig, origin: string) {
    super(request.path, request.method, undefined, null);
    this.#request = request;
    if (request.headersSent) return;
    const host = request.getHeader(HOST);
    const same = host === undefined || host === authority || host === name;
    if (!same && !isHostOf(String(host), origin)) throw foreignHost(name);
    for (const field of request.getHeaderNames()) {
      if (field.startsWith(NAMESPACE)) request.removeHeader(field);
    }
    request.setHeader(HOST, authority);
  }

  override header(name: string): string | undefined {
    const value = this.#request.getHeader(name);
    return Array.isArray(value) ? value[0] : value === undefined ? undefined : String(value);
  }

  override fields(): HeadField[] {
    return Object.entries(this.#request.getHeaders()).map(([name, value]) => [name, String(value)]);
  }

  /** As long as node has not written them. */
  override changeHeaders({ taken, given }: HeaderChanges): void {
    const request = this.#request;
    if (request.headersSent) return;
    for (const name of taken) request.removeHeader(name);
    for (let i = 0; i < given.length; i += 2) request.appendHeader(given[i]!, given[i + 1]!);
  }

  override changeForAttempt(changes: HeaderChanges | undefined): void {
    if (changes === undefined && this.#replaced === undefined) return;
    const request = this.#request;
    if (request.headersSent) return;
    for (const [name, value] of this.#replaced ?? []) {
      if (value === undefined) request.removeHeader(name);
      else request.setHeader(name, value);
    }
    this.#replaced = changes === undefined ? undefined : new Map();
    if (changes === undefined) return;
    for (const name of changes.taken) this.#replaced!.set(name, request.getHeader(name));
    const { given } = changes;
    for (let i = 0; i < given.length; i += 2) request.setHeader(given[i]!, given[i + 1]!);
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

/** With or without the port, in any case of letters: as node writes it, and as it was asked for. */
function isHostOf(host: string, origin: string): boolean {
  const scheme = origin.slice(0, origin.indexOf("//") + 2);
  return URL.canParse(scheme + host) && new URL(scheme + host).origin === new URL(origin).origin;
}

function foreignHost(service: string): MeshError {
  return new MeshError({
    code: "bad_request",
    reason: "bad_header",
    message: `${service}: ${HOST_RULE}`,
    progress: "not-sent",
  });
}

/** Settles the lease by what happens to the request, however it was made and however it ends. */
export function watch(request: ClientRequest, lease: Lease, service: ServiceConfig): void {
  new Watched(request, lease, service).listen();
}

/**
 * It must not change what the request does: no `error` listener, which would swallow an error that
 * no listener handles, and a reply without a listener is still thrown away.
 */
class Watched {
  readonly #request: ClientRequest;
  readonly #lease: Lease;
  readonly #service: ServiceConfig;
  #outcome: Outcome | undefined = undefined;
  #reply: IncomingMessage | undefined = undefined;
  /** The peer ended or reset the connection, or it failed: not we. */
  #peerLeft = false;
  #interim = 0;
  /** The head of a reply that handed the connection over, if it was taken. */
  #handed: IncomingMessage | undefined = undefined;
  /** The reply breaks a limit: nothing of it counts. */
  #refused: AgentError | undefined = undefined;
  /** The context of the request: the connection has none, or that of another request. */
  readonly #scope = new AsyncResource("inmesh.request");

  constructor(request: ClientRequest, lease: Lease, service: ServiceConfig) {
    this.#request = request;
    this.#lease = lease;
    this.#service = service;
  }

  listen(): void {
    const request = this.#request;
    const lease = this.#lease;
    emitIn(this.#scope, request, (event, head) => {
      if (event === "upgrade" || event === "connect") this.#handed = head as IncomingMessage;
    });
    lease.socket.once("end", this.#onPeer);
    lease.socket.prependOnceListener("error", this.#onPeer);
    request.prependOnceListener("response", (reply: IncomingMessage) => this.#replied(reply));
    request.on("continue", this.#onInterim);
    request.on("information", this.#onInterim);
    request.once(errorMonitor, (error: Error) => this.#failed(error));
    request.once("close", () => this.#closed());
    lease.onCancel = (error) => this.#cancel(new AgentError(error));
  }

  /**
   * The deadline has passed, or the mesh is closing. Once there is a reply its reader gets the error,
   * as with a connection that ends: clients have stopped listening to the request by then, and an
   * `error` of a request without a listener ends the process.
   */
  #cancel(error: AgentError): void {
    if (this.#reply === undefined) {
      this.#request.destroy(error);
      return;
    }
    this.#lease.socket.destroy();
    this.#reply.destroy(error);
  }

  readonly #onPeer = (): void => {
    this.#peerLeft = true;
  };

  readonly #onInterim = (): void => {
    if (++this.#interim <= MAX_INTERIM || this.#refused !== undefined) return;
    this.#request.destroy(
      this.#refuse("unexpected_1xx", `more than ${MAX_INTERIM} interim replies`),
    );
  };

  #replied(reply: IncomingMessage): void {
    emitIn(this.#scope, reply);
    const { "transfer-encoding": coding } = reply.headers;
    const excess = this.#excess(reply);
    if (excess !== undefined) this.#refuse("response_header_too_large", `more than ${excess}`);
    else if (reply.httpVersionMajor !== 1) {
      this.#refuse("malformed_response", `the reply says HTTP/${reply.httpVersion}`);
    } else if ((reply.statusCode ?? 0) < 200) {
      // What is interim, or hands the connection over, comes as another event.
      this.#refuse("malformed_response", `the status of the reply is ${reply.statusCode}`);
    } else if (coding !== undefined && isAmbiguous(coding)) {
      const twice = "the reply has more than one transfer-encoding, or one behind chunked";
      this.#refuse("malformed_response", twice);
    }
    if (this.#refused !== undefined) {
      // The reader of the reply gets it, and with the connection the request.
      reply.destroy(this.#refused);
      return;
    }
    this.#reply = reply;
    const { changes } = this.#lease;
    this.#outcome = this.#lease.replied(reply.statusCode ?? 0, reply.headers);
    hideMarks(reply);
    if (changes !== undefined) changeIncoming(reply, changes);
    // Node throws a reply away if there is no listener; ours must not be what keeps it.
    if (this.#request.listenerCount("response") === 0) reply.resume();
    reply.once("end", () => this.#settle(this.#outcome!));
    reply.once("close", () => this.#cut(reply));
  }

  /** node's own limit of bytes holds as well; of the number of fields it has none that is an error. */
  #excess({ rawHeaders: raw, statusMessage = "" }: IncomingMessage): string | undefined {
    if (raw.length > 2 * MAX_REPLY_FIELDS) return `${MAX_REPLY_FIELDS} fields`;
    const { maxReplyHeaderBytes } = this.#service.limits;
    let bytes = statusMessage.length;
    for (const text of raw) bytes += text.length;
    return bytes <= maxReplyHeaderBytes
      ? undefined
      : `${maxReplyHeaderBytes} bytes of head (limits.maxReplyHeaderBytes)`;
  }

  #refuse(
    reason: "unexpected_1xx" | "response_header_too_large" | "malformed_response",
    what: string,
  ): AgentError {
    const { address } = this.#lease;
    const message = `${this.#service.name} → ${address}: ${what}`;
    const error = stacklessError("bad_response", reason, "maybe-processed", message);
    error.endpoint = address;
    this.#release();
    this.#lease.fail(error, "failure");
    return (this.#refused = new AgentError(error));
  }

  /** After its end this comes too late to count. */
  #cut(reply: IncomingMessage): void {
    if (!reply.complete) this.#failed(reply.errored ?? new Error("the reply was cut"));
  }

  #failed(error: Error & { readonly code?: unknown }): void {
    const broken = typeof error.code === "string" && error.code.startsWith("HPE_");
    this.#release();
    this.#lease.fail(error, this.#peerLeft || broken ? "failure" : "abandoned");
  }

  #closed(): void {
    // A connection that changed hands has a head and no reply.
    const head = this.#handed;
    if (this.#outcome === undefined && head !== undefined) {
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

/**
 * Listeners run in the context of the request, as with Node's own Agent, which gives the connection
 * the context of the request that uses it.
 */
function emitIn(
  scope: AsyncResource,
  emitter: EventEmitter,
  look: (event: unknown, first: unknown) => void = () => {},
): void {
  const emit = emitter.emit.bind(emitter);
  Object.defineProperty(emitter, "emit", {
    value: (...args: unknown[]) => {
      look(args[0], args[1]);
      return scope.runInAsyncScope(emit as never, undefined, ...args);
    },
    configurable: true,
    writable: true,
    enumerable: false,
  });
}
