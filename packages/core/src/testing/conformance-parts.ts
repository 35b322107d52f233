/** What the checks of transport conformance have in common: attempts that count their ends, and waits. */
import { strict as assert } from "node:assert";
import { Attempt, Call, type Outcome } from "../call.ts";
import { MeshError } from "../errors.ts";

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
