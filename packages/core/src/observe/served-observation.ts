/** A request being served as observers see it. The pipeline of a server makes one by `servedStarted`. */
import type { Outcome } from "../call.ts";
import type { HeadField } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ServerPeer } from "../tls/peer.ts";
import type { Attached } from "./attached.ts";
import type { EndedRequest, ObservedRequest } from "./observer.ts";

/** What is read off the request when an observer asks; ServedCall of the server's pipeline fits. */
export interface ServedFacts extends Omit<ObservedRequest, "id" | "server" | "startedAt"> {
  /** The server's name. */
  readonly service: string;
}

export class ServedObservation implements EndedRequest {
  readonly id: number;
  readonly startedAt: number;
  /** Looked up now, which costs a connection something once: at the end, that of HTTP/2 is not known any more. */
  readonly peer: ServerPeer;
  outcome: Outcome = "abandoned";
  status: number | undefined = undefined;
  reason: string | undefined = undefined;
  durationMs = 0;
  /** Writer: the protocol. */
  sentBytes: number | undefined = undefined;
  readonly #facts: ServedFacts;
  readonly #by: readonly Attached[];
  readonly #runtime: Runtime;
  #ended = false;

  constructor(id: number, facts: ServedFacts, by: readonly Attached[], runtime: Runtime) {
    this.id = id;
    this.startedAt = runtime.now();
    this.peer = facts.peer;
    this.#facts = facts;
    this.#by = by;
    this.#runtime = runtime;
  }

  get protocol(): string {
    return this.#facts.protocol;
  }

  get server(): string {
    return this.#facts.service;
  }

  get route(): string {
    return this.#facts.route;
  }

  get method(): string {
    return this.#facts.method;
  }

  get path(): string {
    return this.#facts.path;
  }

  get query(): string {
    return this.#facts.query;
  }

  header(name: string): string | undefined {
    return this.#facts.header(name);
  }

  fields(): HeadField[] {
    return this.#facts.fields();
  }

  get httpVersion(): string {
    return this.#facts.httpVersion;
  }

  get deadlineAt(): number {
    return this.#facts.deadlineAt;
  }

  get attempt(): number {
    return this.#facts.attempt;
  }

  get priority(): ObservedRequest["priority"] {
    return this.#facts.priority;
  }

  get traceparent(): string | undefined {
    return this.#facts.traceparent;
  }

  get tracestate(): string | undefined {
    return this.#facts.tracestate;
  }

  /** How it ended, once; later calls have no effect. */
  ended(outcome: Outcome, status: number | undefined, reason: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.outcome = outcome;
    this.status = status;
    this.reason = reason;
    this.durationMs = this.#runtime.now() - this.startedAt;
    for (const one of this.#by) one.tell("servedEnded", this);
  }
}
