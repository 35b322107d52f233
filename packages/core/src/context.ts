/**
 * The request being served, and what the calls made on its behalf inherit from it: the time left,
 * whether it was itself a retry, its priority, its trace; and their end, when its caller has gone. A
 * server wrapper runs its handler inside `context.run`; calls made in it, however deep, read the store
 * once. Node keeps the store for everything that a handler starts, for as long as that lives, so the
 * request itself must stop giving things on: see `over`. Work that several requests share leaves the
 * request with `context.exit`.
 */
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import type { Call, Served, Within } from "./call.ts";
import { type MeshError, stacklessError } from "./errors.ts";
import type { ServedObservation } from "./observe/served-observation.ts";
import type { ServerPeer } from "./tls/peer.ts";
import { isTraceparent, sampledTraceId } from "./traceparent.ts";

/** How much a request matters when not everything can be served. What says nothing is `normal`. */
export type Priority = "critical" | "normal" | "sheddable";

export interface ServedRequestInit {
  /** Instant on the runtime's monotonic clock at which the caller gives up. Default Infinity: it did not say. */
  readonly deadlineAt?: number;
  /** The attempt number the request arrived with; above 1, only R0 re-sends are made on its behalf. Default 1. */
  readonly attempt?: number;
  /** Default `normal`. */
  readonly priority?: Priority;
  /** W3C trace context as received; passed on as it is. Default: none. */
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  /** Hops it has come through already, 0 for the first. */
  readonly hops?: number;
  /** The deadline comes from an untrusted caller: what it cuts short says nothing about an endpoint. Default false. */
  readonly untrustedDeadline?: boolean;
}

export class ServedRequest implements Served {
  deadlineAt: number = Infinity;
  attempt: number = 1;
  priority: Priority = "normal";
  hops: number = 0;
  untrustedDeadline: boolean = false;
  /** Undefined: no observer was attached when it came. Writer: a server wrapper. */
  observed: ServedObservation | undefined = undefined;
  /** A context of the application's that its handler runs in as well, such as that of a span. Writer: an observation. */
  within: Within | undefined = undefined;
  /** As it came, which may be anything: read `traceparent` and `tracestate` instead. */
  rawTraceparent: string | undefined = undefined;
  rawTracestate: string | undefined = undefined;
  /** A call made for it failed for good after this hop's retries: trying it all again from above does not help. */
  exhausted = false;
  #first: Call | undefined = undefined;
  #left = false;
  /** Its cancellation has reached a call made for it: later ones are work that outlives it. */
  #delivered = false;
  #traceRead = false;
  /** null: not looked at yet. */
  #traceId: string | undefined | null = null;

  constructor(init?: ServedRequestInit) {
    if (init === undefined) return; // a server wrapper fills in what it reads
    this.deadlineAt = init.deadlineAt ?? Infinity;
    this.attempt = init.attempt ?? 1;
    this.priority = init.priority ?? "normal";
    this.rawTraceparent = init.traceparent;
    this.rawTracestate = init.tracestate;
    this.hops = init.hops ?? 0;
    this.untrustedDeadline = init.untrustedDeadline ?? false;
  }

  /** Who is at the other end of its connection, looked up when it is asked for; undefined for one that no server of ours serves. */
  get peer(): ServerPeer | undefined {
    return undefined;
  }

