/** A request being served as observers see it. The pipeline of a server makes one by `servedStarted`. */
import type { Outcome, Within } from "../call.ts";
import type { HeadField } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ServerPeer } from "../tls/peer.ts";
import { checkedTraceId } from "../traceparent.ts";
import type { Attached } from "./attached.ts";
import type { EndedRequest, ObservedRequest } from "./observer.ts";

/** What is read off the request when an observer asks; ServedCall of the server's pipeline fits. */
export interface ServedFacts extends Omit<ObservedRequest, "id" | "server" | "startedAt"> {
  /** The server's name. */
  readonly service: string;
  /** Another instrumentation makes a span for it, where its handler is called. */
  readonly tracedByOthers: boolean;
  within: Within | undefined;
  traceId: string | undefined;
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
  /** What the traces of its mesh keep of it. Writer: traces. */
  traced: unknown = undefined;
  /** Writer: the protocol, as is its neighbour's. */
  sentBytes = 0;
  receivedBytes = 0;
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

  get traceId(): string | undefined {
    return this.#facts.traceId;
  }

  set traceId(traceId: string | undefined) {
    this.#facts.traceId = checkedTraceId(traceId);
  }

  get tracedByOthers(): boolean {
    return this.#facts.tracedByOthers;
  }

  /** Its handler runs inside `within`. Before the handler has it. */
  runIn(within: Within): void {
    this.#facts.within = within;
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
