/** What a transport supplies to be checked, and what the checks have in common: attempts that count their ends, waits. */
import { strict as assert } from "node:assert";
import { Attempt, Call, type Outcome, type Reply } from "../call.ts";
import { MeshError } from "../errors.ts";
import type { RoutedRequest } from "../route/facts.ts";
import type { Connection } from "../transport.ts";

/** What the server is to do with a request. */
export type Behaviour =
  /** A whole reply at once. */
  | "answer"
  /** As much of a head as the protocol can send of one that never ends; nothing, if it cannot. */
  | "stall-in-head"
  /** The head and the start of a body that never goes on. */
  | "stall-in-body"
  /** No reply at all. */
  | "silence"
  /** The request is taken, then the connection breaks before any reply. */
  | "break"
  /** The head and the start of a body, then the connection breaks. */
  | "break-in-body"
  /** No connection comes about. */
  | "refuse";

/** How a check gets at one protocol. */
export interface ConformanceAdapter<Req extends RoutedRequest, Res extends Reply> {
  /** Opens the way to a fresh server; `queueing`: only one request at a time has a connection. */
  open(queueing: boolean): Promise<ConformanceBench<Req, Res>>;
  /** The body's kinds, where the protocol has bodies that cannot be sent twice. */
  readonly streams: boolean;
  /** Requests beyond the connections wait inside the transport. */
  readonly queues: boolean;
  /** Requests have bodies, or messages. */
  readonly bodies: boolean;
}

/** A field of a request's head with a Behaviour, which goes before that of the request: attempts can differ. */
export const PLAY = "x-play";

export interface ConformanceBench<Req extends RoutedRequest, Res extends Reply> {
  readonly connection: Connection<Req, Res>;
  /** A request that makes the server behave so. `streamed`: with a body that can be read once. */
  request(behaviour: Behaviour, streamed?: boolean): Req;
  /** The call that a request belongs to, before its first attempt; for protocols whose requests ask it. */
  begun?(call: Call<Req>): void;
  /** A request with a body, or message, that can be sent more than once. Only where there are `bodies`. */
  requestWith?(text: string): Req;
  /** Reads the body to its end; rejects if it is cut. */
  read(reply: Res): Promise<unknown>;
  /** What the application finds under a name in the reply's head. The body need not be read. */
  headerOf(reply: Res, name: string): Promise<string | undefined>;
  /** Requests whose head the server has seen, of that behaviour. */
  seen(behaviour: Behaviour): number;
  /** Every head that the server has read: `name: value`, names in lower case, a line each. */
  readonly heads: readonly string[];
  /** Every body that it has read to the end, as text. */
  readonly bodies: readonly string[];
  /** Requests that it has not ended, and whose client has not. */
  open(): number;
  close(): Promise<void>;
}

export interface ConformanceCheck {
  readonly title: string;
  readonly run: () => Promise<void>;
}

export const SOON_MS = 1_000;

/** An attempt that counts how it settled. */
export interface Watched<Req> {
  readonly attempt: Attempt<Req>;
  readonly outcomes: Outcome[];
}

export function watched<Req>(request: Req): Watched<Req> {
  return watch(new Attempt<Req>(new Call("svc", request, true, true), 1, "first"));
}

export function watch<Req>(attempt: Attempt<Req>): Watched<Req> {
  const outcomes: Outcome[] = [];
  const endpoint = { address: "endpoint", zone: undefined };
  attempt.endpoint = endpoint;
  attempt.startedAt = performance.now();
  // Attempt.settle ignores a second verdict; here a second one is a mistake of the transport.
  const settle = attempt.settle.bind(attempt);
  attempt.settle = (outcome) => {
    outcomes.push(outcome);
    settle(outcome);
  };
  return { attempt, outcomes };
}

export function observed(promise: Promise<unknown>): { error: unknown } {
  const seen: { error: unknown } = { error: undefined };
  promise.catch((error: unknown) => {
    seen.error = error;
  });
  return seen;
}

export function cancelled(outcome: "abandoned" | "timeout" = "abandoned"): MeshError {
  return new MeshError({
    code: outcome === "timeout" ? "deadline_exceeded" : "cancelled",
    reason: outcome === "timeout" ? "call_deadline" : "hedge_lost",
    message: "the check cancelled it",
    progress: "maybe-processed",
  });
}

export async function microtasks(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function until(condition: () => boolean): Promise<void> {
  const last = performance.now() + SOON_MS;
  while (!condition()) {
    assert.ok(performance.now() < last, `within ${SOON_MS} ms: ${condition.toString()}`);
    await wait(2);
  }
}

export function settled(outcomes: readonly Outcome[]): Promise<void> {
  return until(() => outcomes.length > 0);
}