  /** Of the trace it belongs to, if what came is valid; looked at when the first call made for it asks. */
  get traceparent(): string | undefined {
    if (!this.#traceRead) this.#readTrace();
    return this.rawTraceparent;
  }

  /** Undefined without a valid `traceparent`. */
  get tracestate(): string | undefined {
    if (!this.#traceRead) this.#readTrace();
    return this.rawTracestate;
  }

  /**
   * The sampled trace that its measurements, and those of the calls made for it, are examples of; undefined: it
   * is in none. What came says so, unless an observer that traces has said otherwise.
   */
  get traceId(): string | undefined {
    if (this.#traceId === null) this.#traceId = sampledTraceId(this.rawTraceparent);
    return this.#traceId;
  }

  set traceId(traceId: string | undefined) {
    this.#traceId = traceId;
  }

  #readTrace(): void {
    this.#traceRead = true;
    if (this.rawTraceparent !== undefined && isTraceparent(this.rawTraceparent)) return;
    this.rawTraceparent = this.rawTracestate = undefined;
  }

  /** Its caller has gone. Calls in progress for it are cancelled, and so is the next one if there are none. */
  get left(): boolean {
    return this.#left;
  }

  /**
   * It gives nothing on but its trace: its reply has ended, or its caller has gone and a call made for
   * it has been cancelled for that. What still runs in its context has a life of its own then, such as
   * a poller, or work behind a `202`. Deadline, attempt number, priority and hops are the request's.
   */
  get over(): boolean {
    return this.#delivered || this.replied;
  }

  /** Its reply has ended, as far as its handler is concerned. A server wrapper knows. */
  get replied(): boolean {
    return false;
  }

  /** From now on the call ends with this request's caller. It leaves the list when it ends. */
  adopt(call: Call): void {
    call.served = this;
    if (this.#left) {
      call.cancelled = gone(call);
      this.#deliver();
      return;
    }
    call.nextAdopted = this.#first;
    if (this.#first !== undefined) this.#first.previousAdopted = call;
    this.#first = call;
  }

  release(call: Call): void {
    if (call.previousAdopted !== undefined) call.previousAdopted.nextAdopted = call.nextAdopted;
    else if (this.#first === call) this.#first = call.nextAdopted;
    if (call.nextAdopted !== undefined) call.nextAdopted.previousAdopted = call.previousAdopted;
    call.previousAdopted = call.nextAdopted = undefined;
  }

  exhaust(): void {
    this.exhausted = true;
  }

  /** Ends what is done for a caller that has gone, in the same turn. Idempotent. */
  leave(): void {
    this.#left = true;
    if (this.#first !== undefined) this.#deliver();
    for (let call = this.#first; call !== undefined; call = this.#first) {
      this.release(call);
      call.cancel(gone(call), "abandoned");
    }
  }

  /** Calls that start together are cancelled together; the caller's `catch` of the first runs later. */
  #deliver(): void {
    if (!this.#delivered) queueMicrotask(() => (this.#delivered = true));
  }
}

/**
 * The request being served, for whatever its handler has started: `context.getStore()`; undefined
 * outside of one. `context.exit(fn)` runs `fn` outside of it and gives its result: calls made there,
 * and in what `fn` starts, inherit neither deadline nor cancellation nor trace. That is the way for
 * work that several requests wait for, such as filling a cache, of which only one request starts it
 * (docs/guides/work-that-outlives-a-request.md).
 */
export const context: AsyncLocalStorage<ServedRequest> = new AsyncLocalStorage();

/** Runs what is done for a request being served: its handler, and the listeners of its messages. */
export function runServed<A, T>(served: ServedRequest, run: (argument: A) => T, argument: A): T {
  const { within } = served;
  return within === undefined
    ? context.run(served, run, argument)
    : within(() => context.run(served, run, argument));
}

/**
 * Node puts back what was before when one of its own callbacks returns (24 and later): who is sure to
 * run in one may enter a context, which costs half of `run` (docs/decisions/0014-what-a-served-request-pays.md).
 * Tried, not decided by the version: it can be switched off.
 */
export const CALLBACKS_RESTORE: boolean = ((): boolean => {
  const resource = new AsyncResource("inmesh.probe");
  resource.runInAsyncScope(() => context.enterWith(new ServedRequest()));
  return resource.runInAsyncScope(() => context.getStore()) === undefined;
})();

/**
 * A call takes on what the request being served says; gives false if that is over, and gives on its
 * trace alone. A deadline that the call has and that comes first stays.
 */
export function inheritFrom(served: ServedRequest, call: Call, now: number): boolean {
  if (served.over) return false;
  const at = inheritedDeadlineAt(served, now);
  if (at < call.deadlineAt) {
    call.deadlineAt = at;
    call.deadlineFrom = "served request";
    call.uncharged = served.untrustedDeadline;
  }
  call.inheritedAttempt = served.attempt;
  return true;
}

/** Kept back from what is left, so that our answer reaches the caller before it gives up: 10 ms, or 5 % if that is less. */
export function inheritedDeadlineAt(served: ServedRequest, now: number): number {
  if (served.deadlineAt === Infinity) return Infinity;
  return served.deadlineAt - Math.min(10, Math.max(0, (served.deadlineAt - now) * 0.05));
}

function gone(call: Call): MeshError {
  const message = `${call.service}: the caller of the request being served has gone`;
  return stacklessError("cancelled", "caller", call.progress, message);
}
